"""Formats of observation files: each module of this folder, and of plug-ins, registers what its
files are known by and how they are read (:func:`reader`), and a file is read by the first format
that knows it."""

from __future__ import annotations

import gzip
import importlib
import io
import pkgutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from phyda_cli.errors import InputError
from phyda_cli.files.readable import check_input
from phyda_cli.files.worker import apart
from phyda_cli.observations.read.columns import ObservationMap
from phyda_cli.observations.report import ReadResult
from phyda_cli.plugins import READERS, load_all

__all__ = [
    "OTHER_KINDS",
    "Format",
    "Source",
    "decode",
    "decode_apart",
    "format_of",
    "is_text_table",
    "load_format",
    "reader",
    "time_limit",
]

OTHER_KINDS = {
    b"\x89PNG": "a PNG image",
    b"%PDF": "a PDF document",
    b"GRIB": "a GRIB file",
    b"PK\x03\x04": "a zip archive",
}
"""First bytes of files that hold no observations."""

_HEAD = 4096  # bytes that tell what most files are
_PIECE = 1 << 20  # bytes looked through at a time
_SECONDS = 6.0  # that decoding any file may take
_GZIP = b"\x1f\x8b"
# how many times a table shrinks at most and usually, and the bytes that any file may unpack to
_MOST_PACKED, _USUALLY_PACKED, _LEAST_UNPACKED = 60, 20, 50_000_000


@dataclass(frozen=True)
class Source:
    """A file of observations, out of gzip where it is packed. Everything raises InputError when the
    file is missing, empty or cannot be read to its end."""

    path: Path

    @contextmanager
    def opened(self) -> Iterator[io.BufferedReader]:
        """The bytes of the file."""
        check_input(self.path)
        with _reading(self.path), self.path.open("rb") as file:
            yield _unpacked(file, self.path) if self.packed else file

    @cached_property
    def packed(self) -> bool:
        """Whether the file is packed by gzip."""
        check_input(self.path)
        with _reading(self.path), self.path.open("rb") as file:
            return file.read(2) == _GZIP

    @cached_property
    def head(self) -> bytes:
        """The first bytes."""
        with self.opened() as file:
            head = file.read(_HEAD)
        if not head.strip() and len(head) < _HEAD:
            raise InputError(f"observation file {self.path} is empty")
        return head

    @cached_property
    def content(self) -> bytes:
        """All bytes."""
        with self.opened() as file:
            return file.read()

    @cached_property
    def has_zeros(self) -> bool:
        """Whether a byte anywhere is zero, as in no text of 8 bits."""
        with self.opened() as file:
            return any(b"\0" in block for block in iter(lambda: file.read(_PIECE), b""))

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """A file with these bytes, for libraries that read files only."""
        with tempfile.NamedTemporaryFile(suffix=".obs") as file:
            file.write(self.content)
            file.flush()
            yield Path(file.name)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """InputError for what the system says of ``path`` while it is read."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read observation file {path}: {error}") from error


def _unpacked(file: io.BufferedReader, path: Path) -> io.BufferedReader:
    most = max(_MOST_PACKED * path.stat().st_size, _LEAST_UNPACKED)
    return io.BufferedReader(_Bounded(gzip.GzipFile(fileobj=file), most, path))


class _Bounded(io.RawIOBase):
    """What ``packed`` unpacks to; InputError beyond ``most`` bytes, for a small file can fill any
    memory."""

    def __init__(self, packed: gzip.GzipFile, most: int, path: Path) -> None:
        self._packed, self._most, self._path = packed, most, path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._packed.readinto(buffer)
        if self._packed.tell() > self._most:
            raise InputError(
                f"{self._path} unpacks to more than {self._most / 1e6:.0f} MB from "
                f"{self._path.stat().st_size / 1e6:.2g} MB: no table of observations is like that",
                hint="is it damaged? If it is right, unpack it first: gunzip",
            )
        return count


Read = Callable[[Source, ObservationMap | None], ReadResult]


@dataclass(frozen=True)
class Format:
    """A format of observation files. Of those that know a file the one of lowest ``rank`` reads it:
    0 where first bytes tell, more where anything may match. ``seconds`` is what a megabyte may take
    on a busy machine; ``harmless`` says that no decoder written in C is involved."""

    name: str
    known: Callable[[Source], bool]
    read: Read
    rank: int = 0
    seconds: float = 10.0
    harmless: bool = False


_FORMATS: dict[str, Format] = {}


def reader(
    name: str,
    known: Callable[[Source], bool],
    rank: int = 0,
    seconds: float = 10.0,
    harmless: bool = False,
) -> Callable[[Read], Read]:
    """Register the function below as what reads files of format ``name``, which ``known``
    recognises; the other arguments are those of :class:`Format`."""

    def register(read: Read) -> Read:
        _FORMATS[name] = Format(name, known, read, rank, seconds, harmless)
        return read

    return register


@cache
def _load_formats() -> None:
    """Import the modules of this folder and of plug-ins, whose readers register themselves."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")
    load_all(READERS)


def format_of(source: Source) -> Format:
    """The format of a file. Raises InputError when none knows it."""
    _load_formats()
    for candidate in sorted(_FORMATS.values(), key=lambda f: f.rank):
        if candidate.known(source):
            return candidate
    kind = next((k for magic, k in OTHER_KINDS.items() if source.head.startswith(magic)), None)
    raise InputError(
        f"{source.path} is {kind or 'binary data'}: expected observations as one of: "
        f"{', '.join(sorted(_FORMATS))}"
    )


def is_text_table(path: Path) -> bool:
    """Whether ``path`` is read as a text table, or is not there to say."""
    try:
        return format_of(Source(path)).harmless
    except InputError:
        return not path.is_file()


def time_limit(path: Path) -> float:
    """Seconds within which ``path`` is decoded even on a busy machine. Raises InputError when it
    cannot be read, is empty or of no known format."""
    source = Source(path)
    size = path.stat().st_size * (_USUALLY_PACKED if source.packed else 1)
    return _SECONDS + format_of(source).seconds * size / 1e6


@apart()
def load_format(path: Path) -> None:
    """Load the libraries that :func:`decode_apart` needs for ``path``, which takes long on a busy
    machine. Raises InputError as :func:`format_of`."""
    format_of(Source(path))


@apart(time_limit)
def decode_apart(path: Path, mapping: ObservationMap | None = None) -> ReadResult:
    """:func:`decode` in a worker process. Raises InputError also when decoding crashes or takes too
    long."""
    return decode(path, mapping)


def decode(path: Path, mapping: ObservationMap | None = None) -> ReadResult:
    """The observations in ``path``. Raises InputError when it is of no known format or cannot be
    decoded."""
    source = Source(path)
    return format_of(source).read(source, mapping)
