"""Moist thermodynamics: virtual temperature and saturation, as in the IFS.

Saturation follows the IFS Documentation CY47R3, part IV, chapter 12 (Tetens' formula over water and
over ice, mixed between -23 and 0 degrees Celsius), so that humidity limits are those of ERA5 and of
other analyses made with the IFS.

All functions take arrays of numpy or tensors of torch. Files are read without torch, which takes
longer to import than most files to read.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from phyda_cli.constants import EPSILON, KAPPA, OVER_ICE, OVER_WATER, SATURATION, TRIPLE_POINT

__all__ = [
    "potential_temperature",
    "saturation_specific_humidity",
    "saturation_vapour_pressure",
    "saturation_vapour_pressure_ice",
    "saturation_vapour_pressure_water",
    "virtual_temperature",
]

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", np.ndarray, "Tensor")

ALL_ICE = 250.16  # K, no liquid below in the IFS mix


def virtual_temperature(t: Array, q: Array) -> Array:
    """T (1 + (1/epsilon - 1) q) [K] of ``t`` [K] and specific humidity ``q`` [kg kg-1], without
    condensate."""
    return t * (1 + (1 / EPSILON - 1) * q)


def potential_temperature(t: Array, p: Array) -> Array:
    """T (1000 hPa / p)^kappa [K] of ``t`` [K] at ``p`` [Pa], which broadcast; kappa of dry air."""
    return t * (1e5 / p) ** KAPPA


def saturation_vapour_pressure_water(t: Array) -> Array:
    """Saturation vapour pressure over liquid water [Pa] at ``t`` [K]; 0.8 % from Murphy & Koop
    (2005) between 240 and 320 K."""
    return _saturation(t, *OVER_WATER)


def saturation_vapour_pressure_ice(t: Array) -> Array:
    """Saturation vapour pressure over ice [Pa] at ``t`` [K]; 0.5 % from Murphy & Koop (2005)
    between 190 and 273 K."""
    return _saturation(t, *OVER_ICE)


def _saturation(t: Array, slope: float, offset: float) -> Array:
    return SATURATION * _library(t).exp(slope * (t - TRIPLE_POINT) / (t - offset))


def _library(array: np.ndarray | Tensor) -> Any:
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(array, torch.Tensor) else np


def saturation_vapour_pressure(t: Array) -> Array:
    """Over water above 273.16 K, over ice below 250.16 K, mixed by ((T - 250.16)/23)**2 in between
    [Pa]."""
    water = ((t - ALL_ICE) / (TRIPLE_POINT - ALL_ICE)).clip(0, 1) ** 2
    return water * saturation_vapour_pressure_water(t) + (
        1 - water
    ) * saturation_vapour_pressure_ice(t)


def saturation_specific_humidity(t: Array, p: Array, vapour_pressure: Array | None = None) -> Array:
    """epsilon e_s / (p - (1 - epsilon) e_s) [kg kg-1] at ``t`` [K] and ``p`` [Pa], which broadcast.

    ``vapour_pressure`` [Pa] replaces the mixed-phase e_s. It is limited to p/2, since hot thin air
    has no saturation.
    """
    e = saturation_vapour_pressure(t) if vapour_pressure is None else vapour_pressure
    e = _library(e).minimum(e, p / 2)
    return EPSILON * e / (p - (1 - EPSILON) * e)
