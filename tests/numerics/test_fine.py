"""The fine stage: exact for the sum of two covariances, estimated from data, nothing where there is
nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from phyda_cli.analysis.fine_covariance import (
    REACH,
    Points,
    SmallScale,
    covariance,
    reach,
    separation,
    taper,
)
from phyda_cli.analysis.fine_draws import prior_draws
from phyda_cli.analysis.fine_drift import drift
from phyda_cli.analysis.fine_estimate import drawn, estimate
from phyda_cli.analysis.fine_solve import interpolate

NO_RADIUS = 1e9
SMALL = SmallScale(0.6, 0.4, 80.0, 400.0, 500.0, 1500.0, 0.5, 0.3)


def scattered(count: int, rng: np.random.Generator, width: float = 12.0) -> Points:
    return Points.at(
        45 + rng.uniform(0, width, count),
        5 + rng.uniform(0, width, count),
        rng.uniform(0, 1500, count),
        rng.uniform(0, 1, count),
    )


def dense(small: SmallScale, a: Points, b: Points, radius: float = NO_RADIUS) -> np.ndarray:
    return covariance(small, separation(a, b), radius).numpy()


def draw(matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    factor = np.linalg.cholesky(matrix + 1e-9 * np.eye(len(matrix)))
    return factor @ rng.standard_normal(len(matrix))


def test_two_steps_are_the_kalman_solution_of_the_sum() -> None:
    rng = np.random.default_rng(1)
    stations, targets = scattered(60, rng), scattered(50, rng)
    large = SmallScale(0.0, 2.0, 1.0, 3000.0, 1e9, 1e9, 0.0, 0.0)
    error = rng.uniform(0.1, 0.5, 60)
    innovation = rng.standard_normal((60, 1))
    at_stations, at_targets = dense(large, stations, stations), dense(large, targets, stations)
    small_stations = dense(SMALL, stations, stations)
    total = at_stations + small_stations + np.diag(error)
    gain = np.linalg.inv(total)
    wanted = (at_targets + dense(SMALL, targets, stations)) @ gain @ innovation

    coarse = at_targets @ gain @ innovation
    left = innovation - at_stations @ gain @ innovation
    fine = interpolate(SMALL, targets, stations, left, error, 60, NO_RADIUS)
    np.testing.assert_allclose(coarse + fine.increment, wanted, rtol=1e-5, atol=1e-5)


def test_posterior_variance_is_the_kalman_one() -> None:
    rng = np.random.default_rng(2)
    stations, targets = scattered(40, rng), scattered(30, rng)
    error = rng.uniform(0.1, 0.5, 40)
    fine = interpolate(SMALL, targets, stations, np.zeros((40, 1)), error, 40, NO_RADIUS)
    cross = dense(SMALL, targets, stations)
    system = dense(SMALL, stations, stations) + np.diag(error)
    wanted = 1.0 - np.einsum("ij,ij->i", cross @ np.linalg.inv(system), cross)
    np.testing.assert_allclose(fine.variance, wanted, rtol=1e-5)


def test_posterior_variance_of_both_steps_is_the_kalman_one_of_the_sum() -> None:
    """The fine stage's own, and what the error of stage 1 becomes through the fine stage."""
    rng = np.random.default_rng(11)
    stations, targets = scattered(40, rng), scattered(30, rng)
    large = SmallScale(0.0, 2.0, 1.0, 3000.0, 1e9, 1e9, 0.0, 0.0)
    error = rng.uniform(0.1, 0.5, 40)
    fine = interpolate(SMALL, targets, stations, np.eye(40), error, 40, NO_RADIUS)
    system = dense(SMALL, stations, stations) + np.diag(error)
    total = np.linalg.inv(system + dense(large, stations, stations))

    both = Points.at(*(np.zeros(70),) * 2)
    both = Points(
        *(
            np.concatenate([getattr(p, n) for p in (targets, stations)])
            for n in both.__dataclass_fields__
        )
    )
    towards = dense(large, both, stations)
    left = dense(large, both, both) - towards @ total @ towards.T
    gain = np.hstack([np.eye(30), -fine.increment])
    found = fine.variance + np.diag(gain @ left @ gain.T)

    cross = dense(large, targets, stations) + dense(SMALL, targets, stations)
    wanted = 3.0 - np.einsum("ij,jk,ik->i", cross, total, cross)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_influence_ends_at_a_multiple_of_the_longer_length() -> None:
    assert float(reach(SMALL, NO_RADIUS)) == REACH * 400.0
    assert float(reach(SMALL, 500.0)) == 500.0
    stations = Points.at(np.array([50.0]), np.array([0.0]))
    targets = Points.at(np.array([50.0, 52.0, 80.0]), np.zeros(3))
    near = interpolate(
        SMALL, targets, stations, np.ones((1, 1)), np.full(1, 0.1), 10, 1500.0
    ).fading
    assert near[0] == pytest.approx(1.0)
    assert 0.5 < near[1] < 1.0
    assert near[2] == 0.0


def test_drift_is_found_despite_gross_errors_and_not_where_there_is_none() -> None:
    rng = np.random.default_rng(12)
    predictors = rng.standard_normal((800, 2, 2)) * [6.0, 3.0]
    noise = rng.standard_normal((800, 2))
    noise[::50] += 30.0
    np.testing.assert_allclose(
        drift(predictors, predictors @ [-0.3, 0.2] + noise), [-0.3, 0.2], atol=0.04
    )
    np.testing.assert_allclose(drift(predictors, noise), [0.0, 0.0], atol=0.03)
    assert (drift(np.zeros((800, 2, 2)), noise) == 0).all()


def test_covariance_is_positive_definite_and_ends_at_the_radius() -> None:
    points = scattered(200, np.random.default_rng(3), width=40.0)
    matrix = dense(SMALL, points, points, 600.0)
    assert np.linalg.eigvalsh(matrix).min() > -1e-9
    apart = separation(points, points).distance.numpy()
    assert (matrix[apart >= 600.0] == 0).all()
    assert (matrix[apart < 300.0] > 0).all()


def test_far_from_every_station_nothing_changes() -> None:
    rng = np.random.default_rng(4)
    stations = scattered(30, rng, width=2.0)
    targets = Points.at(np.array([46.0, -30.0]), np.array([6.0, 200.0]))
    fine = interpolate(SMALL, targets, stations, np.ones((30, 1)), np.full(30, 0.1), 10, 500.0)
    assert fine.increment[1, 0] == 0.0
    assert fine.variance[1] == SMALL.variance
    assert fine.increment[0, 0] > 0.3
    assert fine.variance[0] < SMALL.variance


def test_each_target_keeps_its_place_in_tiles_of_any_size() -> None:
    rng = np.random.default_rng(5)
    stations = scattered(50, rng)
    targets = scattered(400, rng, width=1.0)
    values, error = rng.standard_normal((50, 2)), np.full(50, 0.2)
    together = interpolate(SMALL, targets, stations, values, error, 50, NO_RADIUS)
    alone = interpolate(
        SMALL, targets.take(np.arange(7, 8)), stations, values, error, 50, NO_RADIUS
    )
    np.testing.assert_allclose(together.increment[7], alone.increment[0], atol=1e-6)


@pytest.mark.parametrize("unit", [1.0, 1e-3, 100.0])
def test_estimate_finds_what_the_residuals_were_drawn_from(unit: float) -> None:
    rng = np.random.default_rng(6)
    points = scattered(500, rng)
    truth = SmallScale(1.0, 0.0, 120.0, 700.0, 600.0, 2000.0, 0.0, 0.2)
    residual = draw(dense(truth, points, points) + 0.2 * np.eye(500), rng)[:, None] * unit
    found = estimate(points, residual, NO_RADIUS)
    assert found is not None
    assert found.noise == pytest.approx(0.2 * unit**2, rel=0.5)
    at = separation(
        Points.at(np.zeros(1), np.zeros(1)), Points.at(np.array([0.0, 1.0, 1.0]), np.zeros(3))
    )
    apart = covariance(found, at, NO_RADIUS).numpy() / unit**2
    assert apart[0, 0] == pytest.approx(1.0, rel=0.4)
    assert apart[0, 1] == pytest.approx(np.exp(-111.19 / 120), rel=0.4)


def test_noise_leaves_nothing_to_a_fine_stage() -> None:
    rng = np.random.default_rng(7)
    points = scattered(400, rng)
    assert estimate(points, rng.standard_normal((400, 1)), NO_RADIUS) is None
    assert estimate(points, np.zeros((400, 1)), NO_RADIUS) is None


def test_residuals_of_a_smooth_error_lose_under_one_percent() -> None:
    """Stage 1 has fitted a large-scale error; what it leaves is noise and a small smooth rest."""
    rng = np.random.default_rng(8)
    points = scattered(420, rng, width=30.0)
    smooth = SmallScale(0.0, 0.05, 1.0, 6000.0, 1e9, 1e9, 0.0, 0.0)
    truth = draw(dense(smooth, points, points), rng)
    residual = (truth + rng.standard_normal(420))[:, None]
    used, held = np.arange(340), np.arange(340, 420)
    found = estimate(points.take(used), residual[used], NO_RADIUS)
    if found is not None:
        fine = interpolate(
            found,
            points.take(held),
            points.take(used),
            residual[used],
            np.full(340, float(found.noise)),
            40,
            NO_RADIUS,
        )
        before = np.sqrt(np.mean(truth[held] ** 2))
        after = np.sqrt(np.mean((truth[held] - fine.increment[:, 0]) ** 2))
        assert after < 1.01 * before


def test_a_station_more_changes_nobody_elses_place_in_the_sample() -> None:
    points = scattered(300, np.random.default_rng(4))
    everybody, others = np.arange(300), np.delete(np.arange(300), 77)
    order, without = drawn(points.position, 3), others[drawn(points.take(others).position, 3)]
    np.testing.assert_array_equal(order[order != 77], without)
    assert (np.sort(order) == everybody).all()
    assert abs(np.corrcoef(order, everybody)[0, 1]) < 0.2
    assert (order != drawn(points.position, 4)).any()


def test_a_gross_error_hardly_moves_the_estimate() -> None:
    rng = np.random.default_rng(9)
    points = scattered(400, rng)
    truth = SmallScale(1.0, 0.0, 120.0, 700.0, 600.0, 2000.0, 0.0, 0.2)
    residual = draw(dense(truth, points, points) + 0.2 * np.eye(400), rng)[:, None]
    clean = estimate(points, residual, NO_RADIUS)
    residual[::100] += 8.0
    spoilt = estimate(points, residual, NO_RADIUS)
    assert clean is not None
    assert spoilt is not None
    assert float(spoilt.variance) == pytest.approx(float(clean.variance), rel=0.5)
    assert torch.is_tensor(clean.noise) is False


def test_draws_have_the_covariance_of_the_prior() -> None:
    rng = np.random.default_rng(13)
    points = scattered(30, rng)
    draws = np.hstack([prior_draws(SMALL, (points,), 50, rng)[0] for _ in range(60)])
    wanted = dense(SMALL, points, points) / taper_of(points)
    np.testing.assert_allclose(np.cov(draws), wanted, atol=0.12)


def taper_of(points: Points) -> np.ndarray:
    distance = separation(points, points).distance
    return taper(distance / reach(SMALL, NO_RADIUS)).numpy().clip(1e-9)
