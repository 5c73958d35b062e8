"""Deterministic second-order sampling of the probability-flow ODE (Karras et al. 2022, algorithm
1)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from phyda_cli.model.denoiser import Denoises

__all__ = ["antithetic", "heun", "initial_noise", "noise_levels"]


def noise_levels(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """Decreasing noise levels (steps + 1,), the last one zero (ibid., eq. 5)."""
    i = torch.arange(steps, dtype=torch.float64) / max(steps - 1, 1)
    sigma = (sigma_max ** (1 / rho) + i * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
    return torch.cat([sigma, torch.zeros(1, dtype=torch.float64)])


def antithetic(half: Tensor, members: int) -> Tensor:
    """``members`` fields in pairs z, -z from ``half`` (ceil(members / 2), *shape), so that the mean
    of pairs is exactly zero."""
    return torch.stack([half, -half], dim=1).flatten(0, 1)[:members]


def initial_noise(members: int, shape: tuple[int, ...], seed: int, device: torch.device) -> Tensor:
    """Antithetic standard noise (members, *shape), so that sampling adds little to the error of the
    mean.

    Drawn on the CPU, so a seed means the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return antithetic(torch.randn((members + 1) // 2, *shape, generator=generator), members).to(
        device
    )


@torch.no_grad()
def heun(denoise: Denoises, x: Tensor, levels: Tensor) -> Tensor:
    """Integrate from ``x`` (B, C, H, W), fields with noise of the first level, down ``levels``;
    returns samples."""
    for now, after in pairwise(levels.tolist()):
        slope = (x - denoise(x, x.new_full((x.shape[0],), now))) / now
        moved = x + (after - now) * slope
        if after > 0:
            corrected = (moved - denoise(moved, x.new_full((x.shape[0],), after))) / after
            moved = x + (after - now) * 0.5 * (slope + corrected)
        x = moved
    return x
