"""Observations in text tables, long or wide."""

from __future__ import annotations

import codecs
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import TextIO

import numpy as np

from phyda_cli.observations.read.cells import (
    Cells,
    open_table,
    split_cells,
)
from phyda_cli.observations.read.columns import ObservationMap
from phyda_cli.observations.read.decode import OTHER_KINDS, Source, reader
from phyda_cli.observations.read.header import nearest
from phyda_cli.observations.read.plan import Plan, planned
from phyda_cli.observations.read.rows import Verdicts, long_rows, shared_columns, wide_rows
from phyda_cli.observations.report import Note, Problem, ReadResult, merge
from phyda_cli.observations.table import QC, concat, make

__all__ = ["parse_csv", "read_text"]

_UTF16 = (b"\xff\xfe", b"\xfe\xff")

_BLOCK = 8_000_000  # letters of a text table at a time


def _is_text(source: Source) -> bool:
    if source.head.startswith((*OTHER_KINDS, b"BUFR")):
        return False
    return source.head.startswith(_UTF16) or not source.has_zeros


@reader("a text table (CSV)", _is_text, rank=1, harmless=True)
def read_text(source: Source, mapping: ObservationMap | None) -> ReadResult:
    """Text in UTF-8 or UTF-16 with or without a byte-order mark; bytes that are neither count as
    Latin-1."""
    wide = source.head.startswith(_UTF16)
    encoding, errors = ("utf-16", "replace") if wide else ("utf-8-sig", "as-latin-1")
    with (
        source.opened() as file,
        io.TextIOWrapper(file, encoding=encoding, errors=errors) as text,
    ):
        return parse_csv(text, str(source.path), mapping)


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("as-latin-1", _as_latin_1)


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
    plan: Plan | None = None
    for lines in opened.blocks(_BLOCK):
        if plan is None:
            plan = planned(opened, lines, file, mapping, decimal)
        table = split_cells(lines, number, opened.names, plan.wanted, opened.separator, file)
        results.append(_parse_block(replace(table, comma=plan.comma), plan))
        number += len(lines)
    assert plan is not None
    return replace(
        merge(results), ignored_columns={file: plan.ignored}, notes=_notes(file, plan, results)
    )


def _notes(file: str, plan: Plan, results: Sequence[ReadResult]) -> list[Note]:
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


def _parse_block(table: Cells, plan: Plan) -> ReadResult:
    """The observations in some lines of a table, and the account of those lines."""
    file, chosen = table.file, plan.map
    verdicts = Verdicts(np.zeros(table.line.size, np.int16))
    extra = table.cells[len(table.header)]
    verdicts.flag(
        extra != "",
        QC.PRE_QC,
        f"more cells than the {len(table.header)} columns (a decimal comma? quote the cells and "
        "give --decimal comma)",
    )
    shared = shared_columns(table, plan, verdicts)
    read = long_rows if chosen.long else wide_rows
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
