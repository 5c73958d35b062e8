"""The one place that decides whether a report is of the surface or of a level aloft. A format that
states it passes its statement on; of the others their pressures, heights and elevations tell."""

from __future__ import annotations

import numpy as np
import pandas as pd

from phyda_cli.constants import STANDARD_PRESSURE
from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.atmosphere import standard_height
from phyda_cli.observations.read.to_table import Values

__all__ = ["AT_SURFACE", "are_levels", "of_sensor", "placed"]

AT_SURFACE = {
    "t": "t2m",
    "tv": "tv2m",
    "td": "d2m",
    "r": "rh2m",
    "q": "q2m",
    "u": "u10",
    "v": "v10",
}
"""What an upper-air quantity is called in a report of the surface."""

_EITHER = ("wind_speed", "wind_direction")  # have one name aloft and at the surface
_NEAR_2M, _NEAR_10M = (1.0, 3.0), (5.0, 20.0)  # m, heights of sensors that count as 2 m and 10 m
_NEAR_10M_AT_SEA = (2.5, 20.0)  # buoys are low

_STANDARD = (1e5, 92500.0, 85000.0, 70000.0, 50000.0, 40000.0, 30000.0, 25000.0, 20000.0)
_LOWEST = 85000.0  # Pa: a table of stations without heights has no pressure below it
_NEAR = 30.0  # m between a height and the station's that still is the station
_WEATHER = 800.0  # m by which weather moves the standard height of a station's pressure


def are_levels(
    profile: np.ndarray,
    pressure: np.ndarray,
    height: np.ndarray,
    elevation: np.ndarray,
    stated: np.ndarray | None = None,
) -> np.ndarray:
    """Which of N reports (N,) lie at a level, from their pressure [Pa] and height [m], NaN where
    unknown, the elevation of the station [m], and labels of what belongs to one ascent. ``stated``
    (N,) is what the format itself says, and decides: 1 a level, 0 the surface, NaN nothing.

    Where the level varies within an ascent it is one, whatever else is missing. A single report is
    of the surface where its height is the station's, or its pressure fits the station's elevation;
    without any elevation, where no pressure of the file is below 850 hPa, apart from the standard
    levels.
    """
    known = ~np.isnan(pressure) | ~np.isnan(height)
    level = np.where(np.isnan(pressure), -height, pressure)
    several = pd.Series(level).groupby(pd.Series(profile)).transform("nunique").to_numpy() > 1
    fits = np.abs(
        standard_height(np.where(np.isnan(pressure), STANDARD_PRESSURE, pressure)) - elevation
    )
    placed, high = ~np.isnan(elevation), ~np.isnan(height)
    at_station = np.abs(height - elevation) <= _NEAR
    standard = np.isin(np.round(pressure), _STANDARD)
    alone = known & ~several & ~placed & ~high
    low = bool((pressure[alone] > _LOWEST * 0.999).all() and not standard[alone].all())
    surface = np.where(placed & high, at_station, np.where(placed, fits <= _WEATHER, low & ~high))
    found: np.ndarray = known & (several | ~surface)
    return found if stated is None else np.where(np.isnan(stated), found, stated == 1)


def of_sensor(quantity: str, height: float, at_sea: bool) -> str:
    """Where a sensor at ``height`` [m] above the ground or the water of a surface report measures
    ``quantity`` (as ``t`` or ``wind_speed``): ``surface``, ``level`` above it, or ``below`` it."""
    wind = _NEAR_10M_AT_SEA if at_sea else _NEAR_10M
    low, high = wind if quantity in _EITHER else _NEAR_2M
    if height < low:
        return "below"
    return "level" if height > high else "surface"


def placed(
    quantity: str,
    value: np.ndarray,
    level: np.ndarray,
    error: np.ndarray | None = None,
    flag: np.ndarray | None = None,
) -> list[Values]:
    """The values (N,) of ``quantity`` where ``level`` (N,) says that they are aloft, and those of
    its namesake at the surface (``t``: ``t2m``) elsewhere. A quantity of the surface alone, such as
    ``sp``, is one wherever it is reported."""
    if OBSERVABLES[quantity].surface and quantity not in _EITHER:
        return [Values(quantity, value, False, error, flag)]
    near = quantity if quantity in _EITHER else AT_SURFACE.get(quantity)
    kinds = [(quantity, True, level)] + ([(near, False, ~level)] if near else [])
    return [
        Values(name, np.where(own, value, np.nan), upper, error, flag)
        for name, upper, own in kinds
        if own.any()
    ]
