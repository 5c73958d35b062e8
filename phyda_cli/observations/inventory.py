"""What observation files hold, without a background: counts, ranges and what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.groups import hours, in_order, layers, regions, report_types
from phyda_cli.observations.qc import bounds_check, set_codes, summary, unit_hints
from phyda_cli.observations.qc.preliminary import duplicates
from phyda_cli.observations.qc.repeats import stuck_check
from phyda_cli.observations.report import ReadResult, told_once
from phyda_cli.observations.table import QC, longitudes_of

__all__ = ["check_alone", "inventory"]

_SHOWN = 20


def check_alone(table: pd.DataFrame, stuck: tuple[int, float] = (6, 12.0)) -> pd.DataFrame:
    """``table`` after the checks that need neither a background nor a time: missing, bounds, stuck
    values, duplicates, passive."""
    table = set_codes(table, ~np.isfinite(table["value"].to_numpy()), QC.MISSING)
    table = stuck_check(bounds_check(table), *stuck)
    table = set_codes(table, duplicates(table), QC.DUPLICATE)
    return set_codes(table, table["use"] == 0, QC.PASSIVE)


def inventory(read: ReadResult) -> dict[str, Any]:
    """The account of ``read`` as one JSON object: ``rows`` of the files; ``in`` = ``used`` +
    ``passive`` + ``rejected`` by reason; the same ``by_variable`` with ranges in SI units,
    ``by_type``, ``by_level``, ``by_time`` (hours), ``by_region``; ``problems``."""
    table = check_alone(read.table)
    total = summary(table)
    variables = total.pop("variables")
    good = table[table["qc"] <= QC.PASSIVE]
    return {
        "schema": 1,
        "rows": {
            "read": read.rows_read,
            "with_values": read.rows_with_values,
            "without_values": read.rows_without_values,
            "unreadable": read.rows_unreadable,
        },
        **total,
        "stations": int(table["station_id"].nunique()),
        "extent": _extent(good),
        "by_variable": {
            name: counts | _range(good[good["variable"] == name], name)
            for name, counts in variables.items()
        },
        "by_type": _by(table, report_types(table)),
        "by_level": _by(table, layers(table)),
        "by_time": _by(table, hours(table)),
        "by_region": _by(table, regions(table)),
        "problems": [*unit_hints(table), *map(str, read.problems[:_SHOWN])],
        "problem_count": len(read.problems),
        "notes": told_once(read.notes),
        "ignored_columns": {
            file: columns for file, columns in read.ignored_columns.items() if columns
        },
    }


def _by(table: pd.DataFrame, labels: np.ndarray) -> dict[str, dict[str, Any]]:
    """The account of the rows under each label, in the order of the labels."""
    accounts = ((label, summary(table.iloc[rows])) for label, rows in in_order(labels))
    return {
        label: {k: counts[k] for k in ("in", "used", "passive", "rejected")}
        for label, counts in accounts
    }


def _range(rows: pd.DataFrame, name: str) -> dict[str, Any]:
    value = rows["value"].to_numpy()
    numbers = (
        dict(zip(("min", "median", "max"), np.percentile(value, [0, 50, 100]), strict=True))
        if value.size
        else {}
    )
    given = int(rows["error"].notna().sum())
    return {
        "units": OBSERVABLES[name].units,
        **{k: float(f"{v:.6g}") for k, v in numbers.items()},
        "own_error": given,
    }


def _extent(rows: pd.DataFrame) -> dict[str, Any]:
    if rows.empty:
        return {}
    columns = (("latitude", rows["latitude"]), ("longitude", longitudes_of(rows)))
    places = {name: [float(f"{c.min():.6g}"), float(f"{c.max():.6g}")] for name, c in columns}
    return places | {
        "time": [f"{t:%Y-%m-%dT%H:%M:%S}Z" for t in (rows["time"].min(), rows["time"].max())]
    }
