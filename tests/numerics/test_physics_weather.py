"""The residuals of a real forecast are those of real weather."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from phyda_cli.fields.grid import Fields
from phyda_cli.formats.background import read_background
from phyda_cli.physics.residuals import Residuals

LEVELS = np.array([1000.0, 925, 850, 700, 600, 500, 400, 300, 250, 200, 150, 100, 50]) * 100


@pytest.fixture(scope="module")
def forecast(shared_data: Path) -> Fields:
    return read_background(shared_data / "forecasts" / "gfs_2p5deg_20110110T12_f120.grib2").fields


def on_levels(forecast: Fields, name: str) -> torch.Tensor:
    index = [int(np.flatnonzero(np.isclose(forecast.levels, p))[0]) for p in LEVELS]
    return torch.tensor(forecast.upper[name][index], dtype=torch.float32)


@pytest.mark.real_data
def test_vertical_velocity_is_the_models_own(forecast: Fields) -> None:
    """Smoothed over 7.5 x 12.5 degrees, as point values of divergence on a thinned grid need; u, v,
    w come from one model."""
    residuals = Residuals(LEVELS, forecast.grid)
    omega = residuals.column.omega(
        residuals.sphere.divergence(on_levels(forecast, "u"), on_levels(forecast, "v"))
    )
    rows = np.abs(forecast.grid.latitude) < 80
    for level, least in ((300, 0.85), (500, 0.78), (700, 0.6)):
        k = int(np.flatnonzero(level * 100 == LEVELS)[0])
        ours, theirs = (
            uniform_filter(f[k].numpy(), (3, 5), mode=("nearest", "wrap"))[rows].ravel()
            for f in (omega, on_levels(forecast, "w"))
        )
        assert np.corrcoef(ours, theirs)[0, 1] > least
        assert 0.7 < ours.std() / theirs.std() < 1.4


@pytest.mark.real_data
def test_residuals_are_of_the_size_of_real_weather(forecast: Fields) -> None:
    """Thickness within some metres, momentum within a few 1e-4 m s-2, wind geostrophic to some m
    s-1; a wrong f or sign is far off."""
    residuals = Residuals(LEVELS, forecast.grid)
    state = {n: on_levels(forecast, n) for n in "ztuvq"}
    rms = {
        n: float(m.sqrt())
        for n, m in residuals.mean_square(
            residuals(**{n: f for n, f in state.items() if n != "q"})
        ).items()
    }
    assert rms["hydrostatic"] < 150
    assert rms["momentum_u"] < 6e-4
    assert rms["momentum_v"] < 6e-4
    assert rms["thermodynamic"] < 3e-4
    departure = residuals.balance(state["z"], state["u"], state["v"])
    assert all(float(m) ** 0.5 < 6 for m in residuals.mean_square(departure).values())
    mirrored = residuals.mean_square(residuals(z=state["z"], u=-state["u"], v=-state["v"]))
    assert float(mirrored["momentum_u"]) ** 0.5 > 3 * rms["momentum_u"]
