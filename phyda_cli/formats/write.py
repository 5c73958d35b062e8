"""Writing analyses and plain fields as CF NetCDF, analyses also as GRIB; each file is published
whole, after being read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from phyda_cli import cf
from phyda_cli.errors import OutputError
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.mesh import WINDS, turned, turned_spread
from phyda_cli.files.publish import publish
from phyda_cli.formats.background import Background, level_index, values_of
from phyda_cli.formats.cf_attributes import completed
from phyda_cli.formats.humidity import relative_humidity
from phyda_cli.formats.recognise import Source
from phyda_cli.formats.times import as_time
from phyda_cli.names import VARIABLES

__all__ = ["analysis_dataset", "check_format", "write_analysis", "write_fields"]

_GRIB_SUFFIXES = (".grib", ".grib1", ".grib2", ".grb", ".grb1", ".grb2", ".gb2")

_COMPRESSION = {"zlib": True, "complevel": 2, "shuffle": True, "dtype": "float32"}
_HISTORY = 20  # lines, the latest: where analyses start from analyses it would grow for ever
_PACKING = (
    "valid_range",
    "valid_min",
    "valid_max",
    "actual_range",
    "missing_value",
    "scale_factor",
    "add_offset",
)


def check_format(path: Path, background: Background) -> None:
    """Raise UsageError where the name ``path`` says GRIB and ``background`` has no GRIB messages of
    its own time."""
    if _says_grib(path):
        from phyda_cli.formats.grib_write import check_background  # loads ecCodes

        check_background(background)


def _with_both_winds(increment: Fields, fields: Fields) -> Fields:
    """``increment`` with zeros for a component of the wind whose other one it has."""
    groups = []
    for own, known in ((increment.upper, fields.upper), (increment.surface, fields.surface)):
        new = dict(own)
        for pair in WINDS:
            if any(n in own for n in pair):
                new |= {n: np.zeros(np.shape(known[n])) for n in pair if n not in own}
        groups.append(new)
    return replace(increment, upper=groups[0], surface=groups[1])


def _says_grib(path: Path | str) -> bool:
    return Path(path).suffix.lower() in _GRIB_SUFFIXES


def write_analysis(
    path: Path | str,
    background: Background,
    analysis: Fields,
    increment: Fields,
    spread: Fields | None = None,
    members: Sequence[Fields] | None = None,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write the analysis as :func:`analysis_dataset` makes it: as NetCDF, or where the name of
    ``path`` says GRIB into the messages of a GRIB background, without the rest. Raises OutputError
    when the file cannot be written or does not read back.
    """
    dataset = analysis_dataset(background, analysis, increment, spread, members, attributes)
    if _says_grib(path):
        from phyda_cli.formats.grib_write import write_grib  # loads ecCodes

        write_grib(path, background, dataset, overwrite)
        return
    _publish(dataset, path, overwrite)


def analysis_dataset(
    background: Background,
    analysis: Fields,
    increment: Fields,
    spread: Fields | None = None,
    members: Sequence[Fields] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """The analysis in the layout, names and units of the background's file, times not decoded.

    Each variable X of the file whose field is in ``increment`` becomes its value plus the
    difference of ``analysis`` and background in the file's units (a zero difference leaves it bit
    for bit), with X_increment, X_spread and X_members (first dimension ``realization``) beside it.
    A file's relative humidity follows from the analysed q and t; without ``members`` its spread
    takes their errors as independent. All other variables pass through. A level absent from the
    background stays absent (NaN).
    """
    dataset = background.source.copy()
    if background.angle is not None:  # back to the file's own winds
        along = -background.angle
        background = replace(background, fields=turned(background.fields, along))
        increment = turned(_with_both_winds(increment, background.fields), along)
        analysis = turned(analysis, along)
        spread = None if spread is None else turned_spread(spread, along)
        members = None if members is None else [turned(m, along) for m in members]
    for source in background.sources:
        if (
            source.variable in increment.upper
            or source.variable in increment.surface
            or (source.relative and "t" in increment.upper)
        ):
            _add_variable(dataset, background, source, analysis, increment, spread, members)
    if members:
        numbers = np.arange(len(members), dtype=np.int32)
        dataset = dataset.assign_coords(
            realization=("realization", numbers, {"standard_name": "realization"})
        )
    dataset = _with_time(completed(dataset, background), background.time_name, analysis.time)
    stated = {
        k: v
        for k, v in background.source.attrs.items()
        if k not in ("source", "title", "history", "Conventions")
    }
    made = f"phyda, from the background {background.path.name}"
    dataset.attrs = stated | _global_attributes("analysis of the atmosphere", made, attributes)
    before = str(background.source.attrs.get("history", "")).splitlines()
    dataset.attrs["history"] = "\n".join([dataset.attrs["history"], *before][:_HISTORY])
    return dataset


def write_fields(
    path: Path | str,
    fields: Fields,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write ``fields`` as a CF file (plev in Pa, canonical names, float32), which
    ``read_background`` reads back.

    Levels that a variable lacks (slices of NaN) stay so. Raises OutputError.
    """
    horizontal = ("latitude", "longitude")
    coords: dict[str, Any] = {
        "latitude": (
            "latitude",
            fields.grid.latitude,
            cf.LATITUDE,
        ),
        "longitude": (
            "longitude",
            fields.grid.longitude,
            cf.LONGITUDE,
        ),
        "time": ("time", [0]),
    }
    if fields.upper:
        coords["plev"] = ("plev", np.asarray(fields.levels, np.float64), cf.PRESSURE)
    data: dict[str, Any] = {}
    for dims, group in (
        (("time", "plev", *horizontal), fields.upper),
        (("time", *horizontal), fields.surface),
    ):
        data |= {
            n: (dims, np.asarray(v, np.float32)[None], cf.of_variable(n)) for n, v in group.items()
        }
    dataset = _with_time(xr.Dataset(data, coords), "time", fields.time)
    if fields.lead_hours:
        start = fields.time - np.timedelta64(round(fields.lead_hours * 3600), "s")
        described = _time_attributes() | cf.START
        dataset = dataset.assign_coords(forecast_reference_time=((), _seconds(start), described))
    dataset.attrs = _global_attributes("fields of the atmosphere", "phyda", attributes)
    _publish(dataset, path, overwrite)


def _add_variable(
    dataset: xr.Dataset,
    background: Background,
    source: Source,
    analysis: Fields,
    increment: Fields,
    spread: Fields | None,
    members: Sequence[Fields] | None,
) -> None:
    old = values_of(dataset, background.axes, source).astype(np.float64)
    variable, first = dataset[source.name], background.fields
    units = str(variable.attrs.get("units", "")) or VARIABLES[source.variable].units
    difference_units = "K" if source.offset and source.scale == 1 else units
    name = str(variable.attrs.get("long_name", source.name))
    place = _placer(variable, background, source)

    def put(
        suffix: str, values: np.ndarray, attrs: Mapping[str, Any], extra: tuple[str, ...] = ()
    ) -> None:
        dataset[source.name + suffix] = ((*extra, *variable.dims), values, dict(attrs))

    own = {k: v for k, v in variable.attrs.items() if k not in _PACKING}
    change = _difference(source, analysis, first, first).reshape(old.shape)
    left_out = np.isnan(change)  # missing, or not to be believed: these points stay as they are
    put("", place(old + np.where(left_out, 0.0, change)), own)
    if not source.relative:
        change = _pick(source, increment, source.variable).reshape(old.shape) / source.scale
    change = np.where(left_out, 0.0, change)
    absent = np.isnan(old)
    put(
        "_increment",
        place(np.where(absent, np.nan, change)),
        {"long_name": f"analysis increment of {name}", "units": difference_units},
    )
    stack = None
    if members:
        changes = [_difference(source, m, first, first).reshape(old.shape) for m in members]
        stack = np.stack([old + np.where(left_out, 0.0, c) for c in changes])
        put("_members", np.stack([place(m) for m in stack]), own, ("realization",))
    sd = _spread(source, spread, analysis, stack)
    if sd is not None:
        described = {
            "long_name": f"analysis standard deviation of {name}",
            "units": difference_units,
        }
        described["cell_methods"] = "realization: standard_deviation"
        put("_spread", place(np.where(absent, np.nan, sd.reshape(old.shape))), described)


def _pick(source: Source, fields: Fields, name: str) -> np.ndarray:
    """A field on the levels of the file's variable, (L, H, W) or (H, W), float64."""
    if source.levels is None:
        return np.asarray(fields.surface[name], np.float64)
    return np.asarray(fields.upper[name][level_index(fields.levels, source.levels)], np.float64)


def _relative(
    source: Source,
    fields: Fields,
    default: Fields,
    dq: float | np.ndarray = 0.0,
    dt: float | np.ndarray = 0.0,
) -> np.ndarray:
    assert source.levels is not None
    q, t = (_pick(source, fields if n in fields.upper else default, n) for n in ("q", "t"))
    return relative_humidity(q + dq, t + dt, source.levels[:, None, None]) / source.scale


def _difference(source: Source, a: Fields, b: Fields, default: Fields) -> np.ndarray:
    """``a`` minus ``b`` in the file's units."""
    if source.relative:
        return np.subtract(_relative(source, a, default), _relative(source, b, default))
    return (
        np.subtract(_pick(source, a, source.variable), _pick(source, b, source.variable))
        / source.scale
    )


def _spread(
    source: Source, spread: Fields | None, analysis: Fields, members: np.ndarray | None
) -> np.ndarray | None:
    if source.relative:
        if members is not None and len(members) > 1:
            return members.std(axis=0, ddof=1)
        if spread is None or not {"q", "t"} <= set(spread.upper):
            return None
        here = _relative(source, analysis, analysis)
        by_q = _relative(source, analysis, analysis, dq=_pick(source, spread, "q")) - here
        by_t = _relative(source, analysis, analysis, dt=_pick(source, spread, "t")) - here
        return np.hypot(by_q, by_t)
    if spread is None or source.variable not in (
        spread.surface if source.levels is None else spread.upper
    ):
        return None
    return _pick(source, spread, source.variable) / source.scale


def _placer(
    variable: xr.DataArray, background: Background, source: Source
) -> Callable[[np.ndarray], np.ndarray]:
    """From (level, latitude, longitude) on the grid's columns to the dimensions and columns of the
    file's variable, float32."""
    order = [
        *([] if source.level_dim is None else [source.level_dim]),
        background.axes.latitude,
        background.axes.longitude,
    ]
    axes = [order.index(d) for d in variable.dims if d in order]
    return lambda values: (
        np.transpose(values[..., background.axes.back], axes)
        .reshape(variable.shape)
        .astype(np.float32)
    )


def _seconds(time: np.datetime64) -> np.int64:
    return np.int64(as_time(time).astype("datetime64[s]").astype(np.int64))


def _time_attributes() -> dict[str, str]:
    attributes = {"units": "seconds since 1970-01-01 00:00:00", "calendar": "standard", "axis": "T"}
    return attributes | {"standard_name": "time", "long_name": "valid time"}


def _with_time(dataset: xr.Dataset, name: str | None, time: np.datetime64) -> xr.Dataset:
    dims: tuple[Any, ...] = ()
    if name is not None:
        dims = dataset[name].dims
        dataset = dataset.drop_vars(str(dataset[name].attrs.get("bounds", "")), errors="ignore")
    attrs = _time_attributes()
    if not dims:
        attrs.pop("axis")
    return dataset.assign_coords(
        {name or "time": (dims, np.full((1,) * len(dims), _seconds(time)), attrs)}
    )


def _global_attributes(
    title: str, source: str, attributes: Mapping[str, Any] | None
) -> dict[str, Any]:
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    own: dict[str, Any] = {
        "Conventions": cf.CONVENTIONS,
        "title": title,
        "source": source,
        "history": f"{stamp} written by phyda",
    }
    for key, value in (attributes or {}).items():
        own[key] = (
            value
            if isinstance(value, (str, int, float, np.number)) and not isinstance(value, bool)
            else str(value)
        )
    return own


def _publish(dataset: xr.Dataset, path: Path | str, overwrite: bool) -> None:
    encoding: dict[str, dict[str, Any]] = {str(n): {"_FillValue": None} for n in dataset.coords}
    for name, variable in dataset.data_vars.items():
        if variable.dtype == np.float32 and variable.ndim > 1:
            encoding[str(name)] = dict(_COMPRESSION)
    with publish(
        path, overwrite, check=lambda written: _check(written, dataset, path)
    ) as temporary:
        dataset.to_netcdf(temporary, engine="netcdf4", format="NETCDF4", encoding=encoding)


def _check(written: Path, dataset: xr.Dataset, path: Path | str) -> None:
    """OutputError when what lies on disk is not what was meant to be written."""
    with xr.open_dataset(written, engine="netcdf4", decode_times=False) as again:
        for name, variable in dataset.variables.items():
            there = again[name] if name in again.variables else None
            if there is None or there.shape != variable.shape:
                raise OutputError(
                    f"cannot write {path}: {name} does not read back with shape {variable.shape}"
                )
            if np.issubdtype(variable.dtype, np.floating) and not np.array_equal(
                np.isfinite(there.values), np.isfinite(variable.values)
            ):
                raise OutputError(
                    f"cannot write {path}: {name} does not read back with the same finite values"
                )
