r"""Samples of a posterior from the denoiser of a prior: observations guide the sampler
(training-free).

Both methods turn a denoiser into one that knows the observations, so that every sampler works with
either. They meet the observations through ``misfit``: x0 (B, C, H, W) → (H(x0) - y) / sigma_o (B,
P), any differentiable function.

**MMPS** (Rozet et al. 2024, arXiv 2405.13712): given x_t the clean field is taken as normal with
the denoiser's mean and Tweedie's covariance :math:`V = \sigma^2 \partial D/\partial x_t`, whence
with M the linearised misfit

.. math:: E[x_0 | x_t, y] = D + V M^T (I + M V M^T)^{-1} (-misfit(D))

V acts by vector-Jacobian products (it is symmetric for an exact denoiser) and the system is solved
by conjugate gradient. Exact for a Gaussian prior and a linear operator.

**DPS** (Chung et al. 2023, arXiv 2209.14687): V is left out and the gradient of the misfit's norm
scaled by a tuned zeta, here in units of sqrt(P), so that a value serves networks of different
sizes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from phyda_cli.model.denoiser import Denoises
from phyda_cli.model.sampler import heun

__all__ = ["Misfit", "conjugate_gradient", "dps", "guided_samples", "mmps"]

Misfit = Callable[[Tensor], Tensor]


def conjugate_gradient(apply: Misfit, right: Tensor, iterations: int, tolerance: float) -> Tensor:
    """Solve ``apply``(u) = ``right`` (B, P) for each row, ``apply`` symmetric and positive
    definite.

    Ends after ``iterations`` or when every row's residual norm is below ``tolerance`` times its
    right-hand side's. Returns the iterate of the smallest residual, so that a system that is not
    quite what it should be, as a learned denoiser's, costs guidance and not the sample.
    """
    solution, residual, direction = torch.zeros_like(right), right, right
    square = right.square().sum(dim=1, keepdim=True)
    target = tolerance**2 * square
    best, least = solution, square
    for _ in range(iterations):
        if bool((least <= target).all()):
            break
        applied = apply(direction)
        curvature = (direction * applied).sum(dim=1, keepdim=True)
        length = torch.where((curvature > 0) & (square > target), square / curvature, 0.0)
        solution, residual = solution + length * direction, residual - length * applied
        before, square = square, residual.square().sum(dim=1, keepdim=True)
        best, least = torch.where(square < least, solution, best), torch.minimum(square, least)
        direction = residual + square / before.clamp(min=torch.finfo(before.dtype).tiny) * direction
    return best


def mmps(
    denoise: Denoises, misfit: Misfit, iterations: int = 12, tolerance: float = 1e-3
) -> Denoises:
    """The posterior's denoiser by moment matching; ``iterations`` of the solver at most, each one
    VJP of ``denoise``."""

    def guided(x: Tensor, sigma: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            mean = denoise(x, sigma)
            at = mean.detach().requires_grad_()
            off = misfit(at)
            probe = torch.zeros_like(off, requires_grad=True)
            (linear,) = torch.autograd.grad(
                off, at, probe, create_graph=True
            )  # M^T probe, whose derivative is M^T

        def adjoint(u: Tensor) -> Tensor:
            return torch.autograd.grad(off, at, u, retain_graph=True)[0]

        def forward(g: Tensor) -> Tensor:
            return torch.autograd.grad(linear, probe, g, retain_graph=True)[0]

        def covariance(g: Tensor) -> Tensor:
            return (
                sigma[:, None, None, None] ** 2
                * torch.autograd.grad(mean, x, g, retain_graph=True)[0]
            )

        def system(u: Tensor) -> Tensor:
            return u + forward(covariance(adjoint(u)))

        u = conjugate_gradient(system, -off.detach(), iterations, tolerance)
        return mean.detach() + covariance(adjoint(u))

    return guided


def dps(denoise: Denoises, misfit: Misfit, zeta: float) -> Denoises:
    """Algorithm 1 of the paper as a shift of the denoised field; 1 + sigma^2 comes from its
    variance-preserving x."""

    def guided(x: Tensor, sigma: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            mean = denoise(x, sigma)
            off = misfit(mean)
            norm = off.shape[1] ** 0.5 * off.square().sum(dim=1).sqrt()
            (gradient,) = torch.autograd.grad(norm.sum(), x)
        return mean.detach() - zeta * (1 + sigma[:, None, None, None] ** 2) * gradient

    return guided


def guided_samples(guided: Denoises, noise: Tensor, levels: Tensor) -> Tensor:
    """Samples (B, C, H, W) by :func:`heun`, started around the posterior's mean at the highest
    noise level and not around zero: observations shift the mean, and a finite highest level would
    not forget a wrong start. For an affine denoiser and antithetic ``noise`` the mean of the first
    estimates is that of no noise, where a network was never trained."""
    highest = float(levels[0])
    centre = guided(highest * noise, noise.new_full((noise.shape[0],), highest)).mean(dim=0)
    return heun(guided, highest * noise + centre, levels)
