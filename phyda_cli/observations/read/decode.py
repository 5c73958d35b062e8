"""One file's observations by what it holds, in this process."""

from __future__ import annotations

import codecs
import gzip
import io
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from phyda_cli.errors import InputError
from phyda_cli.observations.read.bufr_messages import find_message
from phyda_cli.observations.read.columns import ObservationMap
from phyda_cli.observations.read.csv import parse_csv
from phyda_cli.observations.report import ReadResult

__all__ = ["Reader", "decode", "is_text", "reader_of", "time_limit"]

Reader = Callable[[Path, ObservationMap | None], ReadResult]

_HEAD = 4096  # bytes that tell what a file is
_PIECE = 1 << 20  # bytes looked through at a time
_SECONDS = 6.0  # that decoding any file may take, and for each megabyte
_BUFR_SECONDS, _OTHER_SECONDS = (
    120.0,
    10.0,
)  # BUFR takes 1 s to 15 s a megabyte on a core of its own, the others less than 1 s
_GZIP = b"\x1f\x8b"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BINARY = {
    b"\x89PNG": "a PNG image",
    b"%PDF": "a PDF document",
    b"GRIB": "a GRIB file",
    b"PK\x03\x04": "a zip archive",
}
_NETCDF = (b"CDF", b"\x89HDF")
_ODB = b"\xff\xffODA"


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of ``path``, out of gzip where it is packed. Raises InputError when it is missing
    or cannot be read to its end."""
    if path.is_dir():
        raise InputError(f"{path} is a folder: expected a file of observations")
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            yield cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if packed else file
    except FileNotFoundError as error:
        raise InputError(f"observation file {path} does not exist") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read observation file {path}: {error}") from error


def _head(path: Path) -> bytes:
    """The first bytes of ``path``. Raises InputError as :func:`_opened`, and when it is empty."""
    with _opened(path) as file:
        head = file.read(_HEAD)
    if not head.strip() and len(head) < _HEAD:
        raise InputError(f"observation file {path} is empty")
    return head


def is_text(path: Path) -> bool:
    """Whether ``path`` holds a text table, which needs no decoder written in C: no binary content
    anywhere in it. Raises InputError when it cannot be read or is empty."""
    head = _head(path)
    if head.startswith((*_BINARY, *_NETCDF, _ODB, b"BUFR")):
        return False
    if head.startswith(_UTF16):
        return True
    with _opened(path) as file:
        return not any(b"\0" in block for block in iter(lambda: file.read(_PIECE), b""))


def reader_of(path: Path) -> Reader:
    """What reads files like ``path``, its libraries loaded. Raises InputError when ``path`` is of
    no known kind."""
    head = _head(path)
    if is_text(path):
        return _read_text
    if head.startswith(_NETCDF):
        from phyda_cli.observations.read.netcdf import read_netcdf

        return _from_disk(read_netcdf)
    if head.startswith(_ODB):
        from phyda_cli.observations.read.odb import read_odb

        return _from_disk(read_odb)
    kind = next((name for magic, name in _BINARY.items() if head.startswith(magic)), None)
    content = _content(path)
    if find_message(content) >= 0 or (kind is None and b"BUFR" in content):
        from phyda_cli.observations.read.bufr import read_bufr

        return lambda path, _: read_bufr(_content(path), str(path))
    raise InputError(
        f"{path} is {kind or 'binary data'}: expected observations as a text table (CSV), BUFR, "
        "NetCDF or ODB-2"
    )


def time_limit(path: Path) -> float:
    """Seconds within which ``path`` is decoded even on a busy machine. Raises InputError when it
    cannot be read or is empty."""
    text = _head(path).startswith((*_NETCDF, _ODB)) or is_text(path)
    rate = _OTHER_SECONDS if text else _BUFR_SECONDS
    return _SECONDS + rate * path.stat().st_size / 1e6


def decode(path: Path, mapping: ObservationMap | None = None) -> ReadResult:
    """The observations in ``path``. Raises InputError when it is of no known kind or cannot be
    decoded."""
    return reader_of(path)(path, mapping)


def _content(path: Path) -> bytes:
    with _opened(path) as file:
        return file.read()


def _from_disk(read: Callable[[Path, str], ReadResult]) -> Reader:
    """For libraries that read files only: the content may have come out of gzip."""

    def reader(path: Path, _: ObservationMap | None) -> ReadResult:
        with tempfile.NamedTemporaryFile(suffix=".obs") as file:
            file.write(_content(path))
            file.flush()
            return read(Path(file.name), str(path))

    return reader


def _read_text(path: Path, mapping: ObservationMap | None) -> ReadResult:
    """Text in UTF-8 or UTF-16 with or without a byte-order mark; bytes that are neither count as
    Latin-1."""
    with _opened(path) as file:
        wide = file.read(2) in _UTF16
        file.seek(0)
        encoding, errors = ("utf-16", "replace") if wide else ("utf-8-sig", "as-latin-1")
        with io.TextIOWrapper(file, encoding=encoding, errors=errors) as text:
            return parse_csv(text, str(path), mapping)


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("as-latin-1", _as_latin_1)
