"""Quality control: checks that need no model, the first-guess check, and the account of what is used.

A check only looks at rows that pass so far (qc 0 or 1) and returns a new table; values are never changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from phyda_cli.errors import NoObservationsError, PhydaError
from phyda_cli.fields.grid import Grid
from phyda_cli.fields.units import looks_like
from phyda_cli.observations.table import OBSERVABLES, QC

__all__ = [
    "WINDOW",
    "bounds_check",
    "first_guess_check",
    "preliminary_qc",
    "require_usable",
    "set_codes",
    "summary",
    "unit_hints",
    "withhold",
]

WINDOW = np.timedelta64(3, "h")
"""Observations this far from the valid time are used: half of a 6-hourly cycle."""

_PRESSURE_RANGE = (50.0, 110000.0)  # Pa
_ELEVATION_RANGE = (-500.0, 9000.0)  # m
_HIGHEST_HPA = 1100.0


def set_codes(table: pd.DataFrame, mask: np.ndarray | pd.Series, code: int | np.ndarray) -> pd.DataFrame:
    """``table`` with ``code`` (one, or one per row) where ``mask`` and the row passes so far."""
    qc = table["qc"].to_numpy()
    return table.assign(qc=np.where(np.asarray(mask, bool) & (qc <= QC.PASSIVE), code, qc).astype(np.int16))


def preliminary_qc(
    table: pd.DataFrame,
    grid: Grid,
    valid_time: np.datetime64,
    window: np.timedelta64 = WINDOW,
    blacklist: Collection[str] = (),
    withheld: Collection[str] = (),
) -> pd.DataFrame:
    """The checks that need no model fields, in this order: missing value (10), bounds (12), domain (13), time window (41),
    blacklisted station (14), duplicate (40), and last passive (1) for rows that are fine but not to be used.

    Duplicates are rows of the same station, position, time, variable and level; the first that passes is kept, whether the others
    agree with it or not. ``blacklist`` and ``withheld`` hold station ids.
    """
    missing = ~np.isfinite(table["value"].to_numpy())
    table = set_codes(table, missing, QC.MISSING)
    table = bounds_check(table)
    table = set_codes(table, ~grid.contains(table["latitude"].to_numpy(), table["longitude"].to_numpy()), QC.DOMAIN)
    distance = np.abs(table["time"].to_numpy() - valid_time.astype("datetime64[ns]"))
    table = set_codes(table, ~(distance <= window), QC.TIME_WINDOW)
    table = set_codes(table, table["station_id"].isin(list(blacklist)), QC.BLACKLIST)
    table = set_codes(table, _duplicates(table), QC.DUPLICATE)
    return withhold(table, withheld)


def withhold(table: pd.DataFrame, stations: Collection[str] = ()) -> pd.DataFrame:
    """Make ``stations`` passive: H(x) is computed for them, the analysis does not see them."""
    use = np.where(table["station_id"].isin(list(stations)), 0, table["use"]).astype(np.int8)
    return set_codes(table.assign(use=use), use == 0, QC.PASSIVE)


def bounds_check(table: pd.DataFrame) -> pd.DataFrame:
    """QC 12 for values, pressures and elevations no report can have.

    A file whose pressures all stay below 1100 is rejected too: they are hPa where Pa is required, see :func:`unit_hints`.
    """
    ranges = {name: OBSERVABLES[name].valid_range for name in table["variable"].unique()}
    low = table["variable"].map({k: v[0] for k, v in ranges.items()}).to_numpy(float)
    high = table["variable"].map({k: v[1] for k, v in ranges.items()}).to_numpy(float)
    value, pressure, elevation = (table[k].to_numpy() for k in ("value", "pressure", "elevation"))
    bad = (value < low) | (value > high)
    bad |= (pressure < _PRESSURE_RANGE[0]) | (pressure > _PRESSURE_RANGE[1]) | _in_hpa(table)
    bad |= (elevation < _ELEVATION_RANGE[0]) | (elevation > _ELEVATION_RANGE[1])
    return set_codes(table, bad, QC.BOUNDS)


def _in_hpa(table: pd.DataFrame) -> np.ndarray:
    highest = table.groupby("file")["pressure"].transform("max").to_numpy(float)
    return (highest < _HIGHEST_HPA) & table["pressure"].notna().to_numpy()


def _duplicates(table: pd.DataFrame) -> np.ndarray:
    duplicate = np.zeros(len(table), bool)
    passing = np.flatnonzero(table["qc"].to_numpy() <= QC.PASSIVE)
    key = ["station_id", "time", "latitude", "longitude", "variable", "pressure", "height"]
    duplicate[passing] = table.iloc[passing].duplicated(key).to_numpy()
    return duplicate


def first_guess_check(table: pd.DataFrame, innovation: np.ndarray, sigma_b: np.ndarray, factor: float = 5.0) -> pd.DataFrame:
    """QC 19 where |innovation| > factor * sqrt(error**2 + sigma_b**2), all (P,) in the row's units.

    Rows whose innovation is not finite are left to the operator's own code.
    """
    limit = factor * np.hypot(table["error"].to_numpy(), sigma_b)
    if np.isnan(limit[table["qc"].to_numpy() <= QC.PASSIVE]).any():
        raise PhydaError("first-guess check: an observation has no error, or the background none at its place")
    return set_codes(table, np.abs(innovation) > limit, QC.FIRST_GUESS)


def summary(table: pd.DataFrame) -> dict[str, Any]:
    """Counts ``in`` = ``used`` + ``passive`` + the ``rejected`` by reason; ``variables`` has the same for each variable.

    Raises PhydaError when they do not add up.
    """
    result = _count(table)
    result["variables"] = {str(name): _count(group) for name, group in table.groupby("variable", sort=True)}
    return result


def _count(table: pd.DataFrame) -> dict[str, Any]:
    counts = Counter(int(q) for q in table["qc"])
    rejected = {QC(code).meaning: n for code, n in sorted(counts.items()) if code > QC.PASSIVE}
    result: dict[str, Any] = {"in": len(table), "used": counts[QC.PASS], "passive": counts[QC.PASSIVE], "rejected": rejected}
    if result["in"] != result["used"] + result["passive"] + sum(rejected.values()):
        raise PhydaError(f"the account of observations does not add up: {result}")
    return result


def unit_hints(table: pd.DataFrame) -> list[str]:
    """What is probably wrong with the units of rows that failed the bounds check, one sentence for each variable."""
    failed = table[table["qc"] == QC.BOUNDS]
    hints = []
    hpa = failed[_in_hpa(table)[table["qc"].to_numpy() == QC.BOUNDS]]
    if len(hpa):
        found = f"{len(hpa)} rows have a pressure such as {hpa['pressure'].iloc[0]:g} where Pa is required"
        hints.append(f"{found}: this looks like hPa (call the column pressure_hPa, or use --obs-map)")
    for name, group in failed.groupby("variable"):
        variable = OBSERVABLES[str(name)]
        low, high = variable.valid_range
        values = group["value"].to_numpy()
        values = values[(values < low) | (values > high)]
        if not values.size:
            continue
        found = f"{values.size} values of {name} are outside {low:g}..{high:g} {variable.units}, such as {values[0]:g}"
        unit = looks_like("d2m" if name == "td" else str(name), values)
        hints.append(found + (f": this looks like {unit} (give the unit as in {name}_{unit}, or use --obs-map)" if unit else ""))
    return hints


def require_usable(table: pd.DataFrame, valid_time: np.datetime64) -> None:
    """Raise NoObservationsError, saying why, when no row of ``table`` is left to assimilate at ``valid_time``."""
    codes = Counter(int(q) for q in table["qc"])
    if codes[QC.PASS]:
        return
    if not len(table):
        raise NoObservationsError("there are no observations: the files hold no readable value")
    valid = _text(valid_time)
    reasons = ", ".join(f"{n} {QC(code).meaning}" for code, n in codes.most_common())
    message = f"none of {len(table)} observations can be used: {reasons}"
    main = codes.most_common(1)[0][0]
    hint = "; ".join(unit_hints(table))
    if main == QC.TIME_WINDOW:
        times = table["time"][table["qc"] == QC.TIME_WINDOW]
        span = f"{_text(times.min())} to {_text(times.max())}"
        message = f"no observation is near the background's valid time {valid}: they are from {span} ({reasons})"
        hint = "if the background is meant for another time, give it with --valid-time; or widen the time window"
    elif main == QC.DOMAIN:
        ranges = (f"{k}s {table[k].min():g}..{table[k].max():g}" for k in ("latitude", "longitude"))
        message += f"; they lie within {', '.join(ranges)}"
        hint = "is this the background of another region?"
    elif main == QC.PASSIVE:
        hint = "all stations are withheld (use = 0)"
    raise NoObservationsError(message, hint=hint)


def _text(time: np.datetime64 | pd.Timestamp) -> str:
    return f"{np.datetime_as_string(np.datetime64(time), unit='m')}Z"
