"""The sampler with the exact denoiser of a Gaussian, for which every answer is known in closed
form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from phyda_cli.model.sampler import heun, initial_noise, noise_levels
from phyda_cli.settings.model import SamplerSettings

SHAPE = (1, 2, 3)
VARIANCES = np.array([0.5, 0.7, 0.9, 1.0, 1.4, 2.0])  # a calibrated residual has about one
DEFAULT = SamplerSettings()


class Gaussian:
    """E[x0 | x] = m + C (C + sigma^2)^-1 (x - m) for data of N(m, C), C with the eigenvalues
    ``VARIANCES``."""

    def __init__(self, mean: float) -> None:
        basis, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))
        self.mean, self.basis = torch.full((6,), mean, dtype=torch.float64), torch.from_numpy(basis)

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        variance = torch.from_numpy(VARIANCES)
        shrink = variance / (variance + sigma[:, None] ** 2)
        away = x.flatten(1) - self.mean
        return (self.mean + (away @ self.basis * shrink) @ self.basis.T).reshape(x.shape)

    def law(self, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (6,) and covariance (6, 6) of the samples, exactly: the sampler is affine in its
        noise."""
        noise = torch.cat(
            [torch.zeros(1, 6, dtype=torch.float64), torch.eye(6, dtype=torch.float64)]
        )
        out = heun(self, levels[0] * noise.reshape(-1, *SHAPE), levels).flatten(1)
        linear = out[1:] - out[0]
        return out[0], linear.T @ linear


@pytest.mark.parametrize("mean", [0.0, 0.4, -0.4])
def test_eight_steps_from_noise_reproduce_mean_and_variance(mean: float) -> None:
    target = Gaussian(mean)
    found, covariance = target.law(noise_levels(8, 0.15, 8.0))
    error = (found - target.mean) @ target.basis / torch.from_numpy(VARIANCES).sqrt()
    assert error.abs().max() < 0.1
    rotated = (target.basis.T @ covariance @ target.basis).numpy()
    ratio = np.diag(rotated) / VARIANCES
    assert ((ratio > 0.85) & (ratio < 1.15)).all()
    np.testing.assert_allclose(rotated - np.diag(np.diag(rotated)), 0, atol=1e-9)


@pytest.mark.parametrize("mean", [0.0, 0.4, -0.4])
def test_draws_of_the_right_law_keep_it(mean: float) -> None:
    """Sampling that starts from the target's own draws, with the default noise added, ends with the
    target's law."""
    target, levels = (
        Gaussian(mean),
        noise_levels(DEFAULT.steps, DEFAULT.sigma_min, DEFAULT.sigma_max),
    )
    unit = torch.cat([torch.zeros(1, 6, dtype=torch.float64), torch.eye(6, dtype=torch.float64)])
    out = heun(target, (target.mean + unit).reshape(-1, *SHAPE), levels).flatten(1)
    response = (
        out[1:] - out[0]
    ).T  # to a change of the start, whose covariance is the target's plus the noise's
    start = (
        target.basis
        @ torch.diag(torch.from_numpy(VARIANCES) + DEFAULT.sigma_max**2)
        @ target.basis.T
    )
    covariance = target.basis.T @ response @ start @ response.T @ target.basis
    np.testing.assert_allclose(np.diag(covariance.numpy()) / VARIANCES, 1, atol=0.15)
    assert (
        (out[0] - target.mean) @ target.basis / torch.from_numpy(VARIANCES).sqrt()
    ).abs().max() < 0.1


def test_converges_at_second_order() -> None:
    target = Gaussian(0.3)
    low, high = 0.1, 10.0
    noise = initial_noise(4, SHAPE, 0, torch.device("cpu")).double()
    variance = torch.from_numpy(VARIANCES)
    away = (high * noise.flatten(1) - target.mean) @ target.basis
    exact = (
        target.mean + (away * ((variance + low**2) / (variance + high**2)).sqrt()) @ target.basis.T
    )
    errors = []
    for steps in (32, 64, 128):
        found = heun(target, high * noise, noise_levels(steps, low, high)[:-1]).flatten(1)
        errors.append(float((found - exact).abs().max()))
    assert 3.0 < errors[0] / errors[1] < 5.5
    assert 3.3 < errors[1] / errors[2] < 4.8


def test_noise_comes_in_opposite_pairs() -> None:
    noise = initial_noise(8, SHAPE, 1, torch.device("cpu"))
    assert noise.sum(0).abs().max() == 0
    assert noise.std() > 0.5
    odd = initial_noise(7, SHAPE, 1, torch.device("cpu"))
    assert torch.equal(odd, noise[:7])


def test_a_seed_is_a_promise() -> None:
    first, again, other = (initial_noise(4, SHAPE, seed, torch.device("cpu")) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(initial_noise(2, SHAPE, 5, torch.device("cpu")), first[:2])


@pytest.mark.parametrize("steps", [2, 8, 16])
def test_noise_levels_fall_to_zero(steps: int) -> None:
    levels = noise_levels(steps, 0.05, 10.0)
    assert levels.shape == (steps + 1,)
    assert (levels.diff() < 0).all()
    np.testing.assert_allclose(levels[[0, -2, -1]].numpy(), [10.0, 0.05, 0.0])
