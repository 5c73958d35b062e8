"""A denoiser: three convolutions in the place of the U-Net.

    phyda train --set network.denoiser_kind=plain ...

The preconditioning, the training and the sampler stay as they are.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from phyda_cli.model.denoiser import N_EMBEDDING, Denoiser


class Plain(Denoiser):
    """The network is exchanged; the rest of the denoiser is phyda's."""

    def __init__(
        self, n_channels: int, widths: tuple[int, ...], latent_widths: tuple[int, ...], sphere: bool
    ) -> None:
        super().__init__(n_channels, widths, latent_widths, sphere)
        self.net = Convolutions(n_channels, widths[0], latent_widths[0])


class Convolutions(nn.Module):
    """(B, C, H, W) to (B, C, H, W), with the noise level's embedding and the encoder's latent."""

    def __init__(self, n_channels: int, width: int, latent_width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(n_channels, width, 3)
        self.middle = nn.Conv2d(width, width, 3)
        self.last = nn.Conv2d(width, n_channels, 3)
        self.level = nn.Linear(N_EMBEDDING, width)
        self.context = nn.Conv2d(latent_width, width, 1)
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)

    def project_context(self, latent: list[Tensor]) -> list[Tensor]:
        """What the finest level of the latent adds, computed once for all noise levels."""
        return [self.context(latent[0])]

    def forward(
        self, x: Tensor, embedding: Tensor, context: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """The output, and no features for others."""
        level = self.level(embedding)[:, :, None, None]
        h = functional.silu(self.first(_padded(x)) + level + context[0])
        h = functional.silu(self.middle(_padded(h)))
        return self.last(_padded(h)), []


def _padded(x: Tensor) -> Tensor:
    """One more point around: periodic in longitude, repeated in latitude."""
    return functional.pad(functional.pad(x, (1, 1, 0, 0), "circular"), (0, 0, 1, 1), "replicate")
