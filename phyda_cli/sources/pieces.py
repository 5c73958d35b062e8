"""A download as a list of pieces, each one file: what it will cost, and the work of fetching those
that are not there yet."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from phyda_cli.errors import InputError, OutputError
from phyda_cli.sources.field_file import Layout, check, preliminary
from phyda_cli.sources.folder import Folder

__all__ = [
    "Advance",
    "Cost",
    "Piece",
    "Progress",
    "check_space",
    "fetch",
    "outstanding",
    "readable",
]

Advance = Callable[[int], None]
_FINAL_AFTER = np.timedelta64(92, "D")  # ERA5 replaces ERA5T two to three months behind real time
_SPARE = 1.05  # of the disk space that is needed


@dataclass(frozen=True, eq=False)
class Piece:
    """A file to make. ``make`` writes it under the given path and tells how many bytes of fields it
    has done."""

    name: str
    layout: Layout
    make: Callable[[Path, Advance], None]


@dataclass(frozen=True)
class Cost:
    """What the whole download takes: requests, bytes over the network (None: the server decides),
    bytes on disk."""

    requests: int
    transfer: int | None
    disk: int


class Progress(Protocol):
    """Where the work is shown."""

    def begin(self, nbytes: int) -> None:
        """So many bytes of fields are to come."""

    def start(self, name: str, done: int, total: int) -> None:
        """A file is begun; ``done`` of ``total`` files were there before it."""

    def advance(self, nbytes: int) -> None:
        """So many bytes of fields are done."""


def readable(nbytes: float) -> str:
    """``3.1 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.3g} {unit}"
        nbytes /= 1000
    return f"{nbytes:.3g} TB"


def check_space(folder: Path, needed: int) -> int:
    """Free bytes of the disk that ``folder`` is or will be on. Raises OutputError when ``needed``
    are not there."""
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.is_dir())
    free = shutil.disk_usage(there).free
    if free < _SPARE * needed:
        raise OutputError(
            f"{folder} needs {readable(needed)}, and {readable(free)} are free on its disk",
            hint="fewer years, levels or variables, an --area, or another disk (--out)",
        )
    return free


def outstanding(folder: Folder, pieces: Sequence[Piece], verify: bool) -> list[Piece]:
    """The pieces that are not complete. A finished file that was not listed before a kill is
    checked and listed."""
    left = []
    for piece in pieces:
        path = folder.path / piece.name
        if piece.name not in folder.files and path.exists():
            try:
                check(path, piece.layout)
                _list(folder, path)
            except InputError:
                path.unlink()
        if not folder.complete(piece.name, verify) or _superseded(folder.files[piece.name]):
            left.append(piece)
    return left


def fetch(folder: Folder, pieces: Sequence[Piece], total: int, progress: Progress) -> None:
    """Make every piece and list it. An interrupted call loses no file that was complete."""
    progress.begin(sum(p.layout.nbytes for p in pieces))
    for count, piece in enumerate(pieces):
        progress.start(piece.name, total - len(pieces) + count, total)
        piece.make(folder.path / piece.name, progress.advance)
        _list(folder, folder.path / piece.name)


def _list(folder: Folder, path: Path) -> None:
    last = preliminary(path)
    folder.add(
        path.name, **({} if last is None else {"preliminary_until": str(last + _FINAL_AFTER)})
    )


def _superseded(entry: dict[str, object]) -> bool:
    """Whether the file holds preliminary data that final data has replaced by now."""
    until = entry.get("preliminary_until")
    return until is not None and bool(np.datetime64(str(until)) <= np.datetime64("today"))
