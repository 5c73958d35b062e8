"""Observations in text tables, long or wide, and writing them in the long form."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.files.publish import publish
from phyda_cli.names import OBSERVABLES, canonical_observable
from phyda_cli.observations.read.cells import (
    Cells,
    Opened,
    Parsed,
    numbers,
    open_table,
    split_cells,
    times,
)
from phyda_cli.observations.read.columns import METADATA_UNITS, Column, ObservationMap
from phyda_cli.observations.read.header import Header, metadata_columns, nearest, recognise
from phyda_cli.observations.read.levels import AT_SURFACE, are_levels
from phyda_cli.observations.report import Note, Problem, ReadResult, merge
from phyda_cli.observations.table import LEVEL, QC, by_position, concat, make
from phyda_cli.units import conversion
from phyda_cli.units import factors as factors_of_unit

__all__ = ["parse_csv", "write_csv"]

_BLOCK = 8_000_000  # letters of a text table at a time
_SAMPLE = 2000  # lines by which a table is judged
_SPEEDS = ("wind_speed", "u10", "v10", "u", "v")
_CALMER = (-98.9, 98.9)  # m s-1: 99.0 is no wind but a missing one
_VARIABLE = ("VRB", "Variable", "VAR")  # a direction that is none


@dataclass
class _Verdicts:
    """The first thing found wrong with each row: a code (N,) and the reason (N,)."""

    code: np.ndarray
    reason: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.reason = np.full(self.code.size, "", dtype=object)

    def flag(
        self, mask: np.ndarray | pd.Series, code: QC, message: str, cells: pd.Series | None = None
    ) -> None:
        """Give the rows in ``mask`` without verdict ``code`` and ``message``, which may show the
        cell as {cell!r}."""
        rows = np.flatnonzero(np.asarray(mask, bool) & (self.code == 0))
        self.code[rows] = code
        shown = (
            [message] * rows.size
            if cells is None
            else [message.format(cell=c[:40]) for c in cells.iloc[rows]]
        )
        self.reason[rows] = shown


def parse_csv(
    text: str | TextIO,
    file: str,
    mapping: ObservationMap | None = None,
    decimal: str | None = None,
) -> ReadResult:
    """Observations in the text table ``text``; ``file`` is its name in messages and rows. It is
    read in blocks of lines, and of columns that are not needed nothing is kept.

    Columns come from ``mapping`` or are recognised by
    :func:`~phyda_cli.observations.read.header.recognise`; comma, semicolon, tab, bar or blanks
    separate them. ``decimal`` is ``comma`` or ``point``, else the first block tells. Each line is
    one row, whatever its quotes.

    Every data row is accounted for. A cell that is no number, an unreadable time or position, or
    more cells than columns (a decimal comma) gives the row's observations QC 11; a latitude beyond
    90 degrees or a longitude outside -180..360 (which is folded to 0..360) gives QC 13. Each is a
    :class:`Problem` too. Raises InputError when there is no header or a column that is needed is
    missing.
    """
    stream = io.StringIO(text, newline=None) if isinstance(text, str) else text
    opened = open_table(stream, file, mapping.columns() if mapping else [])
    number = opened.line
    results: list[ReadResult] = []
    plan: _Plan | None = None
    for lines in opened.blocks(_BLOCK):
        if plan is None:
            plan = _planned(opened, lines, file, mapping, decimal)
        table = split_cells(lines, number, opened.names, plan.wanted, opened.separator, file)
        results.append(_parse_block(replace(table, comma=plan.comma), plan))
        number += len(lines)
    assert plan is not None
    return replace(
        merge(results), ignored_columns={file: plan.ignored}, notes=_notes(file, plan, results)
    )


@dataclass(frozen=True)
class _Plan:
    """How to read a table, decided on its first block."""

    map: ObservationMap
    wanted: list[int]
    comma: bool
    doubted: dict[str, str]  # variables whose unit is unknown, and why
    stations: pd.DataFrame | None
    told: list[str]
    ignored: list[str]


def _planned(
    opened: Opened, lines: list[str], file: str, mapping: ObservationMap | None, decimal: str | None
) -> _Plan:
    """The plan for a table from its header and first block of lines."""
    everything = list(range(len(opened.names)))
    head = lines[:_SAMPLE]
    cells = split_cells(head, 1, opened.names, everything, opened.separator, file)
    sample = {name: cells.cells[i] for i, name in enumerate(opened.names)}
    header = Header(file, opened.names, opened.units, _constants(opened, mapping), sample)
    chosen, told = recognise(header, mapping)
    said = decimal or chosen.decimal
    comma = said == "comma" or (said is None and _decimal_commas(cells, chosen))
    if comma and said is None:
        told.append("decimal commas are read as points")
    chosen = _at_surface(replace(cells, comma=comma), chosen, told)
    if not chosen.long and not chosen.variables:
        raise InputError(
            f"{file}: no column of observed values; found columns: {', '.join(opened.names)}",
            hint="expected temperatures, winds or pressures beside the levels; or use --obs-map",
        )
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
    return _Plan(chosen, wanted, comma, doubted, stations, told, ignored)


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
        elif name in ("rh2m", "r") and values.size > 2 and values.max() <= 1 and values.any():
            return {name: "its values are fractions: name it rh2m_fraction"} | _winds(bare, strange)
    return _winds(bare, strange)


def _winds(bare: dict[str, Column], strange: dict[str, str]) -> dict[str, str]:
    if not strange:
        return {}
    reason = f"it has no unit, and {', '.join(strange.values())} beside it is not in SI units"
    return {
        name: f"{reason}: name it {name}_kt, {name}_ms or {name}_kmh"
        for name in bare
        if name in _SPEEDS
    }


def _notes(file: str, plan: _Plan, results: Sequence[ReadResult]) -> list[Note]:
    """What a user should know about the table as a whole."""
    notes = [Note(file, text) for text in plan.told]
    rows = merge(results).table["variable"]
    for name, reason in plan.doubted.items():
        column = plan.map.variables[name].column
        notes.append(Note(file, f"{column} is not used: {reason}", int((rows == name).sum())))
    if plan.ignored:
        shown = [n + (f" (like {near})" if (near := nearest(n)) else "") for n in plan.ignored]
        notes.append(Note(file, f"columns not used: {', '.join(shown)}"))
    return notes


def _parse_block(table: Cells, plan: _Plan) -> ReadResult:
    """The observations in some lines of a table, and the account of those lines."""
    file, chosen = table.file, plan.map
    verdicts = _Verdicts(np.zeros(table.line.size, np.int16))
    extra = table.cells[len(table.header)]
    verdicts.flag(
        extra != "",
        QC.PRE_QC,
        f"more cells than the {len(table.header)} columns (a decimal comma? quote the cells and "
        "give --decimal comma)",
    )
    shared = _shared_columns(table, plan, verdicts)
    read = _long if chosen.long else _wide
    rows, bad_cells = read(table, plan, verdicts, shared)

    entered = np.zeros(table.line.size, bool)
    entered[rows.pop("index")] = True
    observations = make(**rows, file=file) if entered.any() else concat([])
    unreadable = np.zeros(table.line.size, bool)
    for i in np.flatnonzero(~entered & (verdicts.code != 0)):
        unreadable[i] = bool(table.lines[i].strip(f'{table.separator}" \t'))
    told = np.flatnonzero((verdicts.code != 0) & (entered | unreadable))
    problems = [
        Problem(file, int(table.line[i]), str(verdicts.reason[i])) for i in told
    ] + bad_cells
    return ReadResult(
        table=observations,
        rows_read=table.line.size,
        rows_with_values=int(entered.sum()),
        rows_without_values=int((~entered & ~unreadable).sum()),
        rows_unreadable=int(unreadable.sum()),
        problems=sorted(problems, key=lambda p: p.row),
    )


def _shared_columns(table: Cells, plan: _Plan, verdicts: _Verdicts) -> dict[str, np.ndarray]:
    """Station, time, position and level of every row; what is wrong with them goes to
    ``verdicts``."""
    shared: dict[str, np.ndarray] = {}
    chosen = plan.map
    assert chosen.time is not None
    shared["time"], cells = times(table, chosen.time)
    expected = (
        "ISO 8601 such as 2020-10-01T06:00:00Z, or a pattern in a mapping file: "
        f'time = {{{{ column = "{chosen.time.columns[0]}", format = "%d/%m/%Y %H:%M" }}}}'
        if chosen.time.format is None
        else chosen.time.format
    )
    verdicts.flag(
        np.isnat(shared["time"]),
        QC.PRE_QC,
        f"time {{cell!r}} is not readable: expected {expected}",
        cells,
    )
    station = np.full(table.line.size, "", object)
    if chosen.station_id is not None:
        station = table.of(chosen.station_id).to_numpy(object)
    if plan.stations is not None:
        shared |= _looked_up(plan.stations, station, str(chosen.stations), verdicts)
    for name in ("latitude", "longitude", "elevation", *LEVEL):
        column: Column | None = getattr(chosen, name)
        if column is None or name in shared:
            continue
        valid = {"latitude": (-90, 90), "longitude": (-180, 360), "elevation": (-600, 9000)}
        found = numbers(table, column, chosen.factors(name), chosen.missing, valid.get(name))
        shared[name], cells = found.values, found.cells
        verdicts.flag(found.bad, QC.PRE_QC, f"{column.column} {{cell!r}} is no number", cells)
        if name in ("latitude", "longitude"):
            low, high = valid[name]
            verdicts.flag(found.blank, QC.PRE_QC, f"no {name}")
            outside = (shared[name] < low) | (shared[name] > high)
            verdicts.flag(outside, QC.DOMAIN, f"{name} {{cell}} is outside {low}..{high}", cells)
    if chosen.use is not None:
        cells = table.of(chosen.use)
        verdicts.flag(
            ~cells.isin(["", "0", "1"]),
            QC.PRE_QC,
            "use is {cell!r}: expected 1 (active) or 0 (passive)",
            cells,
        )
        shared["use"] = (cells != "0").to_numpy().astype(np.int8)
    named = by_position(station, shared["latitude"], shared["longitude"])
    return shared | {"station_id": named, "row": table.line}


def _looked_up(
    stations: pd.DataFrame, station: np.ndarray, path: str, verdicts: _Verdicts
) -> dict[str, np.ndarray]:
    """Position of every row from the table of stations."""
    rows = stations.reindex(pd.Index(station.astype(str)))
    verdicts.flag(
        ~np.isin(station.astype(str), stations.index.to_numpy(str)),
        QC.PRE_QC,
        f"station {{cell!r}} is not in {path}",
        pd.Series(station.astype(str)),
    )
    return {name: rows[name].to_numpy(float) for name in ("latitude", "longitude", "elevation")}


def _rejected(
    table: Cells, bad: np.ndarray, verdicts: _Verdicts, name: str, cells: pd.Series
) -> Iterator[Problem]:
    """A problem for each bad cell of a row that is otherwise sound (else the row's own reason
    tells)."""
    for i in np.flatnonzero(bad & (verdicts.code == 0)):
        comma = (
            " (a decimal comma? give --decimal comma; a value joined to its quality flag? say "
            "which part it is in a mapping file, part = 0)"
            if re.fullmatch(r"[-+]?\d+,\d+", cells.iloc[i])
            else ""
        )
        yield Problem(
            table.file, int(table.line[i]), f"{name} {cells.iloc[i][:40]!r} is no number{comma}"
        )


def _flagged(table: Cells, found: Parsed, verdicts: _Verdicts, name: str) -> Iterator[Problem]:
    for i in np.flatnonzero(found.rejected & (verdicts.code == 0)):
        shown = found.cells.iloc[i][:40]
        yield Problem(
            table.file, int(table.line[i]), f"{name} {shown!r} has failed its archive's checks"
        )


_Rows = tuple[dict[str, np.ndarray], list[Problem]]


def _wide(table: Cells, plan: _Plan, verdicts: _Verdicts, shared: dict[str, np.ndarray]) -> _Rows:
    """Table columns of the observations in a wide table, in input order, and the problems of single
    cells."""
    chosen = plan.map
    parts: list[pd.DataFrame] = []
    problems: list[Problem] = []
    levels = [shared[k] for k in ("pressure", "height") if k in shared]
    no_level = (
        np.logical_and.reduce([np.isnan(a) for a in levels])
        if levels
        else np.ones(table.line.size, bool)
    )
    for order, (name, column) in enumerate(chosen.variables.items()):
        missing = (*chosen.missing, *_VARIABLE) if name == "wind_direction" else chosen.missing
        valid = _CALMER if name in _SPEEDS else OBSERVABLES[name].valid_range
        found = numbers(table, column, chosen.factors(name), missing, valid)
        values, blank, bad = found.values, found.blank, found.bad
        problems += _rejected(table, bad, verdicts, column.column or name, found.cells)
        problems += _flagged(table, found, verdicts, column.column or name)
        lost = bad | found.rejected | (name in plan.doubted)
        code = np.where(verdicts.code != 0, verdicts.code, np.where(lost, QC.PRE_QC, 0))
        surface = OBSERVABLES[name].surface
        if not surface:
            lost = no_level & ~blank & (code == 0)
            problems += [
                Problem(table.file, int(table.line[i]), f"{column.column} has no pressure")
                for i in np.flatnonzero(lost)
            ]
            code = np.where(lost, QC.PRE_QC, code)
        index = np.flatnonzero(~blank)
        part = pd.DataFrame(
            {
                "index": index,
                "order": order,
                "variable": name,
                "value": values[index],
                "qc": code[index],
            }
        )
        leveled = not surface or name in ("wind_speed", "wind_direction")
        for level in LEVEL:
            part[level] = shared[level][index] if leveled and level in shared else np.nan
        parts.append(part)
    rows = pd.concat(parts).sort_values(["index", "order"], kind="stable")
    columns = {k: rows[k].to_numpy() for k in ("index", "variable", "value", "qc", *LEVEL)}
    return _with_shared(columns, shared), problems


def _long(table: Cells, plan: _Plan, verdicts: _Verdicts, shared: dict[str, np.ndarray]) -> _Rows:
    """Table columns of the observations in a long table, and the problems of single cells."""
    chosen = plan.map
    assert chosen.variable is not None
    assert chosen.value is not None
    names = table.of(chosen.variable)
    known = {name: canonical_observable(name) or "" for name in names.unique()}
    canonical = names.map(known).to_numpy(object)
    found = numbers(table, chosen.value, (chosen.value.scale, chosen.value.offset), chosen.missing)
    values, blank, bad = found.values, found.blank, found.bad
    label = chosen.value.column or "value"
    problems = list(_rejected(table, bad & (canonical != ""), verdicts, label, found.cells))
    upper = np.isin(canonical, [k for k, v in OBSERVABLES.items() if not v.surface])
    no_level = np.isnan(shared.get("pressure", np.full(values.size, np.nan))) & np.isnan(
        shared.get("height", np.full(values.size, np.nan))
    )
    verdicts.flag(~blank & ~bad & upper & no_level, QC.PRE_QC, "{cell} has no pressure", names)
    verdicts.flag(canonical == "", QC.PRE_QC, "unknown variable {cell!r}", names)
    error = np.full(values.size, np.nan)
    if chosen.error is not None:
        factors = (chosen.error.scale, chosen.error.offset)
        given = numbers(table, chosen.error, factors, chosen.missing)
        error = given.values
        verdicts.flag(
            given.bad | (error <= 0), QC.PRE_QC, "error {cell!r} is no positive number", given.cells
        )
    units = pd.Series([chosen.value.unit or ""] * values.size, dtype=object)
    units = units if chosen.unit is None else table.of(chosen.unit)
    for (name, unit), rows in pd.Series(range(values.size)).groupby([canonical, units]):
        if not name or not unit:
            continue
        pair = factors_of_unit(str(unit), OBSERVABLES[str(name)].units)
        own = rows.to_numpy(int)
        if pair is None:
            mask = np.isin(np.arange(values.size), own)
            verdicts.flag(mask, QC.PRE_QC, f"{{cell!r}} is no unit of {name}", units)
            continue
        values[own], error[own] = values[own] * pair[0] + pair[1], error[own] * pair[0]
    index = np.flatnonzero(~blank & (canonical != ""))
    code = np.where(verdicts.code != 0, verdicts.code, np.where(bad, QC.PRE_QC, 0))
    columns = {"variable": canonical, "value": values, "error": error, "qc": code}
    surface = ~upper & ~np.isin(canonical, ["wind_speed", "wind_direction"])
    columns |= {k: np.where(surface, np.nan, shared[k]) for k in LEVEL if k in shared}
    return _with_shared(
        {"index": index} | {k: v[index] for k, v in columns.items()}, shared
    ), problems


def _with_shared(
    columns: dict[str, np.ndarray], shared: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    return columns | {k: v[columns["index"]] for k, v in shared.items() if k not in columns}


def write_csv(path: Path, table: pd.DataFrame, overwrite: bool = False) -> None:
    """Write ``table`` in the long form, which reads back exactly, except qc, file and row. Raises
    OutputError."""
    columns = [
        "station_id",
        "time",
        "latitude",
        "longitude",
        "elevation",
        "variable",
        *LEVEL,
        "value",
        "error",
        "use",
    ]
    optional = [c for c in ("elevation", *LEVEL, "error") if table[c].isna().all()]
    optional += ["use"] if (table["use"] == 1).all() else []
    out = table[[c for c in columns if c not in optional]].copy()
    times = table["time"].to_numpy()
    whole = bool(np.all(np.isnat(times) | (times == times.astype("datetime64[s]"))))
    out["time"] = np.char.add(np.datetime_as_string(times, unit="s" if whole else "ns"), "Z")
    with publish(path, overwrite) as temporary:
        out.to_csv(temporary, index=False)
