"""From the header of a text table, and its first lines, to a map of its columns."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from pydantic import ValidationError

from phyda_cli.errors import InputError
from phyda_cli.names import OBSERVABLES, canonical_observable
from phyda_cli.observations.read.columns import (
    METADATA_UNITS,
    Column,
    ObservationMap,
    TimeColumn,
    explain,
)
from phyda_cli.observations.read.layouts import layout_of
from phyda_cli.observations.read.levels import AT_SURFACE
from phyda_cli.units import factors, is_unit

__all__ = [
    "METADATA",
    "Header",
    "bare_name",
    "meaning",
    "metadata_columns",
    "nearest",
    "recognise",
]

METADATA: dict[str, str] = {
    "station_id": "station_id station stationid station_identifier id stid stnid icao wmo "
    "wmo_id site icaoid station_code",
    "time": "time valid_time datetime date_time date valid obs_time obstime timestamp time_utc "
    "datetime_utc observation_time unix_time epoch obstimeutc",
    "latitude": "latitude lat",
    "longitude": "longitude lon long lng",
    "elevation": "elevation elev altitude alt station_height station_elevation",
    "pressure": "pressure plev air_pressure p",
    "pressure_top": "pressure_top",
    "height": "height",
    "variable": "variable parameter obs_type",
    "value": "value obs_value obsvalue",
    "unit": "unit units",
    "error": "error obs_error obserror sigma",
    "use": "use",
}
_ALSO = {  # names of tables of stations, besides those of the table of variables
    "t2m": "air_temp atmp temp_2m temperature_2m air_temperature_2m tair air_temp_c dry_bulb "
    "dry_bulb_temperature drybulb",
    "d2m": "dewpoint_2m dew_point_2m dewpt dpt dew_point_temperature_2m",
    "rh2m": "rhum relh humidity relative_humidity_2m rel_humidity rel_hum",
    "wind_speed": "wspd wind_spd wind_speed_10m windspeed_10m wind_spd_10m ws10",
    "wind_direction": "wdir wind_dir wind_direction_10m winddirection_10m wind_dir_10m wd10 wdir10 "
    "wind_from_direction",
    "u10": "u_wind wind_u u_10m",
    "v10": "v_wind wind_v v_10m",
    "msl": "sea_level_pressure pressure_msl sealevel_pressure sealevelpressure msl_pressure qff "
    "mean_sea_level_pressure air_pressure_at_sea_level air_pressure_at_mean_sea_level",
    "sp": "station_pressure station_level_pressure stp surface_air_pressure",
    "qnh": "altim altimeter_setting",
}
_IMPLIED_UNITS = {  # names of an archive that stand for a unit too
    "sknt": "kt",
    "tmpf": "degF",
    "dwpf": "degF",
    "tmpc": "degC",
    "dwpc": "degC",
    "relh": "%",
    "alti": "inHg",
}
_IMPLIED_NAMES = {"tmpf": "t2m", "dwpf": "d2m", "tmpc": "t2m", "dwpc": "d2m", "relh": "rh2m"}
_DATE = "date day yyyymmdd ymd obs_date"
_CLOCK = "hour hh hr hour_utc time time_utc hhmm utc obs_time hour_of_day hours"
_OF_A_DAY = ("tmin", "tmax", "tavg", "t_min", "t_max", "t_avg", "temp_min", "temp_max", "tn", "tx")
_UTC = ("utc", "gmt", "z", "iso", "iso8601", "iso_8601")
_NUMBER = re.compile(r"[-+]?\d*[.,]?\d+")


def _bare(name: str) -> str:
    return re.sub(r"[_\s-]", "", name.strip().lower())


_KNOWN = {_bare(a): name for name, aliases in _ALSO.items() for a in aliases.split()}
_PLAIN = {
    _bare(alias): name
    for name, variable in OBSERVABLES.items()
    for alias in (name, *variable.aliases)
}


@dataclass(frozen=True)
class Header:
    """The names of a table's columns, the units that its second line gives them, and cells of its
    first rows (``sample``, by column name)."""

    file: str
    names: list[str]
    units: Mapping[str, str]
    constants: Mapping[str, Column]
    sample: Mapping[str, pd.Series]


def _observable(name: str) -> str | None:
    """The quantity that ``name`` stands for in a table, or None."""
    text = re.sub(r"_set_\d+d?$", "", name)
    return canonical_observable(text) or _KNOWN.get(_bare(text)) or _PLAIN.get(_bare(text))


def _split(name: str, unit: str | None) -> list[tuple[str, str | None]]:
    """Ways to read a column name as a name and a unit: ``wind_speed_kt``, ``Temp [degC]``, ``t2m``;
    the whole name first."""
    text = name.strip().lower()
    if text[-1:] in "])" and ("[" in text or "(" in text):
        name, inside = text[:-1].replace("(", "[").split("[", 1)
        return [(name.strip(" _").replace(" ", "_"), inside.strip() or unit)]
    text = text.replace(" ", "_")
    if unit is not None:
        return [(text, unit)]
    if text in _IMPLIED_UNITS:
        return [(_IMPLIED_NAMES.get(text, text), _IMPLIED_UNITS[text])]
    cuts = [i for i, letter in enumerate(text) if letter == "_"]
    return [(text, None), *((text[:i], text[i + 1 :]) for i in cuts if is_unit(text[i + 1 :]))]


def bare_name(name: str) -> str:
    """A column's name in lower case without its unit."""
    ways = _split(name, None)
    return ways[-1][0] if len(ways) > 1 else ways[0][0]


def meaning(name: str) -> str | None:
    """What a column with this name most likely is: metadata, a variable, or a part of the time."""
    for text, _ in _split(name, None):
        for target, aliases in METADATA.items():
            if text in aliases.split():
                return target
        if text in (*_DATE.split(), *_CLOCK.split(), "year", "yyyy", "yy", "month", "mm", "dd"):
            return f"time:{text}"
        if (found := _observable(text)) is not None:
            return found
    return None


def nearest(name: str) -> str:
    """The variable whose name or alias is most like ``name``, or an empty text."""
    text = re.sub(r"_set_\d+d?$", "", _split(name, None)[0][0])
    near = difflib.get_close_matches(_bare(text), [*_PLAIN, *_KNOWN], 1, 0.75)
    return (_PLAIN.get(near[0]) or _KNOWN[near[0]]) if near else ""


def recognise(header: Header, given: ObservationMap | None) -> tuple[ObservationMap, list[str]]:
    """The map of a table: what ``given`` says, else a well-known layout, else names, aliases and
    units; and what was found out and assumed.

    Raises InputError, with the columns found and looked for, when a required column is missing or
    one is ambiguous.
    """
    told: list[str] = []
    if given is not None:
        header = replace(header, names=[n for n in header.names if n not in given.ignore])
    columns = _metadata(header, header.names)
    chosen = {name: c for name, c in header.constants.items() if name not in columns}
    layout = layout_of(header.names)
    base = None if layout is None else layout.present(header.names)
    if layout is not None and base is not None:
        told.append(f"layout: {layout.name}")
        chosen |= base.cells()
    if given is not None:
        chosen |= given.cells()
    names = [n for n in header.names if n not in {c.column for c in chosen.values()}]
    metadata = _metadata(header, names)
    fixed = given is not None and bool(given.variables)
    variables = dict(base.variables) if base is not None else {}
    variables = dict(given.variables) if given is not None and fixed else variables
    chosen = {k: c for k, c in chosen.items() if k not in OBSERVABLES}
    long = ("variable" in chosen and "value" in chosen) or (
        not variables and {"variable", "value"} <= set(metadata)
    )
    # In a table of stations "height" may as well be the station's: only a mapping file can tell.
    skipped = () if long else ("height", "variable", "value", "unit", "error")
    for name, column in metadata.items():
        if name not in skipped and name != "time" and name not in chosen:
            chosen[name] = column
    time = given.time if given is not None and given.time is not None else None
    time = time or (base.time if base is not None else None)
    time = time or _time(header, metadata.get("time"), told)
    if not long and not variables:
        used = {c.column for c in chosen.values()} | set(time.columns if time else ())
        variables = _variables(header, [n for n in header.names if n not in used], chosen)
    stations = None if given is None else given.stations
    _refuse_incomplete(header, chosen, time, stations is not None)
    if not long and not variables and "pressure" not in chosen:
        raise InputError(
            f"{header.file}: no column of observed values; found columns: "
            f"{', '.join(header.names)}",
            hint=f"expected variable and value, or some of {', '.join(sorted(OBSERVABLES))}, "
            "with units as in t2m_degC; or say in a mapping file (--obs-map) which column is what: "
            'variables.t2m = { column = "NAME", unit = "degC" }',
        )
    missing = (*(base.missing if base else ()), *(given.missing if given else ()))
    decimal = None if given is None else given.decimal
    try:
        return ObservationMap.model_validate(
            {
                **chosen,
                "time": time,
                "variables": {} if long else variables,
                "missing": missing,
                "ignore": () if given is None else given.ignore,
                "stations": stations,
                "decimal": decimal,
            }
        ), told
    except ValidationError as error:
        raise InputError(f"{header.file}: {explain(error)}") from error


def _metadata(header: Header, names: Sequence[str]) -> dict[str, Column]:
    """Metadata columns by target; of several candidates the one whose name comes first in the alias
    table."""
    found: dict[str, tuple[int, Column]] = {}
    for column in names:
        for name, unit in _split(column, header.units.get(column)):
            for target, aliases in METADATA.items():
                rank = aliases.split().index(name) if name in aliases.split() else -1
                if rank < 0 or (target in found and rank >= found[target][0]):
                    continue
                if target in METADATA_UNITS and unit is not None:
                    if factors(unit, METADATA_UNITS[target]) is None:
                        continue
                elif target not in METADATA_UNITS and target != "time":
                    unit = None
                found[target] = rank, Column(column=column, unit=unit)
    return {target: column for target, (_, column) in found.items()}


def metadata_columns(names: list[str], units: Mapping[str, str]) -> dict[str, Column]:
    """The columns that say where a station is, of a table with these ``names`` and ``units``."""
    return _metadata(Header("", names, units, {}, {}), names)


def _variables(
    header: Header, names: Sequence[str], chosen: Mapping[str, Column]
) -> dict[str, Column]:
    """The columns of observed values among ``names``. Without a level, upper-air names
    (``temperature``, ``u``) mean the surface."""
    upper_air = "pressure" in chosen or "height" in chosen
    variables: dict[str, Column] = {}
    for column in names:
        stated = header.units.get(column)
        for name, unit in _split(column, stated):
            canonical = _observable(name)
            if canonical is not None and not upper_air:
                surface = OBSERVABLES[canonical].surface
                canonical = canonical if surface else AT_SURFACE.get(canonical)
            if canonical is None:
                continue
            if unit is not None and factors(unit, OBSERVABLES[canonical].units) is None:
                if stated is None and "[" not in column and "(" not in column:
                    continue
                raise InputError(
                    f"{header.file}: column {column!r} is {canonical}, but its unit {unit!r} does "
                    f"not convert to {OBSERVABLES[canonical].units}",
                    hint="correct the unit, or leave the column out in a mapping file (--obs-map): "
                    f'ignore = ["{column}"]',
                )
            if canonical in variables:
                if re.search(r"_set_\d+d?$", column):  # Synoptic's further sensors
                    break
                raise InputError(
                    f"{header.file}: columns {variables[canonical].column!r} and {column!r} are "
                    f"both {canonical}",
                    hint="leave one of them out in a mapping file (--obs-map): "
                    f'ignore = ["{column}"]',
                )
            variables[canonical] = Column(column=column, unit=unit)
            break
    return variables


def _refuse_incomplete(
    header: Header, chosen: Mapping[str, Column], time: TimeColumn | None, stations: bool
) -> None:
    placed = stations or {"latitude", "longitude"} <= set(chosen)
    absent = [] if placed else [n for n in ("latitude", "longitude") if n not in chosen]
    absent += ["time"] if time is None else []
    if "station_id" not in chosen and stations:
        absent = ["station_id", *absent]
    if not absent:
        return
    found = f"{header.file}: no column for {', '.join(absent)}; found columns: "
    where = (
        "; positions that are not in the file are given in a mapping file (--obs-map): "
        'latitude = 40.77 and longitude = -111.96, or stations = "stations.csv", a table of '
        "station_id, latitude, longitude, elevation"
    )
    raise InputError(
        found + ", ".join(name for name in header.names if name),
        hint="; ".join(f"{n} may be called {', '.join(METADATA[n].split())}" for n in absent)
        + (where if set(absent) & {"latitude", "longitude"} else "")
        + "; or say in a mapping file (--obs-map) which column it is: "
        + " and ".join(f'{n} = "NAME"' for n in absent),
    )


def _time(header: Header, column: Column | None, told: list[str]) -> TimeColumn | None:
    """The column or columns of time, and their format as the first rows show it."""
    if column is None or column.column is None:
        return _time_of_parts(header)
    name, zone = column.column, _zone(header, column)
    cells = [c for c in header.sample.get(name, pd.Series(dtype=str)) if c]

    def all_match(pattern: str) -> bool:
        return bool(cells) and all(re.fullmatch(pattern, c) for c in cells)

    if column.unit is not None and "since 1970" in column.unit:
        return TimeColumn(column=name, format="unix")
    if _bare(name) in ("unixtime", "epoch"):
        return TimeColumn(column=name, format="unix")
    if all_match(r"\d{4}([-/])\d{1,2}\1\d{1,2}|\d{8}"):
        clock = _other(header, name, _CLOCK)
        if clock is not None:
            return TimeColumn(column=(name, clock), format=_clock(header, clock), timezone=zone)
        if daily := [n for n in header.names if bare_name(n) in _OF_A_DAY]:
            raise InputError(
                f"{header.file}: {name} has no time of day, and {', '.join(daily)} are of whole "
                "days: statistics of a day are no observations of a time",
                hint="give reports of single times, hourly ones for example",
            )
        told.append(f"{name} has no time of day: 00:00 UTC is assumed")
        return TimeColumn(column=name, format=None, timezone=zone)
    if all_match(r"\d{1,4}|\d{1,2}:\d\d(:\d\d)?Z?"):
        date = _other(header, name, _DATE)
        if date is None:
            return _time_of_parts(header) or TimeColumn(column=name, timezone=zone)
        return TimeColumn(column=(date, name), format=_clock(header, name), timezone=zone)
    digits = {r"1[0-8]\d{8}(\.\d+)?": "unix", r"1[0-8]\d{11}": "unix_ms"}
    digits |= {r"(19|20)\d{8}": "%Y%m%d%H", r"(19|20)\d{10}": "%Y%m%d%H%M"}
    digits |= {r"(19|20)\d{12}": "%Y%m%d%H%M%S"}
    found = next((form for pattern, form in digits.items() if all_match(pattern)), None)
    return TimeColumn(column=name, format=found, timezone=zone)


def _zone(header: Header, column: Column) -> str | None:
    """The time zone that the unit of a column of time names. Raises InputError for one that is not
    understood: local times must not pass as UTC."""
    unit = (column.unit or "").strip()
    if (
        not unit
        or _bare(unit) in map(_bare, _UTC)
        or re.fullmatch(r"[ymdhs:\-t/ z.%]+", unit, re.I)
    ):
        return None
    if "since" in unit:
        return None
    inside = re.search(r"[\[(](.+)[\])]", column.column or "")
    try:
        return TimeColumn(column="x", timezone=(inside[1] if inside else unit)).timezone
    except ValidationError as error:
        raise InputError(
            f"{header.file}: column {column.column!r} is in {unit!r}, which is no known time zone",
            hint="give it in a mapping file (--obs-map): "
            f'time = {{ column = "{column.column}", timezone = "Europe/Rome" }}',
        ) from error


def _other(header: Header, name: str, names: str) -> str | None:
    """The column besides ``name`` whose name comes first in ``names``."""
    wanted = names.split()
    ranked = [
        (wanted.index(text), column)
        for column in header.names
        if column != name and (text := _split(column, None)[0][0]) in wanted
    ]
    return min(ranked)[1] if ranked else None


def _clock(header: Header, name: str) -> str:
    cells = header.sample.get(name, pd.Series(dtype=str))
    long = any(re.fullmatch(r"\d{3,4}Z?", c) or re.fullmatch(r"(2[5-9]|[3-9]\d)", c) for c in cells)
    return "date+hhmm" if long else "date+hour"


def _time_of_parts(header: Header) -> TimeColumn | None:
    """Year, month, day and hour in columns of their own."""
    wanted = (
        (("year", "yyyy"), "%Y"),
        (("month", "mo"), "%m"),
        (("day", "dd", "dy"), "%d"),
        (("hour", "hh", "hr", "hour_utc"), "%H"),
        (("minute", "min", "mn", "minutes"), "%M"),
    )
    columns: list[str] = []
    pattern: list[str] = []
    for names, directive in wanted:
        found = next((n for n in header.names if _split(n, None)[0][0] in names), None)
        if found is not None:
            columns.append(found)
            pattern.append(directive)
    if pattern[:4] != ["%Y", "%m", "%d", "%H"]:
        return None
    return TimeColumn(column=tuple(columns), format=" ".join(pattern))
