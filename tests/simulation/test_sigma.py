"""Sigma to pressure levels and mean sea level, on columns with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from phyda_cli.constants import GRAVITY, LAPSE_RATE, R_D
from phyda_cli.simulation.sigma import (
    increments_to_sigma,
    mean_sea_level_pressure,
    to_pressure_levels,
)

SIGMA = np.array([0.025, 0.095, 0.20, 0.34, 0.51, 0.685, 0.835, 0.95])
PRESSURE = np.array([[101300.0, 98000.0, 70000.0]])
LEVELS = np.array([50, 100, 200, 300, 500, 700, 850, 925]) * 100.0


def columns(temperature: np.ndarray, z: np.ndarray) -> dict[str, np.ndarray]:
    x = np.log(SIGMA)[:, None, None] + np.log(PRESSURE)
    return {"t": temperature, "z": z, "u": 3 * x + 1, "v": -x, "q": np.exp(x) / 1e8}


def test_an_isothermal_column_is_exact_above_the_lowest_level() -> None:
    x = np.log(SIGMA)[:, None, None] + np.log(PRESSURE)
    out = to_pressure_levels(
        columns(np.full_like(x, 250.0), R_D * 250 * (np.log(101325) - x)), SIGMA, PRESSURE, LEVELS
    )
    within = np.log(LEVELS)[:, None, None] <= x[-1]
    height = np.broadcast_to(R_D * 250 * np.log(101325 / LEVELS)[:, None, None], within.shape)
    np.testing.assert_allclose(out["t"][within], 250, rtol=1e-6)
    np.testing.assert_allclose(out["z"][within], height[within], rtol=1e-5)
    wind = np.broadcast_to(3 * np.log(LEVELS)[:, None, None] + 1, within.shape)
    np.testing.assert_allclose(out["u"][within], wind[within], rtol=1e-6)
    assert out["z"].dtype == np.float32


def test_temperature_linear_in_log_pressure_is_hydrostatic() -> None:
    x = np.log(SIGMA)[:, None, None] + np.log(PRESSURE)

    def z(x: np.ndarray) -> np.ndarray:
        return -R_D * (250 * x + 10 * x**2)  # dz/dx = -R (250 + 20 x)

    out = to_pressure_levels(columns(250 + 20 * x, z(x)), SIGMA, PRESSURE, LEVELS)
    within = np.log(LEVELS)[:, None, None] <= x[-1]
    expected = np.broadcast_to(z(np.log(LEVELS))[:, None, None], within.shape)
    np.testing.assert_allclose(out["z"][within], expected[within], rtol=1e-6)


def test_below_the_ground_wind_is_constant_and_air_warms() -> None:
    x = np.log(SIGMA)[:, None, None] + np.log(PRESSURE)
    given = columns(np.full_like(x, 270.0), R_D * 270 * (np.log(101325) - x))
    out = to_pressure_levels(given, SIGMA, PRESSURE, LEVELS)
    below = np.log(LEVELS[-1]) > x[-1, 0]  # 925 hPa under a surface pressure of 700 hPa
    assert below.tolist() == [False, False, True]
    np.testing.assert_allclose(out["u"][-1, 0, 2], given["u"][-1, 0, 2], rtol=1e-6)
    expected = 270 * (LEVELS[-1] / np.exp(x[-1, 0, 2])) ** (R_D * LAPSE_RATE / GRAVITY)
    np.testing.assert_allclose(out["t"][-1, 0, 2], expected, rtol=1e-5)
    thickness = given["z"][-1, 0, 2] - GRAVITY / LAPSE_RATE * (expected - 270)
    np.testing.assert_allclose(out["z"][-1, 0, 2], thickness, rtol=1e-4)


def test_levels_above_the_top_are_refused() -> None:
    x = np.log(SIGMA)[:, None, None] + np.log(PRESSURE)
    with pytest.raises(ValueError, match="10 hPa lies above the model's highest level"):
        to_pressure_levels(columns(x, x), SIGMA, PRESSURE, np.array([1000.0]))


def test_reduction_to_sea_level() -> None:
    """At the sea the pressure itself; on a mountain of the standard atmosphere 1013.25 hPa."""
    t = 288.15 * 0.95 ** (R_D * LAPSE_RATE / GRAVITY)
    at_sea = mean_sea_level_pressure(np.array([100000.0]), np.array([t]), 0.95, np.array([0.0]))
    np.testing.assert_allclose(at_sea, 100000.0)
    for height in (100.0, 1000.0, 3000.0):
        ground = 288.15 - LAPSE_RATE * height
        pressure = 101325 * (ground / 288.15) ** (GRAVITY / (R_D * LAPSE_RATE))
        lowest = ground * 0.95 ** (R_D * LAPSE_RATE / GRAVITY)
        found = mean_sea_level_pressure(
            np.array([pressure]), np.array([lowest]), 0.95, np.array([height])
        )
        np.testing.assert_allclose(found, 101325, rtol=2e-3)


def test_reduction_from_below_the_sea() -> None:
    """Where the model's surface lies below the sea, the column in between is air: warm or cold, its
    lapse is 6.5 K/km and nothing is tempered."""
    height = np.full(3, -400.0)
    ground = np.array([240.0, 280.0, 305.0])
    lowest = ground * 0.95 ** (R_D * LAPSE_RATE / GRAVITY)
    found = mean_sea_level_pressure(np.full(3, 104000.0), lowest, 0.95, height)
    sea_level = ground + LAPSE_RATE * height
    np.testing.assert_allclose(
        found, 104000 * (sea_level / ground) ** (GRAVITY / (R_D * LAPSE_RATE)), rtol=1e-9
    )


def post_processed(profile: np.ndarray) -> np.ndarray:
    zeros = np.zeros((8, *PRESSURE.shape))
    return to_pressure_levels(
        {"t": zeros + 250, "z": zeros, "u": profile}, SIGMA, PRESSURE, LEVELS
    )["u"]


def test_an_increment_survives_the_way_to_the_model_and_back() -> None:
    """What post-processing made of a native increment gives that increment again, far better than
    interpolation."""
    native = np.random.default_rng(0).standard_normal((8, *PRESSURE.shape))
    seen = post_processed(native).astype(np.float64)
    back = increments_to_sigma(seen, LEVELS, SIGMA, PRESSURE, trust=1e-9)
    sea = (
        PRESSURE > 9e4
    )  # with 700 hPa at the ground several levels are under it and see one model level only
    np.testing.assert_allclose(back[:, sea], native[:, sea], atol=1e-3)
    np.testing.assert_allclose(post_processed(back), seen, atol=1e-3)
    blurred = increments_to_sigma(seen, LEVELS, SIGMA, PRESSURE, trust=1e9)
    assert np.abs(post_processed(blurred) - seen).max() > 0.2


def test_a_constant_increment_stays_constant() -> None:
    np.testing.assert_allclose(
        increments_to_sigma(np.full((8, *PRESSURE.shape), 2.5), LEVELS, SIGMA, PRESSURE),
        2.5,
        atol=1e-12,
    )
