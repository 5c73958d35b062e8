"""Derivatives and integrals in pressure."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from phyda_cli.errors import InputError
from phyda_cli.physics.stencils import Derivative, Terms

__all__ = ["Column", "layer_edges"]


class Column:
    """Operators on fields (..., L, H, W) over ``levels`` (L,) [Pa], top-down or bottom-up.

    Every level stands for the layer between the half-way pressures to its neighbours; the outermost
    layers reach as far beyond their level as towards the neighbour (never above p = 0). Vertical
    velocity vanishes at the top of the topmost layer. Raises InputError when the levels are not
    positive and strictly monotone.
    """

    def __init__(self, levels: np.ndarray) -> None:
        self.levels = p = np.atleast_1d(np.asarray(levels, np.float64))
        steps = np.diff(p)
        if p.ndim != 1 or not np.all(p > 0) or not (np.all(steps > 0) or np.all(steps < 0)):
            raise InputError(
                f"levels must be positive and strictly monotone pressures in Pa, found {p.tolist()}"
            )
        self.top_down = bool(p[0] <= p[-1])
        edges = layer_edges(p)
        self._terms = Terms(
            pressure=p[:, None, None],
            depth=np.abs(np.diff(edges))[:, None, None],
            below=np.abs((edges[1:] if self.top_down else edges[:-1]) - p)[:, None, None],
            log_ratio=np.abs(np.diff(np.log(p)))[:, None, None],
        )
        self._d_log_p = Derivative(np.log(p), -3)

    def pressure(self, like: Tensor) -> Tensor:
        """Pressure of the levels (L, 1, 1) [Pa]."""
        return self._terms.like(like)["pressure"]

    def ddp(self, f: Tensor) -> Tensor:
        """df/dp = (1/p) df/dln p, second order in ln p [units of f per Pa]; zero with a single
        level."""
        return self._d_log_p(f) / self.pressure(f)

    def omega(self, divergence: Tensor) -> Tensor:
        """Vertical velocity -integral of ``divergence`` [s-1] from the top of the column to each
        level [Pa s-1].

        Between levels this is the trapezoidal rule in p, and above the topmost one half a layer of
        its divergence. A single level has no depth to integrate over: zero.
        """
        if self.levels.size == 1:
            return torch.zeros_like(divergence)
        terms = self._terms.like(divergence)
        flux = divergence * terms["depth"]
        total = flux.cumsum(-3) if self.top_down else flux.flip(-3).cumsum(-3).flip(-3)
        return divergence * terms["below"] - total

    def integral(self, f: Tensor) -> Tensor:
        """Integral of ``f`` over pressure, top to bottom of the column (..., 1, H, W) [units of f
        times Pa]."""
        return (f * self._terms.like(f)["depth"]).sum(-3, keepdim=True)

    def thickness(self, f: Tensor) -> Tensor:
        """Upper minus lower level of each pair of neighbours, in the order of the levels (..., L-1,
        H, W)."""
        return -torch.diff(f, dim=-3) if self.top_down else torch.diff(f, dim=-3)

    def log_pressure_integral(self, f: Tensor) -> Tensor:
        """Integral of ``f`` over ln p between neighbouring levels, trapezoidal rule, positive for f
        > 0 (..., L-1, H, W)."""
        layers = f.shape[-3] - 1
        mean = (f.narrow(-3, 0, layers) + f.narrow(-3, 1, layers)) / 2
        return mean * self._terms.like(f)["log_ratio"]


def layer_edges(p: np.ndarray) -> np.ndarray:
    """Pressures (L+1,) that bound the layers around ``p`` (L,)."""
    if p.size == 1:
        return np.array([p[0], p[0]])
    half = np.diff(p) / 2
    edges = np.concatenate([[p[0] - half[0]], p[:-1] + half, [p[-1] + half[-1]]])
    return edges.clip(0.0)
