"""Guidance with the exact denoiser of a Gaussian prior, where the posterior is known (DESIGN
section 6)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from phyda_cli.model.denoiser import Denoises
from phyda_cli.model.guidance import Misfit, conjugate_gradient, dps, guided_samples, mmps
from phyda_cli.model.sampler import initial_noise, noise_levels

SIZE, N_OBS, SAMPLES = 64, 12, 256
LEVELS = noise_levels(24, 0.01, 20.0)
Rule = Callable[[Denoises, Misfit], Denoises]


def gaussian_denoiser(mean: np.ndarray, covariance: np.ndarray) -> Denoises:
    """E[x0 | x] = m + C (C + sigma^2)^-1 (x - m)."""
    values, vectors = (torch.from_numpy(a) for a in np.linalg.eigh(covariance))
    centre = torch.from_numpy(mean)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        shrink = values / (values + sigma[:, None] ** 2)
        return (centre + ((x.flatten(1) - centre) @ vectors * shrink) @ vectors.T).reshape(x.shape)

    return denoise


def kalman(
    mean: np.ndarray, covariance: np.ndarray, h: np.ndarray, d: np.ndarray, error: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    gain = covariance @ h.T @ np.linalg.inv(h @ covariance @ h.T + np.diag(error**2))
    return mean + gain @ d, covariance - gain @ h @ covariance


class Problem:
    """A correlated prior on a ring of 64 points and 12 interpolated observations with errors of 2
    to 7 % of its spread."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        i = np.arange(SIZE)
        apart = np.minimum(abs(i[:, None] - i), SIZE - abs(i[:, None] - i))
        spread = rng.uniform(0.7, 1.3, SIZE)
        self.covariance = np.exp(-0.5 * (apart / 4.0) ** 2) * spread[
            :, None
        ] * spread + 1e-6 * np.eye(SIZE)
        self.mean = 0.3 * rng.standard_normal(SIZE)
        self.h = np.zeros((N_OBS, SIZE))
        for row, position in enumerate(rng.uniform(0, SIZE, N_OBS)):
            left = int(position)
            self.h[row, left], self.h[row, (left + 1) % SIZE] = 1 - position % 1, position % 1
        self.error = rng.uniform(0.02, 0.07, N_OBS) * spread.mean()
        truth = self.mean + np.linalg.cholesky(self.covariance) @ rng.standard_normal(SIZE)
        self.y = self.h @ truth + self.error * rng.standard_normal(N_OBS)
        self.posterior = kalman(
            self.mean, self.covariance, self.h, self.y - self.h @ self.mean, self.error
        )

    def misfit(self, x: Tensor) -> Tensor:
        h, y, error = (torch.from_numpy(a) for a in (self.h, self.y, self.error))
        return (x.flatten(1) @ h.T - y) / error

    def scores(self, rule: Rule, noise: Tensor) -> tuple[float, float, float]:
        """Error of the mean in posterior standard deviations (rms), and ratios of the variance: of
        points, of observations."""
        guided = rule(gaussian_denoiser(self.mean, self.covariance), self.misfit)
        samples = guided_samples(guided, noise, LEVELS).flatten(1).numpy()
        mean, covariance = self.posterior
        variance = np.diag(covariance)
        off = np.sqrt(((samples.mean(0) - mean) ** 2 / variance).mean())
        observed = (samples @ self.h.T).var(0, ddof=1) / np.diag(self.h @ covariance @ self.h.T)
        return off, (samples.var(0, ddof=1) / variance).mean(), observed.mean()


def antithetic(seed: int) -> Tensor:
    return initial_noise(SAMPLES, (1, 8, 8), seed, torch.device("cpu")).double()


@pytest.mark.parametrize("seed", range(6))
def test_mmps_samples_the_posterior(seed: int) -> None:
    off, points, observed = Problem(seed).scores(partial(mmps, iterations=12), antithetic(seed))
    assert off < 0.03
    assert 0.85 < points < 1.15
    assert 0.85 < observed < 1.15


def test_mmps_from_independent_noise() -> None:
    noise = torch.randn(
        SAMPLES, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    off, points, observed = Problem(1).scores(partial(mmps, iterations=12), noise)
    assert off < 0.1  # 256 samples alone give 0.06
    assert 0.85 < points < 1.15
    assert 0.85 < observed < 1.15


def test_one_iteration_is_not_enough() -> None:
    """What makes the difference between a posterior and something else is solving the system."""
    off, points, observed = Problem(0).scores(partial(mmps, iterations=1), antithetic(0))
    assert off > 0.3
    assert points > 1.5
    assert observed > 1.5


@pytest.mark.parametrize("zeta", [0.003, 0.01, 0.02, 0.03])
def test_dps_fits_but_does_not_sample_the_posterior(zeta: float) -> None:
    """For comparison; no zeta comes near, yet each moves the mean towards the observations."""
    problem = Problem(0)
    off, points, _ = problem.scores(partial(dps, zeta=zeta), antithetic(0))
    mean, covariance = problem.posterior
    before = np.sqrt(((problem.mean - mean) ** 2 / np.diag(covariance)).mean())
    assert 0.1 < off < before
    assert not 0.85 < points < 1.15


def test_without_information_the_prior_remains() -> None:
    problem = Problem(2)
    problem.error = np.full(N_OBS, 1e6)
    problem.posterior = problem.mean, problem.covariance
    off, points, _ = problem.scores(mmps, antithetic(2))
    assert off < 0.03
    assert 0.85 < points < 1.15


def test_conjugate_gradient_solves_each_row() -> None:
    rng = torch.Generator().manual_seed(0)
    root = torch.randn(3, 20, 20, generator=rng, dtype=torch.float64)
    matrix = root @ root.mT + torch.eye(20)
    right = torch.randn(3, 20, generator=rng, dtype=torch.float64)
    right[1] = 0
    calls = []

    def apply(u: Tensor) -> Tensor:
        calls.append(1)
        return (matrix @ u[:, :, None])[:, :, 0]

    exact = torch.linalg.solve(matrix, right)
    torch.testing.assert_close(
        conjugate_gradient(apply, right, 60, 1e-10), exact, rtol=1e-8, atol=1e-10
    )
    calls.clear()
    rough = conjugate_gradient(apply, right, 60, 0.1)
    assert len(calls) < 20
    assert ((apply(rough) - right).norm(dim=1) <= 0.1 * right.norm(dim=1) + 1e-12).all()


def test_conjugate_gradient_is_never_worse_than_nothing() -> None:
    """Systems that are not symmetric, for which the iteration may diverge, and one that is not
    positive."""
    rng = torch.Generator().manual_seed(0)
    right = torch.randn(8, 30, generator=rng, dtype=torch.float64)
    matrix = torch.eye(30) + torch.randn(8, 30, 30, generator=rng, dtype=torch.float64)
    for iterations in (1, 4, 12, 40):
        found = conjugate_gradient(
            lambda u: (matrix @ u[:, :, None])[:, :, 0], right, iterations, 1e-6
        )
        left = right - (matrix @ found[:, :, None])[:, :, 0]
        assert (left.norm(dim=1) <= right.norm(dim=1)).all()
    two = torch.ones(2, 2)
    scale = torch.tensor([[2.0, 4.0], [-1.0, -1.0]])
    found = conjugate_gradient(lambda u: scale * u, two, 5, 1e-6)
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.25], [0.0, 0.0]]))


@pytest.mark.parametrize("seed", range(3))
def test_wind_speed_against_importance_sampling(seed: int) -> None:
    """A nonlinear operator, sqrt(u^2 + v^2) of three of eight points, against two hundred thousand
    weighted prior samples."""
    n, at, error = 8, np.array([0, 3, 5]), 0.5
    rng = np.random.default_rng(seed)
    apart = abs(np.arange(n)[:, None] - np.arange(n))
    covariance = np.kron(
        [[4.0, 0.8], [0.8, 3.0]], np.exp(-0.5 * (apart / 2.0) ** 2)
    ) + 1e-6 * np.eye(2 * n)
    mean, root = np.repeat([4.0, 3.0], n), np.linalg.cholesky(covariance)
    truth = mean + root @ rng.standard_normal(2 * n)
    y = np.hypot(truth[at], truth[at + n]) + error * rng.standard_normal(at.size)
    drawn = mean + rng.standard_normal((200_000, 2 * n)) @ root.T
    log_weight = -0.5 * (((np.hypot(drawn[:, at], drawn[:, at + n]) - y) / error) ** 2).sum(1)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    assert 1 / (weight**2).sum() > 2000
    exact = weight @ drawn
    spread = np.sqrt(weight @ (drawn - exact) ** 2)

    unit = 2.0  # m/s; the sampler works on fields of about unit variance
    observed = torch.from_numpy(y)

    def misfit(x: Tensor) -> Tensor:
        u, v = unit * x[:, 0, 0], unit * x[:, 1, 0]
        return (torch.hypot(u[:, at], v[:, at]) - observed) / error

    noise = initial_noise(SAMPLES, (2, 1, n), seed, torch.device("cpu")).double()
    guided = mmps(gaussian_denoiser(mean / unit, covariance / unit**2), misfit)
    samples = unit * guided_samples(guided, noise, LEVELS).flatten(1).numpy()

    def off(found: np.ndarray) -> float:
        return float(np.sqrt((((found - exact) / spread) ** 2).mean()))

    speed = np.hypot(mean[at], mean[at + n])
    h = np.zeros((at.size, 2 * n))
    h[range(3), at], h[range(3), at + n] = mean[at] / speed, mean[at + n] / speed
    linear, _ = kalman(mean, covariance, h, y - speed, np.full(3, error))
    assert off(samples.mean(0)) < 0.12
    assert off(samples.mean(0)) < 0.7 * off(linear)  # one linearisation, about the background
    ratio = samples.std(0, ddof=1) / spread
    assert 0.93 < ratio.mean() < 1.07
    assert ((ratio > 0.8) & (ratio < 1.2)).all()
