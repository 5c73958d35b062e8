"""Localisation in log pressure: what it must leave alone, what it must equal, and where
observations lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from synthetic import GRID, observations, spec

from phyda_cli.analysis.localisation import Columns, Localisation, Observed, gaspari_cohn
from phyda_cli.analysis.reconstruction import Ensemble, observe
from phyda_cli.analysis.solver import Reconstruction, solve
from phyda_cli.fields.interpolate import bilinear
from phyda_cli.settings.model import SolverSettings

LEVELS = np.log(np.array([2e4, 5e4, 8.5e4, 1e5]))
RADIUS = 6e6


def members(n: int, seed: int = 0) -> torch.Tensor:
    """Smooth anomalies (n, 4, H, W) with covariances between all levels."""
    rng = np.random.default_rng(seed)
    lat, lon = (np.deg2rad(m) for m in GRID.mesh)
    waves = np.stack(
        [
            np.cos(lat) ** k * f(k * lon) * np.cos(m * lat)
            for k in range(3)
            for m in range(3)
            for f in (np.cos, np.sin)
        ]
    )
    x = np.tensordot(rng.standard_normal((n, LEVELS.size, len(waves))), waves, 1)
    return torch.from_numpy((x + x.mean(axis=1, keepdims=True)) / np.sqrt(n))


def analyse(
    x: torch.Tensor,
    channel: np.ndarray,
    d: np.ndarray,
    radius_log_p: float | None,
    radius: float = RADIUS,
) -> Reconstruction:
    """Point observations of error 0.5 of ``channel`` (P,), spread over the globe."""
    rng = np.random.default_rng(5)
    lat, lon = rng.uniform(-80, 80, channel.size), rng.uniform(0, 360, channel.size)
    at = bilinear(GRID, lat, lon).toarray()
    seen = np.einsum("pg,npg->np", at, x.flatten(2).numpy()[:, channel])
    observed = Observed(
        torch.from_numpy(seen / 0.5), torch.from_numpy(d / 0.5), lat, lon, LEVELS[channel]
    )
    return solve(x, observed, Localisation(GRID, Columns(GRID, 1), radius, LEVELS, radius_log_p))


@pytest.mark.parametrize("n_obs", [8, 60], ids=["observation space", "member space"])
def test_a_tiny_scale_leaves_other_levels_untouched(n_obs: int) -> None:
    x, d = members(20), np.random.default_rng(1).standard_normal(n_obs)
    result = analyse(x, np.full(n_obs, 1), d, 0.01)
    others = [0, 2, 3]
    assert (result.increment[others] == 0).all()
    assert torch.equal(result.spread[others], result.prior_spread[others])
    alone = analyse(x, np.full(n_obs, 1), d, None)
    torch.testing.assert_close(result.increment[1], alone.increment[1], rtol=1e-12, atol=1e-12)
    assert alone.increment[others].abs().max() > 0.1


@pytest.mark.parametrize("n_obs", [8, 60], ids=["observation space", "member space"])
def test_an_infinite_scale_is_none(n_obs: int) -> None:
    rng = np.random.default_rng(2)
    x, channel, d = members(20), rng.integers(0, LEVELS.size, n_obs), rng.standard_normal(n_obs)
    ours, none = analyse(x, channel, d, np.inf), analyse(x, channel, d, None)
    for name in ("increment", "spread"):
        torch.testing.assert_close(getattr(ours, name), getattr(none, name), rtol=1e-9, atol=1e-9)


def test_each_level_is_the_kalman_filter_with_errors_divided_by_its_taper() -> None:
    """Without horizontal localisation level k's analysis is the dense one with R / rho(k)."""
    rng = np.random.default_rng(3)
    x, channel, d = members(20), rng.integers(0, LEVELS.size, 40), rng.standard_normal(40)
    result = analyse(x, channel, d, 0.8, np.inf)
    rng = np.random.default_rng(5)
    lat, lon = rng.uniform(-80, 80, 40), rng.uniform(0, 360, 40)
    h = np.zeros((40, LEVELS.size, GRID.size))
    h[np.arange(40), channel] = bilinear(GRID, lat, lon).toarray()
    columns, h = x.flatten(1).T.numpy(), h.reshape(40, -1)
    for k, level in enumerate(LEVELS):
        rho = gaspari_cohn(torch.from_numpy(np.abs(LEVELS[channel] - level)), 0.8).numpy()
        near = rho > 0
        y = h[near] @ columns
        weights = columns @ y.T @ np.linalg.inv(y @ y.T + np.diag(0.25 / rho[near]))
        expected = (weights @ d[near]).reshape(result.increment.shape)[k]
        np.testing.assert_allclose(
            result.increment[k].numpy(), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
        )
        variance = np.einsum("ij,ij->i", columns, columns) - np.einsum(
            "ip,ip->i", weights, columns @ y.T
        )
        np.testing.assert_allclose(
            result.spread[k].square().numpy(),
            variance.reshape(result.spread.shape)[k],
            rtol=1e-5,
            atol=1e-7,
        )


def test_channels_lie_at_their_level_and_the_surface_at_1000_hpa() -> None:
    state = spec()
    where = Localisation.of(state, SolverSettings(radius_log_p=1.5))
    assert where.log_pressure is not None
    assert np.exp(where.log_pressure[state.channels.index("t500")]) == pytest.approx(5e4)
    assert np.exp(where.log_pressure[state.channels.index("msl")]) == pytest.approx(1e5)
    assert where.radius_log_p == 1.5


def test_observations_lie_where_their_operator_looks() -> None:
    state = spec()
    where = Localisation.of(state, SolverSettings(radius_log_p=1.5))
    index = {key: k * GRID.size for k, key in enumerate(state.channels)}
    matrix = sparse.csr_matrix((4, state.n_channels * GRID.size)).tolil()
    matrix[0, index["u300"] + 7] = -3.0
    matrix[1, [index["t500"] + 3, index["t850"] + 3]] = [0.25, 0.75]
    matrix[2, index["msl"]] = 2.0
    ones = np.ones(4)
    ensemble = Ensemble(torch.zeros(2, state.n_channels, *GRID.shape), where)
    found = observe(ensemble, observations(matrix.tocsr(), ones, ones)).log_pressure
    between = 0.25 * np.log(5e4) + 0.75 * np.log(8.5e4)
    np.testing.assert_allclose(found, [np.log(3e4), between, np.log(1e5), np.log(1e5)])
