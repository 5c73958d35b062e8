r"""Stage 1: the linear-Gaussian analysis in a local ensemble space.

With background-error anomalies X (columns scaled so that B = X X^T), Y = R^{-1/2} H X and normalised innovations
d = R^{-1/2} (y - H x_b), the analysis of one column whose observations are tapered by rho is

.. math:: w = (I + Y^T \rho Y)^{-1} Y^T \rho d, \qquad \delta x = X w, \qquad P_a = X (I + Y^T \rho Y)^{-1} X^T

(LETKF, Hunt et al. 2007, with observation-space localisation). It is solved in the smaller of the two spaces, on a
coarse grid of columns whose weights are then interpolated (Yang et al. 2009).

Shapes: N members, C channels, H x W grid points, P observations, M columns, S boxes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from phyda_cli.analysis.localisation import Layer, Localisation, Observed

__all__ = ["Reconstruction", "combine", "normal_equations", "solve"]

BOX_CHUNK = 256


@dataclass(frozen=True)
class Reconstruction:
    """``increment`` and ``spread`` (C, H, W) in the units of the members, and the background's own ``prior_spread``."""

    increment: torch.Tensor
    spread: torch.Tensor
    prior_spread: torch.Tensor


def normal_equations(layer: Layer) -> tuple[torch.Tensor, torch.Tensor]:
    """Y rho Y^T (M, N, N) and Y rho d (M, N) of every column.

    The sum over observations for all columns is one matrix product over the boxes' Gram matrices.
    """
    y, d = layer.members, layer.innovation
    n, (m, boxes) = y.shape[0], layer.rho.shape
    edges = np.searchsorted(layer.box, np.arange(boxes + 1))
    a, b = y.new_zeros(m, n * n), y.new_zeros(m, n)
    for first in range(0, boxes, BOX_CHUNK):
        chunk = slice(first, min(first + BOX_CHUNK, boxes))
        gram, pull = y.new_empty(chunk.stop - first, n, n), y.new_empty(chunk.stop - first, n)
        for i, (start, end) in enumerate(zip(edges[chunk], edges[chunk.start + 1 : chunk.stop + 1], strict=True)):
            piece = y[:, start:end]
            torch.mm(piece, piece.T, out=gram[i])
            torch.mv(piece, d[start:end], out=pull[i])
        a.addmm_(layer.rho[:, chunk], gram.flatten(1))
        b.addmm_(layer.rho[:, chunk], pull)
    return a.reshape(m, n, n), b


def _solve_members(layer: Layer, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Ensemble-space solve; ``x`` (M, N, C). Returns weights (M, N) and variance (M, C)."""
    a, b = normal_equations(layer)
    a.diagonal(dim1=1, dim2=2).add_(1.0)
    factor = torch.linalg.cholesky(a)
    w = torch.cholesky_solve(b[:, :, None], factor)[:, :, 0]
    half = torch.linalg.solve_triangular(factor, x, upper=False)
    return w, half.square().sum(dim=1)


def _solve_observations(layer: Layer, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Observation-space solve. Same results as the member space."""
    y, root = layer.members, layer.rho[:, layer.box].sqrt()
    s = root[:, :, None] * (y.T @ y) * root[:, None, :]
    s.diagonal(dim1=1, dim2=2).add_(1.0)
    factor = torch.linalg.cholesky(s)
    w = (root * torch.cholesky_solve((root * layer.innovation)[:, :, None], factor)[:, :, 0]) @ y.T
    z = root[:, :, None] * torch.matmul(y.T, x)
    half = torch.linalg.solve_triangular(factor, z, upper=False)
    return w, x.square().sum(dim=1) - half.square().sum(dim=1)


def solve(members: torch.Tensor, observed: Observed, where: Localisation) -> Reconstruction:
    """Analyse P observations with anomalies ``members`` (N, C, H, W), B = sum_n x_n x_n^T.

    The algebra runs in the dtype of ``observed``; the result has the dtype of ``members``.
    """
    prior = members.square().sum(dim=0)
    increment, ratio = torch.zeros_like(prior), torch.ones_like(prior)
    if observed.innovation.numel():
        for layer in where.layers(observed, members.shape[1]):
            increment[layer.channels], ratio[layer.channels] = _solve_layer(members[:, layer.channels], layer, where)
    return Reconstruction(increment, (ratio * prior).sqrt(), prior.sqrt())


def _solve_layer(members: torch.Tensor, layer: Layer, where: Localisation) -> tuple[torch.Tensor, torch.Tensor]:
    """Increment and ratio of analysis to background variance (C', H, W) of the layer's ``members`` (N, C', H, W)."""
    n, c, h, w = members.shape
    x = members.reshape(n, c, h * w)[:, :, where.columns.points].permute(2, 0, 1).to(layer.members)
    weights, variance = (_solve_observations if layer.innovation.numel() <= n else _solve_members)(layer, x)
    ratio = (variance / x.square().sum(dim=1).clamp(min=1e-30)).clamp(0.0, 1.0)
    everywhere = torch.sparse.mm(where.columns.to_grid.to(members), ratio.to(members))
    return combine(members, weights, where), everywhere.T.reshape(c, h, w)


def combine(members: torch.Tensor, weights: torch.Tensor, where: Localisation) -> torch.Tensor:
    """The sum of ``members`` (N, C, H, W) with the columns' ``weights`` (M, N), interpolated to all points: (C, H, W)."""
    full = torch.sparse.mm(where.columns.to_grid.to(members), weights.to(members)).T
    by_channel = members.flatten(2).unbind(dim=1)
    return torch.stack([(x * full).sum(dim=0) for x in by_channel]).reshape(members.shape[1:])
