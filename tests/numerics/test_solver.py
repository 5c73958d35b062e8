"""Stage 1 against the dense Kalman filter, and what its localisation does (DESIGN section 6)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from phyda_cli.analysis import solver
from phyda_cli.analysis.localisation import (
    Columns,
    Draws,
    Layer,
    Localisation,
    Observed,
    gaspari_cohn,
)
from phyda_cli.analysis.solver import Reconstruction, cholesky, solve
from phyda_cli.constants import EARTH_RADIUS
from phyda_cli.fields.grid import Grid
from phyda_cli.fields.interpolate import bilinear
from phyda_cli.fields.state import equiangular

GRID = equiangular(16, 8)
CHANNELS = 2
RADIUS = 5e6


def smooth_members(n: int, seed: int = 0, grid: Grid = GRID) -> torch.Tensor:
    """Members (n, C, H, W), scaled as the solver wants them, of a few waves each."""
    rng = np.random.default_rng(seed)
    lat, lon = (np.deg2rad(m) for m in grid.mesh)
    waves = [
        np.cos(lat) ** k * f(k * lon) * np.cos(m * lat)
        for k in range(3)
        for m in range(3)
        for f in (np.cos, np.sin)
    ]
    x = np.tensordot(rng.standard_normal((n, CHANNELS, len(waves))), np.stack(waves), 1)
    return torch.from_numpy(x / np.sqrt(n))


def zonal_members() -> torch.Tensor:
    """Members whose covariance is the same at every longitude and symmetric east and west."""
    profile = np.exp(-((GRID.latitude / 40) ** 2))[:, None] * np.exp(
        np.cos(np.deg2rad(GRID.longitude)) * 2
    )
    fields = np.stack([np.roll(profile, k, axis=1) for k in range(GRID.shape[1])])
    return torch.from_numpy(np.stack([fields, 0.5 * fields], axis=1) / 4)


def analyse(
    members: torch.Tensor,
    lat: np.ndarray,
    lon: np.ndarray,
    channel: np.ndarray,
    d: np.ndarray,
    error: np.ndarray,
    radius: float = np.inf,
    stride: int = 1,
    idle: int = 0,
    draws: Draws | None = None,
) -> Reconstruction:
    """``solve`` for point observations of channels; ``idle`` times as many more of no weight push
    it into member space."""
    h = operator(lat, lon, channel)
    y = torch.from_numpy(h @ members.flatten(1).T.numpy() / error[:, None]).T
    if idle:
        y, d = torch.cat([y, torch.zeros(y.shape[0], idle * y.shape[1])], 1), np.tile(d, idle + 1)
        error, lat, lon = (np.tile(a, idle + 1) for a in (error, lat, lon))
    return solve(
        members,
        Observed(y, torch.from_numpy(d / error), lat, lon),
        Localisation(GRID, Columns(GRID, stride), radius),
        draws,
    )


def operator(lat: np.ndarray, lon: np.ndarray, channel: np.ndarray) -> np.ndarray:
    at = bilinear(GRID, lat, lon).toarray()
    h = np.zeros((len(lat), CHANNELS, GRID.size))
    h[np.arange(len(lat)), channel] = at
    return h.reshape(len(lat), CHANNELS * GRID.size)


def network(p: int, seed: int = 1) -> tuple[np.ndarray, ...]:
    """Positions in boxes of their own, channels, innovations and errors."""
    rng = np.random.default_rng(seed)
    at = rng.choice(GRID.size, p, replace=p > GRID.size)
    lat, lon = (m.ravel()[at] + rng.uniform(-5, 5, p) for m in GRID.mesh)
    return (
        lat,
        lon % 360,
        rng.integers(0, CHANNELS, p),
        rng.standard_normal(p),
        rng.uniform(0.3, 1.0, p),
    )


@pytest.mark.parametrize("n_obs", [8, 60], ids=["observation space", "member space"])
def test_is_the_kalman_filter_without_localisation(n_obs: int) -> None:
    members = smooth_members(20)
    lat, lon, channel, d, error = network(n_obs)
    result = analyse(members, lat, lon, channel, d, error)
    x, h = members.flatten(1).T.numpy(), operator(lat, lon, channel)
    b = x @ x.T
    gain = b @ h.T @ np.linalg.inv(h @ b @ h.T + np.diag(error**2))
    expected, variance = gain @ d, np.diag(b - gain @ h @ b)
    np.testing.assert_allclose(
        result.increment.numpy().ravel(), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
    )
    np.testing.assert_allclose(
        result.spread.square().numpy().ravel(), variance, rtol=1e-5, atol=1e-5 * variance.max()
    )
    np.testing.assert_allclose(result.prior_spread.square().numpy().ravel(), np.diag(b), rtol=1e-12)


@pytest.mark.parametrize("idle", [0, 3], ids=["observation space", "member space"])
def test_draws_have_the_analysis_covariance(idle: int) -> None:
    """Draws are linear in their random numbers; the numbers' unit vectors give the covariance
    exactly."""
    members = smooth_members(12)
    lat, lon, channel, d, error = network(10)
    n, p = 12, 10 * (idle + 1)
    unit = torch.eye(n + p, dtype=torch.float64)
    result = analyse(
        members, lat, lon, channel, d, error, idle=idle, draws=Draws(unit[:n], unit[n:])
    )
    x, h = members.flatten(1).T.numpy(), operator(lat, lon, channel)
    b = x @ x.T
    expected = b - b @ h.T @ np.linalg.inv(h @ b @ h.T + np.diag(error**2)) @ h @ b
    drawn = result.perturbations.flatten(1).numpy()
    np.testing.assert_allclose(drawn.T @ drawn, expected, atol=1e-6 * np.abs(expected).max())


def test_draws_have_the_spread_with_localisation() -> None:
    members = smooth_members(20)
    draws = Draws.random(
        Observed(
            torch.zeros(20, 30, dtype=torch.float64), torch.zeros(30), np.zeros(30), np.zeros(30)
        ),
        2000,
        0,
    )
    result = analyse(members, *network(30), RADIUS, draws=draws)
    ratio = result.perturbations.square().mean(0).sqrt() / result.spread
    assert (ratio - 1).abs().max() < 0.1
    assert (result.perturbations.mean(0) / result.spread).abs().max() < 0.1


def test_both_spaces_agree_with_localisation() -> None:
    members = smooth_members(20)
    case = network(10)
    ours, others = analyse(members, *case, RADIUS), analyse(members, *case, RADIUS, idle=3)
    for name in ("increment", "spread"):
        torch.testing.assert_close(getattr(ours, name), getattr(others, name), rtol=1e-9, atol=1e-9)
    assert ours.increment.abs().max() > 0.1


def test_each_column_may_take_either_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many observations in the east and few in the west: the cheaper space for each column, and
    what either alone gives."""
    members = smooth_members(110)
    lat, lon, channel, d, error = network(300)
    lon = np.where(np.arange(300) < 4, 250.0, 60 + lon / 6)
    draws = Draws(torch.randn(110, 2).double(), torch.randn(300, 2).double())
    found, spaces = [], []

    def choose(rule: Callable[[Layer], torch.Tensor]) -> Reconstruction:
        monkeypatch.setattr(solver, "_sees_few", rule)
        return analyse(members, lat, lon, channel, d, error, RADIUS, draws=draws)

    own = solver._sees_few
    found.append(choose(lambda layer: spaces.append(own(layer)) or spaces[-1]))
    assert 0 < spaces[0].sum() < spaces[0].numel()
    found += [choose(lambda layer, all_of=v: torch.full_like(own(layer), all_of)) for v in (1, 0)]
    for name in ("increment", "spread", "perturbations"):
        for other in found[1:]:
            torch.testing.assert_close(
                getattr(found[0], name), getattr(other, name), rtol=1e-9, atol=1e-9
            )


def test_factors_in_blocks_are_the_factors() -> None:
    y = torch.randn(3, 130, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a = y @ y.mT
    expected = torch.linalg.cholesky(a)
    torch.testing.assert_close(cholesky(a.tril()).tril(), expected, rtol=1e-10, atol=1e-10)


def test_a_single_observation_spreads_by_covariance_times_taper() -> None:
    members = smooth_members(20)
    lat, lon, channel = np.array([GRID.latitude[5]]), np.array([GRID.longitude[3]]), np.array([0])
    d, error = np.array([1.3]), np.array([0.7])
    result = analyse(members, lat, lon, channel, d, error, RADIUS)
    x = members.flatten(1).T.numpy()
    seen = operator(lat, lon, channel) @ x
    covariance = (x @ seen[0]).reshape(CHANNELS, *GRID.shape)
    rho = gaspari_cohn(torch.from_numpy(great_circle(lat[0], lon[0])), RADIUS).numpy()
    expected = rho * covariance * d / (rho * (seen**2).sum() + error**2)
    np.testing.assert_allclose(result.increment.numpy(), expected, atol=1e-6)
    beyond = great_circle(lat[0], lon[0]) >= RADIUS
    assert 0.2 < beyond.mean() < 0.9
    assert (result.increment[:, beyond] == 0).all()
    torch.testing.assert_close(result.spread[:, beyond], result.prior_spread[:, beyond])
    assert (result.spread <= result.prior_spread * (1 + 1e-12)).all()


def great_circle(lat: float, lon: float) -> np.ndarray:
    here, there = np.deg2rad([lat, lon]), [np.deg2rad(m) for m in GRID.mesh]
    cosine = np.sin(here[0]) * np.sin(there[0]) + np.cos(here[0]) * np.cos(there[0]) * np.cos(
        there[1] - here[1]
    )
    return EARTH_RADIUS * np.arccos(np.clip(cosine, -1, 1))


def test_decays_evenly_east_and_west() -> None:
    lat, lon = np.array([GRID.latitude[4]]), np.array([GRID.longitude[6]])
    result = analyse(
        zonal_members(), lat, lon, np.array([0]), np.array([1.0]), np.array([0.5]), 8e6
    )
    row = result.increment[0, 4].roll(-6).numpy()
    np.testing.assert_allclose(row[1:8], row[:8:-1], atol=1e-9)
    assert (np.diff(row[:9]) <= 1e-12).all()
    assert row[0] > 0.3


def test_no_observations_leave_the_background() -> None:
    nothing = np.zeros(0)
    result = analyse(
        smooth_members(20), nothing, nothing, nothing.astype(int), nothing, nothing, RADIUS
    )
    assert (result.increment == 0).all()
    assert torch.equal(result.spread, result.prior_spread)


@pytest.mark.parametrize("idle", [0, 3], ids=["observation space", "member space"])
def test_small_errors_fit_and_large_errors_ignore(idle: int) -> None:
    members = smooth_members(20)
    lat, lon, channel, d, _ = network(8)
    h = operator(lat, lon, channel)
    misfits, sizes, spreads = [], [], []
    for error in (1e-3, 0.1, 1.0, 10.0, 1e4):
        result = analyse(members, lat, lon, channel, d, np.full(8, error), idle=idle)
        misfits.append(np.abs(h @ result.increment.numpy().ravel() - d).max())
        sizes.append(float(result.increment.square().sum()))
        spreads.append(float(result.spread.square().sum()))
    assert misfits[0] < 1e-3
    assert sizes[-1] < 1e-10
    assert (np.diff(misfits) > 0).all()
    assert (np.diff(sizes) < 0).all()
    assert (np.diff(spreads) > 0).all()


def test_longitude_wraps() -> None:
    members = smooth_members(20)
    lat, lon, channel, d, error = network(30)
    result = analyse(members, lat, lon, channel, d, error, RADIUS)
    again = analyse(members, lat, lon - 360, channel, d, error, RADIUS)
    torch.testing.assert_close(result.increment, again.increment, rtol=1e-9, atol=1e-9)
    for turn in (5, 11):
        moved = (lon + turn * 22.5) % 360
        rolled = analyse(members.roll(turn, -1), lat, moved, channel, d, error, RADIUS)
        torch.testing.assert_close(
            rolled.increment, result.increment.roll(turn, -1), rtol=1e-9, atol=1e-9
        )
        torch.testing.assert_close(
            rolled.spread, result.spread.roll(turn, -1), rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("pole", [-90.0, 90.0])
def test_an_observation_at_a_pole_has_no_direction(pole: float) -> None:
    for lon in (0.0, 123.0):
        result = analyse(
            zonal_members(),
            np.array([pole]),
            np.array([lon]),
            np.array([0]),
            np.array([1.0]),
            np.array([0.1]),
            6e6,
        )
        nearest = result.increment[0, 0 if pole < 0 else -1]
        assert nearest.min() > 0.02
        torch.testing.assert_close(
            result.increment, result.increment.mean(-1, keepdim=True).expand_as(result.increment)
        )
        assert (result.increment[:, -1 if pole < 0 else 0] == 0).all()


def test_co_located_observations_count_as_one_better() -> None:
    members = smooth_members(20)
    lat, lon, channel = np.array([31.0]), np.array([77.0]), np.array([1])
    two = [np.repeat(a, 2) for a in (lat, lon, channel)]
    pair = analyse(members, *two, np.array([0.4, 1.0]), np.array([0.5, 0.5]), RADIUS)
    one = analyse(members, lat, lon, channel, np.array([0.7]), np.array([0.5 / np.sqrt(2)]), RADIUS)
    torch.testing.assert_close(pair.increment, one.increment, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(pair.spread, one.spread, rtol=1e-9, atol=1e-12)


def test_every_second_column_is_enough_for_smooth_members() -> None:
    members = smooth_members(20)
    case = network(60)
    full, coarse = (analyse(members, *case, 12e6, stride=s) for s in (1, 2))
    assert (
        full.increment - coarse.increment
    ).square().mean().sqrt() < 0.15 * full.increment.square().mean().sqrt()
    assert (full.spread / coarse.spread - 1).abs().mean() < 0.2


def test_gaspari_cohn_is_its_polynomial() -> None:
    radius = 3e6
    taper = gaspari_cohn(
        torch.tensor([0.0, radius / 2, radius, 2 * radius], dtype=torch.float64), radius
    )
    np.testing.assert_allclose(taper.numpy(), [1, 5 / 24, 0, 0], atol=1e-12)
    x = np.array([0.25, 0.75, 1.25, 1.75])
    near = -(x**5) / 4 + x**4 / 2 + 5 * x**3 / 8 - 5 * x**2 / 3 + 1
    far = x**5 / 12 - x**4 / 2 + 5 * x**3 / 8 + 5 * x**2 / 3 - 5 * x + 4 - 2 / (3 * x)
    np.testing.assert_allclose(
        gaspari_cohn(torch.from_numpy(x * radius / 2), radius).numpy(),
        np.where(x <= 1, near, far),
        rtol=1e-12,
    )
    many = gaspari_cohn(torch.linspace(0, 2 * radius, 999, dtype=torch.float64), radius)
    assert (many.diff() <= 0).all()
