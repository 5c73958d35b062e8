"""The units of a field by its values: where it states none, and where it states wrong ones."""

from __future__ import annotations

import numpy as np

from phyda_cli.constants import GRAVITY, STANDARD_PRESSURE
from phyda_cli.names import VARIABLES
from phyda_cli.units import conversion, factors_of_variable, looks_like

__all__ = ["fitting_units", "height_units", "judged"]

_GEOPOTENTIALS = ("z", "phi", "phis", "fi", "fis", "z_surface", "zsfc")
_FEW = 0.01
_MOST_HUMID = 0.1  # kg kg-1: no air holds more
_FRACTION = 1.6  # relative humidity that never passes this is no percentage
_SCALE_HEIGHT = 7000.0  # m
_TELLING = 500.0  # m: a lower level's height depends on the weather


def judged(
    variable: str, name: str, values: np.ndarray, pressure: float | None
) -> tuple[tuple[float, float], str]:
    """(scale, offset) of a field without units by its ``values`` (n,) at ``pressure`` [Pa], and a
    note where they are not those of the canonical units, or are in doubt."""
    if not values.size:
        return factors_of_variable(variable, "") or (1.0, 0.0), ""
    if variable in ("z", "gh") and pressure is not None:
        by_name = "m2 s-2" if variable == "z" else "m"
        units = height_units(float(np.median(values)), pressure) or by_name
    elif variable == "orography":
        units = _terrain_units(name, values)
        height = values.max() * conversion(units, "m")[0]
        note = f"{name} has no units: taken in {units}, which gives terrain up to {height:.0f} m"
        return conversion(units, "m"), note
    else:
        found = _unlike_canonical(variable, values)
        if found is None:
            return (1.0, 0.0), ""
        units = found
    span = f"{values.min():.6g} to {values.max():.6g}"
    note = f"{name} has no units: its values ({span}) are those of {units}"
    return factors_of_variable(variable, units) or (1.0, 0.0), note


def _terrain_units(name: str, values: np.ndarray) -> str:
    """Terrain is a geopotential by its name, or where no mountain is that high in metres."""
    low, high = VARIABLES["orography"].valid_range
    lower = name.lower()
    named = lower in _GEOPOTENTIALS or ("geopotential" in lower and "height" not in lower)
    return "m2 s-2" if named or values.max() > high or values.min() < low else "m"


def _unlike_canonical(variable: str, values: np.ndarray) -> str | None:
    low, high = VARIABLES[variable].valid_range
    if variable == "q" and values.max() > _MOST_HUMID:
        return "g/kg"
    if variable == "r" and 0 < values.max() <= _FRACTION:
        return "1"
    outside = np.mean((values < low) | (values > high))
    return looks_like(variable, values) if outside > _FEW else None


def height_units(median: float, pressure: float) -> str | None:
    """Units of a geopotential or height, from its median at ``pressure`` [Pa] against that of the
    standard atmosphere; None where the level is too low to tell."""
    standard = _SCALE_HEIGHT * np.log(STANDARD_PRESSURE / pressure)  # m
    if standard < _TELLING:
        return None
    sizes = {"m2 s-2": GRAVITY, "m": 1.0, "dam": 0.1, "m2 s-2 (stated as m)": GRAVITY**2}
    return min(sizes, key=lambda unit: abs(np.log(max(median, 1e-9) / standard / sizes[unit])))


def fitting_units(variable: str, values: np.ndarray, other_than: tuple[float, float]) -> str | None:
    """Units in which 99 % of ``values`` are plausible for ``variable``, but those of the conversion
    ``other_than``; None where there are none."""
    known = VARIABLES[variable]
    low, high = known.valid_range
    plain = np.mean((values >= low) & (values <= high)) >= 1 - _FEW
    if plain and other_than != (1.0, 0.0):
        return known.units
    found = looks_like(variable, values)
    return None if found is None or factors_of_variable(variable, found) == other_than else found
