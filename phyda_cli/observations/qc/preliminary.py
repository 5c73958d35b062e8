"""The checks that need no model."""

from __future__ import annotations

import numpy as np
import pandas as pd

from phyda_cli.fields.grid import Grid
from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.qc.codes import passing, set_codes
from phyda_cli.observations.qc.repeats import stuck_check
from phyda_cli.observations.stations import StationLists, listed, withheld_stations
from phyda_cli.observations.table import LEVEL, QC

__all__ = ["WINDOW", "bounds_check", "duplicates", "in_hectopascal", "preliminary_qc"]

WINDOW = np.timedelta64(3, "h")
"""Observations this far from the valid time are used: half of a 6-hourly cycle."""

_PRESSURE_RANGE = (50.0, 110000.0)  # Pa
_ELEVATION_RANGE = (-500.0, 9000.0)  # m
_HIGHEST_HPA = 1100.0
_EVERYWHERE = StationLists()


def preliminary_qc(
    table: pd.DataFrame,
    grid: Grid,
    valid_time: np.datetime64,
    window: np.timedelta64 = WINDOW,
    stations: StationLists = _EVERYWHERE,
    stuck: tuple[int, float] | None = None,
) -> pd.DataFrame:
    """The checks that need no model fields, in this order: missing value (10), bounds (12), domain
    (13), with ``stuck`` (reports, hours) a value that never changes (21), time window (41), station
    on the blacklist or not on the whitelist (14), duplicate (40), and last passive (1) for rows
    that are fine but not to be used.

    Duplicates are rows of the same station, position, time, variable and level; the first that
    passes is kept, one that is to be used before any other, whether the others agree or not.
    """
    missing = ~np.isfinite(table["value"].to_numpy())
    table = set_codes(table, missing, QC.MISSING)
    table = bounds_check(table)
    table = set_codes(
        table,
        ~grid.contains(table["latitude"].to_numpy(), table["longitude"].to_numpy()),
        QC.DOMAIN,
    )
    if stuck is not None:
        table = stuck_check(table, *stuck)
    distance = np.abs(table["time"].to_numpy() - valid_time.astype("datetime64[ns]"))
    table = set_codes(table, ~(distance <= window), QC.TIME_WINDOW)
    table = set_codes(table, listed(table, stations.blacklist), QC.BLACKLIST)
    if stations.whitelist is not None:
        table = set_codes(table, ~listed(table, stations.whitelist), QC.BLACKLIST)
    table = set_codes(table, duplicates(table), QC.DUPLICATE)
    passive = table["station_id"].isin(withheld_stations(table["station_id"], stations)).to_numpy()
    table = table.assign(use=np.where(passive, 0, table["use"]).astype(np.int8))
    return set_codes(table, table["use"] == 0, QC.PASSIVE)


def bounds_check(table: pd.DataFrame) -> pd.DataFrame:
    """QC 12 for values, pressures and elevations no report can have.

    A file whose pressures all stay below 1100 is rejected too: they are hPa where Pa is required,
    see :func:`unit_hints`.
    """
    ranges = {name: OBSERVABLES[name].valid_range for name in table["variable"].unique()}
    low = table["variable"].map({k: v[0] for k, v in ranges.items()}).to_numpy(float)
    high = table["variable"].map({k: v[1] for k, v in ranges.items()}).to_numpy(float)
    value, pressure, top, elevation = (
        table[k].to_numpy() for k in ("value", "pressure", "pressure_top", "elevation")
    )
    bad = (value < low) | (value > high)
    bad |= (pressure < _PRESSURE_RANGE[0]) | (pressure > _PRESSURE_RANGE[1]) | in_hectopascal(table)
    bad |= (top < 0) | (top >= pressure)
    bad |= (elevation < _ELEVATION_RANGE[0]) | (elevation > _ELEVATION_RANGE[1])
    return set_codes(table, bad, QC.BOUNDS)


def in_hectopascal(table: pd.DataFrame) -> np.ndarray:
    """Rows (P,) of files whose pressures are all so low that they must be hPa."""
    highest = table.groupby("file")["pressure"].transform("max").to_numpy(float)
    return (highest < _HIGHEST_HPA) & table["pressure"].notna().to_numpy()


def duplicates(table: pd.DataFrame) -> np.ndarray:
    """Passing rows (P,) whose station, position, time, variable and level a passing row before them
    has; a row to be used goes before one that is not."""
    duplicate = np.zeros(len(table), bool)
    rows = passing(table)
    rows = rows[np.argsort(table["use"].to_numpy()[rows] == 0, kind="stable")]
    key = ["station_id", "time", "latitude", "longitude", "variable", *LEVEL]
    duplicate[rows] = table.iloc[rows].duplicated(key).to_numpy()
    return duplicate
