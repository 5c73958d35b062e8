"""Opening one input of any format, told by content, and finding inputs in folders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from phyda_cli.errors import InputError
from phyda_cli.formats.netcdf import file_kind
from phyda_cli.formats.series import Series
from phyda_cli.formats.series_xarray import is_zarr, open_netcdf_series, open_zarr_series

__all__ = ["find_inputs", "fingerprint", "open_series"]

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
    files = (
        [path]
        if path.is_file()
        else sorted(
            p
            for p in path.rglob("*")
            if p.name in ("zarr.json", ".zmetadata", ".zarray", ".zattrs")
        )
    )
    stamps = [f.stat() for f in files]
    return (
        f"{sum(s.st_size for s in stamps)} bytes, {max((s.st_mtime_ns for s in stamps), default=0)}"
    )


def open_series(path: Path) -> Series:
    """The input at ``path``; one that a process has open is not opened again while it stays as it
    is.

    Raises InputError when it cannot be read or holds nothing phyda knows.
    """
    return _opened(path, fingerprint(path))


@lru_cache(maxsize=16)
def _opened(path: Path, _: str) -> Series:
    if path.is_dir():
        return open_zarr_series(path)
    if file_kind(path) == "netcdf":
        return open_netcdf_series(path)
    from phyda_cli.formats.series_grib import open_grib_series

    return open_grib_series(path)
