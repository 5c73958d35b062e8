"""A small U-Net for fields on the sphere or on a limited area; encoder and denoiser are both built
from it.

Shapes: B batch, C channels, H x W grid points. On the globe longitude wraps and the row beyond a
pole is the last row half-way round; on a limited area the edge is repeated.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["SphereConv", "UNet", "pad"]


def pad(x: Tensor, sphere: bool) -> Tensor:
    """One row and column of padding on every side: (B, C, H, W) → (B, C, H+2, W+2)."""
    if not sphere:
        return functional.pad(x, (1, 1, 1, 1), mode="replicate")
    half = x.shape[-1] // 2
    x = torch.cat([x[:, :, :1].roll(half, -1), x, x[:, :, -1:].roll(half, -1)], dim=2)
    return torch.cat([x[..., -1:], x, x[..., :1]], dim=-1)


class SphereConv(nn.Module):
    """3x3 convolution with :func:`pad`."""

    def __init__(self, n_in: int, n_out: int, sphere: bool) -> None:
        super().__init__()
        self.sphere = sphere
        self.conv = nn.Conv2d(n_in, n_out, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(pad(x, self.sphere))


class Block(nn.Module):
    """Residual block: norm, SiLU, conv, norm (scaled and shifted by the embedding), SiLU, conv."""

    def __init__(self, n_in: int, n_out: int, n_embedding: int, sphere: bool) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, n_in)
        self.conv1 = SphereConv(n_in, n_out, sphere)
        self.norm2 = nn.GroupNorm(8, n_out)
        self.conv2 = SphereConv(n_out, n_out, sphere)
        self.film = nn.Linear(n_embedding, 2 * n_out) if n_embedding else None
        self.skip = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()
        nn.init.zeros_(self.conv2.conv.weight)

    def forward(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        h = self.norm2(self.conv1(functional.silu(self.norm1(x))))
        if self.film is not None and embedding is not None:
            scale, shift = self.film(embedding)[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        return self.skip(x) + self.conv2(functional.silu(h))


class UNet(nn.Module):
    """U-Net with one block a level on the way down and on the way up.

    Args:
        n_in, n_out: input and output channels; ``n_out`` may be 0 for features only.
        widths: channels of each level, finest first; each level halves the resolution.
        sphere: padding of the globe, else of a limited area.
        n_embedding: size of the embedding that modulates every block, 0 for none.
        context_widths: channels of the context added at each level, finest first, () for none.

    The last convolution starts at zero.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        widths: tuple[int, ...],
        sphere: bool,
        n_embedding: int = 0,
        context_widths: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(n_in, widths[0], 1)
        previous = (widths[0], *widths[:-1])
        self.down = nn.ModuleList(
            Block(p, w, n_embedding, sphere) for p, w in zip(previous, widths, strict=True)
        )
        self.middle = Block(widths[-1], widths[-1], n_embedding, sphere)
        rising = list(zip(widths[1:], widths[:-1], strict=True))[::-1]
        self.reduce = nn.ModuleList(nn.Conv2d(deep, w, 1) for deep, w in rising)
        self.up = nn.ModuleList(Block(w, w, n_embedding, sphere) for _, w in rising)
        self.context = nn.ModuleList(
            nn.Conv2d(c, w, 1) for c, w in zip(context_widths, widths, strict=False)
        )
        self.head = SphereConv(widths[0], n_out, sphere) if n_out else None
        self.head_norm = nn.GroupNorm(8, widths[0])
        if self.head is not None:
            for parameter in self.head.parameters():
                nn.init.zeros_(parameter)

    def project_context(self, latent: list[Tensor]) -> list[Tensor]:
        """The additive context of each level; compute it once and reuse it for every noise
        level."""
        return [layer(z) for layer, z in zip(self.context, latent, strict=True)]

    def forward(
        self, x: Tensor, embedding: Tensor | None = None, context: list[Tensor] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """(B, n_in, H, W) → output (B, n_out, H, W) and the features of every level, finest
        first."""
        x = self.stem(x)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            if level:
                x = functional.avg_pool2d(x, 2, ceil_mode=True)
            x = block(x, embedding)
            if context is not None:
                x = x + context[level]
            skips.append(x)
        x = self.middle(x, embedding)
        features = [x]
        for reduce, block, skip in zip(self.reduce, self.up, skips[-2::-1], strict=True):
            x = functional.interpolate(reduce(x), size=skip.shape[-2:], mode="nearest")
            x = block(x + skip, embedding)
            features.append(x)
        out = self.head(functional.silu(self.head_norm(x))) if self.head is not None else x
        return out, features[::-1]
