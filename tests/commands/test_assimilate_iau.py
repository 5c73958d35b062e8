"""``phyda assimilate --iau-hours``: the increment as a rate."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from synthetic import TIME

Run = Callable[..., Any]


@pytest.mark.parametrize("hours", [6, 3])
def test_the_rate_over_the_window_is_the_increment(
    assimilate: Run, tmp_path: Path, hours: int
) -> None:
    outcome = assimilate("--iau-hours", hours)
    assert outcome.code == 0, outcome.err
    with (
        xr.open_dataset(tmp_path / "an.nc") as whole,
        xr.open_dataset(tmp_path / "an_tendency.nc") as rate,
    ):
        names = [str(n) for n in whole.data_vars if str(n).endswith("_increment")]
        assert {n.replace("_increment", "_tendency") for n in names} == set(rate.data_vars)
        for name in names:
            found = rate[name.replace("_increment", "_tendency")]
            np.testing.assert_allclose(
                found.values * hours * 3600,
                whole[name].values,
                rtol=1e-4,
                atol=1e-4 * float(np.abs(whole[name]).max()),
            )
            assert found.attrs["units"] == f"{whole[name].attrs['units']} s-1"
        half = np.timedelta64(30 * hours, "m")
        edges = np.array([TIME - half, TIME + half], "datetime64[s]")
        found = rate["time_bnds"].values.ravel().astype("datetime64[s]")
        assert found.tolist() == edges.tolist()
        assert rate.attrs["phyda_inputs"] == whole.attrs["phyda_inputs"]
        assert rate.attrs["iau_hours"] == hours


def test_a_second_run_is_up_to_date_and_another_window_is_not(assimilate: Run) -> None:
    assert assimilate("--iau-hours", 6).code == 0
    again = assimilate("--json", "--iau-hours", 6)
    assert json.loads(again.out)["status"] == "up to date"
    assert assimilate("--iau-hours", 3).code != 0
