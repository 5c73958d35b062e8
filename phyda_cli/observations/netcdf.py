"""Observations in NetCDF: our own feedback, IODA of both naming generations, and MADIS."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.fields.classic import reject_truncated
from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.assemble import Values, assemble
from phyda_cli.observations.atmosphere import standard_pressure
from phyda_cli.observations.feedback import read_feedback
from phyda_cli.observations.report import ReadResult
from phyda_cli.observations.table import LEVEL, QC, check, make
from phyda_cli.observations.units import conversion

__all__ = ["read_netcdf"]

_RUN_DEPENDENT = (QC.TIME_WINDOW, QC.BLACKLIST, QC.DUPLICATE)
_HIGHEST_PRE_QC = 3  # NCEP's quality marks 0 to 3 may be used, as in JEDI's PreQC filter
_DENSEST = 1100  # times that zlib can shrink
_EPOCH = np.datetime64("1970-01-01", "ns")

_IODA = {  # IODA's name today: (name before 2022, ours, ours where nothing gives a level)
    "airTemperature": ("air_temperature", "t", "t2m"),
    "airTemperatureAt2M": ("air_temperature_2m", "t2m", "t2m"),
    "dewpointTemperature": ("dew_point_temperature", "td", "d2m"),
    "dewpointTemperatureAt2M": ("dew_point_temperature_2m", "d2m", "d2m"),
    "specificHumidity": ("specific_humidity", "q", "q2m"),
    "specificHumidityAt2M": ("specific_humidity_2m", "q2m", "q2m"),
    "relativeHumidity": ("relative_humidity", "r", "rh2m"),
    "relativeHumidityAt2M": ("relative_humidity_2m", "rh2m", "rh2m"),
    "windEastward": ("eastward_wind", "u", "u10"),
    "windNorthward": ("northward_wind", "v", "v10"),
    "windEastwardAt10M": ("eastward_wind_10m", "u10", "u10"),
    "windNorthwardAt10M": ("northward_wind_10m", "v10", "v10"),
    "windSpeed": ("wind_speed", "wind_speed", "wind_speed"),
    "windDirection": ("wind_direction", "wind_direction", "wind_direction"),
    "geopotentialHeight": ("geopotential_height", "gh", ""),
    "stationPressure": ("surface_pressure", "sp", "sp"),
    "pressureReducedToMeanSeaLevel": ("air_pressure_at_sea_level", "msl", "msl"),
}
_IODA_PLACE = {
    "latitude": ("latitude",),
    "longitude": ("longitude",),
    "pressure": ("pressure", "air_pressure"),
    "height": ("height",),
    "elevation": ("stationElevation", "station_elevation"),
}
_IODA_UNITS = {"relativeHumidity": "1", "relativeHumidityAt2M": "1"}  # its convention where a file says nothing

_MADIS = {
    "temperature": ("t2m", "t"),
    "dewpoint": ("d2m", "td"),
    "relHumidity": ("rh2m", "r"),
    "windSpeed": ("wind_speed", "wind_speed"),
    "windDir": ("wind_direction", "wind_direction"),
    "altimeter": ("qnh", ""),
    "stationPressure": ("sp", ""),
    "stationPress": ("sp", ""),
    "seaLevelPress": ("msl", ""),
    "seaLevelPressure": ("msl", ""),
}
_MADIS_TIME = ("timeObs", "observationTime")
_MADIS_NAME = ("stationId", "stationName", "tailNumber", "en_tailNumber")
_MADIS_FAILED = ("X", "Q", "B")  # failed the first or a later stage, or a forecaster's judgement

Group = dict[str, netCDF4.Variable]


def read_netcdf(path: Path, file: str) -> ReadResult:
    """Observations in the NetCDF file ``path``, called ``file`` in messages; what wrote it is recognised by its variables.

    A row of the account is a location (IODA), a record (MADIS) or an observation (feedback).
    Raises InputError when the file cannot be read or is none of these.
    """
    reject_truncated(path, file)
    try:
        with netCDF4.Dataset(path) as data:
            _refuse_impossible_sizes(data, path.stat().st_size, file)
            for known, reader in _READERS:
                if known(data):
                    return reader(data, path, file)
            found = ", ".join([*data.groups, *data.variables][:20])
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError) as error:
        reason = str(error).replace(str(path), file)
        raise InputError(f"{file}: the NetCDF content cannot be read as observations: {reason}", hint="is the file complete?") from error
    raise InputError(
        f"{file} is a NetCDF file of no known kind of observations; it holds: {found}",
        hint="feedback files, IODA (groups MetaData and ObsValue, or variable@Group) and MADIS are read",
    )


def _refuse_impossible_sizes(data: netCDF4.Dataset, size: int, file: str) -> None:
    """Raise InputError when a variable is larger than ``size`` bytes of file can hold: a damaged header, not worth trying."""
    most = _DENSEST * size + 10_000_000
    for group in (data, *data.groups.values()):
        for name, variable in group.variables.items():
            if variable.size * (1 if variable.dtype is str else variable.dtype.itemsize) > most:
                raise InputError(f"{file}: {name} claims {variable.size} values, more than the file holds", hint="the file is damaged")


def _read_feedback(_: netCDF4.Dataset, path: Path, file: str) -> ReadResult:
    """The observations of an earlier run: values, errors, passive ones passive, rejected ones as they were before the model.

    What depends on that run's time window, blacklist and other observations is left to be decided anew.
    """
    rows = read_feedback(path)
    flags = rows["PreQC"].to_numpy(int)
    flags = np.where(np.isin(flags, _RUN_DEPENDENT), QC.PASS, flags)
    kept = ("station_id", "time", "latitude", "longitude", "elevation", "variable", *LEVEL, "use")
    columns = {k: rows[k].to_numpy() for k in kept if k in rows}
    unplaced = ~rows["latitude"].between(-90, 90) | ~rows["longitude"].between(0, 360) | rows["time"].isna() | (rows["ObsError"] <= 0)
    table = make(
        **columns,
        value=rows["ObsValue"].to_numpy(),
        error=rows["ObsError"].to_numpy(),
        qc=np.where(unplaced & (flags == 0), QC.PRE_QC, flags),
        file=rows["source_file"].to_numpy(object),
        row=rows["source_row"].to_numpy(),
    )
    check(table)
    return ReadResult(table, len(table), len(table), 0, 0)


def _read_ioda(data: netCDF4.Dataset, _: Path, file: str) -> ReadResult:
    groups = {name: dict(group.variables) for name, group in data.groups.items()}
    for name, variable in data.variables.items():
        short, separator, group = name.partition("@")
        if separator:
            groups.setdefault(group, {})[short] = variable
    meta, observed = groups.get("MetaData", {}), groups["ObsValue"]
    place = {ours: _find(meta, names) for ours, names in _IODA_PLACE.items()}
    absent = [name for name in ("latitude", "longitude") if place[name] is None]
    if absent:
        raise InputError(f"{file}: MetaData has no {', '.join(absent)}; it has: {', '.join(meta)}")
    numbers = {k: _floats(v) for k, v in place.items() if v is not None}
    size = numbers["latitude"].size
    columns = numbers | {"time": _ioda_time(data, meta, file), "station_id": _ioda_station(meta, size)}
    levelled = (
        bool({"pressure", "height"} & set(numbers)) and not np.isnan([numbers[k] for k in ("pressure", "height") if k in numbers]).all()
    )
    values: list[Values] = []
    ignored: list[str] = []
    for name, variable in observed.items():
        modern = next((new for new, (old, *_) in _IODA.items() if name in (new, old)), None)
        ours = "" if modern is None else _IODA[modern][1 if levelled else 2]
        if not ours or variable.shape != (size,):
            ignored.append(name)
            continue
        scale, offset = _factors(variable, ours, file, _IODA_UNITS.get(modern or ""))
        upper = levelled and (not OBSERVABLES[ours].surface or ours in ("wind_speed", "wind_direction"))
        error = groups.get("ObsError", {}).get(name)
        marks = groups.get("PreQC", {}).get(name)
        flag = None if marks is None else np.where(np.nan_to_num(_floats(marks)) > _HIGHEST_PRE_QC, QC.PRE_QC, QC.PASS)
        errors = None if error is None else _positive(_floats(error) * scale)
        values.append(Values(ours, _floats(variable) * scale + offset, upper, errors, flag))
    return assemble(file, np.arange(1, size + 1), columns, values, ignored=ignored)


def _read_madis(data: netCDF4.Dataset, _: Path, file: str) -> ReadResult:
    variables = dict(data.variables)
    size = variables["latitude"].size
    time, name = _find(variables, _MADIS_TIME), _find(variables, _MADIS_NAME)
    columns = {k: _floats(variables[k]) for k in ("latitude", "longitude")}
    columns["time"] = np.full(size, np.datetime64("NaT"), "datetime64[ns]") if time is None else _seconds(_clock(time))
    columns["station_id"] = np.full(size, "", object) if name is None else _words(name)
    aircraft = "altitude" in variables
    if aircraft:  # the altitude of the standard atmosphere at the pressure measured
        columns["pressure"] = standard_pressure(_floats(variables["altitude"]))
    elif "elevation" in variables:
        columns["elevation"] = _floats(variables["elevation"])
    values: list[Values] = []
    for theirs, names in _MADIS.items():
        ours = names[aircraft]
        if theirs not in variables or not ours:
            continue
        scale, offset = _factors(variables[theirs], ours, file, None)
        judged = variables.get(f"{theirs}DD")
        flag = None if judged is None else np.where(np.isin(_words(judged).astype(str), _MADIS_FAILED), QC.PRE_QC, QC.PASS)
        values.append(Values(ours, _floats(variables[theirs]) * scale + offset, aircraft, None, flag))
    return assemble(file, np.arange(1, size + 1), columns, values)


_READERS: tuple[tuple[Callable[[netCDF4.Dataset], bool], Callable[[netCDF4.Dataset, Path, str], ReadResult]], ...] = (
    (lambda data: {"ObsValue", "EffectiveQC", "source_row"} <= set(data.variables), _read_feedback),
    (lambda data: "ObsValue" in data.groups or any(name.endswith("@ObsValue") for name in data.variables), _read_ioda),
    (lambda data: "latitude" in data.variables and any(n in data.variables for n in _MADIS_TIME), _read_madis),
)


def _find(variables: Group, names: tuple[str, ...]) -> netCDF4.Variable | None:
    return next((variables[name] for name in names if name in variables), None)


def _floats(variable: netCDF4.Variable, limit: float = 1e8) -> np.ndarray:
    """Numbers as floats, NaN where missing; fill values written without saying so (beyond ``limit``) are missing too."""
    values: np.ndarray = np.ma.filled(np.ma.asarray(variable[:], dtype=float), np.nan)
    return np.where(np.abs(values) < limit, values, np.nan)


def _clock(variable: netCDF4.Variable) -> np.ndarray:
    """Seconds as they stand in a time variable."""
    return _floats(variable, limit=np.inf)


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan)


def _factors(variable: netCDF4.Variable, ours: str, file: str, default: str | None) -> tuple[float, float]:
    canonical = OBSERVABLES[ours].units
    aliases = {"kelvin": "K", "pascal": "Pa", "meter/sec": "m/s", "meter": "m", "percent": "%"}
    unit = str(getattr(variable, "units", default or canonical)) or canonical
    try:
        return conversion(aliases.get(unit.lower(), unit), canonical)
    except ValueError as error:
        raise InputError(f"{file}: {variable.name}: {error}") from error


def _words(variable: netCDF4.Variable) -> np.ndarray:
    """Texts (N,) of a string or character variable."""
    variable.set_auto_mask(False)
    variable.set_auto_chartostring(False)
    letters = variable[:]
    if letters.dtype.kind == "S" and letters.ndim > 1:
        letters = np.ascontiguousarray(letters).view(f"S{letters.shape[1]}").ravel()
    words = (w.decode("utf-8", "replace") if isinstance(w, bytes) else str(w) for w in letters.ravel().tolist())
    return np.array([re.sub(r"[^\x20-\x7e]", "", w).strip() for w in words] or [""], object)[: len(letters)]


def _seconds(values: np.ndarray) -> np.ndarray:
    """Times (N,) from seconds since 1970."""
    known = np.abs(values) < 9e9
    micro = np.round(np.where(known, values, 0) * 1e6).astype("timedelta64[us]")
    return np.where(known, _EPOCH + micro, np.datetime64("NaT")).astype("datetime64[ns]")


def _ioda_time(data: netCDF4.Dataset, meta: Group, file: str) -> np.ndarray:
    stamp = _find(meta, ("dateTime", "datetime"))
    if stamp is not None and stamp.dtype.kind in "iuf":
        found = re.match(r"\s*seconds\s+since\s+(.*?)Z?\s*$", str(getattr(stamp, "units", "seconds since 1970-01-01")))
        base = pd.to_datetime(found[1] if found else "", errors="coerce")
        if found is None or pd.isna(base):
            raise InputError(f"{file}: {stamp.name} has units {getattr(stamp, 'units', '')!r}: expected seconds since a date")
        return _seconds(_clock(stamp) + base.timestamp())
    if stamp is not None:
        return pd.to_datetime(pd.Series(_words(stamp)), errors="coerce", utc=True).dt.tz_localize(None).to_numpy().astype("datetime64[ns]")
    offset, reference = meta.get("time"), str(getattr(data, "date_time", ""))
    base = pd.to_datetime(reference, format="%Y%m%d%H", errors="coerce")
    if offset is None or pd.isna(base):
        raise InputError(f"{file}: no time: expected MetaData dateTime, datetime, or time with the attribute date_time")
    return _seconds(_floats(offset) * 3600 + base.timestamp())


def _ioda_station(meta: Group, size: int) -> np.ndarray:
    name = _find(meta, ("stationIdentification", "station_id", "aircraftIdentifier"))
    if name is None:
        return np.full(size, "", object)
    return _words(name) if name.dtype is str or name.dtype.kind == "S" else np.array([f"{v:g}" for v in _floats(name)], object)
