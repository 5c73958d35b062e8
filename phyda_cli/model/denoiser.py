"""Stage 3's network: an EDM-preconditioned denoiser of the normalised residual, conditioned on the
encoder's latent.

Preconditioning after Karras et al. 2022 (arXiv 2206.00364, table 1) with unit data variance. To
replace the network, replace the ``net`` in :class:`Denoiser`, here or in a subclass that a plug-in
brings (:mod:`phyda_cli.plugins`); everything else meets it through :class:`Denoises`.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from phyda_cli.model.unet import UNet

__all__ = ["Denoiser", "Denoises"]

N_EMBEDDING = 64


class Denoises(Protocol):
    """What a sampler needs: the posterior mean of the clean field given ``x`` at noise level
    ``sigma``."""

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """``x`` (B, C, H, W), ``sigma`` (B,) → (B, C, H, W)."""
        ...


class Denoiser(nn.Module):
    """D(x; sigma) = c_skip x + c_out F(c_in x; c_noise, context)."""

    frequencies: Tensor

    def __init__(
        self, n_channels: int, widths: tuple[int, ...], latent_widths: tuple[int, ...], sphere: bool
    ) -> None:
        super().__init__()
        self.net = UNet(n_channels, n_channels, widths, sphere, N_EMBEDDING, latent_widths)
        self.embed = nn.Sequential(
            nn.Linear(N_EMBEDDING, N_EMBEDDING), nn.SiLU(), nn.Linear(N_EMBEDDING, N_EMBEDDING)
        )
        frequencies = torch.exp(torch.linspace(0, math.log(100.0), N_EMBEDDING // 2))
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, x: Tensor, sigma: Tensor, context: list[Tensor]) -> Tensor:
        """``x`` (B, C, H, W) noisy, ``sigma`` (B,), ``context`` from
        ``net.project_context(latent)``."""
        s = sigma[:, None, None, None]
        c_skip, c_out, c_in = 1 / (s**2 + 1), s / (s**2 + 1).sqrt(), 1 / (s**2 + 1).sqrt()
        angle = (sigma.log() / 4)[:, None] * self.frequencies
        embedding = functional.silu(self.embed(torch.cat([angle.sin(), angle.cos()], dim=1)))
        out, _ = self.net(c_in * x, embedding, context)
        return c_skip * x + c_out * out

    def conditioned(self, latent: list[Tensor]) -> Denoises:
        """The denoiser with its context fixed, as samplers use it; a latent of batch 1 serves every
        member."""
        context = self.net.project_context(latent)
        return lambda x, sigma: self(x, sigma, context)
