"""An observing network from a file: which stations it has, and what they report.

A list of stations is a CSV file with a row for each station and the columns ``station_id``,
``latitude``, ``longitude`` and ``variables`` (several are separated by blanks). ``elevation``,
``pressure`` or ``height`` (the levels, separated by blanks) and ``error`` (one number for all the
variables, or one for each) may be left out. A station may have several rows. Units are given as in
tables of observations, such as ``pressure_hPa``.

A file of observations of any format stands for a network too. What it reports is kept, its times
and values are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.names import OBSERVABLES, canonical_observable
from phyda_cli.observations.convert_variables import derive_table
from phyda_cli.observations.read.cells import MISSING, Cells, open_table, split_cells
from phyda_cli.observations.read.columns import METADATA_UNITS, Column
from phyda_cli.observations.read.decode import is_text_table
from phyda_cli.observations.read.header import metadata_columns, nearest
from phyda_cli.observations.read.read import TextTables, read_observations
from phyda_cli.observations.report import told_once
from phyda_cli.observations.table import LEVEL, QC, RAW, empty, make
from phyda_cli.units import conversion

__all__ = ["ObservingNetwork", "read_network"]

VARIABLES = ("variables", "variable")
_BLOCK = 1 << 24  # letters of a list at a time
_HIGHEST_HPA = 1100.0
_INSTEAD = {
    "wind_direction": "u10 and v10",
    "d2m": "q2m",
    "rh2m": "q2m",
    "td": "q",
    "r": "q",
    "qnh": "sp",
    "gh": "z",
    "tv": "t",
    "tv2m": "t2m",
}
"""What the analysis takes of a variable that instruments report."""


@dataclass(frozen=True, eq=False)
class ObservingNetwork:
    """``rows`` are an observation table of what is observed at each time, without times and with
    values of zero; its errors are NaN where the default is meant. ``notes`` say what was assumed or
    left out of the file."""

    path: Path
    rows: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def stations(self) -> int:
        """The number of stations."""
        return int(self.rows["station_id"].nunique())


def read_network(path: Path, tables: TextTables = TextTables()) -> ObservingNetwork:
    """The network in ``path``; ``tables`` says how a text table of observations is read.

    Raises InputError for a file that cannot be read or lists nothing, and for a station without a
    position, a variable that is not known, and an upper-air variable without a level.
    """
    rows, notes = _of_list(path) or _of_observations(path, tables)
    repeated = rows.duplicated(["station_id", "latitude", "longitude", "variable", *LEVEL])
    if repeated.any():
        notes.append(
            f"{int(repeated.sum())} rows of {path.name} repeat a station, place, variable and "
            "level: each counts once"
        )
    rows = rows[~repeated].reset_index(drop=True)
    if not len(rows):
        raise InputError(f"{path} lists nothing that is observed", hint="; ".join(notes))
    return ObservingNetwork(path, rows, tuple(notes))


def _of_observations(path: Path, tables: TextTables) -> tuple[pd.DataFrame, list[str]]:
    """What a file of observations reports, in the variables that the analysis takes."""
    read = read_observations([path], tables)
    table = derive_table(read.table)
    kept = table["qc"].isin([QC.PASS, QC.PASSIVE, QC.BOUNDS])  # bounds are those of the values
    lost = table.loc[~kept, "qc"].value_counts()
    notes = [*told_once(read.notes), f"{path.name}: its places and variables count, not its times"]
    if len(lost):
        why = ", ".join(f"{n} {QC(int(code)).meaning}" for code, n in lost.items())
        notes.append(f"{int(lost.sum())} observations of {path.name} are left out: {why}")
    rows = table[kept].assign(value=0.0, qc=np.int16(0), time=np.datetime64("NaT", "ns"))
    return rows, notes


def _of_list(path: Path) -> tuple[pd.DataFrame, list[str]] | None:
    """The rows of a list of stations; None for a file of observations."""
    if not is_text_table(path):
        return None
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            opened = open_table(stream, str(path), [])
            lines = [line for block in opened.blocks(_BLOCK) for line in block]
    except OSError as error:
        raise InputError(f"cannot read the network {path}: {error.strerror}") from error
    known = {name.casefold() for name in opened.names}
    places = metadata_columns(opened.names, opened.units)
    if "value" in places or not known & {*VARIABLES}:
        return None
    lacking = [n for n in ("station_id", "latitude", "longitude") if n not in places]
    if lacking:
        raise InputError(
            f"{path}: no column for {', '.join(lacking)}; found columns: {', '.join(opened.names)}",
            hint="a list of stations has station_id, latitude, longitude, elevation, variables",
        )
    wanted = list(range(len(opened.names)))
    cells = split_cells(lines, opened.line, opened.names, wanted, opened.separator, str(path))
    listed = _List(path, cells, places, next(n for n in VARIABLES if n in known))
    values = [value for i in range(len(cells.line)) for value in listed.values(i)]
    if not values:
        return empty(), []
    columns = {name: np.array([v[name] for v in values]) for name in values[0]}
    time = np.datetime64("NaT", "ns")
    return make(**columns, time=time, value=0.0, file=str(path)), []


@dataclass(frozen=True, eq=False)
class _List:
    """The ``cells`` of a list of stations; ``places`` are its columns but that of the
    ``variables``."""

    path: Path
    cells: Cells
    places: Mapping[str, Column]
    variables: str

    def values(self, i: int) -> Iterator[dict[str, Any]]:
        """What the station in row ``i`` reports, the columns of the table for each value."""
        names = self._names(i)
        station, levels = self._text("station_id", i), self._levels(i)
        if not station:
            self._refuse(i, "the station has no station_id")
        shared = {"station_id": station, "row": int(self.cells.line[i]), **self._place(i, station)}
        for name, error in zip(names, self._errors(i, len(names)), strict=True):
            aloft = not OBSERVABLES[name].surface or (name == "wind_speed" and levels)
            if aloft and not levels:
                self._refuse(i, f"{name} of station {station} needs a level (column pressure_hPa)")
            for level in levels if aloft else [(np.nan, np.nan)]:
                pressure, height = level
                own = {"variable": name, "error": error, "pressure": pressure, "height": height}
                yield shared | own

    def _errors(self, i: int, count: int) -> list[float]:
        """An error for each of ``count`` variables, NaN where the default is meant."""
        given = self._numbers("error", i) or [np.nan]
        if len(given) not in (1, count):
            self._refuse(i, f"{len(given)} errors for {count} variables")
        if min(given) <= 0:
            self._refuse(i, "an error is not positive")
        return given if len(given) == count else given * count

    def _place(self, i: int, station: str) -> dict[str, float]:
        """Latitude, longitude and elevation."""
        place = {}
        for name, valid in (("latitude", (-90, 90)), ("longitude", (-180, 360))):
            given = self._numbers(name, i)
            if len(given) != 1 or not valid[0] <= given[0] <= valid[1]:
                text = self._text(name, i)
                self._refuse(i, f"station {station} has no position: {name} is {text!r}")
            place[name] = given[0]
        place["elevation"] = (self._numbers("elevation", i) or [np.nan])[0]
        return place

    def _levels(self, i: int) -> list[tuple[float, float]]:
        """Pressure [Pa] and height [m] of each level of the row, one of them NaN."""
        pressures, heights = self._numbers("pressure", i), self._numbers("height", i)
        if pressures and heights:
            self._refuse(i, "levels have a pressure or a height, not both")
        if pressures and max(pressures) < _HIGHEST_HPA:
            self._refuse(i, "its pressures look like hPa: call the column pressure_hPa")
        return [(p, np.nan) for p in pressures] + [(np.nan, h) for h in heights]

    def _names(self, i: int) -> list[str]:
        """The canonical names of the variables."""
        names = []
        for word in _words(self.cells.column(self.variables).iloc[i]):
            name = canonical_observable(word)
            if name is None:
                near = nearest(word)
                self._refuse(i, f"unknown variable {word!r}" + (f" (like {near})" if near else ""))
            if name in RAW:
                self._refuse(i, f"a list of stations has {_INSTEAD[name]} in place of {name}")
            if name == "thickness":
                self._refuse(i, "thickness needs layers: give a file of observations instead")
            names.append(name)
        if not names:
            self._refuse(i, "no variable is named")
        return names

    def _text(self, name: str, i: int) -> str:
        return str(self.cells.of(self.places[name]).iloc[i])

    def _numbers(self, name: str, i: int) -> list[float]:
        """The numbers of a cell in SI units; none where the column or the value is missing."""
        if name not in self.places:
            return []
        unit = METADATA_UNITS.get(name)
        scale, offset = (1.0, 0.0) if unit is None else conversion(self.places[name].unit, unit)
        words = [w for w in _words(self._text(name, i)) if w not in MISSING]
        try:
            return [float(word) * scale + offset for word in words]
        except ValueError:
            self._refuse(i, f"{name} {self._text(name, i)!r} is no number")

    def _refuse(self, i: int, reason: str) -> NoReturn:
        raise InputError(
            f"{self.path}:{self.cells.line[i]}: {reason}",
            hint="a list has columns such as station_id,latitude,longitude,elevation,variables,"
            "pressure_hPa and rows such as S1,47.3,11.4,581,t u v,850 700 500",
        )


def _words(cell: str) -> Sequence[str]:
    return [word for word in re.split(r"[\s;|]+", cell) if word]
