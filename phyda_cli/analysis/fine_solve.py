r"""The small scales at any points: optimal interpolation of what stage 1 has left,

.. math:: dx = B_s H^T (H B_s H^T + R)^{-1} (d - H dx_{large})

with the nearest observations of each point. With all of them and no radius, this and stage 1, which
must then see the errors R + H B_s H', are together the Kalman solution for the sum of both
covariances: increments and posterior variances, see ``tests/numerics/test_fine.py``.

Points close together share their observations: those in a cube somewhat smaller than the nearer
length and the spacing of the stations are a tile, with one Cholesky decomposition.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from phyda_cli.analysis.fine_covariance import (
    Points,
    SmallScale,
    covariance,
    separation,
    taper,
)

__all__ = ["FineIncrement", "interpolate", "one_thread"]

_SHARED = 0.2  # side of a tile over the distance that its farthest station has, at most
_SMALLEST = 1.0  # km, where many stations stand in one place
_LEVELS = 14  # doublings from the smallest tile to more than the Earth
_TILE = 256  # most points of a tile
_AT_ONCE = 2048  # points, in at least eight tiles: what they need stays in the cache


@dataclass(frozen=True, eq=False)
class FineIncrement:
    """At n points: the ``increment`` (n, V) of V variables, the ``variance`` (n,) that is left, in
    units of the residuals squared, and ``fading`` (n,), from one at a station to zero where all of
    them are farther than the radius."""

    increment: np.ndarray
    variance: np.ndarray
    fading: np.ndarray


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch works in one thread: several that share arrays as small as those of a tile only wait
    for each other, which takes processor time and gains none."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
    variance, near = np.full(count, prior), np.zeros(count)
    if not len(residual):
        return FineIncrement(increment, variance, near)
    tree, many = cKDTree(stations.position), min(neighbours, len(residual))
    values, noise = (np.asarray(a, np.float64) for a in (residual, error_variance))
    for tile, middle in _tiles(targets.position, tree, many):
        real = tile >= 0
        padded = np.where(real, tile, tile[:, :1])
        nearest, index = tree.query(middle, np.arange(1, many + 1))
        seen = nearest[:, 0] < radius
        if not seen.any():
            continue
        padded, index, middle = padded[seen], index[seen], middle[seen]
        places = targets.seen_from(middle, padded), stations.seen_from(middle, index)
        found = _solve(small, *places, values[index], noise[index], radius)
        real[~seen] = False
        at, inside = tile[real], real[seen]
        increment[at], near[at] = found.increment[inside], found.fading[inside]
        variance[at] = np.maximum(found.variance[inside], 0.0)
    return FineIncrement(increment, variance, near)


def _solve(
    small: SmallScale,
    targets: Points,
    stations: Points,
    residual: np.ndarray,
    noise: np.ndarray,
    radius: float,
) -> FineIncrement:
    """At ``targets`` (T, M) from ``residual`` (T, N, V) and the variance of its ``noise`` (T, N) at
    ``stations`` (T, N). Covariances are in single precision, the algebra in double."""
    system = covariance(small, separation(stations, stations), radius).double()
    system.diagonal(dim1=-2, dim2=-1).add_(torch.from_numpy(noise))
    apart = separation(targets, stations)
    factor = torch.linalg.cholesky(system)
    cross = covariance(small, apart, radius).double()
    half = torch.linalg.solve_triangular(factor, cross.mT, upper=False)
    whitened = torch.linalg.solve_triangular(factor, torch.from_numpy(residual), upper=False)
    variance = float(small.variance) - half.square().sum(dim=-2)
    near = taper(apart.distance.amin(dim=-1) / radius)
    return FineIncrement((half.mT @ whitened).numpy(), variance.numpy(), near.numpy())


def _tiles(
    position: np.ndarray, tree: cKDTree, neighbours: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Numbers of the points (T, M) in some tiles at a time, -1 where one has fewer, and the middle
    of each (T, 3): the largest cubes that are small beside the distance of their ``neighbours``.
    Tiles of about the same size come together."""
    code = _cubes(position)
    order = np.argsort(code, kind="stable")
    position, code = position[order], code[order]
    left, runs = np.arange(len(code)), []
    for level in range(_LEVELS, -1, -1):
        start = np.flatnonzero(np.diff(code[left] >> 3 * level, prepend=-1))
        size = np.diff(start, append=len(left))
        if not len(start):
            break
        middle = np.add.reduceat(position[left], start) / size[:, None]
        reach = tree.query(middle, [neighbours])[0][:, 0]
        fits = _SMALLEST * 2**level <= np.maximum(_SHARED * reach, _SMALLEST)
        runs.append((left[start[fits]], size[fits], middle[fits]))
        left = left[~np.repeat(fits, size)]
    first, size, middle = (np.concatenate(parts) for parts in zip(*runs, strict=True))
    del position, code, left  # a fine grid's take much memory

    parts = -(-size // _TILE)
    number = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    first, size, middle, parts = (np.repeat(a, parts, axis=0) for a in (first, size, middle, parts))
    start, end = number * size // parts, (number + 1) * size // parts
    first, size = first + start, end - start
    by_size, at = np.argsort(size, kind="stable"), 0
    while at < len(by_size):
        some = by_size[at : at + max(_AT_ONCE // int(size[by_size[at]]), 8)]
        within = np.arange(size[some[-1]])
        known = within < size[some, None]
        members = order[np.where(known, first[some, None] + within, 0)]
        yield np.where(known, members, -1), middle[some]
        at += len(some)


def _cubes(position: np.ndarray) -> np.ndarray:
    """Morton's number (n,) of the smallest cube of each ``position`` (n, 3) [km]: without its last
    3 k bits it is that of the cube with sides 2^k times as long."""
    number = np.zeros(len(position), np.int64)
    cube = np.floor(position / _SMALLEST).astype(np.int64) + 2 ** (_LEVELS - 1)
    for bit in range(_LEVELS):
        for axis in range(3):
            number |= (cube[:, axis] >> bit & 1) << 3 * bit + axis
    return number
