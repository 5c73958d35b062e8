"""The ensemble filter against the dense Kalman filter, and what inflation, hybrid weights and order
must do."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse
from synthetic import GRID, observations

from phyda_cli.analysis.ensemble_filter import (
    Filtered,
    filter_members,
    hybrid,
    relax_to_prior_spread,
)
from phyda_cli.analysis.localisation import Columns, Localisation
from phyda_cli.analysis.reconstruction import Ensemble, Observations, observe
from phyda_cli.analysis.solver import solve
from phyda_cli.fields.interpolate import bilinear

LEVELS = np.log(np.array([3e4, 8.5e4]))
SHAPE = (LEVELS.size, *GRID.shape)
FEW_AND_MANY = pytest.mark.parametrize("n_obs", [8, 60], ids=["observation space", "member space"])


def states(n: int, seed: int = 0) -> torch.Tensor:
    """Anomalies (n, C, H, W) of smooth states about their mean, over sqrt(n - 1)."""
    rng = np.random.default_rng(seed)
    lat, lon = (np.deg2rad(m) for m in GRID.mesh)
    waves = [
        np.cos(lat) ** k * f(k * lon) * np.cos(m * lat)
        for k in range(3)
        for m in range(3)
        for f in (np.cos, np.sin)
    ]
    x = np.tensordot(rng.standard_normal((n, LEVELS.size, len(waves))), np.stack(waves), 1)
    return torch.from_numpy((x - x.mean(axis=0)) / np.sqrt(n - 1))


def ensemble(
    members: torch.Tensor,
    radius: float = np.inf,
    stride: int = 1,
    radius_log_p: float | None = None,
) -> Ensemble:
    return Ensemble(
        members, Localisation(GRID, Columns(GRID, stride), radius, LEVELS, radius_log_p)
    )


def reports(n: int, seed: int = 1) -> Observations:
    """Operator, innovations, errors and positions of ``n`` point observations of either channel."""
    rng = np.random.default_rng(seed)
    lat, lon = rng.uniform(-80, 80, n), rng.uniform(0, 360, n)
    channel = rng.integers(0, LEVELS.size, n)
    at = bilinear(GRID, lat, lon).tocoo()
    matrix = sparse.coo_matrix(
        (at.data, (at.row, at.col + channel[at.row] * GRID.size)),
        shape=(n, LEVELS.size * GRID.size),
    ).tocsr()
    return observations(matrix, rng.standard_normal(n), rng.uniform(0.3, 1.0, n), lat, lon)


def kalman(members: torch.Tensor, case: Observations) -> tuple[np.ndarray, np.ndarray]:
    """Increment (CHW,) and analysis covariance (CHW, CHW) of the dense filter with the members'
    covariance."""
    d, error = case.innovation, case.error
    x, h = members.flatten(1).T.numpy(), case.matrix.toarray()
    b = x @ x.T
    gain = b @ h.T @ np.linalg.inv(h @ b @ h.T + np.diag(error**2))
    return gain @ d, b - gain @ h @ b


@FEW_AND_MANY
def test_mean_and_covariance_are_those_of_the_kalman_filter(n_obs: int) -> None:
    members, case = states(20), reports(n_obs)
    result = filter_members(ensemble(members), case)
    expected, covariance = kalman(members, case)
    np.testing.assert_allclose(
        result.increment.numpy().ravel(), expected, atol=1e-5 * np.abs(expected).max()
    )
    x = result.anomalies.flatten(1).T.numpy()
    np.testing.assert_allclose(x @ x.T, covariance, atol=1e-5 * covariance.max())
    np.testing.assert_allclose(
        result.spread.numpy().ravel() ** 2, np.diag(covariance), atol=1e-5 * covariance.max()
    )


@FEW_AND_MANY
def test_the_hybrid_is_the_kalman_filter_of_both(n_obs: int) -> None:
    members, static, case = states(12), 2.0 * states(16, seed=7), reports(n_obs)
    result = filter_members(ensemble(members), case, mixed=ensemble(hybrid(members, static, 0.3)))
    expected, covariance = kalman(torch.cat([members * 0.3**0.5, static * 0.7**0.5]), case)
    np.testing.assert_allclose(
        result.increment.numpy().ravel(), expected, atol=1e-5 * np.abs(expected).max()
    )
    np.testing.assert_allclose(
        result.spread.numpy().ravel() ** 2, np.diag(covariance), atol=1e-5 * covariance.max()
    )
    alone = filter_members(ensemble(members), case)
    assert torch.equal(result.anomalies, alone.anomalies)


@FEW_AND_MANY
@pytest.mark.parametrize("stride", [1, 2])
def test_anomalies_sum_to_zero(n_obs: int, stride: int) -> None:
    result = filter_members(ensemble(states(20), 6e6, stride, 1.5), reports(n_obs), rtps=0.5)
    np.testing.assert_allclose(result.anomalies.sum(0), 0, atol=1e-10)
    assert (result.anomalies - states(20)).abs().max() > 0.05


@FEW_AND_MANY
def test_mean_and_spread_are_those_of_stage_1(n_obs: int) -> None:
    """Localised, the filter's mean and its members' spread are what ``solve`` finds without making
    members."""
    made, case = ensemble(states(20), 6e6, 1, 1.5), reports(n_obs)
    result = filter_members(made, case)
    linear = solve(made.members, observe(made, case), made.localisation)
    torch.testing.assert_close(result.increment, linear.increment, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(result.spread, linear.spread, rtol=1e-9, atol=1e-9)


def test_both_spaces_agree() -> None:
    """The same reports with as many more of no weight, which push the filter into member space."""
    made, case = ensemble(states(20), 6e6), reports(12)
    few = filter_members(made, case)
    more = observations(
        sparse.vstack([case.matrix, case.matrix]).tocsr(),
        np.tile(case.innovation, 2),
        np.concatenate([case.error, 1e9 * case.error]),
        np.tile(case.latitude, 2),
        np.tile(case.longitude, 2),
    )
    many = filter_members(made, more)
    torch.testing.assert_close(few.increment, many.increment, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(few.anomalies, many.anomalies, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("inflation", [1.0, 1.4])
def test_full_relaxation_restores_the_prior_spread(inflation: float) -> None:
    """That before the inflation."""
    members, case = states(20), reports(60)
    none, half, full = (
        filter_members(ensemble(inflation * members, 6e6), case, rtps=r, prior=members)
        for r in (0.0, 0.5, 1.0)
    )
    prior = members.square().sum(0).sqrt()
    torch.testing.assert_close(full.spread, prior, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(half.spread, (none.spread + prior) / 2, rtol=1e-12, atol=1e-12)
    assert torch.equal(none.increment, full.increment)
    own = filter_members(ensemble(inflation * members, 6e6), case, rtps=1.0)
    torch.testing.assert_close(own.spread, inflation * prior, rtol=1e-12, atol=1e-12)


def test_relaxation_of_nothing_is_nothing() -> None:
    nothing = torch.zeros(5, *SHAPE)
    assert (relax_to_prior_spread(nothing, torch.ones(5, *SHAPE), 0.8) == 0).all()


@FEW_AND_MANY
def test_the_ends_of_the_hybrid_weight(n_obs: int) -> None:
    members, static, case = states(12), 2.0 * states(16, seed=7), reports(n_obs)
    made = ensemble(members, 6e6)
    letkf = filter_members(made, case)
    only_ensemble, only_static = (
        filter_members(made, case, mixed=Ensemble(hybrid(members, static, w), made.localisation))
        for w in (1.0, 0.0)
    )
    torch.testing.assert_close(only_ensemble.increment, letkf.increment, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(only_ensemble.spread, letkf.spread, rtol=1e-9, atol=1e-9)
    oi = Ensemble(static, made.localisation)
    linear = solve(static, observe(oi, case), oi.localisation)
    assert torch.equal(only_static.increment, linear.increment)
    torch.testing.assert_close(only_static.spread, linear.spread, rtol=1e-12, atol=0)


def test_hybrid_members_have_the_mixed_covariance() -> None:
    members, static = states(6), states(9, seed=3)
    x, e, s = (m.flatten(1) for m in (hybrid(members, static, 0.25), members, static))
    torch.testing.assert_close(x.T @ x, 0.25 * e.T @ e + 0.75 * s.T @ s)
    assert torch.equal(hybrid(members, static, 0.0), static)
    assert torch.equal(hybrid(members, static, 1.0), members)


@FEW_AND_MANY
def test_members_in_another_order_are_analysed_in_that_order(n_obs: int) -> None:
    members, case = states(20), reports(n_obs)
    order = torch.from_numpy(np.random.default_rng(4).permutation(20))
    result = filter_members(ensemble(members, 6e6, 1, 1.5), case, rtps=0.4)
    again = filter_members(ensemble(members[order], 6e6, 1, 1.5), case, rtps=0.4)
    torch.testing.assert_close(again.increment, result.increment, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(again.anomalies, result.anomalies[order], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("radius_log_p", [None, 1.5])
def test_no_observations_leave_the_ensemble(radius_log_p: float | None) -> None:
    members = states(20)
    result: Filtered = filter_members(
        ensemble(members, 6e6, 1, radius_log_p), Observations.none(LEVELS.size * GRID.size)
    )
    assert not result.increment.any()
    assert torch.equal(result.anomalies, members)


def test_single_precision_members_are_enough() -> None:
    """Members in float32 as the command keeps them: the algebra is in double precision all the
    same."""
    members, case = states(20), reports(400)
    case = replace(case, error=case.error / 30)
    exact = filter_members(ensemble(members, 6e6), case)
    half = {"matrix": case.matrix.astype(np.float32), "innovation": case.innovation.astype("f4")}
    single = filter_members(ensemble(members.float(), 6e6), replace(case, **half))
    assert single.anomalies.dtype == torch.float32
    np.testing.assert_allclose(single.anomalies.sum(0), 0, atol=1e-5)
    assert (single.anomalies - exact.anomalies).abs().max() < 1e-3 * members.abs().max()


def test_a_cycle_tracks_a_moving_truth() -> None:
    """Waves carried eastwards by one grid point a cycle: the filter finds them, and its spread says
    how well."""
    rng = np.random.default_rng(6)
    size = 30
    truth, *guess = (math.sqrt(size) * states(size + 2, seed=8))[: size + 1].double()
    x = torch.stack(guess)
    first = (x.mean(0) - truth).square().mean().sqrt()
    where = Localisation(GRID, Columns(GRID, 2), 8e6)
    errors, spreads = [], []
    for cycle in range(20):
        x, truth = x.roll(1, -1), truth.roll(1, -1)
        case, mean = reports(25, seed=cycle), x.mean(0)
        noise = case.error * rng.standard_normal(25)
        case = replace(case, innovation=case.matrix @ (truth - mean).numpy().ravel() + noise)
        found = filter_members(Ensemble((x - mean) / math.sqrt(size - 1), where), case, rtps=0.5)
        x = mean + found.increment + math.sqrt(size - 1) * found.anomalies
        errors.append(float((x.mean(0) - truth).square().mean().sqrt()))
        spreads.append(float(x.var(0).mean().sqrt()))
    assert np.mean(errors[-5:]) < 0.2 * first
    assert 0.5 < np.mean(spreads[-5:]) / np.mean(errors[-5:]) < 2
