"""Named arrays in ``.npz`` files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from phyda_cli.errors import InputError
from phyda_cli.files.publish import publish

__all__ = ["read_arrays", "write_arrays"]


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Publish ``arrays`` as the ``.npz`` file ``path``, replaced where it exists."""
    with (
        publish(path, overwrite=True, check=lambda written: _check(written, arrays)) as temporary,
        temporary.open("wb") as file,
    ):
        np.savez(file, allow_pickle=False, **arrays)


def read_arrays(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """``names`` of an ``.npz``, or all. Raises InputError when it is damaged or lacks one."""
    try:
        with np.load(path) as archive:
            return {name: archive[name] for name in (archive.files if names is None else names)}
    except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
        raise InputError(
            f"{path} cannot be read: {error}",
            hint="remove the file; the same command makes it again",
        ) from error


def _check(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with np.load(path) as archive:
        assert set(archive.files) == set(arrays)
