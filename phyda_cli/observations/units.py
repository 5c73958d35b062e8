"""Units found in observation files, and their conversion to the canonical SI ones."""

from __future__ import annotations

import re

from phyda_cli.constants import GRAVITY

__all__ = ["conversion", "is_unit"]

_LENGTH = {"m": 1.0, "ft": 0.3048, "feet": 0.3048, "km": 1000.0, "dam": 10.0}

# canonical units → unit (lower case, no blanks) → (scale, offset): canonical = value * scale +
# offset
_CONVERSIONS: dict[str, dict[str, tuple[float, float]]] = {
    "K": {
        **dict.fromkeys(("k", "kelvin"), (1.0, 0.0)),
        **dict.fromkeys(("degc", "c", "celsius", "°c"), (1.0, 273.15)),
        **dict.fromkeys(("degf", "f", "fahrenheit", "°f"), (5 / 9, 459.67 * 5 / 9)),
    },
    "Pa": {
        "pa": (1.0, 0.0),
        **dict.fromkeys(("hpa", "mb", "mbar", "millibar"), (100.0, 0.0)),
        "kpa": (1000.0, 0.0),
        "inhg": (3386.389, 0.0),
        "mmhg": (133.3224, 0.0),
    },
    "m s-1": {
        **dict.fromkeys(("ms-1", "m/s", "ms", "mps"), (1.0, 0.0)),
        **dict.fromkeys(("kt", "kts", "kn", "knot", "knots"), (1852 / 3600, 0.0)),
        **dict.fromkeys(("km/h", "kmh", "kph", "kmh-1"), (1 / 3.6, 0.0)),
        "mph": (0.44704, 0.0),
    },
    "kg kg-1": {
        **dict.fromkeys(("kgkg-1", "kg/kg", "kgkg", "1"), (1.0, 0.0)),
        **dict.fromkeys(("gkg-1", "g/kg", "gkg"), (1e-3, 0.0)),
    },
    "%": {
        **dict.fromkeys(("%", "percent", "pct"), (1.0, 0.0)),
        **dict.fromkeys(("1", "fraction"), (100.0, 0.0)),
    },
    "degree": dict.fromkeys(("degree", "degrees", "deg", "°"), (1.0, 0.0)),
    "m": {unit: (scale, 0.0) for unit, scale in _LENGTH.items()} | {"gpm": (1.0, 0.0)},
    "m2 s-2": {
        **dict.fromkeys(("m2s-2", "m2/s2", "m2s2"), (1.0, 0.0)),
        **dict.fromkeys(("gpm", "m"), (GRAVITY, 0.0)),
        **dict.fromkeys(("gpdam", "dam"), (10 * GRAVITY, 0.0)),
    },
    "kg m-2": dict.fromkeys(("kgm-2", "kg/m2", "mm"), (1.0, 0.0)),
    "Pa s-1": dict.fromkeys(("pas-1", "pa/s"), (1.0, 0.0)),
}
_ALL = frozenset(unit for table in _CONVERSIONS.values() for unit in table)


def _normal(unit: str) -> str:
    return re.sub(r"[\s^*]|(?<=s)_(?=1)", "", unit).lower()


def is_unit(text: str) -> bool:
    """Whether ``text`` is a unit of any quantity; a bare 1 more often numbers a column."""
    return text != "1" and _normal(text) in _ALL


def conversion(unit: str | None, canonical: str) -> tuple[float, float]:
    """Scale and offset from ``unit`` to the ``canonical`` units; None means they are canonical
    already.

    Raises ValueError when ``unit`` does not measure that quantity.
    """
    if unit is None:
        return 1.0, 0.0
    table = _CONVERSIONS[canonical]
    if _normal(unit) not in table:
        raise ValueError(
            f"unit {unit!r} does not convert to {canonical}: expected one of "
            f"{', '.join(sorted(table))}"
        )
    return table[_normal(unit)]
