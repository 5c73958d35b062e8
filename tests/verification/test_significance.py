"""Tests of differences: against the package scores, and what chance and a shift give."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from phyda_cli.verification.significance import (
    block_length,
    bootstrap_bounds,
    diebold_mariano,
    discoveries,
    independent_blocks,
    resampled_ratios,
)


@pytest.mark.parametrize("horizon", [1, 2, 4])
def test_diebold_mariano_equals_scores(horizon: int) -> None:
    tests = pytest.importorskip("scores.stats.statistical_tests")
    values = np.random.default_rng(horizon).normal(0.2, 1, (1, 60))
    series = xr.DataArray(
        values, dims=("name", "time"), coords={"name": ["a"], "h": ("name", [horizon])}
    )
    theirs = tests.diebold_mariano(series, "name", "h", method="HLN", statistic_distribution="t")
    statistic, p = diebold_mariano(values[0], horizon)
    assert statistic == pytest.approx(float(theirs["dm_test_stat"][0]), abs=1e-12)
    assert 1 - p == pytest.approx(float(theirs["confidence_gt_0"][0]) * 2 - 1, abs=1e-12)


def test_the_same_has_no_difference() -> None:
    assert diebold_mariano(np.zeros(30)) == (0.0, 1.0)


def test_bounds_hold_the_mean_of_correlated_values_as_often_as_they_say() -> None:
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=201)
        low, high = bootstrap_bounds(noise[1:] + 0.5 * noise[:-1], count=300, seed=seed)
        held += low < 0 < high
    assert held / 200 > 0.88


def test_discoveries_by_hand() -> None:
    p = np.array([0.001, 0.04, 0.02, np.nan, 0.9])
    # 0.05 * (1..4) / 4 = 0.0125, 0.025, 0.0375, 0.05 for 0.001, 0.02, 0.04, 0.9
    assert discoveries(p).tolist() == [True, False, True, False, False]
    assert not discoveries(np.array([np.nan])).any()


@pytest.mark.parametrize(
    ("hours", "block"), [(6, block_length(40)), (24, block_length(40)), (48, 1)]
)
def test_only_dates_of_one_spell_of_weather_stay_together(hours: int, block: int) -> None:
    times = np.datetime64("2020-01-01", "ns") + np.timedelta64(hours, "h") * np.arange(40)
    assert independent_blocks(times) == block
    assert independent_blocks(times[:1]) == 1


def test_ratios_are_of_the_same_resamples() -> None:
    below = np.random.default_rng(0).gamma(2, 1, (30, 3))
    np.testing.assert_allclose(resampled_ratios(below * [1, 4, 9], below, 2, 50), [[1, 2, 3]] * 50)
