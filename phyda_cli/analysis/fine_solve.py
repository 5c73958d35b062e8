r"""The small scales at any points: optimal interpolation of what stage 1 has left,

.. math:: dx = B_s H^T (H B_s H^T + R)^{-1} (d - H dx_{large})

with the nearest observations of each point. With all of them and no radius, this and stage 1, which
must then see the errors R + H B_s H', are together the Kalman solution for the sum of both
covariances: increments and posterior variances, see ``tests/numerics/test_fine.py``.

Points close together share their observations: those in a cube somewhat smaller than the nearer
length and the spacing of the stations are a tile, with one Cholesky decomposition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from phyda_cli.analysis.fine_covariance import (
    Points,
    SmallScale,
    covariance,
    separation,
    taper,
)

__all__ = ["FineIncrement", "fading", "interpolate"]

_CUBE = 0.75  # side of a tile over the shorter of the near length and the stations' spacing
_SMALLEST = 1.0  # km, where several stations stand in one place
_TILE = 64  # most points of a tile
_AT_ONCE = 32  # tiles: what they need stays in the cache


@dataclass(frozen=True, eq=False)
class FineIncrement:
    """At n points: the ``increment`` (n, V) of V variables, the ``variance`` (n,) that is left of
    ``prior``, both in units of the residuals squared."""

    increment: np.ndarray
    variance: np.ndarray
    prior: float


def interpolate(
    small: SmallScale,
    targets: Points,
    stations: Points,
    residual: np.ndarray,
    error_variance: np.ndarray,
    neighbours: int,
    radius: float,
) -> FineIncrement:
    """The small scales at ``targets`` (n,) from ``residual`` (m, V) at ``stations`` (m,).

    Args:
        error_variance: of the observations (m,), as the residuals are scaled.
        neighbours: observations for each tile of targets.
        radius: where their influence ends [km].
    """
    count = len(targets.elevation)
    increment = np.zeros((count, residual.shape[1]))
    prior = float(small.variance)
    variance = np.full(count, prior)
    if not len(residual):
        return FineIncrement(increment, variance, prior)
    tree = cKDTree(stations.position)
    spacing = float(np.median(tree.query(stations.position, min(2, len(residual)))[0][..., -1]))
    side = _CUBE * max(min(float(small.near_km), float(small.far_km), spacing), _SMALLEST)
    members = _tiles(targets.position, side)
    values = torch.from_numpy(np.asarray(residual, np.float64))
    noise = torch.from_numpy(np.asarray(error_variance, np.float64))
    for start in range(0, len(members), _AT_ONCE):
        tile = members[start : start + _AT_ONCE]
        first = tile[:, :1]
        padded = np.where(tile < 0, first, tile)
        middle = targets.position[padded].mean(axis=1)
        nearest, index = tree.query(middle, min(neighbours, len(residual)))
        index, nearest = index.reshape(len(tile), -1), nearest.reshape(len(tile), -1)
        seen = nearest[:, 0] < radius
        if not seen.any():
            continue
        tile, padded, index = tile[seen], padded[seen], index[seen]
        found, explained = _solve(
            small, targets.take(padded), stations.take(index), values[index], noise[index], radius
        )
        real = tile >= 0
        increment[tile[real]] = found.numpy()[real]
        variance[tile[real]] = np.maximum(prior - explained.numpy()[real], 0.0)
    return FineIncrement(increment, variance, prior)


def fading(targets: Points, stations: Points, radius: float) -> np.ndarray:
    """From one at ``stations`` (m,) to zero at ``radius`` [km] from them all, at ``targets``
    (n,)."""
    distance = torch.from_numpy(cKDTree(stations.position).query(targets.position)[0])
    return np.asarray(taper(distance / radius))


def _solve(
    small: SmallScale,
    targets: Points,
    stations: Points,
    residual: Tensor,
    noise: Tensor,
    radius: float,
) -> tuple[Tensor, Tensor]:
    """Increments (T, M, V) at ``targets`` (T, M) from ``residual`` (T, N, V) at ``stations`` (T,
    N), and the variance explained (T, M)."""
    system = covariance(small, separation(stations, stations), radius) + torch.diag_embed(noise)
    cross = covariance(small, separation(targets, stations), radius)
    factor = torch.linalg.cholesky(system)
    half = torch.linalg.solve_triangular(factor, cross.mT, upper=False)
    whitened = torch.linalg.solve_triangular(factor, residual, upper=False)
    return half.mT @ whitened, (half**2).sum(dim=-2)


def _tiles(position: np.ndarray, side: float) -> np.ndarray:
    """Numbers of the points (T, M) in each tile, -1 where it has fewer: cubes of ``side``."""
    cube = np.floor(position / side).astype(np.int64)
    key = (cube[:, 0] * 40_009 + cube[:, 1]) * 40_009 + cube[:, 2]
    order = np.argsort(key, kind="stable")
    _, start, size = np.unique(key[order], return_index=True, return_counts=True)
    within = np.arange(len(key)) - np.repeat(start, size)
    parts = -(-size // _TILE)
    tile = np.repeat(np.cumsum(parts) - parts, size) + within // _TILE
    members = np.full((int(parts.sum()), min(_TILE, int(size.max()))), -1)
    members[tile, within % _TILE] = order
    return members
