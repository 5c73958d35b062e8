"""The frames of a NetCDF file or Zarr store, read through xarray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from phyda_cli.errors import InputError
from phyda_cli.formats.axes import coordinate_kind, find_axes, in_rows
from phyda_cli.formats.series import (
    Contents,
    Rows,
    Series,
    contents_of,
    merged_versions,
    read_channels,
)
from phyda_cli.formats.times import TimeAxis, time_axis, to_seconds

__all__ = ["series_of"]

_VERSION = "expver"


@dataclass(frozen=True, eq=False)
class XarrayFrames:
    """An open data set; ``shape`` gives the lengths of its frame dimensions ``dims``, of which the
    members' is ``member_dim``. ``lock`` is held where the library serves one thread at a time."""

    path: Path
    source: xr.Dataset
    contents: Contents | None
    axis: TimeAxis
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    member_dim: str | None
    lock: AbstractContextManager[Any]

    def frame(self, index: int) -> tuple[xr.Dataset, list[str]]:
        """One frame in memory, and what was left out of it."""
        at = dict(zip(self.dims, np.unravel_index(index, self.shape), strict=True))
        own = self.source[self.axis.name].dims if self.axis.name is not None else ()
        chosen = {d: [int(i)] if d in own else int(i) for d, i in at.items()}
        dataset = self.source.isel(chosen)
        if self.member_dim is not None:
            dataset = dataset.drop_vars(self.member_dim, errors="ignore")
        try:
            with self.lock:
                dataset = dataset.load()
        except Exception as error:  # of damaged data xarray, netCDF4 and codecs raise many kinds
            raise InputError(
                f"{self.path} cannot be read: {error}",
                hint="is it truncated? Copy or produce the file again",
            ) from error
        dataset = dataset.drop_vars([n for n in self.axis.drop if n != self.axis.name])
        return _of_one_version(dataset)

    def read(self, positions: Sequence[int], channels: Sequence[str]) -> Rows:
        """The fields of ``channels`` at ``positions``, a variable at a time."""
        assert self.contents is not None
        index = np.unravel_index(np.asarray(positions), self.shape) if self.dims else ()
        frames = dict(zip(self.dims, index, strict=True))
        rows = read_channels(self.source, self.contents, channels, frames, len(positions))
        while True:
            try:
                with self.lock:
                    found = next(rows, None)
            except (OSError, RuntimeError, ValueError) as error:
                raise InputError(
                    f"{self.path} cannot be read: {error}",
                    hint="is it damaged? Copy or produce it again",
                ) from error
            if found is None:
                return
            yield found

    def close(self) -> None:
        """Let go of the file."""
        self.source.close()


def _version_dims(dataset: xr.Dataset) -> list[str]:
    return [str(d) for d in dataset.dims if str(d).lower() == _VERSION]


def _of_one_version(dataset: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """Final and preliminary ERA5, which older files keep apart along a dimension, as one."""
    dim = next(iter(_version_dims(dataset)), None)
    if dim is None:
        return dataset, []
    varying = {name: v for name, v in dataset.data_vars.items() if dim in v.dims}
    merged = {name: merged_versions(v, dim) for name, v in varying.items()}
    labels = dataset[dim].values if dim in dataset.variables else np.arange(dataset.sizes[dim])
    used = [
        str(label)
        for i, label in enumerate(labels)
        if any(bool(v.isel({dim: i}).notnull().any()) for v in varying.values())
    ]
    preliminary = bool(used) and used[0].lstrip("0") == "5"
    note = f"expver {', '.join(used) or 'none'} of {', '.join(map(str, labels))}" + (
        ": these values are preliminary (ERA5T)" if preliminary else ""
    )
    return dataset.drop_dims(dim).assign(merged), [note]


def series_of(
    path: Path,
    dataset: xr.Dataset,
    rename: Mapping[str, str],
    assume: np.datetime64 | None,
    channels: bool,
    lock: AbstractContextManager[Any],
) -> Series:
    """The frames of an open data set. With ``channels`` a file without times holds static fields;
    otherwise it is taken as valid at ``assume``, or refused."""
    dataset = in_rows(dataset, rename)
    find_axes(dataset, path, rename)  # the grid decides: other questions come after it
    dataset, member = _members(dataset, rename)
    timeless = channels and not any(
        coordinate_kind(str(n), rename) in ("time", "step")
        or " since " in str(v.attrs.get("units"))
        for n, v in dataset.variables.items()
    )
    axis = _NO_FRAMES if timeless else time_axis(dataset, path, assume, rename)
    contents = None
    if channels:
        dropped = (*axis.dims, *([member] if member else []), *_version_dims(dataset))
        one = dataset.isel({d: 0 for d in dropped if d in dataset.dims})
        contents = contents_of(one, path, rename)
        if timeless and contents.slots:
            axis = time_axis(dataset, path, assume, rename)
        elif not contents.slots:
            axis = _NO_FRAMES
    return _assembled(path, dataset, axis, member, contents, rename, lock)


_NO_FRAMES = TimeAxis(None, (), np.zeros(0, "datetime64[ns]"), np.zeros(0))


def _members(dataset: xr.Dataset, rename: Mapping[str, str]) -> tuple[xr.Dataset, str | None]:
    """``dataset`` without the members of an earlier analysis, and the dimension of the members, if
    any variable has it."""
    earlier = [
        v
        for v in dataset.data_vars
        if str(v).endswith("_members") and str(v)[: -len("_members")] in dataset
    ]
    dataset = dataset.drop_vars(earlier)
    dim = next((str(d) for d in dataset.dims if coordinate_kind(str(d), rename) == "member"), None)
    if dim is not None and not any(dim in v.dims for v in dataset.data_vars.values()):
        return dataset.drop_dims(dim), None
    return dataset, dim


def _assembled(
    path: Path,
    dataset: xr.Dataset,
    axis: TimeAxis,
    member: str | None,
    contents: Contents | None,
    rename: Mapping[str, str],
    lock: AbstractContextManager[Any],
) -> Series:
    labels = np.zeros(1, int)
    if member is not None:
        size = dataset.sizes[member]
        labels = dataset[member].values if member in dataset.variables else np.arange(size)
    shape = (*axis.valid.shape, labels.size) if member else axis.valid.shape
    dims = (*axis.dims, member) if member else axis.dims
    times = axis.valid.size
    return Series(
        path=path,
        valid=np.repeat(to_seconds(axis.valid.ravel()), labels.size),
        lead=np.repeat(np.asarray(axis.lead, float).ravel(), labels.size),
        member=np.tile(np.arange(labels.size), times),
        label=np.tile(labels, times),
        forecasts=bool(np.any(axis.lead != 0))
        or any(coordinate_kind(d, rename) == "step" for d in axis.dims),
        frames=XarrayFrames(path, dataset, contents, axis, dims, shape, member, lock),
        contents=contents,
        time_name=axis.name,
        attributes={str(k): str(v) for k, v in dataset.attrs.items()},
    )
