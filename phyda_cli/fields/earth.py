"""Where on the sphere a point is, and when in the year a time is."""

from __future__ import annotations

import numpy as np

__all__ = ["DAYS", "day_of_year", "east_and_north", "unit_vectors", "year_angle"]

DAYS = 365.25


def unit_vectors(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Points (..., 3) on the unit sphere at ``latitude`` and ``longitude`` (...) [degrees]."""
    lat, lon = np.deg2rad(latitude), np.deg2rad(longitude)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def east_and_north(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The directions east and north (..., 3) at ``position`` (..., 3) of any length; at a pole any
    that are at right angles."""
    x, y = position[..., 0], position[..., 1]
    at_pole = np.hypot(x, y) == 0
    east = np.stack([-y, np.where(at_pole, 1.0, x), np.zeros_like(x)], axis=-1)
    east = east / np.linalg.norm(east, axis=-1, keepdims=True)
    up = position / np.linalg.norm(position, axis=-1, keepdims=True)
    return east, np.cross(up, east)


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
