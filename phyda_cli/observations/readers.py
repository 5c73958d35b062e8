"""Reading observation files of any kind, chosen by their content."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from pathlib import Path

from phyda_cli.errors import InputError
from phyda_cli.observations.bufr import read_bufr
from phyda_cli.observations.csv import parse_csv
from phyda_cli.observations.mapping import ObservationMap, load_mapping
from phyda_cli.observations.report import ReadResult, merge

__all__ = ["read_observations"]

_BINARY = {
    b"\x89PNG": "a PNG image",
    b"%PDF": "a PDF document",
    b"CDF": "a NetCDF file",
    b"GRIB": "a GRIB file",
    b"PK\x03\x04": "a zip archive",
    b"\x89HDF": "a NetCDF or HDF5 file",
}


def read_observations(paths: list[Path], mapping: Path | None = None, strict: bool = False) -> ReadResult:
    """All observations in ``paths`` (text tables or BUFR soundings, possibly gzipped), and what became of every row.

    ``mapping`` is a TOML file that names the columns of the text tables (see :mod:`~phyda_cli.observations.mapping`).
    Raises InputError when a file is missing, empty or of no known kind, and with ``strict`` for the first bad row.
    """
    chosen = None if mapping is None else load_mapping(mapping)
    result = merge([_read(Path(path), chosen) for path in paths])
    if strict and result.problems:
        shown = "; ".join(str(p) for p in result.problems[:3])
        raise InputError(f"{len(result.problems)} bad observation rows: {shown}", hint="without --strict they are rejected and reported")
    return result


def _read(path: Path, mapping: ObservationMap | None) -> ReadResult:
    if path.is_dir():
        raise InputError(f"{path} is a folder: expected a file of observations")
    try:
        content = path.read_bytes()
        packed = content[:2] == b"\x1f\x8b"
        content = gzip.decompress(content) if packed else content
    except FileNotFoundError as error:
        raise InputError(f"observation file {path} does not exist") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read observation file {path}: {error}") from error
    if not content.strip():
        raise InputError(f"observation file {path} is empty")
    head = content[:4096]
    if head.startswith(b"BUFR") or (b"BUFR" in head and b"\0" in head):
        return _read_packed_bufr(content, path) if packed else read_bufr(path)
    kind = next((name for magic, name in _BINARY.items() if head.startswith(magic)), "binary data" if _is_binary(head) else None)
    if kind is not None:
        raise InputError(f"{path} is {kind}: expected observations as a text table (CSV) or BUFR")
    return parse_csv(_decode(content), str(path), mapping)


def _read_packed_bufr(content: bytes, path: Path) -> ReadResult:
    with tempfile.NamedTemporaryFile(suffix=".bufr") as file:
        file.write(content)
        file.flush()
        return read_bufr(Path(file.name), str(path))


def _is_binary(head: bytes) -> bool:
    return b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff"))


def _decode(content: bytes) -> str:
    """Text in UTF-8 or UTF-16 with or without a byte-order mark, else Latin-1."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")
