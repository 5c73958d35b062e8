"""Surface reports, soundings, profilers and aircraft reports in BUFR, decoded by pdbufr on
ecCodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from phyda_cli.constants import GRAVITY
from phyda_cli.errors import InputError
from phyda_cli.observations.atmosphere import standard_pressure
from phyda_cli.observations.read.bufr_messages import Message, rows, split
from phyda_cli.observations.read.identify import IDENTIFIERS, identify
from phyda_cli.observations.read.to_table import Values, assemble
from phyda_cli.observations.report import Problem, ReadResult, merge
from phyda_cli.observations.table import QC

__all__ = ["read_bufr"]

_LAND, _SEA, _SOUNDINGS, _AIRCRAFT = 0, 1, 2, 4  # BUFR table A
_SURFACE_BIT = {
    "verticalSoundingSignificance": 64,
    "extendedVerticalSoundingSignificance": 1 << 17,
}  # flag tables 008001, 008042

_TIME = ("year", "month", "day", "hour", "minute", "second")
_STATION = (
    "latitude",
    "longitude",
    "heightOfStation",
    "heightOfStationGroundAboveMeanSeaLevel",
    "heightOfBarometerAboveMeanSeaLevel",
)
_COMMON = (*IDENTIFIERS, *_TIME, *_STATION)

_AT_SURFACE = {
    "t2m": ("airTemperatureAt2M", "airTemperature"),
    "d2m": ("dewpointTemperatureAt2M", "dewpointTemperature"),
    "rh2m": ("relativeHumidity",),
    "wind_speed": ("windSpeedAt10M", "windSpeed"),
    "wind_direction": ("windDirectionAt10M", "windDirection"),
    "sp": ("nonCoordinatePressure",),
    "msl": ("pressureReducedToMeanSeaLevel",),
}
_ALOFT = {
    "t": ("airTemperature",),
    "td": ("dewpointTemperature",),
    "wind_speed": ("windSpeed",),
    "wind_direction": ("windDirection",),
    "u": ("u",),
    "v": ("v",),
}
_LEVELS = (
    "timePeriod",
    "latitudeDisplacement",
    "longitudeDisplacement",
    "pressure",
    "geopotentialHeight",
    "geopotential",
    "height",
)
_HEIGHTS = ("nonCoordinateGeopotential", "nonCoordinateGeopotentialHeight")
_FLIGHT = ("pressure", "flightLevel", "height", "mixingRatio", "relativeHumidity")

_COLUMNS = {
    (_LAND, _SEA): (*_COMMON, *(key for keys in _AT_SURFACE.values() for key in keys)),
    (_SOUNDINGS,): (
        *_COMMON,
        *_LEVELS,
        *_SURFACE_BIT,
        *_HEIGHTS,
        *(key for keys in _ALOFT.values() for key in keys),
    ),
    (_AIRCRAFT,): (*_COMMON, *_FLIGHT, *(key for keys in _ALOFT.values() for key in keys)),
}


def read_bufr(content: bytes, file: str) -> ReadResult:
    """Observations in the BUFR messages of ``content``; ``file`` is its name in messages and rows.

    Land and sea surface reports give 2 m temperature and dew point or relative humidity, 10 m wind,
    station and mean sea level pressure; soundings and profilers temperature, dew point, wind and
    geopotential; aircraft temperature, wind and humidity. A row of the account is a report, or a
    level of a sounding; ``row`` of an observation is its message number. A message that cannot be
    decoded, or is about something else, is one unreadable row and a problem. Values without level,
    position or time get QC 11 and a problem; those extrapolated below the station's surface, as is
    usual, QC 13. Raises InputError when nothing can be decoded, or the file ends within a message.
    """
    messages, lost = split(content, file)
    parts = []
    for categories, columns in _COLUMNS.items():
        chosen = [m for m in messages if m.category in categories]
        if chosen:
            parts.append(_read_kind(chosen, columns, file, categories[0]))
    known = {c for categories in _COLUMNS for c in categories}
    others = [m for m in messages if m.category not in known]
    lost += [
        Problem(file, m.number, f"a BUFR message of data category {m.category}, which is not read")
        for m in others
    ]
    result = merge([*parts, assemble(file, np.empty(0, int), _nowhere(), [], lost=lost)])
    if result.rows_read == result.rows_unreadable:
        _refuse(file, messages, result.problems)
    order = result.table["row"].argsort(kind="stable")
    return replace(
        result,
        table=result.table.iloc[order].reset_index(drop=True),
        problems=sorted(result.problems, key=lambda p: p.row),
    )


def _refuse(file: str, messages: Sequence[Message], problems: Sequence[Problem]) -> None:
    found = (
        ", ".join(
            f"{n} of category {c}" for c, n in sorted(Counter(m.category for m in messages).items())
        )
        or "no whole message"
    )
    reason = problems[0].reason if problems else "it is empty"
    raise InputError(
        f"{file}: the BUFR content cannot be decoded to observations: {reason} (found {found})",
        hint="surface (data category 0, 1), soundings (2) and aircraft (4) are read; is the file "
        "complete?",
    )


def _nowhere() -> dict[str, np.ndarray]:
    nothing = np.empty(0)
    return {"latitude": nothing, "longitude": nothing, "time": np.empty(0, "datetime64[ns]")}


def _read_kind(
    messages: Sequence[Message], columns: Sequence[str], file: str, kind: int
) -> ReadResult:
    reports, lost = rows(messages, tuple(dict.fromkeys(columns)), file)
    number = reports["number"].to_numpy(int)
    category = pd.Series({m.number: m.category for m in messages})
    for name in set(reports) - set(IDENTIFIERS) - {"number"}:
        reports[name] = _numbers(reports[name])
    place = _place(reports, category.reindex(number).to_numpy() == _SEA)
    doubts: list[tuple[np.ndarray, QC, str]] = []
    if kind == _LAND:
        barometer = reports["heightOfBarometerAboveMeanSeaLevel"].to_numpy()
        elevations = {"sp": np.where(np.isnan(barometer), place["elevation"], barometer)}
        values = [
            Values(name, _first(reports, keys), elevation=elevations.get(name))
            for name, keys in _AT_SURFACE.items()
        ]
    elif kind == _SOUNDINGS:
        place |= _levels(reports, number, place)
        doubts = [
            (
                place["pressure"] > _surface_pressure(reports, number, place["pressure"]) * 1.0005,
                QC.DOMAIN,
                "",
            )
        ]
        geopotential, height = (reports[name].to_numpy() for name in _HEIGHTS)
        values = [
            Values(
                "z", np.where(np.isnan(geopotential), height * GRAVITY, geopotential), upper=True
            ),
            *_aloft(reports),
        ]
    else:
        altitude = _first(
            reports, ("flightLevel", "height")
        )  # aircraft report pressure as an altitude of the standard atmosphere
        pressure = reports["pressure"].to_numpy()
        place["pressure"] = np.where(np.isnan(pressure), standard_pressure(altitude), pressure)
        place["elevation"] = np.full(number.size, np.nan)
        mixing = reports["mixingRatio"].to_numpy()
        humidity = {"r": reports["relativeHumidity"].to_numpy(), "q": mixing / (1 + mixing)}
        values = [
            *_aloft(reports),
            *(Values(name, value, upper=True) for name, value in humidity.items()),
        ]
    return assemble(file, number, place, values, doubts, lost)


def _numbers(column: pd.Series) -> np.ndarray:
    """Numbers (N,), NaN where BUFR says missing in any of its ways."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(float)
    return np.where((np.abs(values) >= 2147483647) | ~np.isfinite(values), np.nan, values)


def _first(reports: pd.DataFrame, keys: Sequence[str]) -> np.ndarray:
    """The first of the columns ``keys`` that holds a value, for each report (N,)."""
    return reports[list(keys)].bfill(axis=1).iloc[:, 0].to_numpy(float)


def _aloft(reports: pd.DataFrame) -> list[Values]:
    return [Values(name, _first(reports, keys), upper=True) for name, keys in _ALOFT.items()]


def _place(reports: pd.DataFrame, at_sea: np.ndarray) -> dict[str, np.ndarray]:
    """Station, position and time of every report; ships and buoys without a height stand at sea
    level."""
    clock = reports[list(_TIME)].copy()
    clock[["minute", "second"]] = clock[["minute", "second"]].fillna(0)
    clock = clock.where(clock["year"].between(1678, 2261))  # what nanoseconds can hold
    time = pd.to_datetime(clock, errors="coerce").to_numpy().astype("datetime64[ns]")
    elevation = _first(reports, ("heightOfStationGroundAboveMeanSeaLevel", "heightOfStation"))
    return {
        "station_id": identify(reports),
        "time": time,
        "latitude": reports["latitude"].to_numpy().round(6),  # decoding leaves -90.00000000000001
        "longitude": reports["longitude"].to_numpy().round(6),
        "elevation": np.where(np.isnan(elevation) & at_sea, 0.0, elevation),
    }


def _levels(
    reports: pd.DataFrame, number: np.ndarray, place: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Pressure or height of every level, and the place and time of the balloon where the report
    follows it."""
    pressure, geopotential = reports["pressure"].to_numpy(), reports["geopotential"].to_numpy()
    height = np.where(
        np.isnan(geopotential), reports["geopotentialHeight"].to_numpy(), geopotential / GRAVITY
    )
    # In a report with other levels, "height" is where the balloon was released.
    levelled = (
        pd.Series(~np.isnan(pressure) | ~np.isnan(height))
        .groupby(number)
        .transform("any")
        .to_numpy(bool)
    )
    height = np.where(np.isnan(height) & ~levelled, reports["height"].to_numpy(), height)
    drift = (
        reports[["timePeriod", "latitudeDisplacement", "longitudeDisplacement"]]
        .fillna(0.0)
        .to_numpy()
    )
    since = np.where(np.abs(drift[:, 0]) < 86400, drift[:, 0], 0.0)
    longitude = place["longitude"] + drift[:, 2]
    return {
        "pressure": pressure,
        "height": np.where(np.isnan(pressure), height, np.nan),
        "time": place["time"] + (since * 1000).astype("timedelta64[ms]"),
        "latitude": (place["latitude"] + drift[:, 1]).round(6),
        "longitude": np.where(drift[:, 2] != 0, longitude % 360, longitude).round(6),
    }


def _surface_pressure(
    reports: pd.DataFrame, number: np.ndarray, pressure: np.ndarray
) -> np.ndarray:
    """Pressure of the surface level of each row's report [Pa], infinite when the report has
    none."""
    surface = np.zeros(len(reports), bool)
    for name, bit in _SURFACE_BIT.items():
        surface |= (reports[name].fillna(0).to_numpy().astype(np.int64) & bit) != 0
    found = pd.Series(pressure[surface]).groupby(number[surface]).max()
    return pd.Series(number).map(found).fillna(np.inf).to_numpy(float)
