"""``phyda assimilate`` and ``phyda verify`` count departures alike, whatever the analysis made of
the background and of the observations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from synthetic import with_mean_error

from phyda_cli.observations.feedback import read_feedback
from phyda_cli.observations.table import QC

Run = Callable[..., Any]
SHIFT = {"msl": 150.0, "t500": 0.8}


@pytest.fixture
def correcting(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A model that knows the mean error of backgrounds beforehand."""
    return with_mean_error(tiny_checkpoint, tmp_path / "correcting", SHIFT)


def said(assimilate: Run, phyda: Run, folder: Path, *arguments: object, **options: object) -> Any:
    """The departures of ``assimilate``, and of ``verify`` with its feedback."""
    wishes = ("--feedback", folder / "fb.nc", "--withhold", 0.2, "--json")
    outcome = assimilate(*wishes, *arguments, **options)
    assert outcome.code == 0, outcome.err
    verified = phyda("verify", folder / "an.nc", "--feedback", folder / "fb.nc", "--json")
    assert verified.code == 0, verified.err
    return json.loads(outcome.out)["departures"], json.loads(verified.out)["feedback"]


@pytest.mark.parametrize("thinning", ["none", "superob", "thin"])
@pytest.mark.parametrize("corrects", [False, True])
def test_both_say_the_same(
    assimilate: Run,
    phyda: Run,
    correcting: Path,
    tiny_checkpoint: Path,
    tmp_path: Path,
    thinning: str,
    corrects: bool,
) -> None:
    options = ("--thinning", thinning, "--set", "qc.thinning_km=4000")
    model = correcting if corrects else tiny_checkpoint
    ours, theirs = said(assimilate, phyda, tmp_path, *options, checkpoint=model)
    assert {"used", "passive"} == set(ours)
    for kind, found in ours.items():
        assert found
        assert list(found.values()) == theirs[kind]


def test_departures_of_a_corrected_background(
    assimilate: Run, phyda: Run, case: Path, correcting: Path, tmp_path: Path
) -> None:
    """O-B is of the user's background and O-A of the analysis; the errors are judged by what the
    analysis started from, and the increment is the whole way from the user's background."""
    _, verified = said(assimilate, phyda, tmp_path, checkpoint=correcting)
    rows = read_feedback(tmp_path / "fb.nc")
    rows = rows[(rows["EffectiveQC"] == QC.PASS) & (rows["variable"] == "msl")]
    np.testing.assert_allclose(rows["hofx0_corrected"], rows["hofx0"] + SHIFT["msl"], rtol=1e-7)
    np.testing.assert_allclose(rows["DerivedObsValue"], rows["ObsValue"], rtol=1e-9)
    np.testing.assert_allclose(rows["oman"], rows["ObsValue"] - rows["hofx1"], atol=1e-6)
    (found,) = (d for d in verified["used"] if d["variable"] == "msl")
    start = rows["ObsValue"] - rows["hofx0_corrected"]
    assert found["ombg_mean"] == pytest.approx(rows["ombg"].mean())
    assert found["oman_rms"] == pytest.approx(np.sqrt((rows["oman"] ** 2).mean()))
    assert found["sigma_o"] == pytest.approx(np.sqrt((rows["oman"] * start).mean()))
    assert found["sigma_b"] == pytest.approx(np.sqrt(((start - rows["oman"]) * start).mean()))
    with xr.open_dataset(case / "fc.nc") as before, xr.open_dataset(tmp_path / "an.nc") as after:
        whole = after["msl"] - before["msl"]
        np.testing.assert_allclose(after["msl_increment"], whole, atol=0.02)


def test_nothing_is_corrected_where_nothing_is_analysed(
    assimilate: Run, case: Path, correcting: Path, tmp_path: Path
) -> None:
    nothing = tmp_path / "none.csv"
    lines = (case / "stations.csv").read_text(encoding="utf-8").splitlines()
    nothing.write_text("\n".join(lines[:1]), encoding="utf-8")
    outcome = assimilate("--allow-no-obs", obs=nothing, checkpoint=correcting)
    assert outcome.code == 0, outcome.err
    with xr.open_dataset(tmp_path / "an.nc") as after:
        assert not after["msl_increment"].any()


def test_far_observations_leave_the_corrected_background(
    assimilate: Run, case: Path, correcting: Path, tmp_path: Path
) -> None:
    """Observations of no weight: the analysis is the user's background and its expected error."""
    lines = (case / "stations.csv").read_text(encoding="utf-8").splitlines()
    weak = tmp_path / "weak.csv"
    rows = [",".join([*line.split(",")[:-1], "1e9"]) for line in lines[1:]]
    weak.write_text("\n".join([lines[0], *rows]), encoding="utf-8")
    assert assimilate(obs=weak, checkpoint=correcting).code == 0
    with xr.open_dataset(tmp_path / "an.nc") as after:
        np.testing.assert_allclose(after["msl_increment"], SHIFT["msl"], atol=0.5)
