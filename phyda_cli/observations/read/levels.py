"""The one place that decides whether a report is of the surface or of a level aloft."""

from __future__ import annotations

import numpy as np
import pandas as pd

from phyda_cli.constants import STANDARD_PRESSURE
from phyda_cli.observations.atmosphere import standard_height

__all__ = ["AT_SURFACE", "are_levels"]

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

_STANDARD = (1e5, 92500.0, 85000.0, 70000.0, 50000.0, 40000.0, 30000.0, 25000.0, 20000.0)
_LOWEST = 85000.0  # Pa: a table of stations without heights has no pressure below it
_NEAR = 30.0  # m between a height and the station's that still is the station
_WEATHER = 800.0  # m by which weather moves the standard height of a station's pressure


def are_levels(
    profile: np.ndarray, pressure: np.ndarray, height: np.ndarray, elevation: np.ndarray
) -> np.ndarray:
    """Which of N reports (N,) lie at a level, from their pressure [Pa] and height [m], NaN where
    unknown, the elevation of the station [m], and labels of what belongs to one ascent.

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
    return known & (several | ~surface)
