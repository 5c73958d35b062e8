r"""Stage 1: the linear-Gaussian analysis in a local ensemble space.

With background-error anomalies X (columns scaled so that B = X X^T), Y = R^{-1/2} H X and
normalised innovations d = R^{-1/2} (y - H x_b), the analysis of one column whose observations are
tapered by rho is

.. math:: w = (I + Y^T \rho Y)^{-1} Y^T \rho d, \qquad \delta x = X w, \qquad P_a = X (I + Y^T \rho
Y)^{-1} X^T

(LETKF, Hunt et al. 2007, with observation-space localisation). Each column is solved in the
cheaper of the two spaces, on a coarse grid of columns whose weights are then interpolated (Yang et
al. 2009).

Draws from the posterior come from the same factorisation: with eta ~ N(0, I) of the members and eps
~ N(0, I) of the observations, the same everywhere, the weights (I + Y^T rho Y)^{-1} (eta + Y^T
rho^{1/2} eps) have the covariance (I + Y^T rho Y)^{-1}, and X times them that of the analysis
(randomisation, Chapnik et al. 2006).

Shapes: N members, C channels, H x W grid points, P observations, M columns, S boxes, K draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import pad

from phyda_cli.analysis.localisation import Draws, Layer, Localisation, Observed

__all__ = ["Reconstruction", "combine", "normal_equations", "of_channels", "solve", "solve_members"]

BOX_CHUNK = 48
VALUES_AT_ONCE = 50_000  # observations whose members are copied
ROW_BLOCK = 96  # of a Gram matrix, of which the lower triangle is enough
FACTOR_BLOCK = 48
COLUMNS_AT_ONCE = 12  # with 384 members they fill 7 MB
FAR_APART = 1.5  # columns that together see more than so many times what each sees go apart


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
    """Y rho Y^T (M, N, N), of which the lower triangles count, and the right-hand sides (M, N, 1 +
    K) of every column: Y rho d, then the draws' eta + Y rho^1/2 eps."""
    bands, right = _tapered_sums(layer, layer.rho)
    return _whole(bands), right


def _tapered_sums(layer: Layer, rho: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """:func:`normal_equations` of the columns with the taper ``rho`` (M, S'), the matrices in bands
    of rows without what lies right of the diagonal.

    The sum over observations for all columns is a matrix product over the boxes' Gram matrices.
    Those of boxes with about as many observations are made together. Boxes come in an order that
    keeps neighbours together, so that few columns reach all of them.
    """
    y, k = layer.members.T.contiguous(), layer.draws.noise.shape[1]  # a box's rows lie together
    n, m = y.shape[1], rho.shape[0]
    pulls = torch.cat([layer.innovation[:, None], layer.draws.noise], dim=1)
    right = y.new_zeros(m, n, 1 + k)
    rows = [slice(i, min(i + ROW_BLOCK, n)) for i in range(0, n, ROW_BLOCK)]
    bands = [y.new_zeros(m, own.stop - own.start, own.stop) for own in rows]
    for boxes, members in _boxes_of_a_size(layer, rho):
        near = rho[:, boxes].any(dim=1).nonzero()[:, 0]
        weight, root = rho[near][:, boxes], rho[near][:, boxes].sqrt()
        filled = (members >= 0).to(y)[:, :, None]
        piece = y[members] * filled
        pull = (piece.mT @ pulls[members]).reshape(boxes.numel(), n, 1 + k)
        right[:, :, 0].index_add_(0, near, weight @ pull[:, :, 0])
        if k:
            drawn = (root @ pull[:, :, 1:].flatten(1)).reshape(-1, n, k)
            right[:, :, 1:].index_add_(0, near, drawn)
        for band, own in zip(bands, rows, strict=True):
            products = piece[:, :, own].mT @ piece[:, :, : own.stop]
            band.flatten(1).index_add_(0, near, weight @ products.flatten(1))
    right[:, :, 1:] += layer.draws.prior
    return bands, right


def _boxes_of_a_size(
    layer: Layer, rho: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The boxes that some column of ``rho`` (M, S') sees, some (B,) at a time, and their
    observations (B, L), -1 where one has fewer than others; all have more than half of L."""
    start = np.searchsorted(layer.box, np.arange(rho.shape[1] + 1))
    count = np.diff(start)
    seen = rho.any(dim=0).numpy(force=True)
    size = 2 ** np.ceil(np.log2(np.maximum(count, 1))).astype(int)
    for length in np.unique(size[seen]).tolist():
        alike = np.flatnonzero(seen & (size == length))
        together = max(1, min(BOX_CHUNK, VALUES_AT_ONCE // length))
        for first in range(0, alike.size, together):
            boxes = alike[first : first + together]
            place = np.arange(length)
            members = np.where(place < count[boxes, None], start[boxes, None] + place, -1)
            yield torch.from_numpy(boxes).to(rho.device), torch.from_numpy(members).to(rho.device)


def _whole(bands: list[torch.Tensor]) -> torch.Tensor:
    """Bands of lower triangles (M, N', up to N) as matrices (M, N, N)."""
    n = bands[-1].shape[2]
    return torch.cat([pad(band, (0, n - band.shape[2])) for band in bands], dim=1)


def cholesky(a: torch.Tensor) -> torch.Tensor:
    """Lower factors of the lower triangles of ``a`` (M, N, N), which they overwrite.

    LAPACK takes many times as long as a product of matrices of this size. So this is a loop over
    blocks that are, but for a small one on the diagonal, products.
    """
    n = a.shape[1]
    for first in range(0, n, FACTOR_BLOCK):
        own, below = slice(first, first + FACTOR_BLOCK), slice(first + FACTOR_BLOCK, n)
        if first:
            a[:, first:, own].baddbmm_(a[:, first:, :first], a[:, own, :first].mT, alpha=-1)
        factor = torch.linalg.cholesky(a[:, own, own])
        a[:, own, own] = factor
        if below.start < n:
            identity = torch.eye(factor.shape[1], dtype=a.dtype, device=a.device)
            inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
            a[:, below, own] = a[:, below, own] @ inverse.mT
    return a


def solve_members(
    layer: Layer, x: torch.Tensor, columns: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ensemble-space solve for ``columns`` of the layer; ``x`` (M, N, C) is of the same columns.

    Returns weights (M, N, 1 + K) and variance (M, C).
    """
    bands, right = _tapered_sums(layer, layer.rho if columns is None else layer.rho[columns])
    weights, variance = torch.empty_like(right), x.new_empty(x.shape[0], x.shape[2])
    for some in _batches(x):
        a = _whole([band[some] for band in bands])
        a.diagonal(dim1=1, dim2=2).add_(1.0)
        factor = cholesky(a)
        both = torch.cat([right[some], x[some]], dim=2)
        half = torch.linalg.solve_triangular(factor, both, upper=False)
        pulled, seen = half.split([right.shape[2], x.shape[2]], dim=2)
        weights[some] = torch.linalg.solve_triangular(factor.mT, pulled, upper=True)
        variance[some] = seen.square().sum(dim=1)
    return weights, variance


def _batches(x: torch.Tensor, together: int = COLUMNS_AT_ONCE) -> list[slice]:
    """Columns of ``x`` (M, N, C) whose matrices stay in a processor's cache ``together``; on a GPU
    all."""
    size = together if x.device.type == "cpu" else max(1, x.shape[0])
    return [slice(i, i + size) for i in range(0, x.shape[0], size)]


def _solve_observations(
    layer: Layer, x: torch.Tensor, columns: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Observation-space solve with the observations that each of the columns sees. Same arguments
    and results as the member space."""
    rho, n = layer.rho[columns], x.shape[1]
    most = min(n, max(1, int(((rho > 0).to(rho) @ _counts(layer)).max())))
    some = _batches(x, round(COLUMNS_AT_ONCE * (n / most) ** 2))
    solved = [_in_observation_space(layer, x[own], rho[own]) for own in some]
    return torch.cat([w for w, _ in solved]), torch.cat([v for _, v in solved])


def _in_observation_space(
    layer: Layer, x: torch.Tensor, rho: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The columns tapered by ``rho`` (M, S'), with all observations that some of them sees; those
    that a column does not see have no weight there."""
    seen = rho.any(dim=0).numpy(force=True)[layer.box]
    root, half = rho[:, layer.box[seen]].sqrt(), rho.shape[0] // 2
    if half and root.shape[1] > FAR_APART * root.count_nonzero(dim=1).max():
        parts = [
            _in_observation_space(layer, x[i], rho[i]) for i in (slice(half), slice(half, None))
        ]
        return torch.cat([w for w, _ in parts]), torch.cat([v for _, v in parts])
    y, prior = layer.members.T[seen], layer.draws.prior
    s = (y @ y.mT) * root[:, :, None] * root[:, None, :]
    s.diagonal(dim1=1, dim2=2).add_(1.0)
    pulled = (root * layer.innovation[seen])[:, :, None]
    drawn = layer.draws.noise[seen] - root[:, :, None] * (y @ prior)
    right = torch.cat([pulled, drawn, root[:, :, None] * (y @ x)], dim=2)
    factor, k = cholesky(s), prior.shape[1]
    solved = torch.linalg.solve_triangular(factor, right, upper=False)
    pulls = torch.linalg.solve_triangular(factor.mT, solved[:, :, : 1 + k], upper=True)
    w = y.mT @ (root[:, :, None] * pulls)
    w[:, :, 1:] += prior
    return w, x.square().sum(dim=1) - solved[:, :, 1 + k :].square().sum(dim=1)


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
    prior = torch.linalg.vector_norm(band, dim=0)
    ratio = torch.ones_like(prior)
    drawn = torch.einsum("nk,nchw->kchw", draws.prior.to(members), band)
    fields = torch.cat([torch.zeros_like(prior)[None], drawn])
    if observed.innovation.numel():
        for layer in where.layers(observed, draws, members.shape[1]):
            channels = layer.channels
            own = of_channels(band, channels)
            x = of_channels(members, channels).flatten(2)[:, :, where.columns.points]
            fields[:, channels], ratio[channels] = _solve_layer(x, own, layer, where)
    return Reconstruction(fields[0], ratio.sqrt() * prior, prior, fields[1:])


def of_channels(members: torch.Tensor, channels: np.ndarray) -> torch.Tensor:
    """Some ``channels`` (C',) of ``members`` (N, C, H, W), those of a value together in memory."""
    return members.movedim(0, -1)[channels].movedim(-1, 0)


def _solve_layer(
    x: torch.Tensor, members: torch.Tensor, layer: Layer, where: Localisation
) -> tuple[torch.Tensor, torch.Tensor]:
    """Increment and draws (1 + K, C', H, W), and the ratio of analysis to background variance, of
    ``members`` (N, C', H, W), which are ``x`` (N, C', M) at the columns."""
    x = x.permute(2, 0, 1).to(layer.members)
    weights = x.new_empty(*x.shape[:2], 1 + layer.draws.prior.shape[1])
    variance = x.new_empty(x.shape[0], x.shape[2])
    few = _sees_few(layer)
    for columns, solved in ((few, _solve_observations), (~few, solve_members)):
        chosen = columns.nonzero()[:, 0]
        if chosen.numel():
            weights[chosen], variance[chosen] = solved(layer, x[chosen], chosen)
    ratio = (variance / x.square().sum(dim=1).clamp(min=1e-30)).clamp(0.0, 1.0)
    everywhere = torch.sparse.mm(where.columns.to_grid.to(members), ratio.to(members))
    return combine(members, weights, where), everywhere.T.reshape(members.shape[1:])


def _sees_few(layer: Layer) -> torch.Tensor:
    """The columns (M,) that see so few observations that P x P matrices are cheaper to make and to
    factorise than N x N ones."""
    n, seen = layer.members.shape[0], (layer.rho > 0).to(layer.rho)
    p = seen @ _counts(layer)
    return p.square() * (n + p / 3) <= n**2 * (seen.sum(dim=1) + n / 3)


def _counts(layer: Layer) -> torch.Tensor:
    """How many observations each box (S',) has."""
    return torch.from_numpy(np.bincount(layer.box, minlength=layer.rho.shape[1])).to(layer.rho)


def combine(members: torch.Tensor, weights: torch.Tensor, where: Localisation) -> torch.Tensor:
    """Sums of ``members`` (N, C, H, W) with the columns' ``weights`` (M, N, K), interpolated to all
    points: (K, C, H, W)."""
    n, c, h, w = members.shape
    full = torch.sparse.mm(where.columns.to_grid.to(members), weights.flatten(1).to(members))
    sums = members.flatten(2).permute(2, 1, 0) @ full.reshape(h * w, n, -1)
    return sums.permute(2, 1, 0).reshape(-1, c, h, w)
