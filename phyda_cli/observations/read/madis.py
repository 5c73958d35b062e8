"""MADIS NetCDF files: surface records and aircraft."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np

from phyda_cli.observations.atmosphere import standard_pressure
from phyda_cli.observations.read.levels import placed
from phyda_cli.observations.read.netcdf import (
    first_of,
    netcdf_reader,
    numbers,
    raw_numbers,
    since_1970,
    texts,
    unit_factors,
)
from phyda_cli.observations.read.to_table import Values, assemble
from phyda_cli.observations.report import ReadResult
from phyda_cli.observations.table import QC

__all__ = ["read_madis"]

_MADIS = {
    "temperature": "t",
    "dewpoint": "td",
    "relHumidity": "r",
    "windSpeed": "wind_speed",
    "windDir": "wind_direction",
    "altimeter": "qnh",
    "stationPressure": "sp",
    "stationPress": "sp",
    "seaLevelPress": "msl",
    "seaLevelPressure": "msl",
}
_TIME_NAMES = ("timeObs", "observationTime")
_MADIS_NAME = ("stationId", "stationName", "tailNumber", "en_tailNumber")
_MADIS_FAILED = ("X", "Q", "B")  # failed the first or a later stage, or a forecaster's judgement


@netcdf_reader(
    "MADIS",
    lambda data: "latitude" in data.variables and any(n in data.variables for n in _TIME_NAMES),
)
def read_madis(data: netCDF4.Dataset, _: Path, file: str) -> ReadResult:
    """The observations in ``data``, called ``file`` in messages. A record is a row of the
    account."""
    variables = dict(data.variables)
    size = variables["latitude"].size
    time, name = first_of(variables, _TIME_NAMES), first_of(variables, _MADIS_NAME)
    columns = {k: numbers(variables[k]) for k in ("latitude", "longitude")}
    columns["time"] = (
        np.full(size, np.datetime64("NaT"), "datetime64[ns]")
        if time is None
        else since_1970(raw_numbers(time))
    )
    columns["station_id"] = np.full(size, "", object) if name is None else texts(name)
    aircraft = "altitude" in variables
    if aircraft:  # the altitude of the standard atmosphere at the pressure measured
        columns["pressure"] = standard_pressure(numbers(variables["altitude"]))
    elif "elevation" in variables:
        columns["elevation"] = numbers(variables["elevation"])
    level = np.full(size, aircraft)
    values: list[Values] = []
    for theirs, ours in _MADIS.items():
        if theirs not in variables:
            continue
        scale, offset = unit_factors(variables[theirs], ours, file, None)
        judged = variables.get(f"{theirs}DD")
        flag = (
            None
            if judged is None
            else np.where(np.isin(texts(judged).astype(str), _MADIS_FAILED), QC.PRE_QC, QC.PASS)
        )
        value = numbers(variables[theirs]) * scale + offset
        values += placed(ours, value, level, flag=flag)
    return assemble(file, np.arange(1, size + 1), columns, values)
