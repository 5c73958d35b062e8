"""Variables of NetCDF files as plain arrays."""

from __future__ import annotations

import re

import netCDF4
import numpy as np

from phyda_cli.errors import InputError
from phyda_cli.names import OBSERVABLES
from phyda_cli.units import conversion

__all__ = [
    "Group",
    "first_of",
    "numbers",
    "positive",
    "raw_numbers",
    "since_1970",
    "texts",
    "unit_factors",
]

_EPOCH = np.datetime64("1970-01-01", "ns")

Group = dict[str, netCDF4.Variable]


def first_of(variables: Group, names: tuple[str, ...]) -> netCDF4.Variable | None:
    """The first of ``names`` that is there."""
    return next((variables[name] for name in names if name in variables), None)


def numbers(variable: netCDF4.Variable, limit: float = 1e8) -> np.ndarray:
    """Numbers as floats, NaN where missing; fill values written without saying so (beyond
    ``limit``) are missing too."""
    values: np.ndarray = np.ma.filled(np.ma.asarray(variable[:], dtype=float), np.nan)
    return np.where(np.abs(values) < limit, values, np.nan)


def raw_numbers(variable: netCDF4.Variable) -> np.ndarray:
    """Seconds as they stand in a time variable."""
    return numbers(variable, limit=np.inf)


def positive(values: np.ndarray) -> np.ndarray:
    """``values``, NaN where they are not positive."""
    return np.where(values > 0, values, np.nan)


def unit_factors(
    variable: netCDF4.Variable, ours: str, file: str, default: str | None
) -> tuple[float, float]:
    """Scale and offset from the units of ``variable``, ``default`` without any, to ours. Raises
    InputError when they do not fit."""
    canonical = OBSERVABLES[ours].units
    aliases = {"kelvin": "K", "pascal": "Pa", "meter/sec": "m/s", "meter": "m", "percent": "%"}
    unit = str(getattr(variable, "units", default or canonical)) or canonical
    try:
        return conversion(aliases.get(unit.lower(), unit), canonical)
    except ValueError as error:
        raise InputError(f"{file}: {variable.name}: {error}") from error


def texts(variable: netCDF4.Variable) -> np.ndarray:
    """Texts (N,) of a string or character variable."""
    variable.set_auto_mask(False)
    variable.set_auto_chartostring(False)
    letters = variable[:]
    if letters.dtype.kind == "S" and letters.ndim > 1:
        letters = np.ascontiguousarray(letters).view(f"S{letters.shape[1]}").ravel()
    words = (
        w.decode("utf-8", "replace") if isinstance(w, bytes) else str(w)
        for w in letters.ravel().tolist()
    )
    return np.array([re.sub(r"[^\x20-\x7e]", "", w).strip() for w in words] or [""], object)[
        : len(letters)
    ]


def since_1970(values: np.ndarray) -> np.ndarray:
    """Times (N,) from seconds since 1970."""
    known = np.abs(values) < 9e9
    micro = np.round(np.where(known, values, 0) * 1e6).astype("timedelta64[us]")
    return np.where(known, _EPOCH + micro, np.datetime64("NaT")).astype("datetime64[ns]")
