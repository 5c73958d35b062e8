"""Whether a path is one that can be read, before anything is done with it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from phyda_cli.errors import InputError

__all__ = ["check_input", "in_utf8"]


def check_input(path: Path) -> None:
    """Raise InputError unless ``path`` is a file that may be read; opening a pipe or a device could
    wait for ever. Libraries take names in UTF-8 only."""
    if in_utf8(str(path)) != str(path):
        raise InputError(
            f"{path} has a name that is not UTF-8",
            hint="rename it, or give a link with another name",
        )
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        if path.is_symlink():
            raise InputError(
                f"{path} does not exist: it is a symbolic link to {os.readlink(path)}"
            ) from error
        raise InputError(f"{path} does not exist", hint="check the path") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path} cannot be read: {reason}", hint="check the path") from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder: expected a file")
    if not stat.S_ISREG(mode):
        raise InputError(
            f"{path} is a pipe or a device: expected a file", hint="save its content in a file"
        )
    if not os.access(path, os.R_OK):
        raise InputError(
            f"{path} cannot be read: no permission", hint="check its owner and mode with ls -l"
        )


def in_utf8(text: str) -> str:
    """``text``, which may hold a name of a file in any encoding, as an output can hold it."""
    return text.encode("utf-8", "backslashreplace").decode()
