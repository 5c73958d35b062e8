"""Opening NetCDF files; HDF5 only ever through the netCDF4 library."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import netCDF4
import numpy as np
import xarray as xr

from phyda_cli import libproj  # noqa: F401  some versions of xarray load every plug-in on opening
from phyda_cli.errors import InputError
from phyda_cli.formats.classic import reject_truncated
from phyda_cli.formats.series import Series
from phyda_cli.formats.xarray_frames import series_of

__all__ = ["CHUNK_CACHE", "open_netcdf", "open_netcdf_series"]

_NETCDF = threading.RLock()  # the netCDF and HDF5 libraries serve one thread at a time
CHUNK_CACHE = 4 << 20


def open_netcdf(path: Path) -> xr.Dataset:
    """The file, lazily, packed values and fill values decoded, times not. Raises InputError when it
    cannot be read."""
    reject_truncated(path, str(path))
    try:
        return xr.open_dataset(path, engine="netcdf4", decode_times=False, mask_and_scale=True)
    except Exception as error:  # of a damaged file xarray and netCDF4 raise many kinds
        raise InputError(
            f"{path} cannot be opened as NetCDF: {error}",
            hint="is it truncated? Copy or produce the file again",
        ) from error


def open_netcdf_series(
    path: Path, rename: Mapping[str, str], assume: np.datetime64 | None, channels: bool
) -> Series:
    """The frames of a NetCDF file, and with ``channels`` what they hold. Raises InputError for
    files that cannot be read or hold nothing phyda knows."""
    with _NETCDF:
        # the default, up to 64 MB for every variable of every open file, would take gigabytes
        netCDF4.set_chunk_cache(CHUNK_CACHE)
        return series_of(path, open_netcdf(path), rename, assume, channels, _NETCDF)
