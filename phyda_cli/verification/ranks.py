"""Where the truth falls among the members: rank histograms, their shape, coverage of intervals.

The shape is that of Jolliffe and Primo (2008): chi-square of a flat histogram, and its parts along
a slope (bias) and along a curve (spread).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, norm

__all__ = ["RankShape", "coverage", "gaussian_counts", "rank_counts", "rank_shape", "rebinned"]


@dataclass(frozen=True)
class RankShape:
    """``slope`` is positive where the truth lies high among the members (they are too low),
    ``curvature`` where it lies outside them (they are too narrow); both are zero for flat ranks and
    one where one end, or both, hold all the counts. ``p`` is the chi-square probability of a
    histogram as uneven as this one from a perfect ensemble."""

    slope: float
    curvature: float
    p: float


def rank_counts(members: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """For each of the M + 1 ranks the part (M + 1, ...) of ``truth`` (...) that falls there among
    ``members`` (M, ...).

    A truth equal to k members has the part 1 / (k + 1) in each of the ranks it could have. Points
    with a NaN have none.
    """
    known = np.isfinite(truth) & np.isfinite(members).all(axis=0)
    low = (members < truth).sum(axis=0)
    high = low + (members == truth).sum(axis=0)
    rank = np.arange(members.shape[0] + 1).reshape(-1, *(1,) * np.ndim(truth))
    part = np.where((rank >= low) & (rank <= high), 1.0 / (high - low + 1), 0.0)
    return np.where(known, part, 0.0)


def gaussian_counts(z: np.ndarray, bins: int) -> np.ndarray:
    """As :func:`rank_counts`, (bins, ...), of truths ``z`` (...) standard deviations above the
    centre of a normal distribution, in intervals of equal probability."""
    known = np.isfinite(z)
    interval = np.minimum((norm.cdf(np.where(known, z, 0.0)) * bins).astype(int), bins - 1)
    index = np.arange(bins).reshape(-1, *(1,) * np.ndim(z))
    return ((interval == index) & known).astype(float)


def rebinned(counts: np.ndarray, bins: int) -> np.ndarray:
    """A histogram (..., K) over equal parts of 0..1 as one of ``bins`` parts, each count spread
    evenly over its own part: a flat histogram stays flat."""
    own = counts.shape[-1]
    edges = np.linspace(0, 1, bins + 1)
    total = np.concatenate([np.zeros((*counts.shape[:-1], 1)), np.cumsum(counts, axis=-1)], axis=-1)
    position = edges * own
    low = np.minimum(position.astype(int), own - 1)
    inside = total[..., low] + (position - low) * (total[..., low + 1] - total[..., low])
    return np.diff(inside, axis=-1)


def rank_shape(counts: np.ndarray) -> RankShape | None:
    """The shape of a histogram (K,) of independent counts, None where there is none."""
    bins, n = counts.size, float(counts.sum())
    if bins < 2 or n <= 0:
        return None
    expected = n / bins
    statistic = float(((counts - expected) ** 2).sum() / expected)
    x = np.linspace(-1, 1, bins)
    square = x**2 - (x**2).mean()
    slope = float(counts @ x) / n
    curvature = float(counts @ square / n / square.max()) if bins > 2 else 0.0
    return RankShape(slope, curvature, float(chi2.sf(statistic, bins - 1)))


def coverage(counts: np.ndarray, central: float) -> float | None:
    """Part of the truths within the ``central`` part (0..1) of the distribution, from a histogram
    (K,); equal to ``central`` in a perfect ensemble. None without counts."""
    if counts.sum() <= 0:
        return None
    fine = rebinned(counts, 200)
    edge = round(100 * (1 - central))
    return float(fine[edge : 200 - edge].sum() / fine.sum())
