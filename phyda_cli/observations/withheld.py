"""Lists of station identifiers, one a line, ``#`` starting a comment."""

from __future__ import annotations

from pathlib import Path

from phyda_cli.errors import InputError

__all__ = ["read_stations"]


def read_stations(path: Path) -> set[str]:
    """Station identifiers in ``path``. Raises InputError when it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the station list {path}: {error}") from error
    return {station for line in lines if (station := line.split("#")[0].strip())}
