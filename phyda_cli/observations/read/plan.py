"""How to read a text table, decided on its header and first lines."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.read.cells import (
    Cells,
    Opened,
    numbers,
    open_table,
    split_cells,
    times,
)
from phyda_cli.observations.read.columns import METADATA_UNITS, Column, ObservationMap
from phyda_cli.observations.read.header import Header, metadata_columns, recognise
from phyda_cli.observations.read.hidden_levels import refuse_hidden_levels
from phyda_cli.observations.read.levels import AT_SURFACE, are_levels
from phyda_cli.units import conversion

__all__ = ["SPEEDS", "Plan", "planned"]

_SAMPLE = 2000  # lines by which a table is judged
SPEEDS = ("wind_speed", "u10", "v10", "u", "v")


@dataclass(frozen=True)
class Plan:
    """How to read a table, decided on its first block."""

    map: ObservationMap
    wanted: list[int]
    comma: bool
    doubted: dict[str, str]  # variables whose unit is unknown, and why
    stations: pd.DataFrame | None
    told: list[str]
    ignored: list[str]


def planned(
    opened: Opened, lines: list[str], file: str, mapping: ObservationMap | None, decimal: str | None
) -> Plan:
    """The plan for a table from its header and first block of lines."""
    everything = list(range(len(opened.names)))
    head = lines[:_SAMPLE]
    cells = split_cells(head, 1, opened.names, everything, opened.separator, file)
    sample = {name: cells.cells[i] for i, name in enumerate(opened.names)}
    header = Header(file, opened.names, opened.units, _constants(opened, mapping), sample)
    chosen, told = recognise(header, mapping)
    _refuse_local_times(opened, file, mapping)
    said = decimal or chosen.decimal
    comma = said == "comma" or (said is None and _decimal_commas(cells, chosen))
    if comma and said is None:
        told.append("decimal commas are read as points")
    chosen = _at_surface(replace(cells, comma=comma), chosen, told)
    if not chosen.long and not chosen.variables:
        raise InputError(
            f"{file}: no column of observed values; found columns: {', '.join(opened.names)}",
            hint="expected temperatures, winds or pressures beside the levels, such as t_degC; or "
            'say in a mapping file (--obs-map): variables.t = { column = "NAME", unit = "degC" }',
        )
    refuse_hidden_levels(replace(cells, comma=comma), chosen)
    doubted = _doubted(replace(cells, comma=comma), chosen)
    assumed = [
        f"{column.column} in {OBSERVABLES[name].units}"
        for name, column in chosen.variables.items()
        if column.unit is None and name not in doubted and name != "wind_direction"
    ]
    if assumed:
        told.append(f"no units given, assumed: {', '.join(assumed)}")
    needed = {name.strip().casefold() for name in chosen.columns()}
    wanted = [i for i, name in enumerate(opened.names) if name.casefold() in needed]
    ignored = [name for name in opened.names if name and name.casefold() not in needed]
    stations = None if chosen.stations is None else read_stations_table(chosen.stations)
    return Plan(chosen, wanted, comma, doubted, stations, told, ignored)


def _refuse_local_times(opened: Opened, file: str, mapping: ObservationMap | None) -> None:
    """Raise InputError where a preamble says that times are not UTC, and no map says in which zone
    they are."""
    said = opened.comments.get("utc_offset_seconds", "0").strip()
    if said.strip("-0.") and (mapping is None or mapping.time is None):
        zone = opened.comments.get("timezone", "Europe/Rome")
        raise InputError(
            f"{file}: its times are {said} s from UTC",
            hint="give the zone in a mapping file (--obs-map): "
            f'time = {{ column = "time", timezone = "{zone}" }}',
        )


def _constants(opened: Opened, mapping: ObservationMap | None) -> dict[str, Column]:
    """What comments above the header say of the one station in the file (``# LATITUDE: 40.77``)."""
    found: dict[str, Column] = {}
    for text, value in opened.comments.items():
        name, _, unit = text.partition("[")
        target = {"station": "station_id", "station_id": "station_id"}.get(
            name.strip(), name.strip()
        )
        if target == "station_id":
            found[target] = Column(value=value)
        elif target in ("latitude", "longitude", "elevation"):
            with suppress(ValueError):
                found[target] = Column(value=float(value), unit=unit.rstrip("]") or None)
    return found if {"latitude", "longitude"} <= set(found) else {}


def read_stations_table(path: Path) -> pd.DataFrame:
    """Positions by identifier: columns latitude, longitude and elevation. Raises InputError when
    the table cannot be read."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            opened = open_table(stream, str(path), [])
            (lines, *_) = opened.blocks(1 << 40)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the table of stations {path}: {error}") from error
    wanted = list(range(len(opened.names)))
    table = split_cells(lines, opened.line, opened.names, wanted, opened.separator, str(path))
    columns = metadata_columns(opened.names, opened.units)
    absent = [n for n in ("station_id", "latitude", "longitude") if n not in columns]
    if absent:
        raise InputError(
            f"{path}: no column for {', '.join(absent)}; found columns: {', '.join(opened.names)}",
            hint="a table of stations has station_id, latitude, longitude and perhaps elevation",
        )
    places = pd.DataFrame({"station_id": table.of(columns["station_id"])})
    for name in ("latitude", "longitude", "elevation"):
        if name in columns:
            factors = conversion(columns[name].unit, METADATA_UNITS[name])
            places[name] = numbers(table, columns[name], factors, ()).values
        else:
            places[name] = np.nan
    return places.drop_duplicates("station_id").set_index("station_id")


def _decimal_commas(table: Cells, chosen: ObservationMap) -> bool:
    """Whether the numbers of a table have decimal commas: some cell can be nothing else, and none
    has a point."""
    if table.separator == ",":
        return False
    columns = [c for c in chosen.cells().values() if c.column is not None and c.part is None]
    cells = pd.concat([table.of(c) for c in columns]) if columns else pd.Series(dtype=str)
    commas = cells.str.fullmatch(r"[-+]?\d+,(\d{1,2}|\d{4,})")
    return bool(commas.any() and not cells.str.fullmatch(r"[-+]?\d*\.\d+").any())


def _at_surface(table: Cells, chosen: ObservationMap, told: list[str]) -> ObservationMap:
    """``chosen`` for a wide table whose reports are of the surface: its pressure is the station's,
    and its temperature that of 2 m."""
    column = chosen.pressure
    if chosen.long or column is None or chosen.height is not None or not len(table.line):
        return chosen
    upper = [name for name in chosen.variables if name in AT_SURFACE]
    if any(AT_SURFACE[name] in chosen.variables for name in upper):
        return chosen
    pressure = numbers(table, column, chosen.factors("pressure"), chosen.missing).values
    if column.unit is None and np.nanmax(pressure, initial=0.0) < 2000:
        pressure = pressure * 100  # told by its own check
    assert chosen.time is not None
    profile = times(table, chosen.time)[1]
    for place in (chosen.station_id, chosen.latitude, chosen.longitude):
        profile = profile if place is None else profile + "|" + table.of(place)
    elevation = np.full(len(pressure), np.nan)
    if chosen.elevation is not None:
        factors = chosen.factors("elevation")
        elevation = numbers(table, chosen.elevation, factors, chosen.missing).values
    nothing = np.full(len(pressure), np.nan)
    if are_levels(profile.to_numpy(), pressure, nothing, elevation).any():
        return chosen
    variables = {AT_SURFACE.get(name, name): c for name, c in chosen.variables.items()}
    if "sp" not in variables:
        variables = {"sp": column} | variables
        told.append(f"{column.column} is the pressure of the station: read as sp")
    return chosen.model_copy(update={"pressure": None, "variables": variables})


def _doubted(table: Cells, chosen: ObservationMap) -> dict[str, str]:
    """Variables of a wide table whose unit nobody can know: columns without a unit, beside another
    one that plainly is not in SI units, and fractions that would pass as percent."""
    bare = {n: c for n, c in chosen.variables.items() if c.unit is None and c.scale == 1.0}
    strange: dict[str, str] = {}
    for name, column in bare.items():
        values = numbers(table, column, chosen.factors(name), chosen.missing).values
        values = values[~np.isnan(values)]
        low, high = OBSERVABLES[name].valid_range
        if values.size and np.mean((values < low) | (values > high)) > 0.5:
            strange[name] = column.column or name
        elif name in ("rh2m", "r") and values.size and values.max() <= 1 and values.any():
            return {name: "its values are fractions: name it rh2m_fraction"} | _winds(bare, strange)
    return _winds(bare, strange)


def _winds(bare: dict[str, Column], strange: dict[str, str]) -> dict[str, str]:
    if not strange:
        return {}
    reason = f"it has no unit, and {', '.join(strange.values())} beside it is not in SI units"
    return {
        name: f"{reason}: name it {name}_kt, {name}_ms or {name}_kmh"
        for name in bare
        if name in SPEEDS
    }
