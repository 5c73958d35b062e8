"""IODA NetCDF files, of both naming generations."""

from __future__ import annotations

import re
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.observations.read.columns import METADATA_UNITS
from phyda_cli.observations.read.levels import are_levels, placed
from phyda_cli.observations.read.netcdf import (
    Group,
    first_of,
    netcdf_reader,
    numbers,
    positive,
    raw_numbers,
    since_1970,
    texts,
    unit_factors,
)
from phyda_cli.observations.read.to_table import Values, assemble
from phyda_cli.observations.report import Note, ReadResult
from phyda_cli.observations.table import QC
from phyda_cli.units import conversion

__all__ = ["read_ioda"]

_HIGHEST_PRE_QC = 3  # NCEP's quality marks 0 to 3 may be used, as in JEDI's PreQC filter
_MARKS = ("PreQC", "QualityMarker")

_IODA = {  # IODA's name today: (name before 2022, ours)
    "airTemperature": ("air_temperature", "t"),
    "airTemperatureAt2M": ("air_temperature_2m", "t2m"),
    "virtualTemperature": ("virtual_temperature", "tv"),
    "dewpointTemperature": ("dew_point_temperature", "td"),
    "dewPointTemperature": ("dewpoint_temperature", "td"),
    "dewpointTemperatureAt2M": ("dew_point_temperature_2m", "d2m"),
    "specificHumidity": ("specific_humidity", "q"),
    "specificHumidityAt2M": ("specific_humidity_2m", "q2m"),
    "relativeHumidity": ("relative_humidity", "r"),
    "relativeHumidityAt2M": ("relative_humidity_2m", "rh2m"),
    "windEastward": ("eastward_wind", "u"),
    "windNorthward": ("northward_wind", "v"),
    "windEastwardAt10M": ("eastward_wind_10m", "u10"),
    "windNorthwardAt10M": ("northward_wind_10m", "v10"),
    "windSpeed": ("wind_speed", "wind_speed"),
    "windDirection": ("wind_direction", "wind_direction"),
    "windSpeedAt10M": ("wind_speed_10m", "wind_speed"),
    "windDirectionAt10M": ("wind_direction_10m", "wind_direction"),
    "geopotentialHeight": ("geopotential_height", "gh"),
    "stationPressure": ("surface_pressure", "sp"),
    "pressureReducedToMeanSeaLevel": ("air_pressure_at_sea_level", "msl"),
    "altimeterSetting": ("altimeter_setting", "qnh"),
}
_IODA_PLACE = {
    "latitude": ("latitude",),
    "longitude": ("longitude",),
    "pressure": ("pressure", "air_pressure"),
    "height": ("height", "geopotentialHeight", "geopotential_height", "heightOfStation"),
    "elevation": ("stationElevation", "station_elevation"),
    "sequence": ("sequenceNumber", "record_number", "recordNumber", "sequence_number"),
}
_IODA_UNITS = {
    "relativeHumidity": "1",
    "relativeHumidityAt2M": "1",
}  # its convention where a file says nothing


@netcdf_reader(
    "IODA",
    lambda data: (
        "ObsValue" in data.groups or any(name.endswith("@ObsValue") for name in data.variables)
    ),
)
def read_ioda(data: netCDF4.Dataset, _: Path, file: str) -> ReadResult:
    """The observations in ``data``, called ``file`` in messages; a location is a row of the
    account.

    Pressure is a level's where MetaData has it, or ObsValue of a sounding; which locations are of
    the surface is decided by :func:`are_levels`. Raises InputError when places or times are
    lacking, or nothing in it is understood.
    """
    groups = {name: dict(group.variables) for name, group in data.groups.items()}
    for name, variable in data.variables.items():
        short, separator, group = name.partition("@")
        if separator:
            groups.setdefault(group, {})[short] = variable
    meta, observed = groups.get("MetaData", {}), groups["ObsValue"]
    places = {ours: first_of(meta, names) for ours, names in _IODA_PLACE.items()}
    level = places["pressure"]
    level = first_of(observed, _IODA_PLACE["pressure"]) if level is None else level
    places |= {"pressure": level}
    absent = [name for name in ("latitude", "longitude") if places[name] is None]
    if absent:
        raise InputError(f"{file}: MetaData has no {', '.join(absent)}; it has: {', '.join(meta)}")
    columns = {k: _numbers(v, k, file) for k, v in places.items() if v is not None}
    size = columns["latitude"].size
    columns |= {"time": _ioda_time(data, meta, file), "station_id": _ioda_station(meta, size)}
    upper = _upper(columns)
    values: list[Values] = []
    ignored: list[str] = []
    for name, variable in observed.items():
        modern = next((new for new, (old, *_) in _IODA.items() if name in (new, old)), None)
        if modern is None or variable.size != size:
            if variable is not level:
                ignored.append(name)
            continue
        ours = _IODA[modern][1]
        given = groups.get("ObsError", {}).get(name)
        scale, offset = unit_factors(variable, ours, file, _IODA_UNITS.get(modern))
        value = numbers(variable).ravel() * scale + offset
        error = None if given is None else positive(numbers(given).ravel() * scale)
        values += placed(ours, value, upper, error, _flag(groups, name))
    if not values:
        raise InputError(
            f"{file}: IODA without any variable that is read; ObsValue holds {', '.join(observed)}",
            hint=f"read are {', '.join(_IODA)}",
        )
    columns["pressure"] = np.where(upper, columns.get("pressure", np.nan), np.nan)
    columns["height"] = np.where(upper, columns.get("height", np.nan), np.nan)
    notes = [Note(file, f"variables not used: {', '.join(ignored)}")] if ignored else []
    rows = np.arange(1, size + 1)
    return assemble(file, rows, columns, values, ignored=ignored, notes=notes)


def _numbers(variable: netCDF4.Variable, name: str, file: str) -> np.ndarray:
    """Values (N,) in SI units of what says where a location is."""
    values = numbers(variable).ravel()
    if name in ("pressure", "height", "elevation"):
        unit = str(getattr(variable, "units", "")) or None
        try:
            scale, offset = conversion(unit, METADATA_UNITS[name])
        except ValueError as error:
            raise InputError(f"{file}: {variable.name}: {error}") from error
        values = values * scale + offset
    return values


def _upper(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Which locations are levels aloft. The levels of a drifting balloon have times and places of
    their own: where most of a station's locations are levels, all are."""
    size = columns["latitude"].size
    nothing = np.full(size, np.nan)
    station = columns["station_id"].astype(str)
    time = columns["time"].astype(str)
    own = columns["sequence"].astype(str) if "sequence" in columns else time
    profile = pd.Series(station) + "|" + pd.Series(own)
    if "sequence" not in columns:
        place = (
            columns["latitude"].round(1).astype(str),
            columns["longitude"].round(1).astype(str),
        )
        profile = profile + "|" + pd.Series(place[0]) + "|" + pd.Series(place[1])
    pressure, height = columns.get("pressure", nothing), columns.get("height", nothing)
    elevation = columns.get("elevation", nothing)
    levels = are_levels(profile.to_numpy(), pressure, height, elevation)
    named = pd.Series(np.where(station == "", profile, station))
    mostly = pd.Series(levels).groupby(named).transform("mean").to_numpy() > 0.5
    return mostly | levels


def _flag(groups: dict[str, Group], name: str) -> np.ndarray | None:
    """QC codes (N,) from the first group of quality marks that has ``name``."""
    marks = next((groups[g][name] for g in _MARKS if name in groups.get(g, {})), None)
    if marks is None:
        return None
    return np.where(np.nan_to_num(numbers(marks).ravel()) > _HIGHEST_PRE_QC, QC.PRE_QC, QC.PASS)


def _ioda_time(data: netCDF4.Dataset, meta: Group, file: str) -> np.ndarray:
    stamp = first_of(meta, ("dateTime", "datetime"))
    if stamp is not None and stamp.dtype is not str and stamp.dtype.kind in "iuf":
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
