"""How large the background's errors are today: their standard deviation, from the background and
the innovations.

Stage 1's static members know the errors of the climate. A U-Net scales them, point by point and
channel by channel, to those of the day: the flow says where errors grow, and the innovations how
large they were where something was observed. It changes variances only, so that the algebra of
stage 1 stays what it is and no bias can be learned.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from phyda_cli.model.encoder import N_CONDITIONS
from phyda_cli.model.evidence import N_MAPS
from phyda_cli.model.unet import UNet

__all__ = ["BackgroundSpread"]

MAX_LOG_FACTOR = 3.0


class BackgroundSpread(nn.Module):
    """Standard deviation of normalised background errors; ``climate`` (C, H, W), theirs in the
    training data, times a bounded factor."""

    climate: Tensor

    def __init__(
        self, n_channels: int, shape: tuple[int, int], widths: tuple[int, ...], sphere: bool
    ) -> None:
        super().__init__()
        self.net = UNet((1 + N_MAPS) * n_channels + N_CONDITIONS, n_channels, widths, sphere)
        self.register_buffer("climate", torch.ones(n_channels, *shape))

    def forward(self, background: Tensor, place: Tensor, evidence: Tensor) -> Tensor:
        """(B, C, H, W) of ``background`` (B, C, H, W), (x_b - mean) / std of the climate, ``place``
        (B, N_CONDITIONS, H, W) and ``evidence`` (B, N_MAPS * C, H, W)."""
        out, _ = self.net(torch.cat([background, place, evidence], dim=1))
        return self.climate * torch.exp(MAX_LOG_FACTOR * torch.tanh(out / MAX_LOG_FACTOR))
