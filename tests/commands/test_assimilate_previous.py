"""``--previous``, the memory from one analysis to the next, and the status ``degraded``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from phyda_cli.observations.feedback import read_feedback, read_memory
from phyda_cli.observations.table import QC

Run = Callable[..., Any]
LATER = np.timedelta64(6, "h")


def at_a_later_time(case: Path, folder: Path) -> dict[str, Path]:
    """The case's inputs six hours later, the same otherwise."""
    with xr.open_dataset(case / "fc.nc", decode_times=True) as data:
        data.assign_coords(time=data["time"] + LATER).to_netcdf(folder / "fc_later.nc")
    table = pd.read_csv(case / "stations.csv")
    table["time"] = (pd.to_datetime(table["time"]) + pd.Timedelta(LATER)).dt.strftime("%FT%TZ")
    table.to_csv(folder / "later.csv", index=False)
    return {"obs": folder / "later.csv", "background": folder / "fc_later.nc"}


def test_the_memory_goes_from_feedback_to_feedback(
    assimilate: Run, case: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "fb.nc", tmp_path / "fb2.nc"
    assert assimilate(feedback=first).code == 0
    memory = read_memory(first)
    assert memory is not None
    assert set(memory.table["variable"]) == {"msl"}  # the soundings are anchors
    assert (memory.table["reports"] == 1).all()
    assert "ObsBias" not in read_feedback(first)

    later = at_a_later_time(case, tmp_path)
    done = assimilate("--json", feedback=second, out=tmp_path / "an2.nc", previous=first, **later)
    assert done.code == 0, done
    report = json.loads(done.out)
    rows, known = read_feedback(second), read_memory(second)
    assert known is not None
    used = rows[rows["EffectiveQC"] <= QC.PASSIVE]
    assert report["bias"]["corrected"] == (used["ObsBias"] != 0).sum() > 0
    assert (rows["ObsBias"][rows["variable"] != "msl"] == 0).all()
    largest = report["bias"]["variables"]["msl"]
    assert abs(largest["largest"]) == pytest.approx(used["ObsBias"].abs().max(), rel=1e-3)
    raw = pd.read_csv(later["obs"])
    np.testing.assert_array_equal(rows["ObsValue"], raw["value"])
    assert known.table["reports"].max() == pytest.approx(1 + np.exp(-0.25 / 10))
    with netCDF4.Dataset(tmp_path / "an2.nc") as data:
        assert len(data.previous_sha256) == 64


def test_anchors_are_not_corrected(assimilate: Run, case: Path, tmp_path: Path) -> None:
    assert assimilate(feedback=tmp_path / "fb.nc").code == 0
    names = ",".join(pd.read_csv(case / "stations.csv")["station_id"].unique())
    later = at_a_later_time(case, tmp_path)
    done = assimilate(
        "--json",
        out=tmp_path / "an2.nc",
        previous=tmp_path / "fb.nc",
        anchors=names,
        **later,
    )
    assert json.loads(done.out)["bias"] == {"corrected": 0, "variables": {}}


def test_reports_are_not_used_twice(
    assimilate: Run, fails: Callable[..., str], case: Path, tmp_path: Path
) -> None:
    assert assimilate(feedback=tmp_path / "fb.nc").code == 0
    later = at_a_later_time(case, tmp_path)
    both = tmp_path / "both.csv"
    pd.read_csv(case / "stations.csv").to_csv(both, index=False)
    options = {"background": later["background"], "previous": tmp_path / "fb.nc", "window": 12}
    message = fails(4, obs=both, **options, out=tmp_path / "an2.nc")
    assert QC.USED_BEFORE.meaning in message


def test_a_feedback_that_is_none_or_not_earlier(
    assimilate: Run, fails: Callable[..., str], case: Path, tmp_path: Path
) -> None:
    assert assimilate(feedback=tmp_path / "fb.nc").code == 0
    for previous in (tmp_path / "fb.nc", case / "fc.nc", case / "stations.csv", tmp_path / "gone"):
        fails(3, previous=previous, out=tmp_path / "an2.nc")


def test_a_degraded_analysis_says_so_also_quietly(
    assimilate: Run, fails: Callable[..., str], case: Path, tmp_path: Path
) -> None:
    with xr.open_dataset(case / "fc.nc") as data:
        broken = data.load().copy(deep=True)
    broken["t"][{"level": list(broken["level"].values).index(500)}] = np.nan
    broken.to_netcdf(tmp_path / "broken.nc")
    done = assimilate("-q", background=tmp_path / "broken.nc")
    assert done.code == 0
    (line,) = [text for text in done.err.splitlines() if "degraded" in text]
    assert "WARNING" in line
    with netCDF4.Dataset(tmp_path / "an.nc") as data:
        assert data.phyda_status == "degraded: t is missing at 500 hPa"
    said = assimilate("--json", "--overwrite", background=tmp_path / "broken.nc")
    report = json.loads(said.out)
    assert (report["status"], report["reasons"]) == ("degraded", ["t is missing at 500 hPa"])
    assert report["verdict"]["verdict"] in ("ok", "suspect")
    strict = {"background": tmp_path / "broken.nc", "out": tmp_path / "an2.nc"}
    fails(5, "--fail-on-degraded", "degraded", **strict)
    broken["msl"][:] = np.nan
    broken.to_netcdf(tmp_path / "empty.nc")
    report = json.loads(assimilate("--json", "-n", background=tmp_path / "empty.nc").out)
    assert "msl is missing everywhere" in report["reasons"]
