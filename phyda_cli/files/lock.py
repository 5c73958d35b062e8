"""A file that one process at a time holds; the lock ends with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phyda_cli.errors import BusyError, OutputError
from phyda_cli.files.publish import goes_with_the_process

__all__ = ["locked"]


@contextmanager
def locked(path: Path, busy: str, remove: bool = False) -> Iterator[None]:
    """Hold the lock file ``path``, its folder made if need be; with ``remove`` it goes in the end.

    The file names the process that holds it. Raises BusyError, saying ``busy`` and which process it
    is, when another one does.
    """
    descriptor = _held(path, busy)
    if remove:
        goes_with_the_process(path)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} on {os.uname().nodename}\n".encode())
        yield
    finally:
        if remove:
            path.unlink(missing_ok=True)  # before it is free: whoever takes it looks it up again
        os.close(descriptor)


def _held(path: Path, busy: str) -> int:
    """A descriptor of the lock file ``path``, which this process alone holds."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise OutputError(
                f"cannot write to the folder {path.parent}: {error.strerror}"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(descriptor, 200).decode("utf-8", "replace").strip()
            os.close(descriptor)
            who = f" (process {owner})" if owner else ""
            raise BusyError(f"{busy}{who}", hint="wait for it, or choose another output") from error
        if path.exists() and os.path.samestat(os.stat(path), os.fstat(descriptor)):
            return descriptor
        os.close(descriptor)  # the holder has removed it meanwhile
