"""What a reader hands back: the table, an account of every input row, and what a user should know
about the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from phyda_cli.errors import PhydaError
from phyda_cli.observations.table import concat

__all__ = ["Note", "Problem", "ReadResult", "merge", "told_once"]


@dataclass(frozen=True)
class Problem:
    """One reason why something in row ``row`` (from 1) of ``file`` is not used."""

    file: str
    row: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.row}: {self.reason}"


@dataclass(frozen=True)
class Note:
    """Something about ``file`` as a whole: what it is, what was assumed, or what is in it and not
    used. ``count`` is how many values or rows it concerns, 0 where that says nothing."""

    file: str
    text: str
    count: int = 0


@dataclass(frozen=True, eq=False)
class ReadResult:
    """Observations and the fate of every data row of the files.

    ``rows_read`` data rows (lines of text, levels of a sounding) are ``rows_with_values`` that
    entered ``table`` (whether good or bad), ``rows_without_values`` whose cells are all blank, and
    ``rows_unreadable`` of which nothing could be made. Raises PhydaError when they do not add up.
    """

    table: pd.DataFrame
    rows_read: int
    rows_with_values: int
    rows_without_values: int
    rows_unreadable: int
    problems: list[Problem] = field(default_factory=list)
    ignored_columns: dict[str, list[str]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def __post_init__(self) -> None:
        parts = self.rows_with_values, self.rows_without_values, self.rows_unreadable
        if sum(parts) != self.rows_read:
            raise PhydaError(
                f"observations lost while reading: {self.rows_read} rows, but {parts} with "
                "values, without, unreadable"
            )


def merge(results: Sequence[ReadResult]) -> ReadResult:
    """The results of several files as one."""
    return ReadResult(
        table=concat([r.table for r in results]),
        rows_read=sum(r.rows_read for r in results),
        rows_with_values=sum(r.rows_with_values for r in results),
        rows_without_values=sum(r.rows_without_values for r in results),
        rows_unreadable=sum(r.rows_unreadable for r in results),
        problems=[p for r in results for p in r.problems],
        ignored_columns={k: v for r in results for k, v in r.ignored_columns.items()},
        notes=_summed([n for r in results for n in r.notes]),
    )


def _summed(notes: Sequence[Note]) -> list[Note]:
    """Each note of a file once, with the sum of its counts."""
    counts: dict[tuple[str, str], int] = {}
    for note in notes:
        counts[note.file, note.text] = counts.get((note.file, note.text), 0) + note.count
    return [Note(file, text, count) for (file, text), count in counts.items()]


def told_once(notes: Sequence[Note]) -> list[str]:
    """Each text of ``notes`` once, with the sum of its counts and the number of files."""
    texts: dict[str, list[Note]] = {}
    for note in notes:
        texts.setdefault(note.text, []).append(note)
    lines = []
    for text, same in texts.items():
        count, files = sum(n.count for n in same), len({n.file for n in same})
        shown = [f"{count}"] if count else []
        shown += [f"in {files} files"] if files > 1 else []
        lines.append(f"{text} ({' '.join(shown)})" if shown else text)
    return lines
