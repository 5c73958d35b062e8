"""Observations are compared with the background at their own time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from synthetic import FINE, FINE_LEVELS, LEVELS, TIME, WAVES, amplitudes, dataset

from phyda_cli.analysis.assimilate import Request, Result, assimilate
from phyda_cli.analysis.fgat import background_change, brackets
from phyda_cli.fields.grid import Fields
from phyda_cli.observations.table import make
from phyda_cli.settings.analysis import AnalysisSettings

OI = AnalysisSettings(method="oi", device="cpu")
HOURS = (-3, -1, 0, 1, 3)
ERROR = amplitudes(24) - amplitudes()

Waves = Callable[[float], np.ndarray]


def growing(hours: float) -> np.ndarray:
    """Linear in time."""
    return amplitudes() + hours / 6 * (amplitudes(12) - amplitudes())


def moving(hours: float) -> np.ndarray:
    """Waves that run east by 10 degrees of longitude in six hours."""
    angle = WAVES[:, 0] * np.deg2rad(hours * 10 / 6)
    a, b = amplitudes().T
    return np.stack(
        [a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)]
    ).T


def at(hours: float) -> np.datetime64:
    return TIME + np.timedelta64(round(3600 * hours), "s")


def stations(path: Path, waves: Waves, hours: tuple[int, ...]) -> Path:
    """Stations that report in turn at ``hours`` around TIME what a forecast without error has."""
    rng, rows = np.random.default_rng(5), []
    truth = {h: dataset(waves(h)[None], np.array([at(h)]), FINE, FINE_LEVELS) for h in hours}
    for i in range(60):
        hour = hours[i % len(hours)]
        latitude = round(float(rng.choice([-1, 1]) * rng.uniform(20, 70)), 4)
        longitude = round(float(rng.uniform(0, 340)), 4)
        here = truth[hour].isel(time=0).interp(latitude=latitude, longitude=longitude)
        base = (f"S{i:03d}", f"{at(hour)}Z", latitude, longitude)
        for name, error in (("t", 0.5), ("u", 1.0), ("v", 1.0)):
            rows += [
                (*base, name, 100.0 * p, float(here[name].sel(level=p)), error) for p in LEVELS
            ]
        rows.append((*base, "msl", "", float(here["msl"]), 50.0))
    names = ("station_id", "time", "latitude", "longitude", "variable", "pressure", "value")
    pd.DataFrame(rows, columns=[*names, "error"]).to_csv(path, index=False)
    return path


def forecast(path: Path, waves: Waves, hours: tuple[int, ...]) -> Path:
    states = np.stack([waves(h) + ERROR for h in hours])
    dataset(states, np.array([at(h) for h in hours]), FINE, FINE_LEVELS).to_netcdf(path)
    return path


def run(checkpoint: Path, obs: Path, *files: Path) -> Result:
    out = obs.with_suffix(".nc")
    request = Request([obs], files[0], out, trajectory=[*files[1:]], checkpoint=checkpoint)
    return assimilate(request, OI)


def distance(result: Result, other: Result) -> float:
    """Of the increments of msl, over the size of the other's."""
    a, b = (r.analysis.increment.surface["msl"] for r in (result, other) if r.analysis)
    return float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)))


@pytest.mark.parametrize(("waves", "bound"), [(growing, 1e-4), (moving, 0.03)])
def test_reports_spread_over_six_hours_are_worth_those_of_one_time(
    waves: Waves, bound: float, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    spread = stations(tmp_path / "spread.csv", waves, HOURS)
    together = stations(tmp_path / "together.csv", waves, (0,) * len(HOURS))
    single = forecast(tmp_path / "single.nc", waves, (0,))
    several = forecast(tmp_path / "several.nc", waves, HOURS)
    wanted = run(tiny_checkpoint, together, single)
    found = run(tiny_checkpoint, spread, several)
    assert distance(found, wanted) < bound
    without = run(tiny_checkpoint, spread.rename(tmp_path / "again.csv"), single)
    assert distance(without, wanted) > 2.5 * bound
    feedback = found.analysis.feedback if found.analysis else None
    assert feedback is not None
    np.testing.assert_allclose(feedback.innovation, feedback.table["value"] - feedback.hofx0)


def test_the_times_may_lie_in_files_of_their_own(
    tmp_path: Path, tiny_checkpoint: Path, phyda: Callable[..., object]
) -> None:
    obs = stations(tmp_path / "obs.csv", growing, HOURS)
    several = forecast(tmp_path / "several.nc", growing, HOURS)
    for h in HOURS:
        forecast(tmp_path / f"fc_{h + 3}.nc", growing, (h,))
    one = run(tiny_checkpoint, obs, several)
    arguments = ("--method", "oi", "--checkpoint", tiny_checkpoint, "--out", tmp_path / "b.nc")
    done = phyda("assimilate", "--obs", obs, "--background", tmp_path / "fc_*.nc", *arguments)
    assert done.code == 0, done.err  # type: ignore[attr-defined]
    import xarray as xr

    with xr.open_dataset(tmp_path / "b.nc") as found:
        assert found.attrs["background_file"].count("fc_") == len(HOURS)
        increment = found["msl_increment"].squeeze().values
    assert one.analysis is not None
    np.testing.assert_allclose(increment, one.analysis.increment.surface["msl"], atol=0.02)


def test_one_time_is_as_before_and_says_how_far_reports_are_from_it(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    obs = stations(tmp_path / "obs.csv", growing, HOURS)
    result = run(tiny_checkpoint, obs, forecast(tmp_path / "fc.nc", growing, (0,)))
    assert any("one time" in note and "3 h" in note for note in result.report["notes"])


def times(*hours: float) -> np.ndarray:
    return np.array([at(h) for h in hours], "datetime64[s]")


def test_only_the_times_around_the_reports_are_read() -> None:
    series = times(-12, -6, -3, 0, 3, 6, 12)
    np.testing.assert_array_equal(brackets(series, TIME, times(-2, 1)), times(-3, 0, 3))
    np.testing.assert_array_equal(brackets(series, TIME, times(3.5)), times(0, 3, 6))
    np.testing.assert_array_equal(brackets(series, TIME, times()), times(0))
    np.testing.assert_array_equal(brackets(series, TIME, times(-20)), series[:4])
    daily = times(-24, 0, 3, 24)
    np.testing.assert_array_equal(brackets(daily, TIME, times(-2, 8)), times(0, 3))


def test_what_a_time_lacks_is_said() -> None:
    values = {"msl": np.full(FINE.shape, 101000.0)}
    own = Fields(FINE, TIME, np.zeros(0), {}, values)
    bare = replace(own, surface={"t2m": np.full(FINE.shape, 280.0)})
    table = make(
        station_id=["A"],
        time=at(2),
        latitude=10.0,
        longitude=20.0,
        elevation=0.0,
        variable="msl",
        value=101100.0,
        error=100.0,
    )
    change, notes = background_change(own, table, times(0, 3), lambda _: bare, None, 500.0)
    assert change.tolist() == [0.0]
    assert any("no model equivalent at their own time" in note for note in notes)


def started(path: Path, start: float, value: float, hours: range) -> Path:
    """A forecast from ``start`` of msl that does not change."""
    data = xr.Dataset(
        {
            "msl": (
                ("time", "latitude", "longitude"),
                np.full((len(hours), *FINE.shape), value),
                {"units": "Pa", "standard_name": "air_pressure_at_mean_sea_level"},
            )
        },
        {
            "latitude": ("latitude", FINE.latitude, {"units": "degrees_north"}),
            "longitude": ("longitude", FINE.longitude, {"units": "degrees_east"}),
            "time": [at(h).astype("datetime64[ns]") for h in hours],
            "forecast_reference_time": (
                (),
                at(start).astype("datetime64[ns]"),
                {"standard_name": "forecast_reference_time"},
            ),
        },
    )
    data.to_netcdf(path)
    return path


def test_other_forecasts_are_not_taken_for_later_times_of_the_background(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    older = started(tmp_path / "a.nc", -6, 100000.0, range(-6, 7))
    newer = started(tmp_path / "b.nc", 0, 102000.0, range(7))
    rows = [(f"S{h}", f"{at(h)}Z", 40.0 + h, 20.0, "msl", 102000.0, 50.0) for h in (-2, 0, 2)]
    names = ("station_id", "time", "latitude", "longitude", "variable", "value", "error")
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "obs.csv", index=False)
    for order in ((older, newer), (newer, older)):
        (tmp_path / "obs.nc").unlink(missing_ok=True)
        analysis = run(tiny_checkpoint, tmp_path / "obs.csv", *order).analysis
        assert analysis is not None
        np.testing.assert_allclose(analysis.feedback.hofx0, 102000.0)
