"""Who made a report: WMO number, call sign, buoy, airport, aircraft or WIGOS identifier."""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = ["IDENTIFIERS", "identify"]

_NUMBERS = (
    "blockNumber",
    "stationNumber",
    "regionNumber",
    "wmoRegionSubArea",
    "buoyOrPlatformIdentifier",
)
_NAMES = (  # the first that is given
    "shipOrMobileLandStationIdentifier",
    "stationaryBuoyPlatformIdentifierEGCManBuoys",
    "marineObservingPlatformIdentifier",
    "icaoLocationIndicator",
    "aircraftRegistrationNumberOrOtherIdentification",
    "aircraftTailNumber",
    "aircraftFlightNumber",
)
_WIGOS = (
    "wigosIdentifierSeries",
    "wigosIssuerOfIdentifier",
    "wigosIssueNumber",
    "wigosLocalIdentifierCharacter",
)
_MISSING = 2147483647  # ecCodes' missing whole number
_LOCAL = "ident"  # of ECMWF's own section

IDENTIFIERS = (*_NUMBERS, *_NAMES, *_WIGOS, _LOCAL)
"""BUFR keys that name a station."""


def identify(reports: pd.DataFrame) -> np.ndarray:
    """Identifier (N,) of each report from its columns ``IDENTIFIERS``; an empty text where none is
    given, never an invented one."""
    cells = reports[list(IDENTIFIERS)].astype(object)
    cells = cells.where(cells.notna(), None)
    known: dict[tuple[object, ...], str] = {}
    found = np.full(len(reports), "", object)
    for i, row in enumerate(cells.itertuples(index=False, name=None)):
        if row not in known:
            known[row] = _one(dict(zip(IDENTIFIERS, row, strict=True)))
        found[i] = known[row]
    return found


def _one(given: dict[str, object]) -> str:
    block, station, region, area, buoy = (_whole(given[name]) for name in _NUMBERS)
    if block is not None and station is not None:
        return f"{block:02d}{station:03d}"
    names = [_text(given[name]) for name in _NAMES]
    if buoy is not None:
        names.append(f"{buoy}" if region is None or area is None else f"{region}{area}{buoy:03d}")
    wigos = [_text(given[name]) for name in _WIGOS]
    names += ["-".join(wigos) if all(wigos) else "", _text(given[_LOCAL])]
    return next(filter(None, names), "")


def _whole(cell: object) -> int | None:
    try:
        value = int(cell)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return None
    return value if 0 <= value < _MISSING else None


def _text(cell: object) -> str:
    """Printable text without blanks around it, whole numbers without decimals, empty where there is
    none."""
    if cell is None:
        return ""
    if not isinstance(cell, str):
        number = _whole(cell)
        return "" if number is None else str(number)
    return "".join(c for c in cell if c.isascii() and c.isprintable()).strip()
