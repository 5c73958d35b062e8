"""Huber weights, and the minimum they lead to."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from phyda_cli.analysis.departures import (
    huber_weights,
    left_out,
    reweighted,
    static_orography,
)
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint


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


def test_a_departure_without_the_observation_is_that_of_an_analysis_without_it() -> None:
    rng = np.random.default_rng(3)
    members = rng.standard_normal((5, 40)) / np.sqrt(40)
    b, error, ombg = members @ members.T, rng.uniform(0.5, 2.0, 5), rng.standard_normal(5)
    gain = b @ np.linalg.inv(b + np.diag(error**2))
    analysed = b - gain @ b
    oman, sigma_b = ombg - gain @ ombg, np.sqrt(np.diag(b))
    departure, sigma = left_out(oman, np.sqrt(np.diag(analysed)), error, sigma_b)
    for i in range(5):
        rest = np.delete(np.arange(5), i)
        weights = b[i, rest] @ np.linalg.inv(b[np.ix_(rest, rest)] + np.diag(error[rest] ** 2))
        assert departure[i] == pytest.approx(ombg[i] - weights @ ombg[rest], rel=1e-9)
        assert sigma[i] ** 2 == pytest.approx(b[i, i] - weights @ b[rest, i], rel=1e-9)


def test_no_observation_counts_more_than_on_its_own() -> None:
    departure, sigma = left_out(*(np.array([v]) for v in (0.5, 5.0, 1.0, 1.0)))
    assert departure[0] == pytest.approx(1.0)  # h = 1/2, whatever the spread of the analysis
    assert sigma[0] == pytest.approx(1.0)


@pytest.mark.parametrize(("own", "taken"), [((), True), (("orography",), False), (("sp",), False)])
def test_the_checkpoint_lends_its_ground_to_fields_without_one(
    own: tuple[str, ...], taken: bool
) -> None:
    checkpoint = Checkpoint.open(BUNDLED)
    grid = checkpoint.state.grid
    surface = {name: np.zeros(grid.shape) for name in ("t2m", *own)}
    fields = Fields(grid, np.datetime64("2020-01-01", "ns"), np.zeros(0), {}, surface)
    found = static_orography(checkpoint, fields)
    assert (found is not None) is taken
    finer = Grid(np.linspace(-89, 89, 90), np.arange(180) * 2.0)
    surface = {name: np.zeros(finer.shape) for name in ("t2m", *own)}
    assert static_orography(checkpoint, replace(fields, grid=finer, surface=surface)) is None
    if found is not None:
        np.testing.assert_allclose(found, checkpoint.statics["orography"], atol=1e-3)
