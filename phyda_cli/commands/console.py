"""Where commands print: results on stdout, everything else on stderr. Plain UTC lines where there
is no terminal."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phyda_cli.errors import OutputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = [
    "console",
    "emit",
    "emit_json",
    "emit_text",
    "printable",
    "results_are_in_files",
    "say",
    "silence",
    "split",
    "stamped",
    "warn",
]

NARROW = 80  # columns of text where stdout is no terminal


def console() -> Console:
    """A rich console on stderr."""
    from rich.console import Console

    return Console(stderr=True)


def printable(text: str) -> str:
    """``text`` with control characters shown as ``\\x1b``: names in files must not steer a
    terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def stamped(message: str) -> str:
    """``message`` as a line of stderr: with the UTC time where that is no terminal."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    stamp = "" if terminal else datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ ")
    return f"{stamp}{printable(message)}"


def say(message: str) -> None:
    """A progress message on stderr; lost where that is closed or full, which changes no outcome."""
    if sys.stderr is None:
        return
    try:
        print(stamped(message), file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def warn(message: str) -> None:
    """A warning on stderr."""
    say(f"WARNING: {message}")


def silence() -> None:
    """Say nothing more in this process: another one speaks for it."""
    sys.stdout = sys.stderr = io.StringIO()


def emit(table: Table) -> None:
    """A result table on stdout. No number is ever cut: a table that is too wide is printed in
    parts, each with the names on the left."""
    from rich.console import Console

    terminal = sys.stdout is not None and sys.stdout.isatty()
    width = Console().width if terminal else NARROW
    for part in split(_safe(table), width):
        text = io.StringIO()
        console = Console(
            file=text,
            force_terminal=terminal,
            width=max(width, _least_width(part)),
            markup=False,
        )
        console.print(part)
        _write(text.getvalue())


def _safe(table: Table) -> Table:
    """``table``, whose texts may come from files, without control characters."""
    if isinstance(table.title, str):
        table.title = printable(table.title)
    for column in table.columns:
        column._cells = [printable(c) if isinstance(c, str) else c for c in column.cells]
    return table


def split(table: Table, width: int) -> list[Table]:
    """``table`` in parts that need at most ``width`` columns of text, if its names leave room."""
    from rich.cells import cell_len

    for column in table.columns:
        if column.no_wrap:  # rich would cut it where there is not enough room
            lines = "\n".join([str(column.header), *map(str, column.cells)]).splitlines()
            column.min_width = max(map(cell_len, lines), default=0)
    names = 0
    while names < len(table.columns) and table.columns[names].justify == "left":
        names += 1
    parts: list[Table] = []
    start = names
    while start < len(table.columns) and _least_width(table) > width:
        end = start + 1
        while end < len(table.columns):
            if _least_width(_with_columns(table, names, start, end + 1)) > width:
                break
            end += 1
        parts.append(_with_columns(table, names, start, end))
        start = end
    for part in parts[1:]:
        part.title = None
    return parts or [table]


def _with_columns(table: Table, names: int, start: int, end: int) -> Table:
    """``table`` with its first columns and those from ``start`` to before ``end``."""
    from rich.table import Table

    chosen = [*table.columns[:names], *table.columns[start:end]]
    part = Table(title=table.title, title_justify="left", box=table.box, pad_edge=table.pad_edge)
    part.padding, part.show_header = table.padding, table.show_header
    for column in chosen:
        part.add_column(
            column.header,
            justify=column.justify,
            no_wrap=column.no_wrap,
            min_width=column.min_width,
        )
    for row, *cells in zip(table.rows, *(column.cells for column in chosen), strict=True):
        if start == names or any(cells[names:]):  # a row of empty cells says nothing again
            part.add_row(*cells, end_section=row.end_section)
    return part


def _least_width(table: Table) -> int:
    """Columns of text below which something of ``table`` would be cut."""
    from rich.console import Console
    from rich.measure import Measurement

    endless = Console(width=10_000, markup=False)
    return Measurement.get(endless, endless.options, table).minimum


def emit_json(result: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    _write(json.dumps(result, indent=1, allow_nan=False) + "\n")


def _write(text: str) -> None:
    """``text`` on stdout, at once. Raises OutputError when that cannot be written; a reader that
    has gone ends the process, as it ends any other."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(128 + signal.SIGPIPE)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or its end would be a second error
        raise OutputError(f"cannot print the results: {error.strerror}") from error


@contextmanager
def results_are_in_files() -> Iterator[None]:
    """What cannot be printed within is only a warning: the files are written."""
    try:
        yield
    except OutputError as error:
        warn(f"{error.message}; the outputs are complete")


def emit_text(text: str, out: Path | None = None, overwrite: bool = False) -> None:
    """``text`` in the file ``out``, or on stdout where there is none, its control characters
    shown."""
    text = printable(text)
    if out is None:
        _write(text)
        return
    from phyda_cli.files.publish import publish_text

    publish_text(out, text, overwrite)
    say(f"wrote {out}")
