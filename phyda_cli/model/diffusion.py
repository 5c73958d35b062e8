"""The training objective of stage 3: EDM denoising loss plus the noise-weighted physics term."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from phyda_cli.model.denoiser import Denoises

__all__ = ["DiffusionLoss", "diffusion_loss", "noise_level", "physics_weight"]

P_MEAN, P_STD = -0.6, 1.4  # of ln sigma; the residual has unit variance, so this covers 0.03 to 10


def noise_level(batch: int, generator: torch.Generator) -> Tensor:
    """Log-normal training noise levels (B,)."""
    return torch.exp(P_MEAN + P_STD * torch.randn(batch, generator=generator))


def physics_weight(sigma: Tensor, strength: float, knee: float = 0.5) -> Tensor:
    """lambda(sigma): ``strength`` at low noise, falling to nothing above ``knee``, because the
    residual of a conditional mean is not the mean of the residuals."""
    return strength / (1 + (sigma / knee) ** 4)


@dataclass(frozen=True)
class DiffusionLoss:
    """Both terms, each a scalar: ``total`` = ``denoising`` + the weighted ``physics``."""

    total: Tensor
    denoising: Tensor
    physics: Tensor


def diffusion_loss(
    denoise: Denoises,
    clean: Tensor,
    sigma: Tensor,
    noise: Tensor,
    area: Tensor,
    physics: Callable[[Tensor], Tensor],
    strength: float,
) -> DiffusionLoss:
    """One training step's loss.

    Args:
        clean: normalised residuals (B, C, H, W); noise: standard normal, same shape; sigma: (B,).
        area: weights (H, 1) of mean one. physics: PRDO (B,) of a denoised residual (B, C, H, W); it
        closes over the background, scales and truth.
        strength: lambda at low noise; zero skips the physics.
    """
    s = sigma[:, None, None, None]
    denoised = denoise(clean + s * noise, sigma)
    error = ((denoised - clean).square() * area).mean(dim=(1, 2, 3))
    denoising = ((sigma**2 + 1) / sigma**2 * error).mean()
    if strength == 0:
        return DiffusionLoss(denoising, denoising, torch.zeros_like(denoising))
    term = (physics_weight(sigma, strength) * physics(denoised)).mean()
    return DiffusionLoss(denoising + term, denoising, term)
