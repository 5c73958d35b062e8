"""The climate model itself: the orography that it integrates with, and stops on its way."""

from __future__ import annotations

import numpy as np
import pytest

from phyda_cli.constants import R_D
from phyda_cli.simulation.jcm import SpeedyModel, statics


@pytest.mark.slow
def test_the_orography_is_the_one_that_the_model_integrates_with() -> None:
    """Geopotential of a resting state of one temperature, less its hydrostatic part."""
    pytest.importorskip("jcm")
    model = SpeedyModel(np.datetime64("2001-01-01", "s"), 0.25)._experiment.model
    state = model.dycore.to_physics_state(model.initial_state(random_seed=0))
    lowest = np.asarray(state.geopotential)[-1].T
    warmth = R_D * np.asarray(state.temperature)[-1].T * np.log(1 / 0.95)
    height = (lowest - warmth) / 9.81
    assert np.abs(height - statics()["orography"]).max() < 0.1
    assert statics()["orography"].min() < -400


@pytest.mark.slow
def test_a_model_that_stops_on_its_way_arrives_at_the_same_state() -> None:
    """Not so where it goes on from fields: the smallest scales of the wind are lost."""
    pytest.importorskip("jcm")
    start = np.datetime64("2001-01-01", "s")
    whole, part = SpeedyModel(start, 0.25), SpeedyModel(start, 0.125, 8)
    state, longitude = whole.cold_start(seed=1), statics()["longitude"][:, None]
    state = state | {"u": state["u"] + 10 * np.cos(np.deg2rad(3 * longitude))}
    expected = whole.forecast(state, start)[-1]
    found = part.nudged(state, state, start, 2)[-1]
    later = part.forecast(part.forecast(state, start)[-1], start + np.timedelta64(3, "h"))[-1]
    for name in ("u", "v", "t", "ps"):
        size = np.abs(later[name] - expected[name]).max()
        assert np.abs(found[name] - expected[name]).max() < 0.02 * size


@pytest.mark.slow
def test_a_forecast_from_fields_starts_as_quietly_as_the_run_that_they_are_of() -> None:
    """jcm's own way from fields to its state loses wind, and surface pressure rings for hours."""
    pytest.importorskip("jcm")
    start, day = np.datetime64("2001-01-01", "s"), np.timedelta64(1, "D")
    weather = SpeedyModel(start - 20 * day, 20.0).cold_start(seed=1)
    model = SpeedyModel(start, 1.0, 48)
    run = model.forecast(weather, start)
    again = model.forecast(run[23], start + day // 2)
    usual, first = (
        np.abs(np.diff([s["ps"] for s in states], axis=0)).mean()
        for states in (run[23:30], [run[23], *again[:6]])
    )
    wind = model._experiment.model.dycore.to_physics_state(model._spectral(run[23]))
    error = np.asarray(wind.v_wind) - run[23]["v"]
    assert first < 1.01 * usual
    assert error.std() < 0.01 * run[23]["v"].std()


@pytest.mark.slow
def test_stops_on_the_way_bring_no_humidity() -> None:
    """jcm shows no humidity below zero. A model that goes on from what it shows gains 3 to 6 % at
    each stop aloft; one that goes on from the sum of its waves has the run's within 3 % after
    eight."""
    pytest.importorskip("jcm")
    start, stop = np.datetime64("2001-01-01", "s"), np.timedelta64(6, "h")
    weather = SpeedyModel(start - np.timedelta64(20, "D"), 20.0).cold_start(seed=1)
    part = SpeedyModel(start, 0.25)
    state, area = weather, np.cos(np.deg2rad(statics()["latitude"]))
    for i in range(8):
        state = part.forecast(state, start + i * stop)[-1]
    run = SpeedyModel(start, 2.0).forecast(weather, start)[-1]
    found, expected = ((s["q"] * area).mean(axis=(1, 2)) for s in (state, run))
    np.testing.assert_allclose(found, expected, rtol=0.03)
    assert run["q"].min() < 0
