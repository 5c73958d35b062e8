"""Stage 2, the Virtual Reconstruction Encoder: from stage 1 to the posterior mean, its variance and
a latent.

After arXiv 2505.12882, made to start from the linear optimum: with its last layer at zero it
returns stage 1's analysis and spread, so training can only add to them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from phyda_cli.fields.earth import year_angle
from phyda_cli.fields.grid import Grid
from phyda_cli.model.unet import UNet

__all__ = ["MIN_SPREAD", "N_CONDITIONS", "Encoder", "Posterior", "conditions", "cosine_of_latitude"]

N_CONDITIONS = 11
MIN_SPREAD = 0.02  # in background-error standard deviations: the floor of any claimed accuracy
MAX_LOG_FACTOR = 2.0


@dataclass(frozen=True)
class Posterior:
    """``mean`` and ``std`` (B, C, H, W) of the normalised increment; ``latent`` features, finest
    level first."""

    mean: Tensor
    std: Tensor
    latent: list[Tensor]

    def towards(self, mean: Tensor, std: Tensor, weight: Tensor) -> Posterior:
        """``weight`` (C, 1, 1) of this, and the rest of the posterior with ``mean`` and ``std``
        (C, H, W)."""
        return Posterior(mean.lerp(self.mean, weight), std.lerp(self.std, weight), self.latent)


def conditions(
    grid: Grid, orography: np.ndarray, land: np.ndarray, time: np.datetime64, lead_hours: float
) -> np.ndarray:
    """What the network is told about place and time, (N_CONDITIONS, H, W): orography [km], land
    fraction, position, season, local solar time and lead time [days]."""
    lat, lon = grid.mesh
    phi, lam = np.deg2rad(lat), np.deg2rad(lon)
    second = time.astype("datetime64[s]")
    year = year_angle(time)
    solar = (
        2 * np.pi * float((second - second.astype("datetime64[D]")) / np.timedelta64(86400, "s"))
        + lam
    )
    ones = np.ones(grid.shape)
    fields = [
        orography / 1e3,
        land,
        np.sin(phi),
        np.cos(phi),
        np.sin(lam),
        np.cos(lam),
        np.sin(year) * ones,
        np.cos(year) * ones,
        np.sin(solar),
        np.cos(solar),
        lead_hours / 24 * ones,
    ]
    return np.stack(fields).astype(np.float32)


def cosine_of_latitude(place: np.ndarray) -> np.ndarray:
    """The share of each point in the area (H, W), from :func:`conditions` (N_CONDITIONS, H, W)."""
    return place[3]


class Encoder(nn.Module):
    """U-Net on (normalised background, increment, spread, residual, information) of C channels
    each, and conditions.

    The correction is in units of stage 1's spread, and the variance a bounded factor on stage 1's.
    An ``odd`` encoder's mean turns its sign with the innovations, as stage 1's does, and the
    variance does not: where nothing is observed, or everything as forecast, nothing changes, so
    that no bias of the training's backgrounds can grow in a cycle that does not have it.
    """

    calibration: Tensor

    def __init__(
        self,
        n_channels: int,
        widths: tuple[int, ...],
        sphere: bool,
        odd: bool = False,
    ) -> None:
        super().__init__()
        self.odd = odd
        self.net = UNet(5 * n_channels + N_CONDITIONS, 2 * n_channels, widths, sphere)
        self.register_buffer("calibration", torch.ones(n_channels))

    @torch.no_grad()
    def leave_to_stage_one(self, channels: Tensor) -> None:
        """From now on the mean of ``channels`` (C,) is stage 1's, and their spread but for the
        calibration."""
        head = self.net.head
        assert head is not None, "a network without output"
        for parameter in head.parameters():
            parameter[torch.cat([channels, channels])] = 0.0

    def forward(
        self,
        background: Tensor,
        increment: Tensor,
        spread: Tensor,
        residual: Tensor,
        information: Tensor,
        place: Tensor,
    ) -> Posterior:
        """All (B, C, H, W) but ``place`` (B, N_CONDITIONS, H, W); ``background`` is (x_b - mean) /
        std of the climate.

        In training, where both signs are shown (``Batch.turned``), an odd encoder is evaluated only
        once.
        """
        found = self._posterior(background, increment, spread, residual, information, place)
        if self.training or not self.odd:
            return found
        turned = self._posterior(background, -increment, spread, -residual, information, place)
        return Posterior(
            0.5 * (found.mean - turned.mean), (found.std * turned.std).sqrt(), found.latent
        )

    def _posterior(
        self,
        background: Tensor,
        increment: Tensor,
        spread: Tensor,
        residual: Tensor,
        information: Tensor,
        place: Tensor,
    ) -> Posterior:
        spread = spread.clamp(min=MIN_SPREAD)
        inputs = torch.cat([background, increment, spread, residual, information, place], dim=1)
        out, latent = self.net(inputs)
        shift, factor = out.chunk(2, dim=1)
        std = spread * torch.exp(MAX_LOG_FACTOR * torch.tanh(factor / MAX_LOG_FACTOR))
        std = (std * self.calibration[:, None, None]).clamp(min=MIN_SPREAD)
        return Posterior(increment + spread * shift, std, latent)
