"""Huber weights, and the minimum they lead to."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from phyda_cli.analysis.departures import huber_weights, reweighted


def test_weights() -> None:
    assert huber_weights(np.array([0.0, 1.9, -2.0, 4.0, -8.0]), 2.0).tolist() == [
        1.0,
        1.0,
        1.0,
        0.5,
        0.25,
    ]


def test_reweighting_finds_the_minimum_of_the_huber_cost() -> None:
    y, error, k = np.array([0.3, -0.5, 0.8, 12.0]), np.array([1.0, 0.7, 1.0, 1.2]), 1.5

    def fit(sigma: np.ndarray) -> np.ndarray:
        return np.full(
            y.size, (y / sigma**2).sum() / (1 / 4 + (sigma**-2).sum())
        )  # a background of 0 with standard deviation 2

    def cost(x: float) -> float:
        r = np.abs(y - x) / error
        return x**2 / 8 + float(np.where(r <= k, r**2 / 2, k * r - k**2 / 2).sum())

    weight = reweighted(fit, y, error, k, 60)
    assert weight[:3].tolist() == [1.0, 1.0, 1.0]
    assert fit(error / np.sqrt(weight))[0] == pytest.approx(minimize_scalar(cost).x, abs=1e-6)
    few = fit(error / np.sqrt(reweighted(fit, y, error, k, 3)))[0]
    assert abs(few - minimize_scalar(cost).x) < 0.2 * abs(fit(error)[0] - minimize_scalar(cost).x)


def test_good_observations_keep_their_weight() -> None:
    assert (
        reweighted(lambda _: np.zeros(3), np.array([0.1, -1.0, 1.9]), np.ones(3), 2.0, 3).tolist()
        == [1.0] * 3
    )
