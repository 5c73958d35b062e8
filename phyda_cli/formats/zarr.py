"""Zarr stores on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import xarray as xr

from phyda_cli import libproj  # noqa: F401  some versions of xarray load every plug-in on opening
from phyda_cli.errors import InputError
from phyda_cli.formats.series import Series
from phyda_cli.formats.xarray_frames import series_of

__all__ = ["is_zarr", "open_zarr", "open_zarr_series", "store_stamp", "zarr_metadata"]

_MARKS = ("zarr.json", ".zgroup", ".zmetadata")
_METADATA = ("zarr.json", ".zmetadata", ".zarray", ".zattrs")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr group."""
    return any((path / mark).is_file() for mark in _MARKS)


def zarr_metadata(path: Path) -> list[Path]:
    """The files of a store that describe it."""
    return sorted(p for p in path.rglob("*") if p.name in _METADATA)


def store_stamp(path: Path) -> str:
    """A hash of the names, sizes and times of change of all files of a store, which may be too
    large to read for it."""
    found = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        stat = file.stat()
        found.update(f"{file.relative_to(path)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return found.hexdigest()


def open_zarr_series(
    path: Path, rename: Mapping[str, str], assume: np.datetime64 | None, channels: bool
) -> Series:
    """As :func:`open_netcdf_series`, of a Zarr group."""
    return series_of(path, open_zarr(path), rename, assume, channels, nullcontext())


def open_zarr(path: Path) -> xr.Dataset:
    """The group, lazily, times not decoded. Raises InputError when it cannot be read."""
    try:
        return xr.open_zarr(path, decode_times=False, chunks=None, consolidated=_consolidated(path))
    except Exception as error:  # of a damaged store xarray and zarr raise many kinds
        raise InputError(
            f"{path} cannot be opened as Zarr: {error}", hint="is the copy complete?"
        ) from error


def _consolidated(path: Path) -> bool:
    metadata = path / "zarr.json"
    return (path / ".zmetadata").is_file() or (
        metadata.is_file() and b"consolidated_metadata" in metadata.read_bytes()
    )
