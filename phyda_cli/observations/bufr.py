"""Radiosonde ascents (TEMP) in BUFR files, decoded by pdbufr on ecCodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.names import GRAVITY
from phyda_cli.observations.report import Problem, ReadResult
from phyda_cli.observations.table import QC, concat, make

__all__ = ["read_bufr"]

_SOUNDINGS = 2  # BUFR table A: vertical soundings other than satellite
_SURFACE_BIT = {"verticalSoundingSignificance": 64, "extendedVerticalSoundingSignificance": 1 << 17}  # flag tables 008001, 008042

_STATION = ("count", "WMO_station_id", "latitude", "longitude", "heightOfStation", "data_datetime")
_VALUES = {
    "nonCoordinateGeopotential": "z",
    "nonCoordinateGeopotentialHeight": "gh",
    "airTemperature": "t",
    "dewpointTemperature": "td",
    "windSpeed": "wind_speed",
    "windDirection": "wind_direction",
}


def read_bufr(path: Path, file: str | None = None) -> ReadResult:
    """Temperature, dew point, wind speed and direction, and geopotential at every level of the soundings in ``path``.

    A row of the account is a level; ``row`` of an observation is its message number. Values at a level without pressure
    get QC 11 and a problem; those that a report extrapolates below its station's surface, as is usual, QC 13.
    Raises InputError when the file cannot be decoded or holds no sounding.
    """
    file = file or str(path)
    levels = _decode(path, file)
    for name in (*_STATION, "pressure", *_VALUES, *_SURFACE_BIT):
        if name not in levels:
            levels[name] = np.nan
    number = levels["count"].to_numpy(int)
    pressure = pd.to_numeric(levels["pressure"]).to_numpy(float)
    values = levels[list(_VALUES)].astype(float).to_numpy()  # (levels, variables)
    values[:, 1] *= np.where(np.isnan(values[:, 0]), GRAVITY, np.nan)  # the height only where the geopotential is lacking
    values[:, 0] = np.where(np.isnan(values[:, 0]), values[:, 1], values[:, 0])
    names = np.array(list(_VALUES.values()), object)
    values = np.delete(values, 1, axis=1)
    names = np.delete(names, 1)

    below = pressure > _surface_pressure(levels, number, pressure) * 1.0005
    time = pd.to_datetime(levels["data_datetime"], errors="coerce").to_numpy().astype("datetime64[ns]")
    placed = levels[["latitude", "longitude"]].notna().all(axis=1).to_numpy() & ~np.isnat(time)
    code = np.where(np.isnan(pressure) | ~placed, QC.PRE_QC, np.where(below, QC.DOMAIN, 0))
    level, variable = np.nonzero(~np.isnan(values))
    filled = np.isin(np.arange(len(levels)), level)
    table = make(
        station_id=levels["WMO_station_id"].map(_station_id).to_numpy(object)[level],
        time=time[level],
        latitude=levels["latitude"].to_numpy(float).round(6)[level],  # decoding leaves -90.00000000000001
        longitude=levels["longitude"].to_numpy(float).round(6)[level],
        elevation=levels["heightOfStation"].to_numpy(float)[level],
        variable=names[variable],
        pressure=pressure[level],
        value=values[level, variable],
        qc=code[level],
        file=file,
        row=number[level],
    )
    reasons = ((np.isnan(pressure), "a level without pressure"), (~placed, "no position or time"))
    return ReadResult(
        table=table if len(table) else concat([]),
        rows_read=len(levels),
        rows_with_values=int(filled.sum()),
        rows_without_values=int((~filled).sum()),
        rows_unreadable=0,
        problems=[Problem(file, int(number[i]), reason) for bad, reason in reasons for i in np.flatnonzero(bad & filled)],
    )


def _decode(path: Path, file: str) -> pd.DataFrame:
    """One row per level, with the message number as ``count``."""
    import pdbufr

    columns = (*_STATION, "pressure", *_SURFACE_BIT, *_VALUES)
    soundings = {"dataCategory": _SOUNDINGS}
    try:
        levels = pdbufr.read_bufr(path, columns=columns, filters=soundings, required_columns=False, prefilter_headers=True)
    except Exception as error:  # ecCodes and pdbufr raise many kinds, all of them about the file's content
        raise InputError(f"{file}: the BUFR content cannot be decoded: {error}", hint="is the file complete?") from error
    if levels.empty:
        raise InputError(f"{file}: no radiosonde ascent found", hint="only TEMP soundings (BUFR data category 2) are read")
    return levels


def _surface_pressure(levels: pd.DataFrame, number: np.ndarray, pressure: np.ndarray) -> np.ndarray:
    """Pressure of the surface level of each row's report [Pa], infinite when the report has none."""
    surface = np.zeros(len(levels), bool)
    for name, bit in _SURFACE_BIT.items():
        flags = levels[name].astype(float).fillna(0).to_numpy().astype(np.int64)
        surface |= (flags & bit) != 0
    found = pd.Series(pressure[surface]).groupby(number[surface]).max()
    return pd.Series(number).map(found).fillna(np.inf).to_numpy(float)


def _station_id(identifier: float | None) -> str:
    return "" if identifier is None or pd.isna(identifier) else f"{int(identifier):05d}"
