"""Observations in text tables, long or wide, and writing them in the long form."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.files.publish import publish
from phyda_cli.names import OBSERVABLES, canonical_observable
from phyda_cli.observations.read.cells import Cells, numbers, split_cells, times
from phyda_cli.observations.read.columns import Column, ObservationMap, recognise
from phyda_cli.observations.report import Problem, ReadResult, merge
from phyda_cli.observations.table import LEVEL, QC, concat, make
from phyda_cli.units import conversion

__all__ = ["parse_csv", "write_csv"]

_SEPARATORS = ",;\t|"
_BLOCK = 8_000_000  # letters of a text table at a time


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


def parse_csv(text: str | TextIO, file: str, mapping: ObservationMap | None = None) -> ReadResult:
    """Observations in the text table ``text``; ``file`` is its name in messages and rows. It is
    read in blocks of lines, and of columns that are not needed nothing is kept.

    Columns come from ``mapping`` or are recognised by
    :func:`~phyda_cli.observations.read.columns.recognise`; comma, semicolon, tab or bar separate
    them; lines starting with # before the header are skipped. Each line is one row, whatever its
    quotes.

    Every data row is accounted for. A cell that is no number, an unreadable time or position, or
    more cells than columns (a decimal comma) gives the row's observations QC 11; a latitude beyond
    90 degrees or a longitude outside -180..360 (which is folded to 0..360) gives QC 13. Each is a
    :class:`Problem` too. Raises InputError when there is no header or a column that is needed is
    missing.
    """
    stream = io.StringIO(text, newline=None) if isinstance(text, str) else text
    number, first = next(
        (
            (n, line)
            for n, line in enumerate(stream, 1)
            if line.strip() and not line.lstrip().startswith("#")
        ),
        (0, ""),
    )
    if not number:
        raise InputError(f"{file} holds no table: it has no header line")
    first = first.replace("\0", "").rstrip("\n")
    separator = max(_SEPARATORS, key=first.count)
    header = [name.strip() for name in next(csv.reader([first], delimiter=separator))]
    chosen = mapping or recognise(header, file)
    needed = {name.strip().casefold() for name in chosen.columns()}
    wanted = [i for i, name in enumerate(header) if name.casefold() in needed]
    results: list[ReadResult] = []
    while (lines := stream.readlines(_BLOCK)) or not results:
        results.append(
            _parse_block(split_cells(lines, number + 1, header, wanted, separator, file), chosen)
        )
        number += len(lines)
    ignored = [name for name in header if name.casefold() not in needed]
    return replace(merge(results), ignored_columns={file: ignored})


def _parse_block(table: Cells, chosen: ObservationMap) -> ReadResult:
    """The observations in some lines of a table, and the account of those lines."""
    file = table.file
    verdicts = _Verdicts(np.zeros(table.line.size, np.int16))
    extra = table.cells[len(table.header)]
    verdicts.flag(
        extra != "",
        QC.PRE_QC,
        f"more cells than the {len(table.header)} columns (a decimal comma? write a point)",
    )
    shared = _shared_columns(table, chosen, verdicts)
    read = _long if chosen.long else _wide
    rows, bad_cells = read(table, chosen, verdicts, shared)

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


def _shared_columns(
    table: Cells, chosen: ObservationMap, verdicts: _Verdicts
) -> dict[str, np.ndarray]:
    """Station, time, position and level of every row; what is wrong with them goes to
    ``verdicts``."""
    shared: dict[str, np.ndarray] = {}
    shared["time"], cells = times(table, chosen.time)
    expected = (
        "ISO 8601 such as 2020-10-01T06:00:00Z"
        if chosen.time.format is None
        else chosen.time.format
    )
    verdicts.flag(
        np.isnat(shared["time"]),
        QC.PRE_QC,
        f"time {{cell!r}} is not readable: expected {expected}",
        cells,
    )
    for name in ("latitude", "longitude", "elevation", *LEVEL):
        column: Column | None = getattr(chosen, name)
        if column is None:
            continue
        cells = table.column(column.column)
        shared[name], blank, bad = numbers(
            cells, chosen.factors(name), (*chosen.missing, *column.missing)
        )
        verdicts.flag(bad, QC.PRE_QC, f"{column.column} {{cell!r}} is no number", cells)
        if name in ("latitude", "longitude"):
            low, high = (-90, 90) if name == "latitude" else (-180, 360)
            verdicts.flag(blank, QC.PRE_QC, f"no {name}")
            outside = (shared[name] < low) | (shared[name] > high)
            verdicts.flag(outside, QC.DOMAIN, f"{name} {{cell}} is outside {low}..{high}", cells)
    if chosen.use is not None:
        cells = table.column(chosen.use.column)
        verdicts.flag(
            ~cells.isin(["", "0", "1"]),
            QC.PRE_QC,
            "use is {cell!r}: expected 1 (active) or 0 (passive)",
            cells,
        )
        shared["use"] = (cells != "0").to_numpy().astype(np.int8)
    station = table.column(chosen.station_id.column).to_numpy(object)
    for i in np.flatnonzero(station == ""):
        station[i] = f"{shared['latitude'][i]:.3f},{shared['longitude'][i]:.3f}"
    return shared | {"station_id": station, "row": table.line}


def _rejected(
    table: Cells, bad: np.ndarray, verdicts: _Verdicts, name: str, cells: pd.Series
) -> Iterator[Problem]:
    """A problem for each bad cell of a row that is otherwise sound (else the row's own reason
    tells)."""
    for i in np.flatnonzero(bad & (verdicts.code == 0)):
        comma = (
            " (a decimal comma? write a point)"
            if re.fullmatch(r"[-+]?\d+,\d+", cells.iloc[i])
            else ""
        )
        yield Problem(
            table.file, int(table.line[i]), f"{name} {cells.iloc[i][:40]!r} is no number{comma}"
        )


_Rows = tuple[dict[str, np.ndarray], list[Problem]]


def _wide(
    table: Cells, chosen: ObservationMap, verdicts: _Verdicts, shared: dict[str, np.ndarray]
) -> _Rows:
    """Table columns of the observations in a wide table, in input order, and the problems of single
    cells."""
    parts: list[pd.DataFrame] = []
    problems: list[Problem] = []
    levels = [shared[k] for k in ("pressure", "height") if k in shared]
    no_level = (
        np.logical_and.reduce([np.isnan(a) for a in levels])
        if levels
        else np.ones(table.line.size, bool)
    )
    for order, (name, column) in enumerate(chosen.variables.items()):
        cells = table.column(column.column)
        values, blank, bad = numbers(
            cells, chosen.factors(name), (*chosen.missing, *column.missing)
        )
        problems += _rejected(table, bad, verdicts, column.column, cells)
        code = np.where(verdicts.code != 0, verdicts.code, np.where(bad, QC.PRE_QC, 0))
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


def _long(
    table: Cells, chosen: ObservationMap, verdicts: _Verdicts, shared: dict[str, np.ndarray]
) -> _Rows:
    """Table columns of the observations in a long table, and the problems of single cells."""
    assert chosen.variable is not None
    assert chosen.value is not None
    names = table.column(chosen.variable.column)
    known = {name: canonical_observable(name) or "" for name in names.unique()}
    canonical = names.map(known).to_numpy(object)
    cells = table.column(chosen.value.column)
    missing = (*chosen.missing, *chosen.value.missing)
    values, blank, bad = numbers(cells, (chosen.value.scale, chosen.value.offset), missing)
    problems = list(_rejected(table, bad & (canonical != ""), verdicts, chosen.value.column, cells))
    upper = np.isin(canonical, [k for k, v in OBSERVABLES.items() if not v.surface])
    no_level = np.isnan(shared.get("pressure", np.full(values.size, np.nan))) & np.isnan(
        shared.get("height", np.full(values.size, np.nan))
    )
    verdicts.flag(~blank & ~bad & upper & no_level, QC.PRE_QC, "{cell} has no pressure", names)
    verdicts.flag(canonical == "", QC.PRE_QC, "unknown variable {cell!r}", names)
    error = np.full(values.size, np.nan)
    if chosen.error is not None:
        error_cells = table.column(chosen.error.column)
        error, _, no_number = numbers(
            error_cells,
            (chosen.error.scale, chosen.error.offset),
            (*chosen.missing, *chosen.error.missing),
        )
        verdicts.flag(
            no_number | (error <= 0), QC.PRE_QC, "error {cell!r} is no positive number", error_cells
        )
    for name, unit in (
        (n, c.unit)
        for n in set(known.values()) - {""}
        for c in (chosen.value,)
        if c.unit is not None
    ):
        scale, offset = conversion(unit, OBSERVABLES[name].units)
        own = canonical == name
        values, error = (
            np.where(own, values * scale + offset, values),
            np.where(own, error * scale, error),
        )
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
