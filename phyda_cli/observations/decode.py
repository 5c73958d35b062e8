"""One file's observations by what it holds, in this process."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

from phyda_cli.errors import InputError
from phyda_cli.observations.csv import parse_csv
from phyda_cli.observations.mapping import ObservationMap
from phyda_cli.observations.report import ReadResult

__all__ = ["decode", "is_text", "unpack"]

_BINARY = {
    b"\x89PNG": "a PNG image",
    b"%PDF": "a PDF document",
    b"GRIB": "a GRIB file",
    b"PK\x03\x04": "a zip archive",
}
_NETCDF = (b"CDF", b"\x89HDF")
_ODB = b"\xff\xffODA"


def unpack(path: Path) -> bytes:
    """The bytes of ``path``, out of gzip where it is packed. Raises InputError when it is missing, unreadable or empty."""
    if path.is_dir():
        raise InputError(f"{path} is a folder: expected a file of observations")
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError as error:
        raise InputError(f"observation file {path} does not exist") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read observation file {path}: {error}") from error
    if not content.strip():
        raise InputError(f"observation file {path} is empty")
    return content


def is_text(content: bytes) -> bool:
    """Whether ``content`` is a text table, which needs no decoder written in C."""
    head = content[:4096]
    binary = b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff"))
    return not (binary or head.startswith((*_BINARY, *_NETCDF, _ODB, b"BUFR")))


def decode(content: bytes, path: Path, mapping: ObservationMap | None = None) -> ReadResult:
    """The observations in ``content``, that of ``path``. Raises InputError when it is of no known kind or cannot be decoded."""
    head = content[:4096]
    if is_text(content):
        return parse_csv(_text(content), str(path), mapping)
    if head.startswith(_NETCDF):
        from phyda_cli.observations.netcdf import read_netcdf

        return _from_disk(content, path, read_netcdf)
    if head.startswith(_ODB):
        from phyda_cli.observations.odb import read_odb

        return _from_disk(content, path, read_odb)
    kind = next((name for magic, name in _BINARY.items() if head.startswith(magic)), None)
    if kind is None and b"BUFR" in head:
        from phyda_cli.observations.bufr import read_bufr

        return read_bufr(content, str(path))
    raise InputError(f"{path} is {kind or 'binary data'}: expected observations as a text table (CSV), BUFR, NetCDF or ODB-2")


def _from_disk(content: bytes, path: Path, reader: Callable[[Path, str], ReadResult]) -> ReadResult:
    """For libraries that read files only: ``content`` may have come out of gzip."""
    with tempfile.NamedTemporaryFile(suffix=".obs") as file:
        file.write(content)
        file.flush()
        return reader(Path(file.name), str(path))


def _text(content: bytes) -> str:
    """Text in UTF-8 or UTF-16 with or without a byte-order mark, else Latin-1."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")
