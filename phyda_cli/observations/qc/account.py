"""The account of observations: how many are used, passive or rejected, and why none is left."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from phyda_cli.errors import NoObservationsError, PhydaError
from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.qc.preliminary import in_hectopascal
from phyda_cli.observations.read.decode import is_text_table
from phyda_cli.observations.table import QC, longitudes_of
from phyda_cli.units import looks_like

__all__ = ["require_usable", "summary", "unit_hints"]


def summary(table: pd.DataFrame) -> dict[str, Any]:
    """Counts ``in`` = ``used`` + ``passive`` + the ``rejected`` by reason; ``variables`` has the
    same for each variable.

    Raises PhydaError when they do not add up.
    """
    result = _count(table)
    result["variables"] = {
        str(name): _count(group) for name, group in table.groupby("variable", sort=True)
    }
    return result


def _count(table: pd.DataFrame) -> dict[str, Any]:
    counts = Counter(int(q) for q in table["qc"])
    rejected = {QC(code).meaning: n for code, n in sorted(counts.items()) if code > QC.PASSIVE}
    result: dict[str, Any] = {
        "in": len(table),
        "used": counts[QC.PASS],
        "passive": counts[QC.PASSIVE],
        "rejected": rejected,
    }
    if result["in"] != result["used"] + result["passive"] + sum(rejected.values()):
        raise PhydaError(f"the account of observations does not add up: {result}")
    return result


def unit_hints(table: pd.DataFrame) -> list[str]:
    """What is probably wrong with the units of rows that failed the bounds check, and what to do
    about it, one sentence for each variable."""
    failed = table[table["qc"] == QC.BOUNDS]
    hints = []
    hpa = failed[in_hectopascal(table)[table["qc"].to_numpy() == QC.BOUNDS]]
    if len(hpa):
        several = "a row has" if len(hpa) == 1 else f"{len(hpa)} rows have"
        pressure = f"{hpa['pressure'].iloc[0]:g}"
        found = f"{several} a pressure such as {pressure} where Pa is required"
        how = (
            "call the column pressure_hPa, or say in a mapping file (--obs-map): "
            'pressure = { column = "NAME", unit = "hPa" }'
        )
        hints.append(f"{found}: this looks like hPa ({_what_to_do(hpa, how, 'pressures in Pa')})")
    for name, group in failed.groupby("variable"):
        variable = OBSERVABLES[str(name)]
        low, high = variable.valid_range
        values = group["value"].to_numpy()
        values = values[(values < low) | (values > high)]
        if not values.size:
            continue
        outside = f"outside {low:g}..{high:g} {variable.units}"
        found = f"{values.size} values of {name} are {outside}, such as {values[0]:g}"
        if values.size == 1:
            found = f"a value of {name}, {values[0]:g}, is {outside}"
        if (unit := looks_like(str(name), values)) is not None:
            how = f"call the column {name}_{unit}; a long table may have a column unit"
            how = _what_to_do(group, how, f"a column unit, {unit}")
            found += f": this looks like {unit} ({how})"
        hints.append(found)
    return hints


def _what_to_do(rows: pd.DataFrame, in_a_table: str, to_add: str) -> str:
    """How to give ``rows`` other units: what to do ``in_a_table``; other files state their units
    themselves, wrongly here, and are turned into a table."""
    file = str(rows["file"].iloc[0])
    if is_text_table(Path(file)):
        return in_a_table
    return (
        f"the file states its units itself, so they stay rejected; to correct them: phyda obs "
        f"convert {file} --out corrected.csv, and give these rows {to_add}"
    )


def require_usable(table: pd.DataFrame, valid_time: np.datetime64) -> None:
    """Raise NoObservationsError, saying why, when no row of ``table`` is left to assimilate at
    ``valid_time``."""
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
        message = (
            f"no observation is near the background's valid time {valid}: they are from "
            f"{span} ({reasons})"
        )
        hint = (
            "if the background is meant for another time, give it with --valid-time; or widen "
            "the time window"
        )
    elif main == QC.DOMAIN:
        places = (("latitude", table["latitude"]), ("longitude", longitudes_of(table)))
        ranges = (f"{name}s {at.min():g}..{at.max():g}" for name, at in places)
        message += f"; they lie within {', '.join(ranges)}"
        hint = "is this the background of another region?"
    elif main == QC.H_FAILED:
        names = ", ".join(sorted(table.loc[table["qc"] == QC.H_FAILED, "variable"].unique()))
        hint = (
            f"the background does not hold what {names} need, or the reports lack a part, such as "
            "the station's elevation or the wind's direction; phyda inspect FILE shows what a "
            "background holds"
        )
    elif main == QC.PASSIVE:
        hint = "all stations are withheld (use = 0)"
    raise NoObservationsError(message, hint=hint)


def _text(time: np.datetime64 | pd.Timestamp) -> str:
    return f"{np.datetime_as_string(np.datetime64(time), unit='m')}Z"
