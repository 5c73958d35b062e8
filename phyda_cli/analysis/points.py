"""The analysis at stations, as a table: interpolated and taken to the stations' heights as
observations are compared with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from phyda_cli.analysis.analyse import Analysis, Problem
from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.layered import Layered, plane
from phyda_cli.observations.operators import build_operator
from phyda_cli.observations.read.header import METADATA
from phyda_cli.observations.table import make

__all__ = ["at_stations", "read_points"]

VARIABLES = ("t2m", "q2m", "u10", "v10", "msl", "sp")
_PLACE = ("station_id", "latitude", "longitude", "elevation")


def read_points(path: Path) -> pd.DataFrame:
    """Stations of a CSV file: columns ``station_id``, ``latitude``, ``longitude`` and perhaps
    ``elevation`` [m], under any name that phyda reads in tables of observations; each station once.

    Raises InputError when the file cannot be read, or lacks a column or a place.
    """
    try:
        table = pd.read_csv(path, dtype=str, sep=None, engine="python", comment="#")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the stations of {path}: {error}") from error
    lower = {str(c).strip().lower(): c for c in table.columns}
    found = {
        name: next((lower[n] for n in METADATA[name].split() if n in lower), None)
        for name in _PLACE
    }
    lacking = [n for n in _PLACE[:3] if found[n] is None]
    if lacking:
        raise InputError(
            f"{path} has no column {', '.join(lacking)}; found {', '.join(map(str, lower))}",
            hint="the stations are a CSV file: station_id,latitude,longitude,elevation",
        )
    places = pd.DataFrame({"station_id": table[found["station_id"]].str.strip()})
    for name in _PLACE[1:]:
        column = np.nan if found[name] is None else table[found[name]]
        places[name] = pd.to_numeric(pd.Series(column, table.index), errors="coerce")
    bad = places["latitude"].abs().gt(90) | places[["latitude", "longitude"]].isna().any(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0]) + 2
        raise InputError(f"{path}:{row}: the station has no place: latitude or longitude is wrong")
    return places.drop_duplicates(ignore_index=True)


def at_stations(
    places: pd.DataFrame, problem: Problem, result: Analysis, variables: Iterable[str] = VARIABLES
) -> pd.DataFrame:
    """One row for each of ``places`` and each surface variable that the fields have or from which
    it follows: ``background``, ``analysis`` and ``spread`` in SI units. What cannot be had there,
    such as outside the grid or too far above its ground, is empty.
    """
    background, analysis = problem.background, result.fields
    orography, height_limit = problem.departures.orography, problem.settings.qc.height_limit_m
    count, names = len(places), list(variables)
    each = {n: np.tile(places[n].to_numpy(), len(names)) for n in _PLACE}
    each["longitude"] = each["longitude"].astype(float) % 360
    table = make(**each, variable=np.repeat(names, count), time=background.time, value=0.0)
    rows = {}
    for name, fields in (("background", background), ("analysis", analysis)):
        operator = build_operator(fields, table, orography, height_limit)
        rows[name] = np.where(operator.ok, operator.of(fields), np.nan)
    if result.status == "ok":
        wide = operator.deviation(_as(analysis, result.spread))
        rows["spread"] = np.where(operator.ok, wide, np.nan)
    found = table[[*_PLACE, "time", "variable"]].assign(**rows)
    known = found.groupby("variable")["analysis"].transform(lambda v: v.notna().any())
    found = found[known].sort_values(["station_id", "variable"], kind="stable")
    return found.assign(longitude=(found["longitude"] + 180) % 360 - 180)


def _as(layout: Fields, some: Fields) -> Fields:
    """``some`` with the fields of ``layout``; what it lacks is NaN."""
    nothing = np.full(layout.grid.shape, np.nan)

    def level(name: str, k: int) -> np.ndarray:
        return plane(some.upper, name, k) if name in some.upper else nothing

    surface = {name: some.surface.get(name, nothing) for name in layout.surface}
    upper = Layered(layout.upper, layout.levels.size, level)
    return replace(layout, upper=upper, surface=surface)
