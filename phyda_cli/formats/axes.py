"""The axes of a file's fields: latitude and longitude, and everything that is a pressure axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import xarray as xr

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Grid
from phyda_cli.fields.mesh import Mesh
from phyda_cli.fields.reduced import Reduced
from phyda_cli.formats.families import Position
from phyda_cli.names import COORDINATES, canonical_coordinate
from phyda_cli.units import pressure_factor

__all__ = [
    "ROW",
    "Axes",
    "Vertical",
    "coordinate_kind",
    "find_axes",
    "find_vertical",
    "in_rows",
]

ROW = "row"  # the dimension of length one beside that of the points of a reduced grid


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

    @cached_property
    def in_order(self) -> bool:
        """Whether the file's columns are those of the grid."""
        same = self.take.size == self.back.size
        return same and np.array_equal(self.take, np.arange(self.take.size))

    def on_grid(self, values: np.ndarray) -> np.ndarray:
        """``values`` (..., columns of the file) on the grid's columns."""
        return values if self.in_order else values[..., self.take]

    def in_file(self, values: np.ndarray) -> np.ndarray:
        """``values`` (..., columns of the grid) on the file's columns."""
        return values if self.in_order else values[..., self.back]


@dataclass(frozen=True)
class Vertical:
    """Pressure [Pa] along each dimension that has it (``pressure``), where single levels are
    (``single``: by the name of a coordinate with one value), why other vertical axes are not used
    (``other``: by dimension), and the axes without units that are taken in hPa or Pa by their
    values (``assumed``: name and unit)."""

    pressure: Mapping[str, np.ndarray] = field(default_factory=dict)
    single: Mapping[str, Position] = field(default_factory=dict)
    other: Mapping[str, str] = field(default_factory=dict)
    assumed: tuple[tuple[str, str], ...] = ()


_SIGMA = 1.1  # an axis without units that ends below is a fraction of the surface pressure
_DEEPEST = 1.2e5  # Pa: no level of an atmosphere has more


def coordinate_kind(name: str, rename: Mapping[str, str]) -> str | None:
    """``latitude``, ``longitude``, ``level``, ``time``, ``member`` or ``step``: as ``rename`` says,
    else by the name; also with a number at its end (``level_2``, ``isobaric1``)."""
    if name in rename:
        return canonical_coordinate(rename[name])
    lower = name.lower()
    return canonical_coordinate(lower) or canonical_coordinate(
        lower.rstrip("0123456789").rstrip("_")
    )


def find_axes(dataset: xr.Dataset, path: object, rename: Mapping[str, str]) -> Axes:
    """Latitude and longitude of ``dataset``. InputError, saying what is supported, for projected,
    curvilinear or point data."""
    latitude, longitude = (_axis(dataset, kind, path, rename) for kind in ("latitude", "longitude"))
    if dataset[latitude].ndim > 1 or dataset[longitude].ndim > 1:
        return _mesh_axes(dataset, latitude, longitude, path)
    if dataset[latitude].dims == dataset[longitude].dims:
        raise _unsupported(
            path,
            f"{latitude} and {longitude} share the dimension {dataset[latitude].dims[0]} (a list "
            "of points)",
            _POINTS,
        )
    values = np.asarray(dataset[longitude].values, np.float64)
    if not (np.isfinite(values).all() and np.isfinite(dataset[latitude].values).all()):
        raise InputError(f"{path}: {latitude} or {longitude} has missing values")
    lon, take, back = _columns(values)
    try:
        grid = Grid(dataset[latitude].values, lon)
    except InputError as error:
        raise InputError(f"{path}: {error.message}") from error
    return Axes(str(dataset[latitude].dims[0]), str(dataset[longitude].dims[0]), grid, take, back)


def in_rows(dataset: xr.Dataset, rename: Mapping[str, str]) -> xr.Dataset:
    """``dataset`` with the dimension :data:`ROW` beside that of the points of a reduced grid; as it
    is on any other."""
    try:
        lat, lon = (dataset[_axis(dataset, kind, "", rename)] for kind in ("latitude", "longitude"))
        if lat.ndim > 1 or lat.dims != lon.dims:
            return dataset
        Reduced(lat.values, lon.values)
    except InputError:  # find_axes knows what to say
        return dataset
    dim = lat.dims[0]
    changed = {n: v for n, v in dataset.variables.items() if dim in v.dims}
    rows = {n: dataset[n].expand_dims(ROW, v.dims.index(dim)) for n, v in changed.items()}
    return dataset.assign(rows)


def _mesh_axes(dataset: xr.Dataset, latitude: str, longitude: str, path: object) -> Axes:
    """Two-dimensional coordinates; WRF repeats them at each time."""
    variables = [dataset[name] for name in (latitude, longitude)]
    dims = [tuple(map(str, v.dims[-2:])) for v in variables]
    if dims[0] != dims[1] or len(dims[0]) < 2:
        found = f"{latitude} has dimensions {variables[0].dims}, {longitude} {variables[1].dims}"
        raise _unsupported(path, found, _CURVILINEAR)
    lat, lon = (
        np.asarray(v.isel({d: 0 for d in v.dims[:-2]}).values, np.float64) for v in variables
    )
    try:
        grid = Reduced(lat, lon) if lat.shape[0] == 1 else Mesh(lat, lon)
    except InputError as error:
        raise InputError(f"{path}: {error.message}") from error
    columns = np.arange(lon.shape[1])
    return Axes(dims[0][0], dims[0][1], grid, columns, columns)


_READS = (
    "phyda reads rectilinear latitude-longitude grids (also Gaussian or limited area) and "
    "two-dimensional ones, such as Lambert"
)
_RADIANS = "write it in degrees: ncap2 -s 'NAME=NAME*57.29577951308232; NAME@units=\"degrees\"'"
_CURVILINEAR = f"{_READS}; remap the file first: cdo remapbil,r360x181 in.nc out.nc"
_POINTS = f"{_READS}; remap the file first: cdo remapdis,r360x181 in.nc out.nc"
_WRF = "take it through wrf-python or UPP to pressure levels"


def _unsupported(path: object, found: str, hint: str) -> InputError:
    return InputError(
        f"{path} is not on a regular latitude-longitude grid: {found}",
        hint=hint,
    )


def _axis(dataset: xr.Dataset, kind: str, path: object, rename: Mapping[str, str]) -> str:
    units = {
        "latitude": ("degrees_north", "degree_north", "degreesn", "degrees_n", "degree_n"),
        "longitude": ("degrees_east", "degree_east", "degreese", "degrees_e", "degree_e"),
    }[kind]
    for test in (
        lambda n, a: rename.get(n) == kind,
        lambda n, a: canonical_coordinate(n) == kind,
        lambda n, a: a.get("standard_name") == kind,
        lambda n, a: str(a.get("units", "")).lower() in units,
        lambda n, a: n.lower() in ("lat_0", "xlat") if kind == "latitude" else n == "lon_0",
    ):
        for name, variable in dataset.variables.items():
            if variable.ndim > 0 and test(str(name), variable.attrs):
                if variable.ndim > 1:
                    _refuse_eta(dataset, str(name), variable, path)
                if not np.issubdtype(variable.dtype, np.number):
                    raise InputError(f"{path}: {name} holds no numbers")
                if str(variable.attrs.get("units", "")).lower().startswith("rad"):
                    raise InputError(
                        f"{path}: {name} is in {variable.attrs['units']}, expected degrees",
                        hint=_RADIANS.replace("NAME", str(name)),
                    )
                return str(name)
    found = ", ".join(map(str, dataset.variables)) or "nothing"
    raise InputError(
        f"{path} has no {kind}: looked for {', '.join(COORDINATES[kind])} or standard_name "
        f"{kind}, found {found}",
        hint=f"name it with --rename NAME={kind}",
    )


def _refuse_eta(dataset: xr.Dataset, name: str, variable: xr.Variable, path: object) -> None:
    """Raise InputError for WRF's own output, which is on its own levels and a staggered grid."""
    wrf = {"south_north", "west_east"} <= set(map(str, variable.dims))
    if wrf and "bottom_top" in dataset.dims:
        raise InputError(
            f"{path} is WRF's own output: {name} has dimensions {variable.dims}, and its levels "
            "are eta levels (bottom_top)",
            hint=_WRF,
        )


def _columns(lon: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Increasing longitudes of a file's, the columns to take for them, and for each of the file's
    columns its position among them."""
    everything = np.arange(lon.size)
    unwrapped = lon[0] + (lon - lon[0]) % 360
    for candidate in (lon, unwrapped):
        if np.all(np.diff(candidate) > 0) and candidate[-1] - candidate[0] < 360 - 1e-6:
            return candidate, everything, everything
    _, take, back = np.unique(np.round(lon % 360, 5) % 360, return_index=True, return_inverse=True)
    return np.sort(np.round(lon[take] % 360, 5) % 360), take, back


def find_vertical(dataset: xr.Dataset, axes: Axes, rename: Mapping[str, str]) -> Vertical:
    """Every vertical coordinate of ``dataset``: an axis is one of pressure by its units, whatever
    it is called; without units by its name and values."""
    pressure: dict[str, np.ndarray] = {}
    single: dict[str, Position] = {}
    other: dict[str, str] = {}
    assumed: list[tuple[str, str]] = []
    horizontal = {axes.latitude, axes.longitude}
    ordered = sorted(dataset.variables, key=lambda n: n not in dataset.dims)  # coordinates first
    for name in map(str, ordered):
        variable = dataset.variables[name]
        if variable.ndim > 1 or not np.issubdtype(variable.dtype, np.number) or not variable.size:
            continue
        dim = str(variable.dims[0]) if variable.ndim else None
        if dim in horizontal or dim in pressure or " since " in str(variable.attrs.get("units")):
            continue
        own = _position(name, variable, rename, dim is not None and name != dim)
        if isinstance(own, np.ndarray):
            if not str(variable.attrs.get("units", "")).strip():
                assumed.append((name, "Pa" if np.max(variable.values) == np.max(own) else "hPa"))
            if dim is not None:
                pressure[dim] = own
            else:
                single[name] = Position("pressure", float(own[0]))
        elif isinstance(own, Position) and variable.size == 1:
            single[name] = own
        elif isinstance(own, Position) and dim is not None:
            other[dim] = own.text or own.kind
    others = {d: t for d, t in other.items() if d not in pressure}
    return Vertical(pressure, single, others, tuple(assumed))


def _position(
    name: str, variable: xr.Variable, rename: Mapping[str, str], auxiliary: bool
) -> np.ndarray | Position | None:
    """Pressures [Pa] of a coordinate of pressure; what another vertical coordinate says; None for
    one that is not vertical."""
    text = {k: str(variable.attrs.get(k, "")) for k in ("standard_name", "long_name", "units")}
    words = f"{text['standard_name']} {text['long_name']} {name}".lower()
    values = np.atleast_1d(np.asarray(variable.values, np.float64))
    forced = rename.get(name) == "level"
    counting = any(w in words for w in ("hybrid", "sigma", "eta_level", "model_level", "layer"))
    if not forced and ("formula_terms" in variable.attrs or (counting and "depth" not in words)):
        return Position("other", text=f"{name} numbers model levels")
    named = forced or coordinate_kind(name, rename) == "level"
    units = text["units"].strip()
    factor = pressure_factor(units, values) if units else None
    if (
        not units
        and not auxiliary
        and (named or text["standard_name"] == "air_pressure" or variable.attrs.get("axis") == "Z")
    ):
        counted = values.size > 1 and bool(np.all(np.abs(np.diff(values)) == 1))
        factor = pressure_factor("", values) if forced or not counted else None
        if counted and not forced:
            return Position("other", text=f"{name} counts levels")
        if factor is not None and not forced and values.size > 1 and np.max(values) <= _SIGMA:
            return Position("other", text=f"{name} has no units and ends at {np.max(values):g}")
    if factor is not None and np.all(np.isfinite(values)) and np.all(values > 0):
        if np.max(values) * factor > _DEEPEST:
            reach = f"{name} says its units are {units!r} and reaches {np.max(values):g}"
            return Position("other", text=f"{reach}: correct its units attribute")
        return values * factor
    if "depth" in words:
        return Position("other", text=f"{name} is a depth")
    if units in ("m", "meters", "metres", "meter", "metre") and (
        "height" in words or "altitude" in words or variable.attrs.get("axis") == "Z"
    ):
        above_sea = "altitude" in words or "sea" in words
        if above_sea or values.size > 1:
            what = "altitudes" if above_sea else "heights"
            return Position("other", text=f"{name} holds {what} of {_listed(values)} m")
        return Position("height", float(values[0]))
    if named or variable.attrs.get("axis") == "Z":
        return Position("other", text=f"{name} has no units of pressure ({units or 'none'})")
    return None


def _listed(values: np.ndarray) -> str:
    text = [f"{v:g}" for v in values]
    return ", ".join(text if len(text) <= 4 else [*text[:3], "…", text[-1]])
