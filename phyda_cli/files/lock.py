"""A file that one process at a time holds; the lock ends with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phyda_cli.errors import BusyError, OutputError

__all__ = ["locked"]


@contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock file ``path``, its folder made if need be. Raises BusyError, saying ``busy``,
    when another process holds it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    except OSError as error:
        raise OutputError(f"cannot write to the folder {path.parent}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BusyError(busy, hint="wait for it, or choose another --out") from error
        yield
    finally:
        os.close(descriptor)
