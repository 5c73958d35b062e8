"""The lines of a text table as observations, long or wide, and what is wrong with each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from phyda_cli.names import OBSERVABLES, canonical_observable
from phyda_cli.observations.read.cells import (
    Cells,
    Parsed,
    numbers,
    times,
)
from phyda_cli.observations.read.columns import Column, TimeColumn
from phyda_cli.observations.read.plan import SPEEDS, Plan
from phyda_cli.observations.report import Problem
from phyda_cli.observations.table import LEVEL, QC, by_position
from phyda_cli.units import factors as factors_of_unit

__all__ = ["Verdicts", "long_rows", "shared_columns", "wide_rows"]

_CALMER = (-98.9, 98.9)  # m s-1: 99.0 is no wind but a missing one
_VARIABLE = ("VRB", "Variable", "VAR")  # a direction that is none


@dataclass
class Verdicts:
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
            else [_shown(message, c[:40]) for c in cells.iloc[rows]]
        )
        self.reason[rows] = shown


def _shown(message: str, cell: str) -> str:
    # no str.format: names of columns, which are in the message too, may hold braces
    return message.replace("{cell!r}", repr(cell)).replace("{cell}", cell)


def shared_columns(table: Cells, plan: Plan, verdicts: Verdicts) -> dict[str, np.ndarray]:
    """Station, time, position and level of every row; what is wrong with them goes to
    ``verdicts``."""
    shared: dict[str, np.ndarray] = {}
    chosen = plan.map
    assert chosen.time is not None
    shared["time"], cells = times(table, chosen.time)
    verdicts.flag(
        np.isnat(shared["time"]),
        QC.PRE_QC,
        f"time {{cell!r}} is not readable: expected {_expected(chosen.time)}",
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


def _expected(time: TimeColumn) -> str:
    """What a time should look like, or how a mapping file says it."""
    names = ", ".join(f'"{name}"' for name in time.columns)
    if time.format in ("date+hour", "date+hhmm"):
        usual, names = "a date such as 2020-10-01 and an hour", f"[{names}]"
    elif time.format is None:
        usual = "ISO 8601 such as 2020-10-01T06:00:00Z"
    else:
        return time.format
    pattern = f'time = {{ column = {names}, format = "%d/%m/%Y %H:%M" }}'
    return f"{usual}, or a pattern in a mapping file: {pattern}"


def _looked_up(
    stations: pd.DataFrame, station: np.ndarray, path: str, verdicts: Verdicts
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
    table: Cells, bad: np.ndarray, verdicts: Verdicts, name: str, cells: pd.Series
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


def _flagged(table: Cells, found: Parsed, verdicts: Verdicts, name: str) -> Iterator[Problem]:
    for i in np.flatnonzero(found.rejected & (verdicts.code == 0)):
        shown = found.cells.iloc[i][:40]
        yield Problem(
            table.file, int(table.line[i]), f"{name} {shown!r} has failed its archive's checks"
        )


_Rows = tuple[dict[str, np.ndarray], list[Problem]]


def wide_rows(table: Cells, plan: Plan, verdicts: Verdicts, shared: dict[str, np.ndarray]) -> _Rows:
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
        valid = _CALMER if name in SPEEDS else OBSERVABLES[name].valid_range
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


def long_rows(table: Cells, plan: Plan, verdicts: Verdicts, shared: dict[str, np.ndarray]) -> _Rows:
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
