"""Text tables as cells, and cells as numbers and times."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.observations.read.columns import MISSING, TimeColumn

__all__ = ["Cells", "numbers", "split_cells", "times"]


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


def split_cells(
    lines: list[str], first: int, header: list[str], wanted: list[int], separator: str, file: str
) -> Cells:
    """Cells of the ``wanted`` columns in those of ``lines`` that are not blank; ``first`` is the
    number of the first line."""
    number = np.array([i for i, line in enumerate(lines) if line.strip()], int)
    body = [lines[i].rstrip("\n").replace("\0", "") for i in number]
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


def numbers(
    cells: pd.Series, factors: tuple[float, float], missing: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values (N,) in canonical units, which cells are blank, and which are no number."""
    blank = cells.isin([*MISSING, *missing]).to_numpy()
    values = pd.to_numeric(cells.where(~blank, "nan"), errors="coerce").to_numpy(float)
    values = np.where(blank | ~np.isfinite(values), np.nan, values)
    scale, offset = factors
    return values * scale + offset, blank, ~blank & np.isnan(values)


def times(table: Cells, spec: TimeColumn) -> tuple[np.ndarray, pd.Series]:
    """Times (N,), NaT where unreadable, and the cells they come from."""
    cells = table.column(spec.columns[0])
    for name in spec.columns[1:]:
        cells = cells + " " + table.column(name)
    if spec.format == "unix":
        seconds = pd.to_numeric(cells.where(cells != "", "nan"), errors="coerce").to_numpy(float)
        seconds = np.where(np.abs(seconds) < 9e9, seconds, np.nan)
        return pd.to_datetime(
            np.round(seconds * 1e6), unit="us", errors="coerce"
        ).to_numpy().astype("datetime64[ns]"), cells
    parsed = pd.to_datetime(
        cells, format=spec.format or "ISO8601", utc=True, errors="coerce"
    ).dt.tz_localize(None)
    representable = parsed.between(pd.Timestamp("1678-01-01"), pd.Timestamp("2262-01-01"))
    return parsed.where(representable).to_numpy().astype("datetime64[ns]"), cells
