"""Scores of numbers against closed forms and hand calculations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from phyda_cli.observations.departures import desroziers
from phyda_cli.verification.ratios import mean_ratio
from phyda_cli.verification.scores import crps_ensemble, crps_gaussian, mae, mean, rms


def test_weighted_by_hand() -> None:
    values, weights = np.array([[1.0, 3.0], [-2.0, np.nan]]), np.array([[1.0], [2.0]])
    assert mean(values, weights) == pytest.approx((1 + 3 - 4) / 4)
    assert rms(values, weights) == pytest.approx(np.sqrt((1 + 9 + 8) / 4))
    assert mae(values, weights) == pytest.approx((1 + 3 + 4) / 4)


def test_nothing_known_is_nan() -> None:
    assert np.isnan(mean(np.array([np.nan, np.nan])))
    assert np.isnan(rms(np.zeros(0)))


def test_gaussian_crps_of_the_standard_normal() -> None:
    assert crps_gaussian(np.zeros(1), np.ones(1), np.zeros(1))[0] == pytest.approx(
        (np.sqrt(2) - 1) / np.sqrt(np.pi)
    )
    assert crps_gaussian(np.array([5.0]), np.array([2.0]), np.array([5.0]))[0] == pytest.approx(
        2 * (np.sqrt(2) - 1) / np.sqrt(np.pi)
    )


def test_gaussian_crps_without_spread_is_the_absolute_error() -> None:
    got = crps_gaussian(np.array([1.0, 1.0]), np.array([0.0, np.nan]), np.array([4.0, 4.0]))
    assert got[0] == 3.0
    assert np.isnan(got[1])


@given(
    arrays(
        np.float64, st.tuples(st.integers(2, 7), st.integers(1, 4)), elements=st.floats(-50, 50)
    ),
    st.floats(-50, 50),
)
def test_ensemble_crps_equals_the_double_sum(members: np.ndarray, truth: float) -> None:
    m = len(members)
    pairs = np.abs(members[:, None] - members[None]).sum(axis=(0, 1)) / (2 * m * (m - 1))
    expected = np.abs(members - truth).mean(axis=0) - pairs
    np.testing.assert_allclose(
        crps_ensemble(members, np.full(members.shape[1], truth)), expected, atol=1e-9
    )


def test_fair_ensemble_crps_has_the_closed_form_as_expectation_whatever_its_size() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(0.0, 1.5, 40000)
    closed = crps_gaussian(np.zeros(truth.size), np.ones(truth.size), truth).mean()
    for size in (2, 10):
        assert crps_ensemble(rng.normal(size=(size, truth.size)), truth).mean() == pytest.approx(
            closed, rel=0.02
        )


def test_one_member_scores_its_absolute_error() -> None:
    assert crps_ensemble(np.array([[2.0]]), np.array([-1.0]))[0] == 3.0


def test_desroziers_recovers_the_errors_of_an_optimal_analysis() -> None:
    rng = np.random.default_rng(2)
    sigma_o, sigma_b, n = 1.0, 2.0, 200000
    ombg = sigma_o * rng.normal(size=n) - sigma_b * rng.normal(size=n)
    gain = sigma_b**2 / (sigma_b**2 + sigma_o**2)
    assert desroziers(ombg, (1 - gain) * ombg) == pytest.approx((sigma_o, sigma_b), rel=0.01)


def test_desroziers_says_nothing_where_the_estimate_is_negative() -> None:
    sigma_o, sigma_b = desroziers(np.array([1.0, -1.0]), np.array([-0.5, 0.5]))
    assert np.isnan(sigma_o)
    assert sigma_b == pytest.approx(np.sqrt(1.5))


def test_mean_ratio_leaves_out_the_unknown() -> None:
    assert mean_ratio([0.5, None, 1.0]) == 0.75
    assert mean_ratio([None]) is None
