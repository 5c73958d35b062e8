"""``phyda assimilate --lagged``: forecasts of other starts as members."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from synthetic import FINE, FINE_LEVELS, TIME, amplitudes, dataset

Run = Callable[..., Any]


def forecast(hours: int, error: float, name: str | None = None) -> xr.Dataset:
    """A forecast valid at TIME, ``hours`` old."""
    rng = np.random.default_rng(hours)
    waves = amplitudes(24) + error * rng.standard_normal(amplitudes().shape)
    found = dataset(waves[None], [TIME], FINE, FINE_LEVELS).isel(time=0, drop=True)
    start, lead = TIME - np.timedelta64(hours, "h"), np.timedelta64(hours, "h")
    return found.expand_dims(
        time=[start.astype("datetime64[ns]")], step=[lead.astype("timedelta64[ns]")]
    )


@pytest.fixture
def forecasts(tmp_path: Path) -> Path:
    """``fc_06.nc`` and older ones, in a folder of their own."""
    folder = tmp_path / "forecasts"
    folder.mkdir()
    for hours in (6, 12, 18, 24):
        forecast(hours, 0.0 if hours == 6 else 0.4).to_netcdf(folder / f"fc_{hours:02d}.nc")
    return folder


def lagged_of(report: dict[str, Any]) -> list[str]:
    return [note for note in report["notes"] if "lagged" in note]


@pytest.mark.parametrize("method", ["oi", "phyda"])
def test_older_forecasts_are_members(
    assimilate: Run, forecasts: Path, tmp_path: Path, method: str
) -> None:
    chosen = {"background": forecasts / "fc_06.nc", "method": method}
    outcome = assimilate("--json", lagged=f"{forecasts}/fc_*.nc", **chosen)
    assert outcome.code == 0, outcome.err
    assert "3 lagged forecasts" in lagged_of(json.loads(outcome.out))[0]
    assert "12, 18, 24 h" in lagged_of(json.loads(outcome.out))[0]
    without = assimilate("--json", out=tmp_path / "without.nc", **chosen)
    assert not lagged_of(json.loads(without.out))
    with xr.open_dataset(tmp_path / "an.nc") as a, xr.open_dataset(tmp_path / "without.nc") as b:
        assert float(np.abs(a["t"] - b["t"]).max()) > 0.01
        assert a.attrs["lagged_file"] == "fc_06.nc, fc_12.nc, fc_18.nc, fc_24.nc"


def test_a_file_of_several_starts_gives_them_by_itself(
    assimilate: Run, forecasts: Path, tmp_path: Path
) -> None:
    leads = [6, 12, 18, 24]
    empty = xr.full_like(forecast(6, 0.0), np.nan)
    steps = [np.timedelta64(h, "h").astype("timedelta64[ns]") for h in leads]
    starts = [(TIME - np.timedelta64(h, "h")).astype("datetime64[ns]") for h in leads]
    whole = (
        empty.isel(time=0, step=0, drop=True)
        .expand_dims(time=starts[::-1], step=steps)
        .copy(deep=True)
    )
    for h in leads:
        for name in ("z", "t", "u", "v", "q", "msl"):
            own = forecast(h, 0.0 if h == 6 else 0.4)[name]
            whole[name].loc[dict(time=own.time.values[0], step=own.step.values[0])] = own.isel(
                time=0, step=0
            )
    for name in ("orography", "lsm"):
        whole[name] = forecast(6, 0.0)[name].isel(time=0, step=0, drop=True)
    whole.to_netcdf(tmp_path / "whole.nc")
    one = assimilate("--json", background=tmp_path / "whole.nc", out=tmp_path / "one.nc")
    assert one.code == 0, one.err
    assert "3 lagged forecasts" in lagged_of(json.loads(one.out))[0]
    given = {"background": forecasts / "fc_06.nc", "lagged": f"{forecasts}/fc_*.nc"}
    assert assimilate(out=tmp_path / "other.nc", **given).code == 0
    with xr.open_dataset(tmp_path / "one.nc") as a, xr.open_dataset(tmp_path / "other.nc") as b:
        np.testing.assert_allclose(
            a["t_increment"].values.squeeze(), b["t_increment"].values.squeeze(), atol=1e-3
        )
    off = assimilate("--json", "--lagged-weight", 0, background=tmp_path / "whole.nc")
    assert not lagged_of(json.loads(off.out))


def test_what_cannot_be_a_lagged_forecast_is_refused(
    fails: Callable[..., str], forecasts: Path
) -> None:
    background = forecasts / "fc_06.nc"
    assert "fc_06.nc" in fails(3, background=background, lagged=forecasts / "fc_06.nc")
    fails(2, background=background, lagged=forecasts / "fc_12.nc", method="guidance")


def test_analyses_of_the_time_are_not_taken(fails: Callable[..., str], forecasts: Path) -> None:
    forecast(0, 0.1).to_netcdf(forecasts / "analysis.nc")
    assert "analysis.nc" in fails(
        3, background=forecasts / "fc_06.nc", lagged=forecasts / "analysis.nc"
    )
