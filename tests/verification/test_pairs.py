"""Which feedback belongs to which analysis."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from phyda_cli.observations.feedback import _REQUIRED
from phyda_cli.observations.table import QC
from phyda_cli.verification import collect


def feedback(hour: int, inputs: str = "") -> pd.DataFrame:
    """One report, at ``hour``."""
    time = pd.Timestamp(f"2020-10-01T{hour:02d}:00")
    rows = pd.DataFrame({name: [0] for name in _REQUIRED})
    rows = rows.assign(time=time, EffectiveQC=int(QC.PASS), variable="t2m")
    rows.attrs["phyda_inputs"] = inputs
    return rows


def pairs(analyses: dict[int, str], feedbacks: list[pd.DataFrame]) -> dict[int, int | None]:
    """The hour of the feedback of each analysis, which are given by hour and fingerprint."""
    times = {hour: np.datetime64(f"2020-10-01T{hour:02d}", "ns") for hour in analyses}
    fields = {h: xr.Dataset(attrs={"phyda_inputs": own}) for h, own in analyses.items()}
    index = collect._feedback_index(feedbacks, list(fields.values()))
    found: dict[int, int | None] = {}
    for hour, time in times.items():
        rows = collect._feedback_of(fields[hour], time, index, [*times.values()], False)
        found[hour] = None if rows is None else int(rows["time"].dt.hour[0])
    return found


def test_each_hourly_analysis_has_the_feedback_of_its_hour() -> None:
    hours = {hour: "" for hour in (6, 7, 8)}
    assert pairs(hours, [feedback(h) for h in (6, 7, 8)]) == {6: 6, 7: 7, 8: 8}
    assert pairs(hours, [feedback(h) for h in (8, 6, 7)]) == {6: 6, 7: 7, 8: 8}


def test_a_feedback_is_used_once() -> None:
    hours = {hour: "" for hour in (6, 7, 8)}
    assert pairs(hours, [feedback(7), feedback(8)]) == {6: None, 7: 7, 8: 8}
    assert pairs({6: "", 12: ""}, [feedback(7)]) == {6: 7, 12: None}
    assert pairs({6: "", 12: ""}, [feedback(9)]) == {6: None, 12: None}


def test_a_feedback_from_the_same_inputs_is_nobody_elses() -> None:
    known = feedback(7, "a")
    assert pairs({6: "a", 7: ""}, [known]) == {6: 7, 7: None}
    assert pairs({6: "a", 7: ""}, [known, feedback(7)]) == {6: 7, 7: 7}
    assert pairs({7: "b"}, [known]) == {7: 7}  # made from what is not given
