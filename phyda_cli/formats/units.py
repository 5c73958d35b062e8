"""Units as files spell them, and the linear conversions into the canonical ones."""

from __future__ import annotations

import re

import numpy as np

from phyda_cli.constants import GRAVITY
from phyda_cli.names import OBSERVABLES, VARIABLES

__all__ = ["conversion", "looks_like", "pressure_factor"]

_METRES = "m metre metres meter meters gpm geopotential_meter geopotential_metre"
_TABLE: dict[
    str, dict[str, tuple[float, float]]
] = {  # canonical units: {other units: (scale, offset)}, several spellings separated by |
    "K": {
        "k|kelvin|degk|deg_k": (1, 0),
        "degrees Celsius|degc|deg_c|c|celsius|degree_celsius|degrees_celsius|degree c|degrees c": (
            1,
            273.15,
        ),
        "degrees Fahrenheit|degf|f|deg_f|fahrenheit": (5 / 9, 459.67 * 5 / 9),
    },
    "Pa": {
        "pa|pascal|pascals": (1, 0),
        "hPa|mb|mbar|millibar|millibars|hectopascal|hectopascals": (100, 0),
        "kPa": (1000, 0),
    },
    "m s-1": {
        "m s-1|ms-1|meters s-1|metres s-1|m sec-1|m second-1": (1, 0),
        "knots|kt|knot|kts": (1852 / 3600, 0),
        "km h-1|km hr-1|kmh|kph": (1 / 3.6, 0),
    },
    "kg kg-1": {
        "kg kg-1|1|g g-1|dimensionless|kgkg-1": (1, 0),
        "g kg-1|gkg-1": (1e-3, 0),
        "mg kg-1": (1e-6, 0),
    },
    "m2 s-2": {
        "m2 s-2|j kg-1|m2s-2": (1, 0),
        f"m (geopotential height)|{_METRES.replace(' ', '|')}": (GRAVITY, 0),
        "dam|gpdam|gpdm": (10 * GRAVITY, 0),
    },
    "m": {
        _METRES.replace(" ", "|"): (1, 0),
        "m2 s-2|j kg-1|m2s-2": (1 / GRAVITY, 0),
        "km": (1000, 0),
    },
    "%": {"%|percent|pct": (1, 0), "1|fraction|0-1|0 - 1|(0 - 1)": (100, 0)},
    "1": {"1|0-1|0 - 1|(0 - 1)|fraction|proportion|dimensionless": (1, 0), "%|percent": (0.01, 0)},
    "Pa s-1": {"pa s-1|pas-1": (1, 0), "hPa s-1|mb s-1": (100, 0)},
    "degree": {"degree|degrees|deg|degree true|degrees true|deg true": (1, 0)},
}


def _normal(units: str) -> str:
    """``m**2 s**-2``, ``m^2/s^2`` and ``m2 s-2`` as one spelling, in lower case."""
    text = re.sub(r"\*\*|\^", "", units.strip().lower()).replace(".", " ")
    head, *divisors = text.split("/")
    divisors = [
        re.sub(r"^([a-z]+)(\d*)$", lambda m: f"{m[1]}-{m[2] or 1}", d.strip()) for d in divisors
    ]
    return " ".join(" ".join([head, *divisors]).replace("*", " ").split())


def conversion(variable: str, units: str) -> tuple[float, float] | None:
    """(scale, offset) with canonical = scale * value + offset for ``variable`` given in ``units``;
    None when it has no such units.

    Empty units mean the canonical ones; geopotential height (``gh``) is converted to geopotential.
    """
    canonical = "m2 s-2" if variable == "gh" else VARIABLES[variable].units
    if not units.strip():
        return (GRAVITY, 0.0) if variable == "gh" else (1.0, 0.0)
    wanted = _normal(units)
    for spellings, factors in _TABLE[canonical].items():
        if wanted in spellings.lower().split("|"):
            return factors
    return None


def looks_like(variable: str, values: np.ndarray) -> str | None:
    """Units other than the canonical ones in which 99 % of ``values`` would be plausible, or
    None."""
    known = VARIABLES.get(variable) or OBSERVABLES[variable]
    low, high = known.valid_range
    for spellings, (scale, offset) in _TABLE.get(known.units, {}).items():
        converted = scale * values + offset
        if (scale, offset) != (1, 0) and np.mean((converted >= low) & (converted <= high)) >= 0.99:
            return spellings.split("|")[0]
    return None


def pressure_factor(units: str, values: np.ndarray) -> float | None:
    """Pascals per unit of a level coordinate: by ``units``, or by magnitude where they are absent;
    None for other quantities.

    Without units a coordinate that reaches 2000 is in Pa.
    """
    if units.strip():
        factors = conversion("msl", units)
        return None if factors is None else factors[0]
    return 1.0 if np.max(values) >= 2000 else 100.0
