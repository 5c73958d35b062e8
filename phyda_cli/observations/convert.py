"""Observations of any format as one file: long CSV or NetCDF in the layout of a feedback file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from phyda_cli.errors import UsageError
from phyda_cli.files.publish import publish
from phyda_cli.observations.feedback import Feedback, write_feedback
from phyda_cli.observations.qc import set_codes
from phyda_cli.observations.qc.preliminary import duplicates
from phyda_cli.observations.table import LEVEL, QC

__all__ = ["FORMATS", "format_of", "merged", "write_csv", "write_observations"]

FORMATS = ("csv", "nc")


def format_of(path: Path, chosen: str | None) -> str:
    """``chosen``, or what the name of ``path`` says. Raises UsageError when neither is csv or
    nc."""
    found = chosen or path.suffix.removeprefix(".").lower()
    if found not in FORMATS:
        raise UsageError(
            f"{path}: the format {found or 'is unknown'!r} cannot be written",
            hint="use --to csv or --to nc",
        )
    return found


def merged(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """``table`` in the order of time, then station, without duplicates, and how many there were."""
    checked = set_codes(table, duplicates(table), QC.DUPLICATE)
    kept = checked[checked["qc"] != QC.DUPLICATE].sort_values(
        ["time", "station_id"], kind="stable", ignore_index=True
    )
    return kept, len(table) - len(kept)


def write_observations(
    path: Path, table: pd.DataFrame, kind: str, overwrite: bool = False
) -> tuple[int, int]:
    """Write ``table`` as ``csv`` or ``nc``; returns how many rows were written and left out.

    NetCDF holds every row with its code and where it came from; CSV, which has no place for them,
    only the good ones. Raises OutputError.
    """
    if kind == "nc":
        unknown = np.full(len(table), np.nan)
        rows = Feedback.as_observed(table, unknown, unknown, unknown)
        write_feedback(path, rows, {"phyda_status": "observations only"}, overwrite)
        return len(table), 0
    good = table[(table["qc"] <= QC.PASSIVE) & np.isfinite(table["value"])]
    write_csv(path, good, overwrite)
    return len(good), len(table) - len(good)


def write_csv(path: Path, table: pd.DataFrame, overwrite: bool = False) -> None:
    """Write ``table`` in the long form, which reads back exactly, except qc, file and row. Raises
    OutputError."""
    columns = [
        "station_id",
        "time",
        "latitude",
        "longitude",
        "elevation",
        "variable",
        *LEVEL,
        "value",
        "error",
        "use",
    ]
    optional = [c for c in ("elevation", *LEVEL, "error") if table[c].isna().all()]
    optional += ["use"] if (table["use"] == 1).all() else []
    out = table[[c for c in columns if c not in optional]].copy()
    times = table["time"].to_numpy()
    whole = bool(np.all(np.isnat(times) | (times == times.astype("datetime64[s]"))))
    out["time"] = np.char.add(np.datetime_as_string(times, unit="s" if whole else "ns"), "Z")
    with publish(path, overwrite) as temporary:
        out.to_csv(temporary, index=False)
