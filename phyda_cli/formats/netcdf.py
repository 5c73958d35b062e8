"""Opening NetCDF files and telling file formats apart by content; HDF5 only ever through the
netCDF4 library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from phyda_cli.errors import InputError, UsageError
from phyda_cli.formats.classic import reject_truncated
from phyda_cli.formats.times import choose, time_axis
from phyda_cli.names import canonical_coordinate

__all__ = ["Selected", "choose_member", "file_kind", "netcdf_members", "open_netcdf", "read_netcdf"]

# : A data set of one time, that valid time, the lead time [hours], the name of the time coordinate
# (None: there is none) and notes.
Selected = tuple[xr.Dataset, np.datetime64, float, str | None, list[str]]

_OTHER = {
    b"\x89PNG": "a PNG image",
    b"PK\x03\x04": "a ZIP archive (unzip it first)",
    b"\x1f\x8b": "gzip-compressed (gunzip it first)",
    b"BZh": "bzip2-compressed (bunzip2 it first)",
    b"BUFR": "a BUFR file: observations, not fields",
    b"%PDF": "a PDF document",
    b"<": "an HTML or XML page",
}


def file_kind(path: Path) -> str:
    """``grib`` or ``netcdf`` by magic bytes, whatever the name; InputError for a missing, empty or
    other file."""
    try:
        with open(path, "rb") as file:
            head = file.read(1024)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist", hint="check the path") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if not head:
        raise InputError(
            f"{path} is empty (0 bytes)", hint="was the download or the forecast interrupted?"
        )
    if head.startswith((b"CDF", b"\x89HDF\r\n\x1a\n")):
        return "netcdf"
    known = next((what for magic, what in _OTHER.items() if head.startswith(magic)), None)
    if known is None and b"GRIB" in head:  # may follow a bulletin header
        return "grib"
    raise InputError(
        f"{path} is neither NetCDF nor GRIB: it is "
        f"{known or f'of unknown type, first bytes {head[:8]!r}'}"
    )


def open_netcdf(path: Path) -> xr.Dataset:
    """The file, lazily, packed values and fill values decoded, times not. Raises InputError when it
    cannot be read."""
    reject_truncated(path, str(path))
    try:
        return xr.open_dataset(path, engine="netcdf4", decode_times=False, mask_and_scale=True)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} cannot be opened as NetCDF: {error}",
            hint="is it truncated? Copy or produce the file again",
        ) from error


def read_netcdf(
    path: Path,
    time: np.datetime64 | None,
    near: np.datetime64 | None,
    member: int | None,
    assume: np.datetime64 | None = None,
) -> Selected:
    """One time and one member of a NetCDF file, in memory; ``assume`` is the time of a file that
    states none.

    Raises InputError and UsageError.
    """
    with open_netcdf(path) as dataset:
        axis = time_axis(dataset, path, assume if time is None else time)
        flat = choose(axis.valid, axis.lead, time, near, path)
        valid, lead = axis.valid.ravel()[flat], float(axis.lead.ravel()[flat])
        chosen = dict(zip(axis.dims, np.unravel_index(flat, axis.valid.shape), strict=True))
        own = dataset[axis.name].dims if axis.name is not None else ()
        dataset = dataset.isel({d: [int(i)] if d in own else int(i) for d, i in chosen.items()})
        dataset, notes = _select_member(dataset, member, path)
        try:
            dataset = dataset.load()
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"{path} cannot be read: {error}",
                hint="is it truncated? Copy or produce the file again",
            ) from error
    if axis.valid.size > 1:
        notes.append(f"time {str(valid)[:16]} of {axis.valid.size} in the file")
    keep = dataset.drop_vars([n for n in axis.drop if n != axis.name])
    return keep.drop_encoding(), valid, lead, axis.name, notes


def netcdf_members(path: Path) -> list[int]:
    """Labels of the members of a NetCDF file, none where it has no dimension for them. Raises
    InputError."""
    with open_netcdf(path) as dataset:
        dataset, dim = _member_dimension(dataset)
        return [] if dim is None else list(_labels(dataset, dim).tolist())


def _member_dimension(dataset: xr.Dataset) -> tuple[xr.Dataset, str | None]:
    """``dataset`` without the members of an earlier analysis, and the dimension of the members, if
    any variable has it."""
    dataset = dataset.drop_vars(
        [
            v
            for v in dataset.data_vars
            if str(v).endswith("_members") and str(v)[: -len("_members")] in dataset
        ]
    )
    dim = next((str(d) for d in dataset.dims if canonical_coordinate(str(d)) == "member"), None)
    if dim is not None and not any(dim in v.dims for v in dataset.data_vars.values()):
        return dataset.drop_dims(dim), None
    return dataset, dim


def _labels(dataset: xr.Dataset, dim: str) -> np.ndarray:
    return dataset[dim].values if dim in dataset.variables else np.arange(dataset.sizes[dim])


def _select_member(
    dataset: xr.Dataset, member: int | None, path: Path
) -> tuple[xr.Dataset, list[str]]:
    """Without the dimension of the members, and without the members of an earlier analysis."""
    dataset, dim = _member_dimension(dataset)
    if dim is None:
        return dataset, []
    labels = _labels(dataset, dim)
    return dataset.isel({dim: choose_member(labels, member, path)}, drop=True), [
        f"member {member} of {labels.size}"
    ] * (labels.size > 1)


def choose_member(labels: np.ndarray, member: int | None, path: Path) -> int:
    """Index of ``member`` among ``labels``; the only one when there is one. Raises UsageError
    otherwise."""
    if labels.size == 1 and member is None:
        return 0
    found = np.flatnonzero(labels == member) if member is not None else np.zeros(0, int)
    if found.size == 0:
        what = (
            f"has an ensemble of {labels.size} members"
            if member is None
            else f"has no member {member}"
        )
        raise UsageError(
            f"{path} {what}: {', '.join(map(str, labels))}", hint="choose one with --member"
        )
    return int(found[0])
