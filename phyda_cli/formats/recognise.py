"""Recognising coordinates and variables by CF metadata, short and long names, and channel names
such as ``z500``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from phyda_cli.errors import InputError, UsageError
from phyda_cli.fields.grid import Grid
from phyda_cli.names import COORDINATES, VARIABLES, canonical_coordinate, canonical_variable
from phyda_cli.units import factors_of_variable, pressure_factor

__all__ = ["Axes", "Source", "find_axes", "find_sources"]

_OROGRAPHY = {
    "z_surface",
    "gh_surface",
    "geopotential_at_surface",
    "surface_geopotential",
    "zsfc",
    "phis",
    "hgtsfc",
}
_SURFACE_STANDARD = {
    "air_pressure_at_mean_sea_level": "msl",
    "air_pressure_at_sea_level": "msl",
    "surface_air_pressure": "sp",
    "surface_altitude": "orography",
    "surface_geopotential": "orography",
    "land_area_fraction": "lsm",
    "land_binary_mask": "lsm",
}
_NEAR_SURFACE = {
    "air_temperature": "t2m",
    "dew_point_temperature": "d2m",
    "relative_humidity": "rh2m",
    "specific_humidity": "q2m",
    "eastward_wind": "u10",
    "northward_wind": "v10",
}
_UPPER_STANDARD = {v.standard_name: v.name for v in VARIABLES.values() if not v.surface}
_CHANNEL = re.compile(r"^([a-z_]*[a-z])_?(\d{1,4}(?:\.\d+)?)(?:_?h?pa|_?mb)?$")
_OURS = ("_increment", "_spread", "_members")


@dataclass(frozen=True)
class Axes:
    """The horizontal coordinates of a file and how its columns map to a :class:`Grid`.

    ``grid`` has increasing longitudes: its columns are the file's ``take``; the file's columns are
    the grid's ``back``.
    """

    latitude: str
    longitude: str
    grid: Grid
    take: np.ndarray
    back: np.ndarray


@dataclass(frozen=True)
class Source:
    """Where a canonical variable lives in a file: canonical = scale * value + offset.

    ``levels`` (L,) [Pa] are the file's, in its order, along ``level_dim`` (None when the variable
    has a single level and no such dimension); both are None for a surface variable. ``relative``
    marks relative humidity that stands for specific humidity.
    """

    variable: str
    name: str
    scale: float
    offset: float
    levels: np.ndarray | None = None
    level_dim: str | None = None
    relative: bool = False


def find_axes(dataset: xr.Dataset, path: object, rename: Mapping[str, str]) -> Axes:
    """Latitude and longitude of ``dataset``. InputError, saying what is supported, for projected,
    curvilinear or point data."""
    latitude, longitude = (_axis(dataset, kind, path, rename) for kind in ("latitude", "longitude"))
    if dataset[latitude].dims == dataset[longitude].dims:
        raise _unsupported(
            path,
            f"{latitude} and {longitude} share the dimension {dataset[latitude].dims[0]} (a list "
            "of points)",
        )
    values = np.asarray(dataset[longitude].values, np.float64)
    lon, take, back = _columns(values)
    try:
        grid = Grid(dataset[latitude].values, lon)
    except InputError as error:
        raise InputError(f"{path}: {error.message}") from error
    return Axes(str(dataset[latitude].dims[0]), str(dataset[longitude].dims[0]), grid, take, back)


def _unsupported(path: object, found: str) -> InputError:
    return InputError(
        f"{path} is not on a regular latitude-longitude grid: {found}",
        hint="phyda reads rectilinear latitude-longitude grids (also Gaussian or limited area); "
        "remap the file first, as with cdo remapbil",
    )


def _axis(dataset: xr.Dataset, kind: str, path: object, rename: Mapping[str, str]) -> str:
    units = {
        "latitude": ("degrees_north", "degree_north"),
        "longitude": ("degrees_east", "degree_east"),
    }[kind]
    for test in (
        lambda n, a: rename.get(n) == kind,
        lambda n, a: canonical_coordinate(n) == kind,
        lambda n, a: a.get("standard_name") == kind,
        lambda n, a: a.get("units") in units,
    ):
        for name, variable in dataset.variables.items():
            if variable.ndim > 0 and test(str(name), variable.attrs):
                if variable.ndim > 1:
                    raise _unsupported(
                        path, f"{name} has dimensions {variable.dims} (projected or curvilinear)"
                    )
                return str(name)
    found = ", ".join(map(str, dataset.variables)) or "nothing"
    raise InputError(
        f"{path} has no {kind}: looked for {', '.join(COORDINATES[kind])} or standard_name "
        f"{kind}, found {found}",
        hint=f"name it with --rename NAME={kind}",
    )


def _columns(lon: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Increasing longitudes of a file's, the columns to take for them, and for each of the file's
    columns its place among them."""
    everything = np.arange(lon.size)
    unwrapped = lon[0] + (lon - lon[0]) % 360
    for candidate in (lon, unwrapped):
        if np.all(np.diff(candidate) > 0) and candidate[-1] - candidate[0] < 360 - 1e-6:
            return candidate, everything, everything
    _, take, back = np.unique(np.round(lon % 360, 5) % 360, return_index=True, return_inverse=True)
    return np.sort(np.round(lon[take] % 360, 5) % 360), take, back


def _level_values(dataset: xr.Dataset, rename: Mapping[str, str]) -> dict[str | None, np.ndarray]:
    """Pressure [Pa] by dimension, and under None that of a scalar level coordinate."""
    levels: dict[str | None, np.ndarray] = {}
    for name, variable in dataset.variables.items():
        attrs = variable.attrs
        named = rename.get(str(name)) == "level" or canonical_coordinate(str(name)) == "level"
        if variable.ndim > 1 or not (
            named or attrs.get("standard_name") == "air_pressure" or attrs.get("axis") == "Z"
        ):
            continue
        if not np.issubdtype(variable.dtype, np.number) or "hybrid" in str(
            attrs.get("standard_name", "")
        ):
            continue
        factor = pressure_factor(str(attrs.get("units", "")), variable.values)
        if factor is not None and variable.size and np.all(variable.values > 0):
            levels[str(variable.dims[0]) if variable.ndim else None] = (
                np.atleast_1d(variable.values).astype(np.float64) * factor
            )
    return levels


def _by_name(
    name: str, variable: xr.DataArray, rename: Mapping[str, str]
) -> tuple[str | None, float | None]:
    """Canonical variable and, for a channel name, its level [Pa]."""
    if name in rename:
        name = rename[name]
    if name.lower() in _OROGRAPHY:
        return "orography", None
    if (known := canonical_variable(name)) is not None:
        return known, None
    channel = _CHANNEL.match(name.lower())
    height = "metre" in str(variable.attrs.get("long_name", "")).lower() or variable.attrs.get(
        "GRIB_typeOfLevel", ""
    ).startswith("height")
    if channel and not height:
        head = canonical_variable(channel[1])
        if head is not None and not VARIABLES[head].surface:
            return head, float(channel[2]) * 100
    return None, None


def _by_standard_name(variable: xr.DataArray, on_levels: bool) -> str | None:
    standard = str(variable.attrs.get("standard_name", ""))
    if on_levels:
        return _UPPER_STANDARD.get(standard)
    if (
        standard in _NEAR_SURFACE
        and "height" in variable.coords
        and variable["height"].size == 1
        and 1 < float(variable["height"]) <= 10
    ):
        return _NEAR_SURFACE[standard]
    return _SURFACE_STANDARD.get(standard)


def find_sources(
    dataset: xr.Dataset, axes: Axes, path: object, rename: Mapping[str, str]
) -> tuple[list[Source], list[str]]:
    """Every variable the table knows, those found by name before those found by standard_name; and
    notes on the doubtful ones.

    Raises InputError when none is found (listing both sides) or a unit is unknown, UsageError for a
    ``rename`` that names nothing.
    """
    for old, new in rename.items():
        if old not in dataset.variables:
            raise UsageError(
                f"--rename {old}={new}: {path} has no variable {old}; it has "
                f"{', '.join(map(str, dataset.variables))}"
            )
        if canonical_coordinate(new) is None and _by_name(new, dataset[old], {})[0] is None:
            raise UsageError(
                f"--rename {old}={new}: {new} is not known; choose among "
                f"{', '.join([*VARIABLES, *COORDINATES])}"
            )
    levels = _level_values(dataset, rename)
    named: list[Source] = []
    standard: list[Source] = []
    notes: list[str] = []
    for name in map(str, dataset.data_vars):
        stem = next((name[: -len(s)] for s in _OURS if name.endswith(s)), "")
        if stem not in dataset:
            source, by_name = _source(dataset, name, axes, levels, path, rename, notes)
            if source is not None:
                (named if by_name else standard).append(source)
    if not named and not standard:
        wanted = ", ".join(v for v in VARIABLES if v not in ("wind_speed", "wind_direction", "qnh"))
        found = ", ".join(map(str, dataset.data_vars)) or "none"
        raise InputError(
            f"{path} has no variable phyda knows: found {found}; looked for {wanted} (and their "
            "usual names)",
            hint="map the names with --rename NAME=t, or add standard_name attributes"
            + (f" ({'; '.join(notes)})" if notes else ""),
        )
    return [*named, *standard], notes


def _source(
    dataset: xr.Dataset,
    name: str,
    axes: Axes,
    levels: dict[str | None, np.ndarray],
    path: object,
    rename: Mapping[str, str],
    notes: list[str],
) -> tuple[Source | None, bool]:
    variable = dataset[name]
    horizontal = {axes.latitude, axes.longitude}
    if not horizontal <= set(variable.dims) or not np.issubdtype(variable.dtype, np.number):
        return None, False
    others = [
        str(d)
        for d in variable.dims
        if d not in horizontal and (variable.sizes[d] > 1 or d in levels)
    ]
    dim = others[0] if len(others) == 1 and others[0] in levels else None
    canonical, pressure = _by_name(name, variable, rename)
    by_name = canonical is not None
    if canonical is None and "standard_deviation" not in str(
        variable.attrs.get("cell_methods", "")
    ):
        canonical = _by_standard_name(variable, dim is not None or None in levels)
    if canonical is None:
        return None, False
    if others and dim is None:
        notes.append(
            f"{name} is passed through: it lies on {', '.join(others)}, not on pressure levels"
        )
        return None, False
    own = _own_levels(VARIABLES[canonical].surface, dim, pressure, levels)
    units = str(variable.attrs.get("units", ""))
    if own is None and canonical in ("z", "gh"):
        canonical, units = "orography", units or VARIABLES[canonical].units
    if VARIABLES[canonical].surface != (own is None) or (
        VARIABLES[canonical].surface and dim is not None
    ):
        notes.append(f"{name} is passed through: it has {'levels' if dim else 'no pressure level'}")
        return None, False
    factors = factors_of_variable(canonical, units)
    if factors is None and canonical == "w":
        notes.append(
            f"{name} is passed through: its units {units!r} are not those of a pressure tendency"
        )
        return None, False
    if factors is None:
        known = VARIABLES[canonical]
        raise InputError(
            f"{path}: {name} has units {units!r}, expected those of {known.long_name} such as "
            f"{known.units!r}",
            hint="correct the units attribute, or leave the variable out with --rename "
            f"{name}=ignore"
            if name not in rename
            else "",
        )
    return Source("z" if canonical == "gh" else canonical, name, *factors, own, dim), by_name


def _own_levels(
    surface: bool, dim: str | None, pressure: float | None, levels: dict[str | None, np.ndarray]
) -> np.ndarray | None:
    if surface:
        return None
    if dim is not None:
        return levels[dim]
    return np.array([pressure]) if pressure is not None else levels.get(None)
