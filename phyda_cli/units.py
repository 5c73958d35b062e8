"""Units as files spell them, and the linear conversions into the canonical SI ones: the one table
for observations and forecasts.

A unit is a product of powers (``kg m**-2 s^-1``, ``m.s-1``, ``km/h``, ``degree_C``, ``in_Hg``), in
any case and with the spellings of CF, UDUNITS and the common exports.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from phyda_cli.constants import GRAVITY, KNOT, STANDARD_PRESSURE, ZERO_CELSIUS
from phyda_cli.names import OBSERVABLES, VARIABLES

__all__ = [
    "COMMON",
    "conversion",
    "factors",
    "factors_of_variable",
    "is_unit",
    "looks_like",
    "pressure_factor",
]

_Dimension = tuple[int, ...]  # powers of kg, m, s, K and degree
_PURE: _Dimension = (0, 0, 0, 0, 0)
_KG, _M, _S, _KELVIN, _ANGLE = (tuple(int(i == k) for k in range(5)) for i in range(5))
_PASCAL = (1, -1, -2, 0, 0)

_ATOMS: dict[str, tuple[float, _Dimension]] = {  # spellings: (size in SI, dimension)
    "m metre metres meter meters mtr": (1.0, _M),
    "gpm geopotential_meter geopotential_metre": (1.0, _M),
    "dm": (0.1, _M),
    "cm centimeter centimeters centimetre centimetres": (0.01, _M),
    "mm millimeter millimeters millimetre millimetres": (1e-3, _M),
    "dam gpdam gpdm decameter decametre": (10.0, _M),
    "hm": (100.0, _M),
    "km kilometer kilometers kilometre kilometres": (1000.0, _M),
    "ft feet foot": (0.3048, _M),
    "mi mile miles": (1609.344, _M),
    "nmi nautical_mile nautical_miles": (1852.0, _M),
    "s sec second seconds": (1.0, _S),
    "min minute minutes": (60.0, _S),
    "h hr hrs hour hours": (3600.0, _S),
    "d day days": (86400.0, _S),
    "kg kilogram kilograms": (1.0, _KG),
    "g gram grams": (1e-3, _KG),
    "mg milligram milligrams": (1e-6, _KG),
    "k kelvin kelvins degk deg_k degree_k degrees_k degree_kelvin degrees_kelvin": (1.0, _KELVIN),
    "pa pascal pascals": (1.0, _PASCAL),
    "hpa hectopascal hectopascals mb mbar mbars millibar millibars": (100.0, _PASCAL),
    "kpa kilopascal kilopascals cb": (1000.0, _PASCAL),
    "bar bars": (1e5, _PASCAL),
    "atm atmosphere": (STANDARD_PRESSURE, _PASCAL),
    "inhg in_hg inches_hg inch_hg inches_of_mercury": (3386.389, _PASCAL),
    "mmhg mm_hg torr": (133.3224, _PASCAL),
    "psi": (6894.757, _PASCAL),
    "n newton": (1.0, (1, 1, -2, 0, 0)),
    "j joule joules": (1.0, (1, 2, -2, 0, 0)),
    "mps ms": (1.0, (0, 1, -1, 0, 0)),
    "kt kts kn knot knots": (KNOT, (0, 1, -1, 0, 0)),
    "kmh kph kmph": (1 / 3.6, (0, 1, -1, 0, 0)),
    "mph": (0.44704, (0, 1, -1, 0, 0)),
    "fps": (0.3048, (0, 1, -1, 0, 0)),
    "kgkg": (1.0, _PURE),
    "gkg": (1e-3, _PURE),
    "% percent pct percentage": (0.01, _PURE),
    "1 fraction 0-1 (0_-_1) 0_-_1 (0-1) proportion dimensionless unitless": (1.0, _PURE),
    "degree degrees deg degs ° º arc_degree degt degrees_true degree_true deg_true true_degrees "
    "degrees_north degree_north degreen degreesn degrees_n degree_n "
    "degrees_east degree_east degreee degreese degrees_e degree_e": (1.0, _ANGLE),
    "rad radian radians": (180 / np.pi, _ANGLE),
}
_UNITS: dict[str, tuple[float, _Dimension]] = {
    name: (size, dimension) for names, (size, dimension) in _ATOMS.items() for name in names.split()
}
_SHIFTED: dict[str, tuple[float, float]] = {  # temperatures with a zero point of their own
    name: pair
    for names, pair in {
        "c degc deg_c degree_c degrees_c celsius celcius degree_celsius degrees_celsius "
        "deg_celsius °c ºc": (1.0, ZERO_CELSIUS),
        "f degf deg_f degree_f degrees_f fahrenheit degree_fahrenheit degrees_fahrenheit "
        "deg_fahrenheit °f ºf": (5 / 9, 459.67 * 5 / 9),
    }.items()
    for name in names.split()
}
_JOINED = {  # spellings without anything between the units
    "ms-1": "m/s",
    "ms_1": "m/s",
    "m_s_1": "m/s",
    "kmh-1": "km/h",
    "kgkg-1": "kg/kg",
    "gkg-1": "g/kg",
    "mgkg-1": "mg/kg",
    "m2s-2": "m2/s2",
    "m2s2": "m2/s2",
    "kgm-2": "kg/m2",
    "jkg-1": "j/kg",
    "pas-1": "pa/s",
}
_AS = {  # a quantity given as another one: canonical units → (its units, factor)
    "m2 s-2": ("m", GRAVITY),  # geopotential as geopotential height
    "m": ("m2 s-2", 1 / GRAVITY),
    "kg m-2": ("m", 1000.0),  # a column of water
}
_PERCENT_IS_NO_UNIT_OF = ("kg kg-1",)
COMMON = {  # what unlabelled values most often are instead, in the spelling that hints give
    "K": ("degC", "degF"),
    "Pa": ("hPa", "kPa", "inHg"),
    "m s-1": ("kt", "km/h"),
    "kg kg-1": ("g/kg", "mg/kg"),
    "m2 s-2": ("gpm", "gpdam"),
    "m": ("m2 s-2", "km"),
    "%": ("fraction",),
    "1": ("%",),
    "Pa s-1": ("hPa s-1",),
}


def factors(unit: str, canonical: str) -> tuple[float, float] | None:
    """(scale, offset) with canonical = scale * value + offset, or None where ``unit`` does not
    measure that quantity."""
    text, tenfold = _spelling(unit), 1.0
    if text not in _UNITS and (number := re.fullmatch(r"(\d*\.?\d+)_(.+)", text)):
        tenfold, text = float(number[1]), number[2]
    if canonical == "K" and text in _SHIFTED:
        scale, offset = _SHIFTED[text]
        return tenfold * scale, offset
    if unit.strip() == "%" and canonical in _PERCENT_IS_NO_UNIT_OF:
        return None
    own, other = _parsed(_spelling(canonical)), _parsed(text)
    if own is None or other is None:
        return None
    if own[1] == other[1]:
        return tenfold * _quotient(other[0], own[0]), 0.0
    if canonical in _AS:
        wanted, factor = _AS[canonical]
        base = _parsed(_spelling(wanted))
        if base is not None and base[1] == other[1]:
            return tenfold * other[0] * factor, 0.0
    return None


def conversion(unit: str | None, canonical: str) -> tuple[float, float]:
    """As :func:`factors`; None means that the values are canonical already.

    Raises ValueError when ``unit`` does not measure that quantity.
    """
    if unit is None:
        return 1.0, 0.0
    found = factors(unit, canonical)
    if found is None:
        expected = ", ".join(dict.fromkeys((canonical, *COMMON.get(canonical, ()))))
        raise ValueError(
            f"unit {unit!r} does not convert to {canonical}: expected for example {expected}"
        )
    return found


def factors_of_variable(variable: str, units: str) -> tuple[float, float] | None:
    """:func:`factors` to the canonical units of a forecast's ``variable``; empty ``units`` mean
    those. Geopotential height (``gh``) becomes geopotential."""
    canonical = "m2 s-2" if variable == "gh" else VARIABLES[variable].units
    if not units.strip():
        return (GRAVITY, 0.0) if variable == "gh" else (1.0, 0.0)
    return factors(units, canonical)


def is_unit(text: str) -> bool:
    """Whether ``text`` is a unit of any quantity; a bare 1 more often numbers a column."""
    spelling = _spelling(text)
    return spelling in _SHIFTED or (spelling not in ("", "1") and _parsed(spelling) is not None)


def looks_like(variable: str, values: np.ndarray) -> str | None:
    """Units other than the canonical ones in which 99 % of ``values`` would be plausible, in a
    spelling that is read back, or None."""
    known = VARIABLES.get(variable) or OBSERVABLES[variable]
    low, high = known.valid_range
    for unit in COMMON.get(known.units, ()):
        scale, offset = conversion(unit, known.units)
        converted = scale * values + offset
        if np.mean((converted >= low) & (converted <= high)) >= 0.99:
            return unit
    return None


def pressure_factor(units: str, values: np.ndarray) -> float | None:
    """Pascals per unit of a level coordinate: by ``units``, or by magnitude where they are absent;
    None for other quantities.

    Without units a coordinate that reaches 2000 is in Pa.
    """
    if units.strip():
        found = factors(units, "Pa")
        return None if found is None else found[0]
    return 1.0 if np.max(values) >= 2000 else 100.0


def _spelling(unit: str) -> str:
    """Lower case, blanks within as ``_``, powers as bare numbers: ``m s**-1`` → ``m_s-1``."""
    text = re.sub(r"\*\*|\^", "", unit.strip().lower()).replace("⁻", "-").replace("²", "2")
    return re.sub(r"\s+", "_", text.replace("¹", "1")).replace("°_", "°")


def _quotient(size: float, base: float) -> float:
    """``size`` / ``base``; exact for percent, whose hundredth is not."""
    return size * round(1 / base) if base < 1 else size / base


@lru_cache(maxsize=4096)
def _parsed(text: str) -> tuple[float, _Dimension] | None:
    """Size in SI and dimension of a spelling, or None where it is no unit."""
    text = _JOINED.get(text, text)
    if text in _UNITS:
        return _UNITS[text]
    size, dimension = 1.0, _PURE
    head, *divisors = re.sub(r"_per_", "/", text).split("/")
    for sign, product in ((1, head), *((-1, divisor) for divisor in divisors)):
        for word in re.split(r"[_.*·]+", product.strip("_")):
            found = re.fullmatch(r"([a-z°º%]+?)([-+]?\d)?", word)
            if found is None or found[1] not in _UNITS:
                return None
            own, powers = _UNITS[found[1]]
            power = sign * int(found[2] or 1)
            size = size * own**power if power > 0 else size / own**-power
            dimension = tuple(d + power * p for d, p in zip(dimension, powers, strict=True))
    return size, dimension
