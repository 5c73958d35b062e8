"""Opening one input of any format, told by content, and finding inputs in folders. A data set in
memory may stand for a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from phyda_cli.errors import InputError
from phyda_cli.files.readable import check_input
from phyda_cli.files.worker import apart
from phyda_cli.formats.series import Series
from phyda_cli.formats.xarray_frames import series_of
from phyda_cli.formats.zarr import is_zarr, open_zarr, open_zarr_series, zarr_metadata

__all__ = [
    "FieldInput",
    "attributes_of",
    "file_kind",
    "find_inputs",
    "fingerprint",
    "name_of",
    "open_forecast",
    "open_series",
    "valid_times",
]

FieldInput: TypeAlias = Path | xr.Dataset
"""A file or store, or a data set in memory."""

_SUFFIXES = (
    ".nc",
    ".nc4",
    ".cdf",
    ".netcdf",
    ".grib",
    ".grib1",
    ".grib2",
    ".grb",
    ".grb1",
    ".grb2",
)
_OTHER = {
    b"\x89PNG": "a PNG image",
    b"PK\x03\x04": "a ZIP archive (unzip it first)",
    b"\x1f\x8b": "gzip-compressed (gunzip it first)",
    b"BZh": "bzip2-compressed (bunzip2 it first)",
    b"BUFR": "a BUFR file: observations, not fields",
    b"%PDF": "a PDF document",
    b"<": "an HTML or XML page",
}


def name_of(source: object) -> Path:
    """The path of a file; of what lies in memory the name of the file it came from, if it says,
    else ``data in memory``."""
    if isinstance(source, (str, Path)):
        return Path(source)
    encoding = getattr(source, "encoding", {})
    return Path(Path(str(encoding.get("source", "data in memory"))).name)


def file_kind(path: Path) -> str:
    """``grib``, ``netcdf`` or ``zarr`` by content, whatever the name; InputError for a missing,
    empty or other file."""
    if path.is_dir() and is_zarr(path):
        return "zarr"
    check_input(path)
    with open(path, "rb") as file:
        head = file.read(1024)
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
        f"{known or f'of unknown type, first bytes {head[:8]!r}'}",
        hint="a forecast is GRIB, NetCDF or Zarr"
        + ("; a table of observations is given with --obs" if head.isascii() else ""),
    )


def find_inputs(paths: Sequence[Path]) -> list[Path]:
    """Files and Zarr stores as given, and those in folders as given, by name. Raises InputError for
    what is missing or has none."""
    missing = [str(p) for p in paths if not p.exists()]
    if missing:
        raise InputError(
            f"no such file: {', '.join(missing)}", hint="give files, Zarr stores or folders of them"
        )
    found = [f for p in paths for f in ([p] if p.is_file() or is_zarr(p) else _in_folder(p))]
    if not found:
        raise InputError(
            f"no NetCDF, GRIB or Zarr files in {', '.join(map(str, paths))}",
            hint=f"files in folders are known by {', '.join(_SUFFIXES)}",
        )
    return list(dict.fromkeys(found))


def _in_folder(folder: Path) -> list[Path]:
    return [
        p
        for p in sorted(folder.iterdir())
        if (is_zarr(p) if p.is_dir() else p.suffix.lower() in _SUFFIXES)
    ]


def fingerprint(path: Path) -> str:
    """Size and time of change of an input (of a Zarr store its metadata's), to tell whether it is
    still the same."""
    files = [path] if path.is_file() else zarr_metadata(path)
    stamps = [f.stat() for f in files]
    return (
        f"{sum(s.st_size for s in stamps)} bytes, {max((s.st_mtime_ns for s in stamps), default=0)}"
    )


def open_forecast(
    path: FieldInput, rename: Mapping[str, str] | None = None, assume: np.datetime64 | None = None
) -> Series:
    """The frames of the forecast at ``path``, to be closed when read; one that states no time is
    valid at ``assume``. Raises InputError when it cannot be read."""
    return _open(path, rename or {}, assume, channels=False)


def open_series(path: Path) -> Series:
    """The input at ``path`` and the channels it holds; one that a process has open is not opened
    again while it stays as it is.

    Raises InputError when it cannot be read or holds nothing phyda knows.
    """
    return _opened(path, fingerprint(path))


def valid_times(path: FieldInput) -> np.ndarray:
    """The times that the frames of an input are valid at, each once. Raises InputError as
    :func:`open_forecast`."""
    return np.unique(frame_times(path)[0])


@apart()
def frame_times(
    path: FieldInput, rename: Mapping[str, str] | None = None, assume: np.datetime64 | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The time that each frame (N,) of an input is valid at, and its lead [h]; arguments and errors
    are those of :func:`open_forecast`."""
    series = open_forecast(path, rename, assume)
    with closing(series.frames):
        return series.valid.astype("datetime64[ns]"), np.asarray(series.lead, float)


@apart()
def attributes_of(path: Any) -> dict[str, Any]:
    """Global attributes of a NetCDF file, a Zarr store, and a data set or table in memory; none of
    others. Raises InputError when it is damaged."""
    if not isinstance(path, (str, Path)):
        return {str(name): value for name, value in path.attrs.items()}
    path = Path(path)
    kind = file_kind(path)
    if kind == "zarr":
        with closing(open_zarr(path)) as store:
            return dict(store.attrs)
    if kind != "netcdf":
        return {}
    from phyda_cli.formats.netcdf import open_netcdf

    with open_netcdf(path) as dataset:
        return dict(dataset.attrs)


@lru_cache(maxsize=16)
def _opened(path: Path, _: str) -> Series:
    return _open(path, {}, None, channels=True)


def _open(
    path: FieldInput, rename: Mapping[str, str], assume: np.datetime64 | None, channels: bool
) -> Series:
    if isinstance(path, xr.Dataset):  # a copy, as its frames are closed and it is not ours to close
        return series_of(name_of(path), path.copy(), rename, assume, channels, nullcontext())
    kind = file_kind(path)
    if kind == "zarr":
        return open_zarr_series(path, rename, assume, channels)
    if kind == "netcdf":
        from phyda_cli.formats.netcdf import open_netcdf_series

        return open_netcdf_series(path, rename, assume, channels)
    from phyda_cli.formats.grib import open_grib_series

    return open_grib_series(path, channels)
