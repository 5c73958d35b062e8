"""``phyda obs simulate``, from a network file to an analysis of what it would observe."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from phyda_cli.observations.feedback import read_feedback
from phyda_cli.observations.table import QC

Run = Callable[..., Any]
NETWORK = """station_id,latitude,longitude,elevation,variables,pressure_hPa,error
S1,47.3,11.4,100,t u v q,850 600 300,
S2,-33.9,18.6,42,z,500,80
S2,-33.9,18.6,42,msl,,
S3,10,200,,t2m,,
"""


@pytest.fixture
def simulate(phyda: Run, case: Path, tiny_checkpoint: Path, tmp_path: Path) -> Run:
    """Simulate the small network's observations of the case's forecast, into ``obs.csv``."""

    def run(*arguments: object, network: str = NETWORK, out: str = "obs.csv") -> Any:
        path = tmp_path / "network.csv"
        path.write_text(network, encoding="utf-8")
        options = ("--network", path, "--out", tmp_path / out, "--checkpoint", tiny_checkpoint)
        return phyda("obs", "simulate", case / "fc.nc", *options, *arguments)

    return run


def test_exact_observations_have_no_departures(
    simulate: Run, assimilate: Run, tmp_path: Path
) -> None:
    assert simulate("--errors", "off").code == 0
    outcome = assimilate("--feedback", tmp_path / "fb.nc", obs=tmp_path / "obs.csv")
    assert outcome.code == 0, outcome.err
    rows = read_feedback(tmp_path / "fb.nc")
    assert (rows["EffectiveQC"] == QC.PASS).all()
    assert len(rows) == 14
    assert np.all(np.abs(rows["ombg"]) <= 1e-6 * np.abs(rows["ObsValue"]))  # float32 in the file


def test_the_account_names_what_is_left_out(simulate: Run) -> None:
    outcome = simulate("--json")
    account = json.loads(outcome.out)
    assert account["simulated"] == 14
    assert account["in"] == 15
    assert account["left_out"] == [
        {
            "reason": "no such variable in the fields",
            "variable": "t2m",
            "observations": 1,
            "stations": ["S3"],
        }
    ]
    assert "left out: 1 t2m of S3" in simulate("--overwrite").err


def test_a_seed_makes_a_file(simulate: Run, tmp_path: Path) -> None:
    for name, seed in (("a.csv", 1), ("b.csv", 1), ("c.csv", 2)):
        assert simulate("--seed", seed, out=name).code == 0
    first, again, other = ((tmp_path / f"{n}.csv").read_bytes() for n in "abc")
    assert first == again
    assert first != other


def test_netcdf_holds_the_same(simulate: Run, tmp_path: Path) -> None:
    simulate(out="a.csv")
    assert simulate(out="a.nc").code == 0
    table, rows = pd.read_csv(tmp_path / "a.csv"), read_feedback(tmp_path / "a.nc")
    np.testing.assert_allclose(table["value"], rows["ObsValue"], rtol=1e-6)


def test_the_stated_error_is_written(simulate: Run, tmp_path: Path) -> None:
    simulate()
    table = pd.read_csv(tmp_path / "obs.csv")
    assert table.loc[table["variable"] == "z", "error"].tolist() == [80.0]
    assert table["error"].notna().all()


@pytest.mark.parametrize(
    ("code", "network", "arguments"),
    [
        (3, NETWORK.replace("t2m", "temprature"), ()),
        (3, NETWORK.replace("47.3", ""), ()),
        (3, "nothing\n", ()),
        (4, "station_id,latitude,longitude,variables\nS1,1,2,t2m\n", ()),
        (2, NETWORK, ("--times", "2020-01-01")),
        (2, NETWORK, ("--times", "noon")),
    ],
)
def test_faults(simulate: Run, tmp_path: Path, code: int, network: str, arguments: Any) -> None:
    outcome = simulate(*arguments, network=network)
    assert outcome.code == code, outcome.err
    assert not (tmp_path / "obs.csv").exists()
