"""Which files are meant: patterns expanded, each file once."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from phyda_cli.errors import InputError

__all__ = ["expand"]


def expand(patterns: Iterable[Path | str]) -> tuple[list[Path], list[str]]:
    """The files that ``patterns`` (paths, or globs with * ? [ ] and **) mean, and a warning for
    each that is named twice.

    The files of a glob are sorted; a path that exists is taken as it is, whatever its letters, and
    one without a pattern is left to its reader. Raises InputError for a pattern that matches
    nothing.
    """
    files: dict[str, Path] = {}
    warnings: list[str] = []
    for pattern in patterns:
        for path in _matches(Path(pattern)):
            key = os.path.realpath(path)  # of a link that leads in a circle too
            if key in files:
                warnings.append(f"{path} is given twice and counts once")
            files.setdefault(key, path)
    return list(files.values()), warnings


def _matches(path: Path) -> list[Path]:
    text = str(path)
    if os.path.exists(path) or not glob.has_magic(text):
        return [path]
    found = sorted(p for p in map(Path, glob.glob(text, recursive=True)) if p.is_file())
    if not found:
        raise InputError(
            f"no file matches {text}", hint="check the pattern; without quotes the shell expands it"
        )
    return found
