"""What a terminal shows: at most 40 lines of 80 columns, the headline first."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["LINES", "WIDTH", "TextTable", "number", "screen", "shortened"]

LINES, WIDTH = 40, 80
_LEAST = 4  # lines of a table: title, header, a row, and how many rows are left out


@dataclass(frozen=True)
class TextTable:
    """Rows of words; the first ``left`` columns are names. ``last`` rows are shown whatever is left
    out above them."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 2
    last: int = 0


def number(value: float | None, form: str = ".3g") -> str:
    """Few digits, and no exponent where it can be had: 1234, 12.3, 0.0123, 1.2e-06."""
    if value is None:
        return "–"
    text = format(value, form)
    return format(value, form[:-2].rstrip(".") + ".0f") if "e+0" in text else text


def screen(headline: Sequence[str], tables: Sequence[TextTable], more: str = "") -> list[str]:
    """The headline and as many rows of each table as there is room for; what is left out is
    counted, and ``more`` says where it is."""
    room = LINES - bool(more)
    lines = shortened([part for line in headline for part in _wrapped(line)], room)
    tables = [t for t in tables if t.rows]
    for position, table in enumerate(tables):
        left = room - len(lines)
        share = min(max(_LEAST, left // (len(tables) - position)), left)
        if share >= _LEAST:
            lines += _table(table, share - 2)
    return lines + ([more[:WIDTH]] if more else [])


def shortened(lines: Sequence[str], most: int) -> list[str]:
    """At most ``most`` lines, the last of which says how many are left out."""
    if len(lines) <= most:
        return list(lines)
    return [*lines[: most - 1], f"… {len(lines) - most + 1} more lines"]


def _wrapped(line: str) -> list[str]:
    """``line`` in lines that fit, the further ones set in."""
    return textwrap.wrap(line, WIDTH, subsequent_indent="  ") if len(line) > WIDTH else [line]


def _table(table: TextTable, most: int) -> list[str]:
    """Title, header and at most ``most`` lines of rows, two or more."""
    rows = list(table.rows)
    columns = _fitting(table)
    left_out = 0
    if len(rows) > most:
        last = min(table.last, most - 1)
        kept = most - 1 - last
        left_out = len(rows) - kept - last
        rows = rows[:kept] + rows[len(rows) - last :]
    cells = [table.header, *rows]
    widths = [max(len(str(row[i])) for row in cells) for i in columns]
    lines = [table.title[:WIDTH]]
    for row in cells:
        words = [
            str(row[i]).ljust(w) if i < table.left else str(row[i]).rjust(w)
            for i, w in zip(columns, widths, strict=True)
        ]
        lines.append("  ".join(words).rstrip()[:WIDTH])
    if left_out:
        lines.append(f"… {left_out} more rows")
    return lines


def _fitting(table: TextTable) -> list[int]:
    """The columns that fit into the width, from the left."""
    used, fitting = -2, []
    for i in range(len(table.header)):
        width = max(len(str(row[i])) for row in [table.header, *table.rows])
        if used + 2 + width > WIDTH:
            break
        used += 2 + width
        fitting.append(i)
    return fitting
