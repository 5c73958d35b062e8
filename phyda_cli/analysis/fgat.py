"""The background at each observation's own time (first guess at appropriate time, FGAT; Lee and
Barker 2005, and JEDI's ``3D-FGAT``).

The analysis is made for one time, but a station that reports two hours before it saw the weather of
two hours before it. An innovation is y - H(x_b) with x_b at the time of y, between two forecast
times by linear interpolation; the increment is taken to last over the window.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from phyda_cli.fields.grid import Fields
from phyda_cli.observations.operators import Operator, build_operator
from phyda_cli.observations.table import QC

__all__ = ["background_change", "brackets"]

GAP = np.timedelta64(6, "h")
_HOUR = np.timedelta64(1, "h") / np.timedelta64(1, "ns")


def brackets(times: np.ndarray, own: np.datetime64, observed: np.ndarray) -> np.ndarray:
    """Those of the sorted forecast ``times``, ``own`` among them, that the times ``observed`` (n,)
    lie between, as far as no two neighbours are more than GAP apart: a day later it is another
    weather."""
    span = np.append(observed, own)
    first = max(np.searchsorted(times, span.min(), side="right") - 1, 0)
    near = times[first : np.searchsorted(times, span.max()) + 1]
    stretch = np.cumsum(np.append(False, np.diff(near) > GAP))
    return np.asarray(near[stretch == stretch[near == own]])


def background_change(
    background: Fields,
    table: pd.DataFrame,
    times: np.ndarray,
    at: Callable[[np.datetime64], Fields],
    orography: np.ndarray | None,
    height_limit: float,
) -> tuple[np.ndarray, list[str]]:
    """What ``background`` changes between its own time and that of every row (P,), in the rows'
    units, with notes.

    Args:
        table: the prepared observations; only rows that pass so far are looked at.
        times: sorted times (K,) of the forecast, the background's own among them.
        at: the forecast at one of them. One is held at a time.
        orography: (H, W) [m] where the forecast has none.

    An observation outside ``times`` is compared with the nearest of them. Rows without a model
    equivalent at one of their times change by zero.
    """
    rows = np.flatnonzero((table["qc"] <= QC.PASSIVE).to_numpy())
    change = np.zeros(len(table))
    notes: list[str] = []
    observed = table["time"].to_numpy()[rows].astype("datetime64[ns]")
    own = background.time.astype("datetime64[ns]")
    if not rows.size:
        return change, notes
    apart = np.abs(observed - own).astype(float) / _HOUR
    if len(times) < 2:
        if apart.max() > 0:
            notes.append(
                f"the background has one time: reports are up to {apart.max():.2g} h from it, half "
                f"of them {np.median(apart):.2g} h or more"
            )
        return change, notes
    axis = times.astype("datetime64[ns]")
    position = np.interp(observed.astype(float), axis.astype(float), np.arange(axis.size))
    lower = np.minimum(position.astype(int), axis.size - 2)
    share = position - lower
    share_of = [np.where(lower == k, 1 - share, 0.0) for k in range(axis.size)]
    for k in range(1, axis.size):
        share_of[k] += np.where(lower == k - 1, share, 0.0)
    moved = np.flatnonzero(observed != own)
    total, known = np.zeros(rows.size), np.ones(rows.size, bool)
    for k in range(axis.size):
        needed = moved[share_of[k][moved] > 0]
        if needed.size:
            fields = background if axis[k] == own else at(axis[k])
            operator = build_operator(fields, table.iloc[rows[needed]], orography, height_limit)
            total[needed] += share_of[k][needed] * _applied(operator, fields)
            known[needed] &= operator.ok
    start = build_operator(background, table.iloc[rows[moved]], orography, height_limit)
    total[moved] -= _applied(start, background)
    known[moved] &= start.ok
    change[rows] = np.where(known, total, 0.0)
    outside = int(((observed < axis[0]) | (observed > axis[-1])).sum())
    notes.append(
        f"{int(known[moved].sum())} observations are compared with the background at their own "
        f"time, interpolated between {axis.size} times"
    )
    lost = np.flatnonzero(~known[moved] & start.ok)
    if lost.size:
        notes.append(
            f"{lost.size} observations have no model equivalent at their own time and are compared "
            "with the background at the time of the analysis"
        )
    if outside:
        notes.append(f"{outside} observations lie outside the times of the background")
    return change, notes


def _applied(operator: Operator, fields: Fields) -> np.ndarray:
    return np.nan_to_num(operator.of(fields))
