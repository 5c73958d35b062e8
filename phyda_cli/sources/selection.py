"""Which points, levels and times of an archive a download takes."""

from __future__ import annotations

import calendar
from collections.abc import Sequence

import numpy as np

from phyda_cli.errors import UsageError

__all__ = ["Area", "columns_of", "level_indices", "month_times", "months_of", "rows_of"]

Area = tuple[float, float, float, float]


def months_of(years: Sequence[int]) -> list[tuple[int, int]]:
    """(year, month) of every month."""
    return [(year, month) for year in years for month in range(1, 13)]


def month_times(year: int, month: int, hours: Sequence[int]) -> np.ndarray:
    """Every day's ``hours`` in a month, datetime64[ns]."""
    days = calendar.monthrange(year, month)[1]
    start = np.datetime64(f"{year:04d}-{month:02d}-01T00", "h")
    times = [start + np.timedelta64(24 * day + hour, "h") for day in range(days) for hour in hours]
    return np.array(times, "datetime64[ns]")


def rows_of(latitude: np.ndarray, area: Area | None) -> np.ndarray:
    """Indices of the rows within ``area`` (north, west, south, east). Raises UsageError for fewer
    than two."""
    inside = (
        np.ones(latitude.size, bool)
        if area is None
        else (latitude <= area[0] + 1e-6) & (latitude >= area[2] - 1e-6)
    )
    return _enough(np.flatnonzero(inside), area, "rows")


def columns_of(longitude: np.ndarray, area: Area | None) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the columns within ``area``, from west to east, and their longitudes, increasing;
    the archive's without an area.

    An area whose west and east are 360 degrees apart is the whole circle. Raises UsageError for
    fewer than two columns.
    """
    if area is None:
        return np.arange(longitude.size), longitude
    _, west, _, east = area
    width = 360.0 if east - west >= 360 else (east - west) % 360
    offset = (longitude - west + 1e-6) % 360 - 1e-6
    order = np.argsort(offset, kind="stable")
    chosen = _enough(order[offset[order] <= width + 1e-6], area, "columns")
    return chosen, np.round(west + offset[chosen], 9)


def _enough(chosen: np.ndarray, area: Area | None, what: str) -> np.ndarray:
    if chosen.size < 2:
        raise UsageError(
            f"--area {area}: {chosen.size} {what} of the grid lie inside, at least 2 are needed"
        )
    return chosen


def level_indices(available: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """Indices of ``wanted`` [hPa] among ``available`` [hPa], in the order wanted. Raises UsageError
    for a level that is not there."""
    missing = [level for level in wanted if not np.any(np.abs(available - level) < 0.01)]
    if missing:
        raise UsageError(
            f"--levels {','.join(map(str, missing))}: not in the archive, which has "
            f"{', '.join(f'{v:g}' for v in available)}"
        )
    return np.array([int(np.argmin(np.abs(available - level))) for level in wanted])
