"""Publishing files and folders whole or not at all: written under a temporary name beside the
target, checked, then renamed. Every file that phyda makes goes through here."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from phyda_cli.errors import OutputError
from phyda_cli.files.readable import in_utf8

__all__ = [
    "FOLDER",
    "abandon",
    "check_target",
    "goes_with_the_process",
    "move_folder",
    "publish",
    "publish_folder",
    "publish_text",
    "sha256",
    "together",
]

FOLDER = ".zarr"  # outputs that are folders
_STALE_SECONDS = 86400.0
_LEFT = re.compile(r"\..+\.([0-9a-f]{12}\.(part|old)|lock)")
_LEAST_SPACE = 1 << 18  # bytes; on a disk with less nothing is begun
_unfinished: set[Path] = set()
_waiting: ContextVar[dict[Path, Path] | None] = ContextVar("waiting", default=None)
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO}


@contextmanager
def publish(
    path: Path | str, overwrite: bool = False, check: Callable[[Path], object] | None = None
) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; on success fsync, ``check`` and rename it
    to ``path``.

    ``check`` gets the finished temporary file and raises to refuse it. On any exception the
    temporary is removed and ``path`` stays as it was; so it is when a signal ends the process
    (:func:`abandon`). What a killed process left is removed by a later call, a day after. Raises
    OutputError when the folder is missing or not writable, when ``path`` exists and not
    ``overwrite``, and when the disk is full.
    """
    path = check_target(path, overwrite)
    with _aside(path) as temporary:
        yield temporary
        _sync(temporary)
        if check is not None:
            check(temporary)
        check_target(path, overwrite)
        waiting = _waiting.get()
        if waiting is None:
            os.replace(temporary, path)
            _sync(path.parent)
        else:
            waiting[temporary] = path


@contextmanager
def together() -> Iterator[None]:
    """Files that are published within appear only when all of them are complete, in the order in
    which they were written: the last one says that the others are there. After an error none
    appears."""
    waiting: dict[Path, Path] = {}
    token = _waiting.set(waiting)
    try:
        yield
        for temporary, path in waiting.items():
            try:
                if temporary.is_dir():
                    move_folder(temporary, path)
                else:
                    os.replace(temporary, path)
                _sync(path.parent)
            except OSError as error:
                raise _write_failure(path, error) or error from error
    finally:
        _waiting.reset(token)
        for temporary in waiting:
            _remove(temporary)
            _unfinished.discard(temporary)


def publish_text(path: Path | str, text: str, overwrite: bool = True) -> None:
    """:func:`publish` a file of UTF-8 text."""
    with publish(path, overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def publish_folder(path: Path, check: Callable[[Path], object] | None = None) -> Iterator[Path]:
    """Yield an empty folder beside ``path``; on success fsync, ``check`` and rename it to ``path``,
    which is replaced where it exists. Failures as in :func:`publish`."""
    path = path.absolute()
    with _aside(path) as temporary:
        temporary.mkdir()
        yield temporary
        if check is not None:
            check(temporary)
        waiting = _waiting.get()
        if waiting is None:
            move_folder(temporary, path)
        else:
            waiting[temporary] = path


def move_folder(finished: Path, path: Path) -> None:
    """Fsync the folder ``finished`` and rename it to ``path`` on the same disk; a folder of that
    name makes way at the last moment and is then removed."""
    for part in (finished, *finished.rglob("*")):
        _sync(part)
    before = path.with_name(f".{path.name}.{secrets.token_hex(6)}.old")
    if path.exists():
        path.rename(before)
    finished.rename(path)
    _sync(path.parent)
    shutil.rmtree(before, ignore_errors=True)


def check_target(path: Path | str, overwrite: bool = False) -> Path:
    """``path`` with links resolved, if a file may be published there, or a folder where the name
    ends in .zarr; else OutputError. Cheap: call it before long work."""
    path = _named(Path(path))
    if not path.parent.is_dir():
        raise OutputError(
            f"cannot write {path}: the folder {path.parent} does not exist",
            hint=f"create it: mkdir -p {path.parent}",
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {path}: no permission to write in {path.parent}")
    if shutil.disk_usage(path.parent).free < _LEAST_SPACE:
        raise OutputError(
            f"cannot write {path}: the disk is full", hint="free some space or write elsewhere"
        )
    if path.exists() and not (path.is_dir() if path.suffix == FOLDER else path.is_file()):
        raise OutputError(f"cannot write {path}: it exists and is not a regular file")
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} exists already", hint="pass --overwrite to replace it, or choose another name"
        )
    return path


def _named(path: Path) -> Path:
    """``path`` with links resolved. Raises OutputError for a name that no file can have."""
    if in_utf8(str(path)) != str(path):
        raise OutputError(f"cannot write {path}: its name is not UTF-8", hint="choose another one")
    try:
        found = _followed(path) if path.is_symlink() else path.absolute()
        found.parent.stat()
        longest = os.pathconf(found.parent, "PC_NAME_MAX") - len(_aside_name(""))
    except FileNotFoundError:
        return found
    except RuntimeError as error:
        raise OutputError(f"cannot write {path}: its symbolic link leads in a circle") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise OutputError(f"cannot write {path}: {reason}") from error
    if len(os.fsencode(found.name)) > longest:
        raise OutputError(
            f"cannot write {path}: its name is longer than {longest} bytes",
            hint="choose a shorter one",
        )
    return found


def _followed(link: Path) -> Path:
    """What ``link`` leads to. Raises OutputError where that is nothing, and for a link of somebody
    else's, who could make us write anywhere."""
    target = link.resolve()
    if link.lstat().st_uid != os.geteuid():
        raise OutputError(f"cannot write {link}: it is a symbolic link of somebody else's")
    if not os.path.lexists(target):
        raise OutputError(
            f"cannot write {link}: its symbolic link leads nowhere, to {target}",
            hint="remove the link, or give the name of the file itself",
        )
    return target


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, gone when the block ends however it ends."""
    _remove_stale(path)
    temporary = path.with_name(_aside_name(path.name))
    try:
        _unfinished.add(temporary)
        yield temporary
    except (OSError, RuntimeError) as error:
        if (failure := _write_failure(path, error)) is not None:
            raise failure from error
        raise
    finally:
        if temporary not in (_waiting.get() or {}):
            _remove(temporary)
            _unfinished.discard(temporary)


def goes_with_the_process(path: Path) -> None:
    """Let ``path`` be removed by :func:`abandon`, until it no longer exists."""
    _unfinished.add(path)


def _aside_name(name: str) -> str:
    return f".{name}.{secrets.token_hex(6)}.part"


def abandon() -> None:
    """Remove everything that is still being written, for a signal handler that then ends the
    process at once.

    To raise from the handler instead would unwind through the library that writes, whose lock it
    may hold: closing the file would wait for that lock for ever.
    """
    for path in list(_unfinished):
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_failure(path: Path, error: Exception) -> OutputError | None:
    free = shutil.disk_usage(path.parent).free
    netcdf = "NetCDF" in str(error)  # the netCDF library hides the system's error number
    if getattr(error, "errno", None) in _DISK_FULL or (netcdf and free < 1 << 20):
        reason = "the disk is full"
    elif netcdf:
        reason = str(error)
    elif isinstance(error, OSError) and error.errno in _REFUSED:
        reason = str(error.strerror)
    else:
        return None
    return OutputError(
        f"cannot write {path}: {reason} ({free / 1e6:.1f} MB free on {path.parent})",
        hint="free some space or write to another disk; nothing was published",
    )


def _remove_stale(path: Path) -> None:
    # Of any output in the folder: names of outputs often hold the date, and never come again. By
    # age rather than by process id: the folder may be shared between machines.
    for left in path.parent.glob(".*"):
        with suppress(FileNotFoundError):  # another process may do the same
            old = time.time() - left.lstat().st_mtime > _STALE_SECONDS
            if old and _LEFT.fullmatch(left.name):
                _remove(left)
