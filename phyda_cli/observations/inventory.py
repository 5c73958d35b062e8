"""What observation files hold, without a background: counts, ranges and what is wrong."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.qc import bounds_check, set_codes, summary, unit_hints
from phyda_cli.observations.qc.preliminary import duplicates
from phyda_cli.observations.qc.repeats import stuck_check
from phyda_cli.observations.report import ReadResult
from phyda_cli.observations.table import QC

__all__ = ["check_alone", "inventory"]

_LAYERS = (110000.0, 85000.0, 50000.0, 25000.0, 10000.0, 0.0)  # Pa
_SHOWN = 20


def check_alone(table: pd.DataFrame, stuck: tuple[int, float] = (6, 12.0)) -> pd.DataFrame:
    """``table`` after the checks that need neither a background nor a time: missing, bounds, stuck values, duplicates, passive."""
    table = set_codes(table, ~np.isfinite(table["value"].to_numpy()), QC.MISSING)
    table = stuck_check(bounds_check(table), *stuck)
    table = set_codes(table, duplicates(table), QC.DUPLICATE)
    return set_codes(table, table["use"] == 0, QC.PASSIVE)


def inventory(read: ReadResult) -> dict[str, Any]:
    """The account of ``read`` as one JSON object: ``rows`` of the files; ``in`` = ``used`` + ``passive`` + ``rejected`` by reason; the
    same ``by_variable`` with ranges in SI units, ``by_type``, ``by_level``, ``by_time`` (hours), ``by_region``; ``problems``."""
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
        "stations": int(table.groupby(["station_id", "latitude", "longitude"]).ngroups),
        "extent": _extent(good),
        "by_variable": {name: counts | _range(good[good["variable"] == name], name) for name, counts in variables.items()},
        "by_type": _by(table, report_types(table)),
        "by_level": _by(table, _levels(table)),
        "by_time": _by(table, _hours(table)),
        "by_region": _by(table, _regions(table)),
        "problems": [*unit_hints(table), *map(str, read.problems[:_SHOWN])],
        "problem_count": len(read.problems),
        "ignored_columns": {file: columns for file, columns in read.ignored_columns.items() if columns},
    }


def report_types(table: pd.DataFrame) -> np.ndarray:
    """``surface``, ``sounding`` (a station with several levels at a time, or in one message) or ``single level``, (P,)."""
    level = table["pressure"].fillna(-table["height"]).to_numpy()
    aloft = ~np.isnan(level)
    keys = ["station_id", "time", "latitude", "longitude"]
    counts = table.assign(_level=level).groupby(keys, dropna=False, sort=False)["_level"].transform("nunique").to_numpy()
    message = table.assign(_level=level).groupby(["file", "row"], sort=False)["_level"].transform("nunique").to_numpy()
    return np.where(~aloft, "surface", np.where((counts > 2) | (message > 2), "sounding", "single level"))


def _by(table: pd.DataFrame, labels: np.ndarray) -> dict[str, dict[str, Any]]:
    """The account of the rows under each label, in the order of the labels."""
    found = {}
    for label in sorted(set(labels)):
        counts = summary(table[labels == label])
        found[str(label).partition("\0")[2] or str(label)] = {k: counts[k] for k in ("in", "used", "passive", "rejected")}
    return found


def _range(rows: pd.DataFrame, name: str) -> dict[str, Any]:
    value = rows["value"].to_numpy()
    numbers = dict(zip(("min", "median", "max"), np.percentile(value, [0, 50, 100]), strict=True)) if value.size else {}
    given = int(rows["error"].notna().sum())
    return {"units": OBSERVABLES[name].units, **{k: float(f"{v:.6g}") for k, v in numbers.items()}, "own_error": given}


def _extent(rows: pd.DataFrame) -> dict[str, Any]:
    if rows.empty:
        return {}
    columns = (("latitude", rows["latitude"]), ("longitude", rows["longitude"]))
    places = {name: [float(f"{c.min():.6g}"), float(f"{c.max():.6g}")] for name, c in columns}
    return places | {"time": [f"{t:%Y-%m-%dT%H:%M:%S}Z" for t in (rows["time"].min(), rows["time"].max())]}


def _levels(table: pd.DataFrame) -> np.ndarray:
    pressure, height = table["pressure"].to_numpy(), table["height"].to_numpy()
    layer = np.clip(np.searchsorted(-np.array(_LAYERS), -pressure, side="right") - 1, 0, len(_LAYERS) - 2)
    names = [f"{i + 1}\0{low / 100:g} to {high / 100:g} hPa" for i, (low, high) in enumerate(pairwise(_LAYERS))]
    at_level = np.array(names, object)[np.where(np.isnan(pressure), 0, layer)]
    return np.where(~np.isnan(pressure), at_level, np.where(np.isnan(height), "0\0surface", "8\0at a height")).astype(object)


def _hours(table: pd.DataFrame) -> np.ndarray:
    text = table["time"].dt.strftime("%Y-%m-%dT%HZ")
    return text.fillna("without time").to_numpy(object)


def _regions(table: pd.DataFrame) -> np.ndarray:
    latitude = table["latitude"].to_numpy()
    bands = [np.isnan(latitude), latitude >= 60, latitude >= 20, latitude > -20, latitude > -60]
    names = ["9\0nowhere", "1\0north of 60N", "2\0" + "20N to 60N", "3\0" + "20S to 20N", "4\0" + "60S to 20S"]
    return np.select(bands, names, "5\0south of 60S").astype(object)
