"""Text tables as cells, and cells as numbers and times."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TextIO

import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.observations.read.columns import Column, TimeColumn
from phyda_cli.observations.read.header import meaning
from phyda_cli.units import is_unit

__all__ = ["Cells", "Opened", "Parsed", "numbers", "open_table", "split_cells", "times"]

MISSING = (
    *("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "M", "MM", "MSNG", "-", "--"),
    *("-9999", "-9999.0", "///", "////", "/////", "*", "**", "***", "n/a", "NaT"),
)
"""Cells that mean "no value" in every column."""

_POSITION = {"station_id", "latitude", "longitude", "elevation"}
_SEPARATORS = ",;\t|"
_LOOKED_THROUGH = 60  # lines in which the header may be
_NINES = re.compile(r"[-+]?9{2,}(\.[09]+)?")  # what archives write where there is no value
_FILLS = (32767.0, -32768.0)


@dataclass
class Opened:
    """A text table whose header has been found: names of the columns, the units of the line after
    it, what comments say (``LATITUDE`` → text), and the lines that follow, the first being number
    ``line``."""

    names: list[str]
    units: dict[str, str]
    comments: dict[str, str]
    separator: str | None  # None: blanks
    line: int
    stream: TextIO
    _pending: list[str] = field(default_factory=list)

    def blocks(self, letters: int) -> Iterator[list[str]]:
        """The lines of data in blocks of about so many letters, at least one block."""
        first = self._pending + self.stream.readlines(letters)
        yield first
        while lines := self.stream.readlines(letters):
            yield lines


def open_table(stream: TextIO, file: str, wanted: Sequence[str]) -> Opened:
    """Find the header in the first lines of ``stream``: the first line that is no comment, unless
    a later one, or a comment, names more of the columns that are known, or all of ``wanted``.

    Raises InputError when there is none.
    """
    lines = [line for _, line in zip(range(_LOOKED_THROUGH), stream, strict=False)]
    plain = [line.replace("\0", "").rstrip("\n") for line in lines]
    filled = [i for i, line in enumerate(plain) if line.strip()]
    data = [i for i in filled if not plain[i].lstrip().startswith("#")]
    if not data and not filled:
        raise InputError(f"{file} holds no table: it has no header line")
    number = _header_line(plain, filled, data, wanted)
    if number is None:
        raise InputError(f"{file} holds no table: it has no header line")
    text = plain[number].lstrip("#").strip() if number not in data else plain[number]
    separator = _separator(text)
    names = _cells(text, separator)
    after = next((i for i in filled if i > number), None)
    units = _units(names, plain[after], separator) if after is not None else {}
    start = after + 1 if units and after is not None else number + 1
    comments = {}
    for line in plain[:number]:
        if found := re.fullmatch(r"#\s*([A-Za-z_ ]+?)\s*(\[.*?\])?\s*[:=]\s*(\S.*?)\s*", line):
            comments[f"{found[1].lower()}{found[2] or ''}"] = found[3]
    comments |= _preamble(plain[:number])
    return Opened(names, units, comments, separator, start + 1, stream, lines[start:])


def _preamble(lines: Sequence[str]) -> dict[str, str]:
    """What a small table before the table says of the one station in it."""
    for names, values in pairwise(lines):
        separator = _separator(names)
        pairs = zip(_cells(names, separator), _cells(values, separator), strict=False)
        said = {name.lower(): value for name, value in pairs}
        if {"latitude", "longitude"} <= set(said):
            return said
    return {}


def _header_line(
    plain: list[str], filled: list[int], data: list[int], wanted: Sequence[str]
) -> int | None:
    def known(i: int) -> int:
        text = plain[i].lstrip("#").strip()
        cells = _cells(text, _separator(text))
        folded = {c.casefold() for c in cells}
        if wanted and all(w.strip().casefold() in folded for w in wanted):
            return 1000
        return len(meanings(i))

    def meanings(i: int) -> set[str]:
        text = plain[i].lstrip("#").strip()
        return {found for c in _cells(text, _separator(text)) if (found := meaning(c)) is not None}

    first = data[0] if data else None
    if first is not None and (known(first) >= 3 or len(filled) == 1):
        placed = known(first) < 1000 and meanings(first) <= _POSITION
        after = max(data[1:], key=lambda i: (known(i), -i), default=first)
        return after if placed and known(after) >= 3 else first  # a table about the station
    best = max(filled, key=lambda i: (known(i), -i), default=None)
    if best is not None and known(best) >= 3:
        return best
    return max(data, key=lambda i: (_words(plain[i]), -i), default=None)


def _words(text: str) -> int:
    """How many names a line holds; of a line with numbers, none."""
    cells = {c for c in _cells(text, _separator(text)) if c}
    return 0 if any(_is_number(c.replace(",", ".")) for c in cells) else len(cells)


def _separator(text: str) -> str | None:
    found = max(_SEPARATORS, key=text.count)
    return None if not text.count(found) and len(text.split()) > 2 else found


def _cells(text: str, separator: str | None) -> list[str]:
    if separator is None:
        return text.split()
    return [name.strip() for name in next(csv.reader([text], delimiter=separator), [])]


def _units(names: list[str], line: str, separator: str | None) -> dict[str, str]:
    """The units in the line after the header; empty where it is a line of data."""
    text = line.lstrip("#").strip() if line.lstrip().startswith("#") else line
    cells = _cells(text, separator)
    filled = [c for c in cells if c not in MISSING]  # M is no metre
    if len(cells) > len(names) or any(_is_number(c) and c != "1" for c in filled):
        return {}
    units = sum(is_unit(c) or c.upper() in ("UTC", "GMT") for c in filled)
    if units < 2 or units < len(filled) / 2:
        return {}
    pairs = zip(names, cells, strict=False)
    return {n: c for n, c in pairs if is_unit(c) or c.upper() in ("UTC", "GMT") or "since" in c}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass
class Cells:
    """Data lines of a table as text cells: ``cells[column]`` for the column numbers of ``header``
    that are needed, and one more for what is beyond it."""

    file: str
    header: list[str]
    separator: str
    lines: list[str]
    cells: pd.DataFrame
    line: np.ndarray  # (N,) from 1
    comma: bool = False  # decimal commas

    def column(self, name: str) -> pd.Series:
        exact = [i for i, h in enumerate(self.header) if h == name]
        near = exact or [
            i for i, h in enumerate(self.header) if h.casefold() == name.strip().casefold()
        ]
        if not near:
            raise InputError(
                f"{self.file}: no column {name!r}; found columns: {', '.join(self.header)}",
                hint="correct the name in the mapping file",
            )
        if len(near) > 1:
            raise InputError(f"{self.file}: the header has {len(near)} columns {name!r}")
        return self.cells[near[0]]

    def of(self, column: Column) -> pd.Series:
        """The cells of ``column``, or its constant in every row."""
        if column.column is None:
            return pd.Series([str(column.value)] * len(self.line), dtype=object)
        return self.column(column.column)


def split_cells(
    lines: list[str],
    first: int,
    header: list[str],
    wanted: list[int],
    separator: str | None,
    file: str,
) -> Cells:
    """Cells of the ``wanted`` columns in those of ``lines`` that are not blank; ``first`` is the
    number of the first line, ``separator`` None stands for blanks."""
    number = np.array([i for i, line in enumerate(lines) if line.strip()], int)
    body = [lines[i].rstrip("\n").replace("\0", "") for i in number]
    if separator is None:
        separator, body = "\t", ["\t".join(line.split()) for line in body]
    # A stray quote would swallow the following lines: a line with an odd number of them is read
    # without.
    body = [line if line.count('"') % 2 == 0 else line.replace('"', "") for line in body]
    width = len(header) + 1
    ruler = separator * (
        width - 1
    )  # tells the parser the number of columns; longer lines are cut at it
    cells = pd.read_csv(
        io.StringIO("\n".join([ruler, *body, ""])),
        sep=separator,
        header=None,
        names=range(width),
        usecols=[*wanted, width - 1],
        index_col=False,
        dtype=str,
        na_filter=False,
        skip_blank_lines=False,
        low_memory=False,
        skipinitialspace=True,
    )
    cells = cells.iloc[1:].reset_index(drop=True)
    if len(cells) != number.size:
        raise InputError(
            f"{file}: {number.size} lines were parsed as {len(cells)} rows",
            hint="look for unusual quotes in the file",
        )
    return Cells(
        file, header, separator, body, cells.apply(lambda c: c.str.strip()), number + first
    )


@dataclass(frozen=True)
class Parsed:
    """Cells as values (N,) in canonical units; which are ``blank``, which no number (``bad``), and
    which their quality flag ``rejected``."""

    values: np.ndarray
    blank: np.ndarray
    bad: np.ndarray
    rejected: np.ndarray
    cells: pd.Series


def numbers(
    table: Cells,
    column: Column,
    factors: tuple[float, float],
    missing: tuple[str, ...],
    valid: tuple[float, float] | None = None,
) -> Parsed:
    """The numbers in ``column`` of ``table``. Nines and fill values outside the ``valid`` range of
    the quantity count as blank."""
    cells = table.of(column)
    rejected = np.zeros(len(cells), bool)
    shown = cells
    if column.part is not None:
        split = cells.str.split(column.joined_by)
        if column.flag_part is not None:
            rejected = split.str.get(column.flag_part).isin(column.bad).to_numpy()
        cells = split.str.get(column.part).fillna("").str.strip()
    blank = cells.isin([*MISSING, *missing, *column.missing]).to_numpy().copy()
    plain = cells.str.replace(",", ".", regex=False) if table.comma else cells
    values = pd.to_numeric(plain.where(~blank, "nan"), errors="coerce").to_numpy(float)
    values = np.where(blank | ~np.isfinite(values), np.nan, values)
    scale, offset = factors
    canonical = values * scale + offset
    if valid is not None:
        impossible = (canonical < valid[0]) | (canonical > valid[1])
        for i in np.flatnonzero(impossible):
            code = _NINES.fullmatch(plain.iloc[i]) is not None
            blank[i] |= code or values[i] in _FILLS or abs(values[i]) >= 1e15
        canonical = np.where(blank, np.nan, canonical)
    return Parsed(canonical, blank, ~blank & np.isnan(values), rejected & ~blank, shown)


def times(table: Cells, spec: TimeColumn) -> tuple[np.ndarray, pd.Series]:
    """Times (N,), NaT where unreadable, and the cells they come from."""
    cells = table.column(spec.columns[0])
    for name in spec.columns[1:]:
        cells = cells + " " + table.column(name)
    if spec.format in ("unix", "unix_ms"):
        seconds = pd.to_numeric(cells.where(cells != "", "nan"), errors="coerce").to_numpy(float)
        seconds = seconds / 1000 if spec.format == "unix_ms" else seconds
        seconds = np.where(np.abs(seconds) < 9e9, seconds, np.nan)
        return pd.to_datetime(
            np.round(seconds * 1e6), unit="us", errors="coerce"
        ).to_numpy().astype("datetime64[ns]"), cells
    local = spec.timezone is not None
    if spec.format in ("date+hour", "date+hhmm"):
        date, clock = (table.column(name) for name in spec.columns)
        since = _since_midnight(clock, spec.format == "date+hhmm")
        parsed = pd.to_datetime(date.str.replace("/", "-"), format="ISO8601", errors="coerce")
        parsed = parsed.dt.tz_localize(None) + since
    else:
        form = spec.format or "ISO8601"
        text = cells if spec.format else cells.str.replace("/", "-", regex=False)
        parsed = pd.to_datetime(text, format=form, utc=not local, errors="coerce")
        if not local:
            parsed = parsed.dt.tz_localize(None)
    if local:
        zoned = pd.to_datetime(parsed, errors="coerce").dt
        parsed = zoned.tz_localize(spec.timezone, ambiguous="NaT", nonexistent="NaT")
        parsed = parsed.dt.tz_convert("UTC").dt.tz_localize(None)
    representable = parsed.between(pd.Timestamp("1678-01-01"), pd.Timestamp("2262-01-01"))
    return parsed.where(representable).to_numpy().astype("datetime64[ns]"), cells


def _since_midnight(clock: pd.Series, hhmm: bool) -> pd.Series:
    """Time of day from ``6``, ``24``, ``0600``, ``600``, ``6:00`` or ``06:00:00Z``."""
    text = clock.str.rstrip("Zz")
    if hhmm:
        padded = text.str.zfill(4)
        digits = text.str.fullmatch(r"\d{1,4}")
        text = text.where(~digits, padded.str[:2] + ":" + padded.str[2:])
    parts = text.str.extract(r"^(\d{1,2})(?::(\d{2})(?::(\d{2})(?:\.\d*)?)?)?$")
    hours, minutes, seconds = (pd.to_numeric(parts[i], errors="coerce") for i in range(3))
    total = hours * 3600 + minutes.fillna(0) * 60 + seconds.fillna(0)
    sane = (hours <= 24) & (minutes.fillna(0) < 60) & (total <= 86400)
    return pd.to_timedelta(total.where(sane), unit="s")
