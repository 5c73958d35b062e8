"""A station's reports over time: those that repeat each other, and those that never change."""

from __future__ import annotations

import numpy as np
import pandas as pd

from phyda_cli.observations.qc.codes import passing, set_codes
from phyda_cli.observations.table import LEVEL, QC

__all__ = ["nearest_report", "stuck_check"]

_PLACE = ["station_id", "variable", *LEVEL, "use"]
_STEADY = ("wind_direction",)  # reported in tens of degrees: trade winds keep it for a day


def nearest_report(table: pd.DataFrame, valid_time: np.datetime64) -> pd.DataFrame:
    """QC 42 for passing rows whose station has a passing value of the same variable and level
    nearer to ``valid_time``.

    A station is an identifier and a position to 0.01 degrees, so that every report of a ship or an
    aircraft is kept. Of two values equally near the first stays.
    """
    rows = passing(table)
    part = table.iloc[rows]
    distance = np.abs(part["time"].to_numpy() - valid_time.astype("datetime64[ns]"))
    order = np.argsort(distance, kind="stable")
    repeated = np.zeros(len(table), bool)
    repeated[rows[order]] = _keyed(part).iloc[order].duplicated().to_numpy()
    return set_codes(table, repeated, QC.REPEATED)


def stuck_check(table: pd.DataFrame, reports: int, hours: float) -> pd.DataFrame:
    """QC 21 (JEDI's stuck check) for runs of at least ``reports`` equal values of a station that
    last ``hours`` or longer.

    Zeros (calms) and wind directions may last. The whole file counts, also what lies outside the
    time window.
    """
    rows = passing(table)
    part = table.iloc[rows]
    rows = rows[(~part["variable"].isin(_STEADY) & part["time"].notna()).to_numpy()]
    if not rows.size:
        return table
    part = table.iloc[rows]
    station = _keyed(part).groupby(_columns(), dropna=False, sort=False).ngroup().to_numpy()
    time, value = part["time"].to_numpy(), part["value"].to_numpy()
    order = np.lexsort((time, station))
    station, time, value = station[order], time[order], value[order]
    starts = np.ones(rows.size, bool)
    starts[1:] = (station[1:] != station[:-1]) | (value[1:] != value[:-1])
    first = np.flatnonzero(starts)
    last = np.append(first[1:], rows.size) - 1
    long = (
        (value[first] != 0)
        & (last - first + 1 >= reports)
        & (time[last] - time[first] >= np.timedelta64(round(hours * 3600), "s"))
    )
    stuck = np.zeros(len(table), bool)
    stuck[rows[order]] = np.repeat(long, last - first + 1)
    return set_codes(table, stuck, QC.STUCK)


def _columns() -> list[str]:
    return [*_PLACE, "latitude", "longitude"]


def _keyed(table: pd.DataFrame) -> pd.DataFrame:
    return table[_columns()].round({"latitude": 2, "longitude": 2})
