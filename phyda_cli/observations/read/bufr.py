"""Surface reports, soundings, profilers and aircraft reports in BUFR, each value read in its
context: the elements of class 0 to 9 before it say at which height, over which period and by which
statistic it was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from phyda_cli.constants import GRAVITY
from phyda_cli.errors import InputError
from phyda_cli.observations.atmosphere import standard_pressure
from phyda_cli.observations.read.bufr_context import Context, Surface
from phyda_cli.observations.read.bufr_messages import Decoder, Element, Message, find_message, split
from phyda_cli.observations.read.columns import ObservationMap
from phyda_cli.observations.read.decode import OTHER_KINDS, Source, reader
from phyda_cli.observations.read.levels import placed
from phyda_cli.observations.read.to_table import Values, assemble
from phyda_cli.observations.report import Note, Problem, ReadResult, merge
from phyda_cli.observations.table import QC, by_position

__all__ = ["read_bufr"]

_LAND, _SEA, _SOUNDINGS, _AIRCRAFT, _TABLES = 0, 1, 2, 4, 11  # BUFR table A
_CATEGORIES = {
    3: "soundings by satellite",
    5: "winds by satellite",
    6: "radar",
    7: "synoptic features",
    8: "physical and chemical constituents",
    9: "dispersal and transport",
    10: "radiological data",
    12: "surface data by satellite",
    20: "status information",
    21: "radiances",
    22: "radar by satellite",
    23: "lidar by satellite",
    30: "calibration",
    31: "oceanographic data",
    101: "images",
}
_SHOWN = 12  # elements that are listed with their counts
_CLIMATE = {(_LAND, 20), (_SEA, 20), (_SOUNDINGS, 25)}  # code table C-13

_NUMBERS = (
    "blockNumber",
    "stationNumber",
    "regionNumber",
    "wmoRegionSubArea",
    "buoyOrPlatformIdentifier",
)
_NAMES = (  # the first that is given
    "shipOrMobileLandStationIdentifier",
    "stationaryBuoyPlatformIdentifierEGCManBuoys",
    "marineObservingPlatformIdentifier",
    "icaoLocationIndicator",
    "aircraftRegistrationNumberOrOtherIdentification",
    "aircraftTailNumber",
    "aircraftFlightNumber",
)
_WIGOS = (
    "wigosIdentifierSeries",
    "wigosIssuerOfIdentifier",
    "wigosIssueNumber",
    "wigosLocalIdentifierCharacter",
)
_LOCAL = "ident"  # of ECMWF's own section
_OTHER_NAMES = ("shortStationName", "stationOrSiteName", "longStationName")

_TIME = ("year", "month", "day", "hour", "minute", "second")
_GROUND = ("heightOfStationGroundAboveMeanSeaLevel", "heightOfStation")
_BAROMETER = "heightOfBarometerAboveMeanSeaLevel"
_STATION = (*_NUMBERS, *_NAMES, *_WIGOS, *_OTHER_NAMES, *_TIME, *_GROUND, _BAROMETER)
_PLACE = ("latitude", "longitude")

_SURFACE_BIT = {
    "verticalSoundingSignificance": 64,
    "extendedVerticalSoundingSignificance": 1 << 17,
}  # flag tables 008001, 008042
_LEVELS = (  # a level begins with the first of these after a value
    *_SURFACE_BIT,
    "timeDisplacement",
    "latitudeDisplacement",
    "longitudeDisplacement",
    "pressure",
    "geopotentialHeight",
    "geopotential",
    "height",
    "heightAboveStation",
    "flightLevel",
)
_MOVING = (*_PLACE, *_TIME)  # of an aircraft, whose levels may each have their own
_HEIGHTS = {  # measured, or the level's where there is no pressure: geopotential of one unit
    "nonCoordinateGeopotential": 1.0,
    "nonCoordinateGeopotentialHeight": GRAVITY,
    "nonCoordinateHeight": GRAVITY,
}
_ALOFT = {
    "airTemperature": "t",
    "virtualTemperature": "tv",
    "dewpointTemperature": "td",
    "relativeHumidity": "r",
    "mixingRatio": "q",
    "windSpeed": "wind_speed",
    "windDirection": "wind_direction",
    "u": "u",
    "v": "v",
}
_WANTED_ALOFT = frozenset(
    (*_STATION, *_PLACE, *_LEVELS, *_HEIGHTS, *_ALOFT, *Context.ELEMENTS, "timePeriod")
)
_WANTED_AT_SURFACE = frozenset((*_STATION, *_PLACE, *Surface.ELEMENTS, *Context.ELEMENTS))


@dataclass
class _Row:
    """One report of a station, or one level of a sounding: where it stands and its values."""

    number: int
    station: Mapping[str, str | float | None]
    place: dict[str, float] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)


def _is_bufr(source: Source) -> bool:
    if find_message(source.content) >= 0:
        return True
    return b"BUFR" in source.content and not source.head.startswith(tuple(OTHER_KINDS))


@reader("BUFR", _is_bufr, rank=2, seconds=120.0)  # takes 1 s to 15 s a megabyte on an idle core
def _read_file(source: Source, _: ObservationMap | None) -> ReadResult:
    return read_bufr(source.content, str(source.path))


def read_bufr(content: bytes, file: str) -> ReadResult:
    """Observations in the BUFR messages of ``content``; ``file`` is its name in messages and rows.

    Land and sea surface reports give 2 m temperature and dew point or relative humidity, 10 m wind,
    station, altimeter and mean sea level pressure; soundings and profilers temperature, humidity,
    wind and geopotential; aircraft temperature, wind and humidity. A value that is a statistic, of
    a long period or measured elsewhere is left out and counted (:class:`Context`). A row of the
    account is a report, or a level of a sounding; ``row`` of an observation is its message number.
    A message that cannot be decoded, or is about something else, is one unreadable row and a
    problem. Values without level, position or time get QC 11 and a problem; those extrapolated
    below the station's surface, as is usual, QC 13. A file with tables of its own is NCEP's.
    Raises InputError when nothing can be decoded, or the file ends within a message.
    """
    messages, lost = split(content, file)
    if any(m.category == _TABLES for m in messages):
        from phyda_cli.observations.read.prepbufr import read_prepbufr

        return read_prepbufr(messages, file)
    said: Counter[str] = Counter()
    kinds: dict[Callable[..., ReadResult], list[_Row]] = {}
    decoders = {wanted: Decoder(wanted) for wanted in (_WANTED_AT_SURFACE, _WANTED_ALOFT)}
    for message in messages:
        reader = _READERS.get(message.category)
        if reader is None or (message.category, message.subcategory) in _CLIMATE:
            lost.append(Problem(file, message.number, _refusal(message)))
            continue
        walk, wanted, table = reader
        rows: list[_Row] = []
        own: Counter[str] = Counter()
        try:
            for elements in decoders[wanted].reports(message.content):
                rows += walk(message, elements, own)
        except Exception as error:  # ecCodes raises many kinds, all of them about the message
            reason = f"a BUFR message that cannot be decoded: {error}"
            lost.append(Problem(file, message.number, reason))
        else:
            kinds.setdefault(table, []).extend(rows)
            said += own
    parts = [table(rows, file) for table, rows in kinds.items()]
    nothing: dict[str, np.ndarray] = {name: np.empty(0) for name in _PLACE}
    nothing["time"] = np.empty(0, "datetime64[ns]")
    notes = [Note(file, text, n) for text, n in said.most_common()]
    unread = sum((d.unread for d in decoders.values()), Counter())
    told = [*notes, Note(file, _listed(unread))] if unread else notes
    names = [name for name, _ in unread.most_common()]
    rest = assemble(file, np.empty(0, int), nothing, [], lost=lost, ignored=names, notes=told)
    result = merge([*parts, rest])
    if result.rows_read == result.rows_unreadable or (notes and not result.rows_with_values):
        _refuse(file, messages, result)
    order = result.table["row"].argsort(kind="stable")
    return replace(
        result,
        table=result.table.iloc[order].reset_index(drop=True),
        problems=sorted(result.problems, key=lambda p: p.row),
    )


def _listed(unread: Counter[str]) -> str:
    """The elements that are not read, the most frequent ones with the number of their values."""
    shown = [f"{name} ({n})" for name, n in unread.most_common(_SHOWN)]
    more = [f"and {len(unread) - _SHOWN} more"] if len(unread) > _SHOWN else []
    return f"elements not read: {', '.join([*shown, *more])}"


def _refusal(message: Message) -> str:
    if message.category in (_LAND, _SEA, _SOUNDINGS):
        return "a climate message (statistics of a month), which is not read"
    name = _CATEGORIES.get(message.category)
    named = f" ({name})" if name else ""
    return f"a BUFR message of data category {message.category}{named}, which is not read"


def _refuse(file: str, messages: Sequence[Message], result: ReadResult) -> None:
    found = (
        ", ".join(
            f"{n} of category {c}" for c, n in sorted(Counter(m.category for m in messages).items())
        )
        or "no whole message"
    )
    reasons = [p.reason for p in result.problems[:1]] + [
        f"{n.text} ({n.count})" for n in result.notes
    ]
    raise InputError(
        f"{file}: the BUFR content cannot be decoded to observations: "
        f"{'; '.join(reasons) or 'it is empty'} (found {found})",
        hint="surface reports (data category 0, 1), soundings (2) and aircraft (4) are read, of "
        "one time and place, not statistics of a month",
    )


# Walks: from the elements of one report to its rows.


def _surface_rows(
    message: Message, elements: Sequence[Element], said: Counter[str]
) -> Iterator[_Row]:
    """A report of a station; a second row has what was measured at another height above it."""
    at_sea = message.category == _SEA
    station = _station(elements) | ({"sea_level": 0.0} if at_sea else {})
    values = Surface(at_sea)
    for name, value in elements:
        values.take(name, value)
    said.update(values.said)
    place = {name: v for name in _PLACE if isinstance(v := station.get(name), float)}
    yield _Row(message.number, station, place, values.near)
    for height, aloft in values.aloft.items():
        yield _Row(message.number, station, place | {"above_ground": height}, aloft)


def _level_rows(
    message: Message, elements: Sequence[Element], said: Counter[str]
) -> Iterator[_Row]:
    """The levels of a sounding or profiler, or of an aircraft's ascent."""
    station = _station(elements)
    context = Context()
    moving = _MOVING if message.category == _AIRCRAFT else ()
    rows: list[_Row] = []
    level: dict[str, float | None] = {}
    values: dict[str, float] = {}
    current: dict[str, float] = {}

    def close() -> None:
        place = current | {k: v for k, v in level.items() if v is not None}
        if level or values:
            rows.append(_Row(message.number, station, place, dict(values)))
        level.clear()
        values.clear()

    for name, value in elements:
        context.take(name, value)
        number = value if isinstance(value, float) else None
        if name in _LEVELS or name in moving:
            if values or name in level:
                close()
            level[name] = number
            if name in moving and number is not None:
                current[name] = number
        elif name in _HEIGHTS:
            if name in level:
                close()
            level[name] = number
        elif name in _ALOFT and number is not None:
            reason = context.objection(name) or ("repeated" if _ALOFT[name] in values else "")
            if reason:
                said[f"not used: {name}, {reason}"] += 1
            else:
                values[_ALOFT[name]] = number / (1 + number) if name == "mixingRatio" else number
    close()
    yield from rows


def _station(elements: Sequence[Element]) -> dict[str, str | float | None]:
    """What the report says of its station, position and time: the first value of each element."""
    station: dict[str, str | float | None] = {}
    for name, value in elements:
        if station.get(name) is None and name not in _ALOFT:
            station[name] = value
    return station


# Tables: from rows to observations.


def _surface_table(rows: Sequence[_Row], file: str) -> ReadResult:
    place = _place(rows)
    barometer = np.array([_number(row.station, _BAROMETER) for row in rows])
    barometer = np.where(np.isnan(barometer), place["elevation"], barometer)
    above = _column(rows, "above_ground")
    place["height"] = place["elevation"] + above
    values = [
        replace(v, elevation=barometer) if name == "sp" else v
        for name in Surface.VARIABLES
        for v in placed(name, _values(rows, name), ~np.isnan(above))
    ]
    return _without_extra_rows(assemble(file, _row_numbers(rows), place, values), above)


def _without_extra_rows(result: ReadResult, above: np.ndarray) -> ReadResult:
    """The account counts reports: a row of values at another height belongs to the one before."""
    extra = int((~np.isnan(above)).sum())
    whole = result.rows_without_values + result.rows_with_values
    with_values = min(result.rows_with_values, whole - extra)
    return replace(
        result,
        rows_read=result.rows_read - extra,
        rows_with_values=with_values,
        rows_without_values=whole - extra - with_values,
    )


def _sounding_table(rows: Sequence[_Row], file: str) -> ReadResult:
    number, place = _row_numbers(rows), _place(rows)
    pressure, measured = _column(rows, "pressure"), _measured_geopotential(rows)
    height = _vertical(rows, number, place["elevation"], measured / GRAVITY)
    shift = np.nan_to_num(_column(rows, "timeDisplacement"))
    shift = np.where(np.abs(shift) < 86400, shift, 0.0)
    east = np.nan_to_num(_column(rows, "longitudeDisplacement"))
    north = np.nan_to_num(_column(rows, "latitudeDisplacement"))
    longitude = place["longitude"] + east
    place["station_id"] = by_position(  # a drifting balloon is one station, where it was released
        place["station_id"], place["latitude"], place["longitude"]
    )
    place |= {
        "pressure": pressure,
        "height": np.where(np.isnan(pressure), height, np.nan),
        "time": place["time"] + (shift * 1000).astype("timedelta64[ms]"),
        "latitude": (place["latitude"] + north).round(6),
        "longitude": np.where(east != 0, longitude % 360, longitude).round(6),
    }
    extrapolated = pressure > _surface_pressure(rows, number, pressure) * 1.0005
    levels = np.ones(len(rows), bool)  # so its category states
    geopotential = placed("z", np.where(np.isnan(pressure), np.nan, measured), levels)
    values = [*geopotential, *_aloft(rows)]
    return assemble(file, number, place, values, [(extrapolated, QC.DOMAIN, "")])


def _aircraft_table(rows: Sequence[_Row], file: str) -> ReadResult:
    place = _place(rows)
    altitude, height = _column(rows, "flightLevel"), _column(rows, "height")
    altitude = np.where(np.isnan(altitude), height, altitude)
    pressure = _column(rows, "pressure")  # aircraft report it as an altitude of the standard one
    place["pressure"] = np.where(np.isnan(pressure), standard_pressure(altitude), pressure)
    place["elevation"] = np.full(len(rows), np.nan)
    return assemble(file, _row_numbers(rows), place, _aloft(rows))


def _aloft(rows: Sequence[_Row]) -> list[Values]:
    """The values of levels, as the category of their message states."""
    levels = np.ones(len(rows), bool)
    return [v for name in _ALOFT.values() for v in placed(name, _values(rows, name), levels)]


_READERS = {
    _LAND: (_surface_rows, _WANTED_AT_SURFACE, _surface_table),
    _SEA: (_surface_rows, _WANTED_AT_SURFACE, _surface_table),
    _SOUNDINGS: (_level_rows, _WANTED_ALOFT, _sounding_table),
    _AIRCRAFT: (_level_rows, _WANTED_ALOFT, _aircraft_table),
}


def _row_numbers(rows: Sequence[_Row]) -> np.ndarray:
    return np.array([row.number for row in rows], int)


def _column(rows: Sequence[_Row], name: str) -> np.ndarray:
    return np.array([row.place.get(name, np.nan) for row in rows], float)


def _values(rows: Sequence[_Row], name: str) -> np.ndarray:
    return np.array([row.values.get(name, np.nan) for row in rows], float)


def _number(cells: Mapping[str, str | float | None], *names: str) -> float:
    """The first of ``names`` that has a number, else NaN."""
    given = (cells.get(name) for name in names)
    return next((v for v in given if isinstance(v, float)), np.nan)


def _place(rows: Sequence[_Row]) -> dict[str, np.ndarray]:
    """Station, position and time of every row; ships and buoys without a height stand at sea
    level."""
    clock = pd.DataFrame(
        [[row.place.get(n, _number(row.station, n)) for n in _TIME] for row in rows],
        columns=list(_TIME),
        dtype=float,
    )
    clock[["minute", "second"]] = clock[["minute", "second"]].fillna(0)
    clock = clock.where(clock["year"].between(1678, 2261))  # what nanoseconds can hold
    elevation = np.array([_number(row.station, *_GROUND, "sea_level") for row in rows], float)
    place: dict[str, np.ndarray] = {
        "station_id": np.array([_identifier(row.station) for row in rows], object),
        "time": pd.to_datetime(clock, errors="coerce").to_numpy().astype("datetime64[ns]"),
        "elevation": elevation,
    }
    for name in _PLACE:  # decoding leaves -90.00000000000001
        given = [row.place.get(name, _number(row.station, name)) for row in rows]
        place[name] = np.array(given, float).round(6)
    return place


def _measured_geopotential(rows: Sequence[_Row]) -> np.ndarray:
    """Geopotential [m2 s-2] that a level reports as an element like any other."""
    found = np.full(len(rows), np.nan)
    for name, factor in _HEIGHTS.items():
        found = np.where(np.isnan(found), _column(rows, name) * factor, found)
    return found


def _vertical(
    rows: Sequence[_Row], number: np.ndarray, elevation: np.ndarray, measured: np.ndarray
) -> np.ndarray:
    """Height above sea level [m] of each row, by whichever element says it."""
    geopotential = _column(rows, "geopotential") / GRAVITY
    height = _column(rows, "geopotentialHeight")
    for other in (geopotential, measured, elevation + _column(rows, "heightAboveStation")):
        height = np.where(np.isnan(height), other, height)
    # In a report with other levels, "height" is where the balloon was released.
    known = pd.Series(~np.isnan(height) | ~np.isnan(_column(rows, "pressure")))
    levelled = known.groupby(number).transform("any").to_numpy(bool)
    return np.where(np.isnan(height) & ~levelled, _column(rows, "height"), height)


def _surface_pressure(rows: Sequence[_Row], number: np.ndarray, pressure: np.ndarray) -> np.ndarray:
    """Pressure of the surface level of each row's report [Pa], infinite where it has none."""
    surface = np.zeros(len(rows), bool)
    for name, bit in _SURFACE_BIT.items():
        surface |= (np.nan_to_num(_column(rows, name)).astype(np.int64) & bit) != 0
    found = pd.Series(pressure[surface]).groupby(number[surface]).max()
    return pd.Series(number).map(found).fillna(np.inf).to_numpy(float)


def _identifier(given: Mapping[str, str | float | None]) -> str:
    """Who made a report: WMO number, call sign, buoy, airport, aircraft, WIGOS identifier or the
    station's name; an empty text where none is given, never an invented one."""
    block, station, region, area, buoy = (_whole(given.get(name)) for name in _NUMBERS)
    if block is not None and station is not None:
        return f"{block:02d}{station:03d}"
    names = [_text(given.get(name)) for name in _NAMES]
    if buoy is not None:
        names.append(f"{buoy}" if region is None or area is None else f"{region}{area}{buoy:03d}")
    wigos = [_text(given.get(name)) for name in _WIGOS]
    names += ["-".join(wigos) if all(wigos) else "", _text(given.get(_LOCAL))]
    names += [_text(given.get(name)) for name in _OTHER_NAMES]
    return next(filter(None, names), "")


def _whole(cell: str | float | None) -> int | None:
    try:
        value = int(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return value if value >= 0 else None


def _text(cell: str | float | None) -> str:
    """Printable text without blanks around it, whole numbers without decimals."""
    if not isinstance(cell, str):
        number = _whole(cell)
        return "" if number is None else str(number)
    return "".join(c for c in cell if c.isascii() and c.isprintable()).strip()
