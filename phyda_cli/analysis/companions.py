"""What follows from the fields that are analysed: surface pressure, and humidity at 2 m in every
form that a forecast has it."""

from __future__ import annotations

import numpy as np

from phyda_cli.constants import STANDARD_PRESSURE
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.interpolate import log_pressure_weights
from phyda_cli.fields.layered import plane
from phyda_cli.fields.remap import present_levels
from phyda_cli.observations.atmosphere import (
    dew_point,
    standard_pressure,
    vapour_of,
    vapour_pressure,
)
from phyda_cli.observations.surface_air import surface_pressure

__all__ = ["companions", "followers"]

_DRIEST = 1e-7  # kg kg-1, of which a dew point can be taken


def companions(background: Fields, analysis: Fields) -> dict[str, np.ndarray]:
    """Dew point and relative humidity at 2 m (H, W) of ``analysis``, those that ``background``
    has: its own, changed as the analysed humidity, temperature and pressure say."""
    found: dict[str, np.ndarray] = {}
    surface = background.surface
    before, after = _vapour(background), _vapour(analysis)
    if before is None or after is None:
        return found
    if "d2m" in surface:
        found["d2m"] = surface["d2m"] + dew_point(after) - dew_point(before)
    if "rh2m" in surface and "t2m" in surface:
        warmer = vapour_pressure(surface["t2m"]) / vapour_pressure(analysis.surface["t2m"])
        relative = surface["rh2m"] * after / before * warmer
        found["rh2m"] = np.minimum(relative, np.maximum(surface["rh2m"], 100.0))
    return found


def followers(background: Fields, part: Fields) -> dict[str, np.ndarray]:
    """What sp and q2m of ``background`` take from ``part``, increments or spreads of what the model
    has: sp that of msl, in proportion; q2m that of q at the pressure of the ground."""
    found, surface = {}, background.surface
    if "sp" in surface and "sp" not in part.surface and {"msl"} <= {*surface} & {*part.surface}:
        found["sp"] = part.surface["msl"] * surface["sp"] / surface["msl"]
    if "q2m" in surface and "q2m" not in part.surface and "q" in part.upper:
        pressure = _ground(background).ravel()
        present = np.flatnonzero(present_levels(background, "q"))
        index, weight, _ = log_pressure_weights(part.levels[present], pressure)
        near = np.zeros((2, pressure.size))
        for k in np.unique(index):
            aloft = np.nan_to_num(plane(part.upper, "q", int(present[k]))).ravel()
            for side in (0, 1):
                here = index[:, side] == k
                near[side, here] = weight[here, side] * aloft[here]
        found["q2m"] = near.sum(axis=0).reshape(background.grid.shape)
    return found


def _ground(background: Fields) -> np.ndarray:
    """The pressure (H, W) [Pa] at which humidity aloft stands for that at 2 m, as in the
    observation operator: the standard one of the ground's height, else the surface pressure, else
    that of the sea."""
    surface = background.surface
    if "orography" not in surface and "sp" in surface:
        return np.where(np.isnan(surface["sp"]), STANDARD_PRESSURE, surface["sp"])
    height = surface.get("orography", np.zeros(background.grid.shape))
    return standard_pressure(np.nan_to_num(height))


def _vapour(fields: Fields) -> np.ndarray | None:
    """Vapour pressure at 2 m (H, W) [Pa]."""
    pressure = surface_pressure(fields)
    if "q2m" not in fields.surface or pressure is None:
        return None
    return vapour_of(np.maximum(fields.surface["q2m"], _DRIEST), pressure)
