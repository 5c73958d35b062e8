"""Relative and specific humidity, exact inverses of each other.

Saturation is the IFS mix of water and ice (phyda_cli.physics.thermodynamics); GFS mixes over a
similar range, so that a field read as relative humidity and written back the same way does not
depend on the choice.
"""

from __future__ import annotations

import numpy as np

from phyda_cli.constants import EPSILON
from phyda_cli.physics.thermodynamics import (
    saturation_specific_humidity,
    saturation_vapour_pressure,
)

__all__ = ["relative_humidity", "saturation", "specific_humidity"]


_AT_ONCE = 1 << 15  # values, whose temporaries stay in the cache


def saturation(t: np.ndarray) -> np.ndarray:
    """Saturation vapour pressure [Pa] at ``t`` [K], any shape; float64."""
    flat = np.array(t, np.float64).ravel()
    for start in range(0, flat.size, _AT_ONCE):
        part = flat[start : start + _AT_ONCE]
        part[:] = saturation_vapour_pressure(part)
    return flat.reshape(np.shape(t))


def specific_humidity(r: np.ndarray, t: np.ndarray, p: np.ndarray | float) -> np.ndarray:
    """Specific humidity [kg kg-1] of relative humidity ``r`` [%] at ``t`` [K] and ``p`` [Pa], which
    broadcast; float64."""
    vapour = np.asarray(r, np.float64) / 100 * saturation(t)
    pressure = np.asarray(p, np.float64)
    return saturation_specific_humidity(np.asarray(t, np.float64), pressure, vapour)


def relative_humidity(
    q: np.ndarray, t: np.ndarray, p: np.ndarray | float, saturated: np.ndarray | None = None
) -> np.ndarray:
    """Relative humidity [%] of specific humidity ``q`` [kg kg-1] at ``t`` [K] and ``p`` [Pa], which
    broadcast; float64. ``saturated`` is the :func:`saturation` at ``t`` where it is known."""
    q = np.asarray(q, np.float64)
    saturated = saturation(t) if saturated is None else saturated
    return np.asarray(100 * q * p / (EPSILON + (1 - EPSILON) * q) / saturated)
