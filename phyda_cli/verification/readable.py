"""Units for people, where SI gives awkward numbers; no heavy imports."""

from __future__ import annotations

import re

__all__ = ["READABLE", "raised"]

READABLE = {
    "kg kg-1": ("g kg-1", 1e3),
    "Pa": ("hPa", 1e-2),
    "Pa s-1": ("hPa h-1", 36.0),
    "m s-2": ("m s-1 h-1", 3600.0),
    "K s-1": ("K h-1", 3600.0),
    "kg kg-1 s-1": ("g kg-1 h-1", 3.6e6),
}


def raised(units: str) -> str:
    """``m2 s-2`` with the exponents raised, as matplotlib writes them."""
    return re.sub(r"(?<=[a-zA-Z])-?\d+", lambda m: f"$^{{{m[0]}}}$", units)
