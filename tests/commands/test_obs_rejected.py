"""The observations that an analysis did not use, from the run to the list, and feedback as CSV."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from phyda_cli.observations.feedback import Feedback, read_feedback, rejected, write_feedback
from phyda_cli.observations.table import QC, make

Run = Callable[..., Any]


@pytest.fixture
def spoilt(case: Path, tmp_path: Path) -> Path:
    """The stations of the small case: two values are impossible, and one has no number."""
    table = pd.read_csv(case / "stations.csv", dtype=str)
    table.loc[[0, 1], "value"] = "9e9"
    table.loc[2, "value"] = "warm"
    table.to_csv(tmp_path / "spoilt.csv", index=False)
    return tmp_path / "spoilt.csv"


def test_rejected_observations_are_listed_with_their_reasons(
    assimilate: Run, phyda: Run, spoilt: Path, tmp_path: Path
) -> None:
    feedback = tmp_path / "fb.nc"
    assert assimilate("--feedback", feedback, obs=spoilt).code == 0
    outcome = phyda("obs", "rejected", feedback)
    assert outcome.code == 0, outcome.err
    listed = pd.read_csv(io.StringIO(outcome.out))
    rows = read_feedback(feedback)
    assert len(listed) == (rows["EffectiveQC"] > 1).sum() >= 3
    first = listed.set_index("source_row")["reason"]
    assert first[[2, 3, 4]].tolist() == ["out of range", "out of range", "unreadable"]
    assert f"{len(listed)} rejected" in outcome.err
    out = tmp_path / "rejected.csv"
    assert phyda("obs", "rejected", feedback, "--out", out).code == 0
    assert out.read_text() == outcome.out
    assert phyda("obs", "rejected", feedback, "--out", out).code == 2
    assert phyda("obs", "rejected", tmp_path / "an.nc").code == 3


def test_without_rejected_observations_the_list_is_its_header(
    assimilate: Run, phyda: Run, tmp_path: Path
) -> None:
    feedback = tmp_path / "fb.nc"
    assert assimilate("--feedback", feedback).code == 0
    outcome = phyda("obs", "rejected", feedback)
    assert outcome.out.startswith("station_id,")
    assert phyda("obs", "rejected", feedback, "--reason", "any").out == outcome.out


def test_feedback_as_csv_holds_what_netcdf_holds(
    assimilate: Run, spoilt: Path, tmp_path: Path
) -> None:
    assert assimilate("--feedback", tmp_path / "fb.nc", obs=spoilt).code == 0
    other = {"obs": spoilt, "out": tmp_path / "an2.nc"}
    assert assimilate("--feedback", tmp_path / "fb.csv", **other).code == 0
    rows, table = read_feedback(tmp_path / "fb.nc"), pd.read_csv(tmp_path / "fb.csv")
    assert len(rows) == len(table)
    assert table["EffectiveQC"].tolist() == rows["EffectiveQC"].tolist()
    assert (table["reason"] != "used").tolist() == (rows["EffectiveQC"] > 0).tolist()
    pd.testing.assert_series_equal(
        table["ombg"], rows["ombg"], check_dtype=False, check_index=False, rtol=1e-5
    )


def test_feedback_as_csv_is_refused_where_it_would_be_read(
    assimilate: Run, phyda: Run, tmp_path: Path
) -> None:
    page = ("--report", tmp_path / "an.html")
    outcome = assimilate("--feedback", tmp_path / "fb.csv", *page)
    assert (outcome.code, list(tmp_path.iterdir())) == (2, [])
    assert f"--feedback {tmp_path / 'fb.nc'}" in outcome.err
    assert assimilate("--feedback", tmp_path / "fb.csv").code == 0
    for command in (("verify", "--feedback"), ("obs", "rejected")):
        outcome = phyda(*command, tmp_path / "fb.csv")
        assert (outcome.code, "--feedback fb.nc" in outcome.err) == (3, True), outcome.err
    assert assimilate("--feedback", tmp_path / "fb.nc").code == 0
    assert phyda("verify", "--feedback", tmp_path / "fb.nc").code == 0


def test_no_analysis_by_choice_is_not_for_want_of_observations(assimilate: Run) -> None:
    outcome = assimilate(method="none")
    assert outcome.code == 0
    assert "no usable observation" not in outcome.out + outcome.err
    assert "background_only" in outcome.out + outcome.err


def test_a_reason_says_what_lacks_a_model_equivalent_and_chooses(
    assimilate: Run, phyda: Run, case: Path, tmp_path: Path
) -> None:
    table = pd.read_csv(case / "stations.csv", dtype=str)
    own = {"station_id": "LOW", "longitude": "-3.5", "variable": "qnh", "value": "101300"}
    row = table.iloc[[0]].assign(**own)
    row[["elevation", "pressure"]] = ""
    pd.concat([table, row]).to_csv(tmp_path / "own.csv", index=False)
    feedback = tmp_path / "fb.nc"
    assert assimilate("--feedback", feedback, obs=tmp_path / "own.csv").code == 0
    outcome = phyda("obs", "rejected", feedback, "--reason", "no elevation", "--reason", "bias")
    (listed,) = pd.read_csv(io.StringIO(outcome.out)).to_dict("records")
    assert (listed["station_id"], listed["longitude"]) == ("LOW", -3.5)
    assert phyda("obs", "rejected", feedback, "--reason", "nothing").out.count("\n") == 1


def test_a_speed_that_could_be_compared_lacks_its_direction(tmp_path: Path) -> None:
    table = make(
        station_id=np.array(["VRB", "HIGH"], object),
        time=np.datetime64("2020-10-01T06", "ns"),
        latitude=50.0,
        longitude=8.0,
        variable="wind_speed",
        value=5.0,
        error=1.0,
        qc=QC.H_FAILED,
    )
    background = np.array([4.0, np.nan])
    rows = Feedback.as_observed(table, background, background, np.ones(2))
    write_feedback(tmp_path / "fb.nc", rows, {})
    reasons = rejected(tmp_path / "fb.nc")["reason"].tolist()
    assert [r.endswith("no direction") for r in reasons] == [True, False]
