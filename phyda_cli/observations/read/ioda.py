"""IODA NetCDF files, of both naming generations."""

from __future__ import annotations

import re
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.read.netcdf_variables import (
    Group,
    first_of,
    numbers,
    positive,
    raw_numbers,
    since_1970,
    texts,
    unit_factors,
)
from phyda_cli.observations.read.to_table import Values, assemble
from phyda_cli.observations.report import ReadResult
from phyda_cli.observations.table import QC

__all__ = ["read_ioda"]

_HIGHEST_PRE_QC = 3  # NCEP's quality marks 0 to 3 may be used, as in JEDI's PreQC filter

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
_IODA_UNITS = {
    "relativeHumidity": "1",
    "relativeHumidityAt2M": "1",
}  # its convention where a file says nothing


def read_ioda(data: netCDF4.Dataset, _: Path, file: str) -> ReadResult:
    """The observations in ``data``, called ``file`` in messages; a location is a row of the
    account.

    Raises InputError when places or times are lacking.
    """
    groups = {name: dict(group.variables) for name, group in data.groups.items()}
    for name, variable in data.variables.items():
        short, separator, group = name.partition("@")
        if separator:
            groups.setdefault(group, {})[short] = variable
    meta, observed = groups.get("MetaData", {}), groups["ObsValue"]
    place = {ours: first_of(meta, names) for ours, names in _IODA_PLACE.items()}
    absent = [name for name in ("latitude", "longitude") if place[name] is None]
    if absent:
        raise InputError(f"{file}: MetaData has no {', '.join(absent)}; it has: {', '.join(meta)}")
    columns = {k: numbers(v) for k, v in place.items() if v is not None}
    size = columns["latitude"].size
    columns |= {"time": _ioda_time(data, meta, file), "station_id": _ioda_station(meta, size)}
    levelled = (
        bool({"pressure", "height"} & set(columns))
        and not np.isnan([columns[k] for k in ("pressure", "height") if k in columns]).all()
    )
    values: list[Values] = []
    ignored: list[str] = []
    for name, variable in observed.items():
        modern = next((new for new, (old, *_) in _IODA.items() if name in (new, old)), None)
        ours = "" if modern is None else _IODA[modern][1 if levelled else 2]
        if not ours or variable.shape != (size,):
            ignored.append(name)
            continue
        scale, offset = unit_factors(variable, ours, file, _IODA_UNITS.get(modern or ""))
        upper = levelled and (
            not OBSERVABLES[ours].surface or ours in ("wind_speed", "wind_direction")
        )
        error = groups.get("ObsError", {}).get(name)
        marks = groups.get("PreQC", {}).get(name)
        flag = (
            None
            if marks is None
            else np.where(np.nan_to_num(numbers(marks)) > _HIGHEST_PRE_QC, QC.PRE_QC, QC.PASS)
        )
        errors = None if error is None else positive(numbers(error) * scale)
        values.append(Values(ours, numbers(variable) * scale + offset, upper, errors, flag))
    return assemble(file, np.arange(1, size + 1), columns, values, ignored=ignored)


def _ioda_time(data: netCDF4.Dataset, meta: Group, file: str) -> np.ndarray:
    stamp = first_of(meta, ("dateTime", "datetime"))
    if stamp is not None and stamp.dtype.kind in "iuf":
        found = re.match(
            r"\s*seconds\s+since\s+(.*?)Z?\s*$",
            str(getattr(stamp, "units", "seconds since 1970-01-01")),
        )
        base = pd.to_datetime(found[1] if found else "", errors="coerce")
        if found is None or pd.isna(base):
            raise InputError(
                f"{file}: {stamp.name} has units {getattr(stamp, 'units', '')!r}: expected "
                "seconds since a date"
            )
        return since_1970(raw_numbers(stamp) + base.timestamp())
    if stamp is not None:
        return (
            pd.to_datetime(pd.Series(texts(stamp)), errors="coerce", utc=True)
            .dt.tz_localize(None)
            .to_numpy()
            .astype("datetime64[ns]")
        )
    offset, reference = meta.get("time"), str(getattr(data, "date_time", ""))
    base = pd.to_datetime(reference, format="%Y%m%d%H", errors="coerce")
    if offset is None or pd.isna(base):
        raise InputError(
            f"{file}: no time: expected MetaData dateTime, datetime, or time with the attribute "
            "date_time"
        )
    return since_1970(numbers(offset) * 3600 + base.timestamp())


def _ioda_station(meta: Group, size: int) -> np.ndarray:
    name = first_of(meta, ("stationIdentification", "station_id", "aircraftIdentifier"))
    if name is None:
        return np.full(size, "", object)
    return (
        texts(name)
        if name.dtype is str or name.dtype.kind == "S"
        else np.array([f"{v:g}" for v in numbers(name)], object)
    )
