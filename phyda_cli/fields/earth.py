"""Where on the sphere a point is, and when in the year a time is."""

from __future__ import annotations

import numpy as np

__all__ = ["DAYS", "day_of_year", "unit_vectors", "year_angle"]

DAYS = 365.25


def unit_vectors(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Points (..., 3) on the unit sphere at ``latitude`` and ``longitude`` (...) [degrees]."""
    lat, lon = np.deg2rad(latitude), np.deg2rad(longitude)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def year_angle(time: np.datetime64 | np.ndarray) -> np.ndarray:
    """The season as an angle [radians]: zero at the start of the year, 2 pi after 365.25 days."""
    return np.asarray(2 * np.pi * _since_new_year(time) / (DAYS * 86400))


def day_of_year(time: np.datetime64 | np.ndarray) -> np.ndarray:
    """Days since the start of the year."""
    return _since_new_year(time) / 86400


def _since_new_year(time: np.datetime64 | np.ndarray) -> np.ndarray:
    """Seconds."""
    second = np.asarray(time, "datetime64[s]")
    return np.asarray((second - second.astype("datetime64[Y]")) / np.timedelta64(1, "s"))
