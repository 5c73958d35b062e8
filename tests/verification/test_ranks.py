"""Ranks and coverage by hand, against the package scores, and of perfect ensembles."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from phyda_cli.verification.ranks import (
    coverage,
    gaussian_counts,
    rank_counts,
    rank_shape,
    rebinned,
)
from phyda_cli.verification.scores import crps_ensemble


def test_ranks_by_hand() -> None:
    members = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, np.nan]])
    counts = rank_counts(members, np.array([0.0, 2.0, 1.5]))
    np.testing.assert_array_equal(counts, [[1, 0, 0], [0, 0.5, 0], [0, 0.5, 0]])


def test_ranks_and_crps_equal_those_of_scores() -> None:
    probability = pytest.importorskip("scores.probability")
    rng = np.random.default_rng(0)
    members, truth = rng.normal(size=(9, 500)), rng.normal(size=500)
    forecast = xr.DataArray(members, dims=("member", "case"))
    observed = xr.DataArray(truth, dims="case")
    theirs = probability.rank_histogram(forecast, observed, "member", reduce_dims="all")
    ours = rank_counts(members, truth).mean(axis=1)
    np.testing.assert_allclose(ours, theirs.values, atol=1e-12)
    fair = probability.crps_for_ensemble(forecast, observed, "member", method="fair")
    np.testing.assert_allclose(crps_ensemble(members, truth).mean(), float(fair), atol=1e-12)


def test_a_perfect_ensemble_has_flat_ranks_and_the_right_spread() -> None:
    flat, skill = 0, []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        centre = rng.normal(size=2000)
        members, truth = centre + rng.normal(size=(16, 2000)), centre + rng.normal(size=2000)
        shape = rank_shape(rank_counts(members, truth).sum(axis=1))
        assert shape is not None
        flat += shape.p > 0.01
        spread = np.sqrt((members.var(axis=0, ddof=1) * (1 + 1 / 16)).mean())
        skill.append(spread / np.sqrt(((members.mean(axis=0) - truth) ** 2).mean()))
    assert flat >= 95
    assert np.mean(skill) == pytest.approx(1, abs=0.03)


def test_slope_and_curvature_tell_bias_from_spread() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=20000)
    for shift, width, slope, curvature in ((0.8, 1.0, -1, 0), (0.0, 0.4, 0, 1), (0.0, 2.0, 0, -1)):
        members = shift + width * rng.normal(size=(9, truth.size))
        shape = rank_shape(rank_counts(members, truth).sum(axis=1))
        assert shape is not None
        assert shape.p < 1e-6
        assert np.sign(round(shape.slope, 1)) == slope
        if curvature:
            assert np.sign(shape.curvature) == curvature


def test_the_shape_of_extreme_histograms() -> None:
    high = rank_shape(np.array([0.0, 0, 0, 30]))
    both = rank_shape(np.array([15.0, 0, 0, 15]))
    assert high is not None
    assert both is not None
    assert (high.slope, both.slope) == (1.0, 0.0)
    assert both.curvature == pytest.approx(1.0)
    assert rank_shape(np.zeros(4)) is None


def test_rebinning_keeps_flat_flat_and_the_count() -> None:
    np.testing.assert_allclose(rebinned(np.full(17, 2.0), 10), 3.4)
    np.testing.assert_allclose(rebinned(np.array([1.0, 0, 3, 0]), 2), [1, 3])
    np.testing.assert_allclose(rebinned(np.array([4.0, 0]), 3), [8 / 3, 4 / 3, 0])


def test_coverage() -> None:
    assert coverage(np.ones(17), 0.5) == pytest.approx(0.5)
    assert coverage(np.array([0.0, 1, 1, 0]), 0.5) == pytest.approx(1.0)
    assert coverage(np.zeros(3), 0.9) is None


def test_gaussian_counts_are_flat_for_what_they_say() -> None:
    z = np.random.default_rng(2).normal(size=50000)
    counts = gaussian_counts(np.append(z, np.nan), 10)
    assert counts.sum() == 50000
    shape = rank_shape(counts.sum(axis=1))
    assert shape is not None
    assert shape.p > 0.01
