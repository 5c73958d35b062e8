"""Writing analyses and plain fields as CF NetCDF, analyses also as GRIB; each file is published
whole, after being read back."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import netCDF4
import numpy as np
import xarray as xr
from xarray.core.indexing import ExplicitlyIndexed

from phyda_cli import (
    cf,
    libproj,  # noqa: F401  some versions of xarray load every plug-in on opening
)
from phyda_cli.errors import OutputError, UsageError
from phyda_cli.fields.grid import Fields
from phyda_cli.files.publish import FOLDER, check_target, publish, publish_folder
from phyda_cli.formats.analysed import Outcome, with_analysis
from phyda_cli.formats.axes import ROW
from phyda_cli.formats.background import Background
from phyda_cli.formats.cf_attributes import completed
from phyda_cli.formats.cut import area_of, levels_of
from phyda_cli.formats.netcdf import CHUNK_CACHE
from phyda_cli.formats.times import as_time
from phyda_cli.settings.output import OutputSettings

__all__ = [
    "analysis_dataset",
    "check_format",
    "format_of",
    "write_analysis",
    "write_fields",
    "write_tendency",
]

_GRIB_SUFFIXES = (".grib", ".grib1", ".grib2", ".grb", ".grb1", ".grb2", ".gb2")

_BY_SUFFIX = {FOLDER: "zarr"}
_COMPRESSION = {"zlib": True, "complevel": 1, "shuffle": True, "dtype": "float32"}
_HISTORY = 20  # lines, the latest: where analyses start from analyses it would grow for ever


def format_of(path: Path, settings: OutputSettings) -> str:
    """``netcdf``, ``grib`` or ``zarr``: as ``settings`` say, else the name of ``path``."""
    if settings.format != "auto":
        return settings.format
    suffix = path.suffix.lower()
    return "grib" if suffix in _GRIB_SUFFIXES else _BY_SUFFIX.get(suffix, "netcdf")


def check_format(
    path: Path, background: Background, settings: OutputSettings | None = None
) -> None:
    """Raise UsageError where ``background`` cannot be written as ``settings`` and the name ``path``
    say."""
    settings = settings or OutputSettings()
    kind = format_of(path, settings)
    if (kind == "zarr") != (path.suffix == FOLDER):
        raise UsageError(
            f"{path} is to be {'a' if kind == 'zarr' else 'no'} Zarr store",
            hint=f"the names of Zarr stores end in {FOLDER}",
        )
    if kind == "grib":
        from phyda_cli.formats.grib_write import check_background  # loads ecCodes

        check_background(background)
        if settings.area is not None or settings.levels is not None:
            raise UsageError(
                "GRIB is written into the messages of the background, which keep their area and "
                "their levels",
                hint="write NetCDF or Zarr, or cut the GRIB file: cdo sellonlatbox, sellevel",
            )
    else:
        _cut(background.source, background, settings)


def _cut(dataset: xr.Dataset, background: Background, settings: OutputSettings) -> xr.Dataset:
    if settings.levels is not None:
        dataset = levels_of(dataset, background, settings.levels)
    return dataset if settings.area is None else area_of(dataset, background, settings.area)


def write_analysis(
    path: Path | str,
    background: Background,
    analysis: Fields,
    increment: Fields,
    spread: Fields | None = None,
    members: Sequence[Fields] | None = None,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    settings: OutputSettings | None = None,
) -> None:
    """Write the analysis as :func:`analysis_dataset` makes it, as NetCDF or Zarr, whole or a part
    of it; or into the messages of a GRIB background, without the rest. Raises OutputError when the
    file cannot be written or does not read back.
    """
    path, settings = Path(path), settings or OutputSettings()
    kind = format_of(path, settings)
    outcome = Outcome.of(background, analysis, increment, spread, members)
    if kind == "grib":
        from phyda_cli.formats.grib_write import write_grib  # loads ecCodes

        write_grib(path, background, with_analysis(outcome, beside=False).load(), overwrite)
        return
    dataset = _described(with_analysis(outcome), background, analysis.time, attributes)
    dataset = _cut(dataset, background, settings)
    if kind == "zarr":
        _publish_zarr(dataset, path, overwrite)
    else:
        changed = [s.name for s in outcome.sources]
        _publish(dataset, path, overwrite, {*changed, *(f"{n}_members" for n in changed)})


def analysis_dataset(
    background: Background,
    analysis: Fields,
    increment: Fields,
    spread: Fields | None = None,
    members: Sequence[Fields] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """The analysis in the layout, names and units of the background's file, times not decoded, in
    memory.

    Each variable X of the file whose field is in ``increment`` becomes its value plus the
    difference of ``analysis`` and background in the file's units (a zero difference leaves it bit
    for bit), with X_increment, X_spread and X_members (first dimension ``realization``) beside it.
    A file's relative humidity follows from the analysed q and t; without ``members`` its spread
    takes their errors as independent. All other variables pass through. A level absent from the
    background stays absent (NaN).
    """
    outcome = Outcome.of(background, analysis, increment, spread, members)
    return _described(with_analysis(outcome), background, analysis.time, attributes).load()


def write_tendency(
    path: Path,
    background: Background,
    analysis: Fields,
    increment: Fields,
    hours: float,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write the increment as a rate over a window of ``hours`` around the analysis's time, for a
    model that adds it slowly (incremental analysis update, Bloom et al. 1996, Mon. Wea. Rev. 124,
    1256): X_tendency [units of X per second] for each variable X, the time with bounds. Raises
    OutputError."""
    outcome = Outcome.of(background, analysis, increment, None, None)
    dataset = _described(with_analysis(outcome), background, analysis.time, attributes).load()
    names = [str(n) for n in dataset.data_vars if str(n).endswith("_increment")]
    rates = dataset[names].astype(np.float64) / (3600 * hours)
    rates = rates.astype(np.float32).assign_attrs(dataset.attrs)
    for name in names:
        variable = name.removesuffix("_increment")
        units = str(dataset[name].attrs.get("units", "1"))
        rates[name].attrs = {
            "long_name": f"rate of the analysis increment of {variable}",
            "units": "s-1" if units == "1" else f"{units} s-1",
            "cell_methods": f"{background.time_name or 'time'}: mean",
        }
    rates = rates.rename({n: f"{n.removesuffix('_increment')}_tendency" for n in names})
    time = rates[background.time_name or "time"]
    half = round(1800 * hours)
    edges = np.stack([time.values - half, time.values + half], axis=-1)
    bounds = f"{time.name}_bnds"
    time.attrs["bounds"] = bounds
    rates = rates.assign_coords({str(time.name): time, bounds: ((*time.dims, "bnds"), edges)})
    _publish(rates.assign_attrs(iau_hours=hours), path, overwrite)


def _described(
    dataset: xr.Dataset,
    background: Background,
    time: np.datetime64,
    attributes: Mapping[str, Any] | None,
) -> xr.Dataset:
    dataset = _with_time(completed(dataset, background), background.time_name, time)
    dataset = dataset.squeeze(ROW, drop=True) if ROW in dataset.dims else dataset
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


def _publish(
    dataset: xr.Dataset, path: Path | str, overwrite: bool, full: Collection[str] = ()
) -> None:
    """As NetCDF. Variables of ``full`` precision are not compressed, which takes long and gains
    little."""
    encoding: dict[str, dict[str, Any]] = {str(n): {"_FillValue": None} for n in dataset.coords}
    for name, variable in dataset.data_vars.items():
        if variable.dtype == np.float32 and variable.ndim > 1 and name not in full:
            encoding[str(name)] = dict(_COMPRESSION)
    finite: dict[Any, int] = {}
    netCDF4.set_chunk_cache(CHUNK_CACHE)

    def check(written: Path) -> None:
        with xr.open_dataset(written, engine="netcdf4", decode_times=False, cache=False) as again:
            _check(again, dataset, finite, path)

    with publish(path, overwrite, check) as temporary:
        for mode, part in _parts(dataset, finite):
            known = {n: e for n, e in encoding.items() if n in part.variables}
            part.to_netcdf(temporary, mode=mode, engine="netcdf4", format="NETCDF4", encoding=known)


def _publish_zarr(dataset: xr.Dataset, path: Path, overwrite: bool) -> None:
    finite: dict[Any, int] = {}

    def check(written: Path) -> None:
        with xr.open_dataset(
            written, engine="zarr", decode_times=False, cache=False, consolidated=False
        ) as again:
            _check(again, dataset, finite, path)

    with publish_folder(check_target(path, overwrite), check) as temporary:
        for mode, part in _parts(dataset, finite):
            part.to_zarr(temporary, mode=mode, consolidated=False)


def _parts(
    dataset: xr.Dataset, finite: dict[Any, int]
) -> Iterator[tuple[Literal["w", "a"], xr.Dataset]]:
    """What to write first, and what to append to it: the variables that fit in memory only one by
    one, whose finite values go into ``finite``."""
    large = [n for n, v in dataset.variables.items() if isinstance(v._data, ExplicitlyIndexed)]
    large = [n for n in large if n not in dataset.indexes]
    yield "w", dataset.drop_vars(large)
    for name in large:
        one = dataset[[name]].compute()
        finite[name] = int(np.isfinite(one[name].values).sum())
        yield "a", one


def _check(
    again: xr.Dataset, dataset: xr.Dataset, finite: Mapping[Any, int], path: Path | str
) -> None:
    """OutputError when what lies on disk is not what was meant to be written; ``finite`` are the
    counts of finite values in the variables that are not in memory."""
    for name, variable in dataset.variables.items():
        there = again[name] if name in again.variables else None
        if there is None or there.shape != variable.shape:
            raise OutputError(
                f"cannot write {path}: {name} does not read back with shape {variable.shape}"
            )
        if not np.issubdtype(variable.dtype, np.floating):
            continue
        if name in finite:
            same = finite[name] == int(np.isfinite(there.values).sum())
        else:
            same = np.array_equal(np.isfinite(there.values), np.isfinite(variable.values))
        if not same:
            raise OutputError(
                f"cannot write {path}: {name} does not read back with the same finite values"
            )
