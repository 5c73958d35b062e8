r"""Stage 1: the linear-Gaussian analysis in a local ensemble space.

With background-error anomalies X (columns scaled so that B = X X^T), Y = R^{-1/2} H X and
normalised innovations d = R^{-1/2} (y - H x_b), the analysis of one column whose observations are
tapered by rho is

.. math:: w = (I + Y^T \rho Y)^{-1} Y^T \rho d, \qquad \delta x = X w, \qquad P_a = X (I + Y^T \rho
Y)^{-1} X^T

(LETKF, Hunt et al. 2007, with observation-space localisation). It is solved in the smaller of the
two spaces, on a coarse grid of columns whose weights are then interpolated (Yang et al. 2009).

Draws from the posterior come from the same factorisation: with eta ~ N(0, I) of the members and eps
~ N(0, I) of the observations, the same everywhere, the weights (I + Y^T rho Y)^{-1} (eta + Y^T
rho^{1/2} eps) have the covariance (I + Y^T rho Y)^{-1}, and X times them that of the analysis
(randomisation, Chapnik et al. 2006).

Shapes: N members, C channels, H x W grid points, P observations, M columns, S boxes, K draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from phyda_cli.analysis.localisation import Draws, Layer, Localisation, Observed

__all__ = ["Reconstruction", "combine", "normal_equations", "solve", "solve_members"]

BOX_CHUNK = 96


@dataclass(frozen=True)
class Reconstruction:
    """``increment`` and ``spread`` (C, H, W) in the units of the members, and the background's own
    ``prior_spread``; ``perturbations`` (K, C, H, W) of zero mean, drawn from the analysis errors'
    distribution."""

    increment: torch.Tensor
    spread: torch.Tensor
    prior_spread: torch.Tensor
    perturbations: torch.Tensor


def normal_equations(layer: Layer) -> tuple[torch.Tensor, torch.Tensor]:
    """Y rho Y^T (M, N, N) and the right-hand sides (M, N, 1 + K) of every column: Y rho d, then the
    draws' eta + Y rho^1/2 eps.

    The sum over observations for all columns is a matrix product over the boxes' Gram matrices,
    without the columns at the beginning and the end that a chunk of boxes does not reach: both go
    from south to north.
    """
    y, d, noise = layer.members, layer.innovation, layer.draws.noise
    n, (m, boxes), k = y.shape[0], layer.rho.shape, noise.shape[1]
    edges = np.searchsorted(layer.box, np.arange(boxes + 1))
    a, b, drawn = y.new_zeros(m, n * n), y.new_zeros(m, n), y.new_zeros(m, n * k)
    for first in range(0, boxes, BOX_CHUNK):
        chunk = slice(first, min(first + BOX_CHUNK, boxes))
        size = chunk.stop - first
        gram, pull, push = y.new_empty(size, n, n), y.new_empty(size, n), y.new_empty(size, n, k)
        for i, (start, end) in enumerate(
            zip(edges[chunk], edges[chunk.start + 1 : chunk.stop + 1], strict=True)
        ):
            piece = y[:, start:end]
            torch.mm(piece, piece.T, out=gram[i])
            torch.mv(piece, d[start:end], out=pull[i])
            torch.mm(piece, noise[start:end], out=push[i])
        near = np.flatnonzero(layer.rho[:, chunk].any(dim=1).numpy(force=True))
        if not near.size:
            continue
        columns = slice(int(near[0]), int(near[-1]) + 1)
        rho = layer.rho[columns, chunk]
        a[columns].addmm_(rho, gram.flatten(1))
        b[columns].addmm_(rho, pull)
        drawn[columns].addmm_(rho.sqrt(), push.flatten(1))
    return a.reshape(m, n, n), torch.cat(
        [b[:, :, None], drawn.reshape(m, n, k) + layer.draws.prior], dim=2
    )


def solve_members(layer: Layer, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Ensemble-space solve; ``x`` (M, N, C). Returns weights (M, N, 1 + K) and variance (M, C)."""
    a, b = normal_equations(layer)
    a.diagonal(dim1=1, dim2=2).add_(1.0)
    factor = torch.linalg.cholesky(a)
    half = torch.linalg.solve_triangular(factor, x, upper=False)
    return torch.cholesky_solve(b, factor), half.square().sum(dim=1)


def _solve_observations(layer: Layer, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Observation-space solve. Same results as the member space."""
    y, root = layer.members, layer.rho[:, layer.box].sqrt()[:, :, None]
    s = root * (y.T @ y) * root.mT
    s.diagonal(dim1=1, dim2=2).add_(1.0)
    factor = torch.linalg.cholesky(s)
    drawn = layer.draws.noise - root * (y.T @ layer.draws.prior)
    right = torch.cat([root * layer.innovation[:, None], drawn], dim=2)
    w = y @ (root * torch.cholesky_solve(right, factor))
    w[:, :, 1:] += layer.draws.prior
    half = torch.linalg.solve_triangular(factor, root * torch.matmul(y.T, x), upper=False)
    return w, x.square().sum(dim=1) - half.square().sum(dim=1)


def solve(
    members: torch.Tensor,
    observed: Observed,
    where: Localisation,
    draws: Draws | None = None,
    rows: slice | None = None,
) -> Reconstruction:
    """Analyse P observations with anomalies ``members`` (N, C, H, W), B = sum_n x_n x_n^T,
    everywhere or in some ``rows`` of the grid.

    The algebra runs in the dtype of ``observed``; the result has the dtype of ``members``.
    """
    draws, rows = draws or Draws.none(observed), rows or slice(0, members.shape[2])
    where, band = where.for_rows(rows), members[:, :, rows]
    prior = band.square().sum(dim=0)
    ratio = torch.ones_like(prior)
    fields = members.new_zeros(1 + draws.prior.shape[1], *prior.shape)
    fields[1:] = torch.einsum("nk,nchw->kchw", draws.prior.to(members), band)
    if observed.innovation.numel():
        x = members.flatten(2)[:, :, where.columns.points]
        for layer in where.layers(observed, draws, members.shape[1]):
            channels = layer.channels
            fields[:, channels], ratio[channels] = _solve_layer(
                x[:, channels], band[:, channels], layer, where
            )
    return Reconstruction(fields[0], (ratio * prior).sqrt(), prior.sqrt(), fields[1:])


def _solve_layer(
    x: torch.Tensor, members: torch.Tensor, layer: Layer, where: Localisation
) -> tuple[torch.Tensor, torch.Tensor]:
    """Increment and draws (1 + K, C', H, W), and the ratio of analysis to background variance, of
    ``members`` (N, C', H, W), which are ``x`` (N, C', M) at the columns."""
    x = x.permute(2, 0, 1).to(layer.members)
    weights, variance = (
        _solve_observations if layer.innovation.numel() <= x.shape[1] else solve_members
    )(layer, x)
    ratio = (variance / x.square().sum(dim=1).clamp(min=1e-30)).clamp(0.0, 1.0)
    everywhere = torch.sparse.mm(where.columns.to_grid.to(members), ratio.to(members))
    return combine(members, weights, where), everywhere.T.reshape(members.shape[1:])


def combine(members: torch.Tensor, weights: torch.Tensor, where: Localisation) -> torch.Tensor:
    """Sums of ``members`` (N, C, H, W) with the columns' ``weights`` (M, N, K), interpolated to all
    points: (K, C, H, W)."""
    n, c, h, w = members.shape
    full = torch.sparse.mm(
        where.columns.to_grid.to(members), weights.flatten(1).to(members)
    ).T.reshape(n, -1, h * w)
    by_channel = members.flatten(2).unbind(dim=1)
    sums = torch.stack(
        [
            torch.stack([(x * weight).sum(dim=0) for x in by_channel])
            for weight in full.unbind(dim=1)
        ]
    )
    return sums.reshape(-1, c, h, w)
