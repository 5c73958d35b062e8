"""NetCDF and Zarr inputs as series of frames."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import netCDF4
import numpy as np
import xarray as xr

from phyda_cli.errors import InputError
from phyda_cli.formats.netcdf import open_netcdf
from phyda_cli.formats.recognise import Axes, Source, find_axes, find_sources
from phyda_cli.formats.series import (
    STATICS,
    Places,
    Rows,
    Series,
    channels_of,
    locate,
    read_places,
    static_fields,
)
from phyda_cli.formats.times import TimeAxis, time_axis
from phyda_cli.names import canonical_coordinate

__all__ = ["is_zarr", "open_netcdf_series", "open_zarr_series"]

_NETCDF = threading.RLock()  # the netCDF and HDF5 libraries serve one thread at a time
_CHUNK_CACHE = 4 << 20
_MARKS = ("zarr.json", ".zgroup", ".zmetadata")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr group."""
    return any((path / mark).is_file() for mark in _MARKS)


@dataclass(frozen=True, eq=False)
class _Frames:
    """Reads an open data set; ``shape`` gives the lengths of its frame dimensions ``dims``."""

    path: Path
    dataset: xr.Dataset
    axes: Axes
    places: Places
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    exclusive: bool

    def read(self, positions: Sequence[int], channels: Sequence[str]) -> Rows:
        frames = (
            dict(zip(self.dims, np.unravel_index(np.asarray(positions), self.shape), strict=True))
            if self.dims
            else {}
        )
        rows = read_places(self.dataset, self.axes, self.places, channels, frames, len(positions))
        while True:
            try:
                with _NETCDF if self.exclusive else nullcontext():
                    found = next(rows, None)
            except (OSError, RuntimeError, ValueError) as error:
                raise InputError(
                    f"{self.path} cannot be read: {error}",
                    hint="is it damaged? Copy or produce it again",
                ) from error
            if found is None:
                return
            yield found


def open_netcdf_series(path: Path) -> Series:
    """Raises InputError for files that cannot be read or hold nothing phyda knows."""
    with _NETCDF:
        netCDF4.set_chunk_cache(
            _CHUNK_CACHE
        )  # the default, up to 64 MB for every variable of every open file, would take gigabytes
        return _series(path, open_netcdf(path), exclusive=True)


def open_zarr_series(path: Path) -> Series:
    """As :func:`open_netcdf_series`, of a Zarr group."""
    try:
        dataset = xr.open_zarr(
            path, decode_times=False, chunks=None, consolidated=_consolidated(path)
        )
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path} cannot be opened as Zarr: {error}", hint="is the copy complete?"
        ) from error
    return _series(path, dataset, exclusive=False)


def _consolidated(path: Path) -> bool:
    metadata = path / "zarr.json"
    return (path / ".zmetadata").is_file() or (
        metadata.is_file() and b"consolidated_metadata" in metadata.read_bytes()
    )


def _series(path: Path, dataset: xr.Dataset, exclusive: bool) -> Series:
    member = next((str(d) for d in dataset.dims if canonical_coordinate(str(d)) == "member"), None)
    axis = None if _timeless(dataset) else time_axis(dataset, path)
    dims = axis.dims if axis is not None else ()
    once = dataset.isel({d: 0 for d in (*dims, *([member] if member else []))})
    axes = find_axes(once, path, {})
    sources, _ = find_sources(once, axes, path, {})
    places, statics = locate(sources), static_fields(once, axes, sources)
    if axis is None or not places:
        axis = _no_frames() if not places else time_axis(dataset, path)
    return _assemble(path, dataset, axes, sources, places, statics, axis, member, exclusive)


def _timeless(dataset: xr.Dataset) -> bool:
    return not any(
        canonical_coordinate(str(n)) in ("time", "step")
        or " since " in str(v.attrs.get("units", ""))
        for n, v in dataset.variables.items()
    )


def _no_frames() -> TimeAxis:
    return TimeAxis(None, ("time",), np.zeros(0, "datetime64[ns]"), np.zeros(0))


def _assemble(
    path: Path,
    dataset: xr.Dataset,
    axes: Axes,
    sources: Sequence[Source],
    places: Places,
    statics: Mapping[str, np.ndarray],
    axis: TimeAxis,
    member: str | None,
    exclusive: bool,
) -> Series:
    varying = (
        member
        if member is not None
        and any(member in dataset[s.name].dims for s in sources if s.variable not in STATICS)
        else None
    )
    members = dataset.sizes[varying] if varying else 1
    shape = (*axis.valid.shape, members) if varying else axis.valid.shape
    names = (*axis.dims, varying) if varying else axis.dims
    attributes = {str(k): str(v) for k, v in dataset.attrs.items()}
    return Series(
        path=path,
        grid=axes.grid,
        channels=channels_of(places),
        valid=np.repeat(axis.valid.ravel(), members).astype("datetime64[s]"),
        lead=np.repeat(np.asarray(axis.lead, float).ravel(), members),
        member=np.tile(np.arange(members), axis.valid.size),
        forecasts=bool(np.any(axis.lead != 0))
        or any(canonical_coordinate(d) == "step" for d in axis.dims),
        statics=statics,
        reader=_Frames(path, dataset, axes, places, names, shape, exclusive),
        attributes=attributes,
    )
