"""The observation table: one row per observed value, in canonical units, with the file and row it
came from."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import pandas as pd

from phyda_cli.errors import PhydaError
from phyda_cli.names import OBSERVABLES

__all__ = [
    "COLUMNS",
    "LEVEL",
    "QC",
    "RAW",
    "by_position",
    "check",
    "concat",
    "empty",
    "longitudes_of",
    "make",
]

COLUMNS: dict[str, str] = {
    "station_id": "str",
    "time": "datetime64[ns]",  # UTC
    "latitude": "float64",
    "longitude": "float64",  # 0..360 where readable
    "elevation": "float64",  # m, NaN unknown
    "variable": "str",
    "pressure": "float64",  # Pa, NaN at the surface
    # Pa, top of a layer that ``pressure`` is the bottom of; NaN at a level
    "pressure_top": "float64",
    "height": "float64",  # m above mean sea level, an alternative to pressure
    "value": "float64",  # canonical units
    "error": "float64",  # canonical units, NaN until assigned
    "use": "int8",  # 1 active, 0 passive
    "qc": "int16",
    "file": "str",
    "row": "int64",  # line of a text file, message of a BUFR file, from 1
}

LEVEL = ("pressure", "pressure_top", "height")
"""The columns that say where in the vertical a row lies."""

_DEFAULTS: dict[str, Any] = dict.fromkeys(("elevation", *LEVEL, "error"), np.nan) | {
    "use": 1,
    "qc": 0,
    "file": "",
    "row": 0,
}


class QC(IntEnum):
    """Quality-control codes: those of JEDI's ufo (QCflags.h), and from 40 on two it has none
    for."""

    PASS = 0
    PASSIVE = 1
    MISSING = 10
    PRE_QC = 11
    BOUNDS = 12
    DOMAIN = 13
    BLACKLIST = 14
    H_FAILED = 15
    THINNED = 16
    DIFF_REF = 17
    FIRST_GUESS = 19
    STUCK = 21
    BUDDY = 22
    DUPLICATE = 40
    TIME_WINDOW = 41
    REPEATED = 42
    SUPEROBBED = 43
    PARTNER = 44
    USED_BEFORE = 45
    SPATIAL = 46

    @property
    def meaning(self) -> str:
        """What the code says about an observation, in words."""
        return _MEANINGS[self]


_MEANINGS = {
    QC.PASS: "used",
    QC.PASSIVE: "passive",
    QC.MISSING: "missing value",
    QC.PRE_QC: "unreadable",
    QC.BOUNDS: "out of range",
    QC.DOMAIN: "outside the domain",
    QC.BLACKLIST: "blacklisted",
    QC.H_FAILED: "no model equivalent",
    QC.THINNED: "redundant",
    QC.DIFF_REF: "too far from the model's surface",
    QC.FIRST_GUESS: "too far from the background",
    QC.STUCK: "stuck at one value",
    QC.BUDDY: "disagrees with its neighbours",
    QC.DUPLICATE: "duplicate",
    QC.TIME_WINDOW: "outside the time window",
    QC.REPEATED: "not the report nearest in time",
    QC.SUPEROBBED: "merged into another",
    QC.PARTNER: "its other wind component is rejected",
    QC.USED_BEFORE: "used by the previous analysis",
    QC.SPATIAL: "inconsistent with the stations around it",
}

RAW = frozenset({"wind_direction", "d2m", "rh2m", "td", "r", "qnh", "gh", "tv", "tv2m"})
"""Observables without an operator: :mod:`convert_variables` replaces them.

It also replaces a wind speed that comes with a direction.
"""


def longitudes_of(table: pd.DataFrame) -> pd.Series:
    """The longitudes within -180..180, or within 0..360 where that spans less."""
    folded = (table["longitude"] + 180) % 360 - 180
    narrower = np.ptp(folded.to_numpy()) <= np.ptp(table["longitude"].to_numpy())
    return folded.round(9) if narrower else table["longitude"]


def empty() -> pd.DataFrame:
    """A table without rows."""
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in COLUMNS.items()})


def make(**columns: Any) -> pd.DataFrame:
    """A table from arrays and scalars (repeated); needs station_id, time, latitude, longitude,
    variable and value.

    Longitudes within -180..360 are folded to 0..360. Raises PhydaError when a column is lacking or
    unknown.
    """
    unknown, missing = set(columns) - set(COLUMNS), set(COLUMNS) - set(columns) - set(_DEFAULTS)
    if unknown or missing:
        raise PhydaError(
            f"observation table: unknown columns {sorted(unknown)}, missing columns "
            f"{sorted(missing)}"
        )
    sizes = [np.size(c) for c in columns.values() if np.ndim(c)]
    length = sizes[0] if sizes else 1
    data: dict[str, Any] = {}
    for name, dtype in COLUMNS.items():
        value: Any = columns.get(name, _DEFAULTS.get(name))
        array = (
            np.asarray(value)
            if np.ndim(value)
            else np.full(length, value, dtype=object if dtype == "str" else None)
        )
        data[name] = pd.Series(array, dtype="str") if dtype == "str" else array.astype(dtype)
    longitude = data["longitude"]
    folded = longitude % 360
    folded = np.where(folded == 360, 0.0, folded)  # -1e-20 % 360
    data["longitude"] = np.where((longitude >= -180) & (longitude <= 360), folded, longitude)
    return pd.DataFrame(data)


_NOBODY = {  # words that stand for many stations, or for none
    *("NA", "N/A", "NAN", "NONE", "NULL", "NIL", "UNKNOWN", "-", "--"),
    *("SHIP", "PLAT", "RIGG", "BUOY", "MASKSTID"),
}


def by_position(station: np.ndarray, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Identifiers (N,); where one is empty, or a word that many reports share (``SHIP``), the
    position takes its place: two such reports are one station only at the same place."""
    named = np.array([str(word).strip() for word in station], object)
    for i, word in enumerate(named):
        if not word or word.upper() in _NOBODY:
            named[i] = f"{latitude[i]:.3f},{longitude[i]:.3f}"
    return named


def concat(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of ``tables`` one after the other."""
    tables = [t for t in tables if len(t)]
    return pd.concat(tables, ignore_index=True) if tables else empty()


def check(table: pd.DataFrame) -> None:
    """Raise PhydaError when ``table`` breaks an invariant that the rest relies on."""
    found = {str(name): str(dtype).replace("object", "str") for name, dtype in table.dtypes.items()}
    if found != COLUMNS:
        raise PhydaError(f"observation table: expected columns {COLUMNS}, found {found}")
    passing = table[table["qc"] <= QC.PASSIVE]
    strange = set(table["variable"].unique()) - set(OBSERVABLES)
    faults = {
        f"unknown variables {sorted(strange)}": bool(strange),
        "an unknown qc code": not set(table["qc"].unique()) <= {int(q) for q in QC},
        "use is neither 0 nor 1": not table["use"].isin([0, 1]).all(),
        "a passing row without time": bool(passing["time"].isna().any()),
        "a passing row without position": not passing["latitude"].between(-90, 90).all()
        or not passing["longitude"].between(0, 360).all(),
        "a passing row whose error is not positive": bool((passing["error"] <= 0).any()),
    }
    broken = [fault for fault, present in faults.items() if present]
    if broken:
        raise PhydaError("observation table: " + "; ".join(broken))
