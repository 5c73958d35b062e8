"""Whether a difference between two runs over the same times is more than chance.

Diebold and Mariano (1995) with the correction of Harvey, Leybourne and Newbold (1997); a circular
block bootstrap over time (Politis and Romano 1992); the false-discovery rate of Benjamini and
Hochberg (1995).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student

__all__ = [
    "FEWEST_TIMES",
    "block_length",
    "bootstrap_bounds",
    "bounds_of",
    "diebold_mariano",
    "discoveries",
    "independent_blocks",
    "resampled_ratios",
]

FEWEST_TIMES = 10
"""Independent times without which nothing is said of significance."""


def block_length(count: int) -> int:
    """Times that are resampled together: the cube root of their number, two days of 6-hourly
    analyses at most."""
    return int(np.clip(round(count ** (1 / 3)), 1, 8))


def independent_blocks(times: np.ndarray) -> int:
    """Of sorted ``times`` (T,) those that are resampled together: :func:`block_length` where the
    usual gap is a day or less, else one."""
    if len(times) < 2 or np.median(np.diff(times).astype("timedelta64[h]").astype(int)) > 24:
        return 1
    return block_length(len(times))


def diebold_mariano(difference: np.ndarray, horizon: int = 1) -> tuple[float, float]:
    """The statistic of Harvey et al. and its two-sided probability, from the differences (T,) of
    two losses at successive times; autocovariances up to ``horizon`` - 1 count.

    Differences that are all zero have the probability one. NaN where the variance that the
    autocovariances give is not positive.
    """
    n = difference.size
    anomaly = difference - difference.mean()
    if not anomaly.any() and difference.mean() == 0:
        return 0.0, 1.0
    covariances = [float(anomaly[k:] @ anomaly[: n - k]) / n for k in range(horizon)]
    variance = (covariances[0] + 2 * sum(covariances[1:])) / n
    if not variance > 0:
        return float("nan"), float("nan")
    correction = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
    statistic = float(difference.mean() / np.sqrt(variance) * np.sqrt(correction))
    return statistic, float(2 * student.sf(abs(statistic), n - 1))


def resampled_means(values: np.ndarray, block: int, count: int = 1000, seed: int = 0) -> np.ndarray:
    """Means (``count``, ...) of circular block resamples of ``values`` (T, ...) over time."""
    size = len(values)
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, size, (count, -(-size // block)))
    index = (starts[..., None] + np.arange(block)).reshape(count, -1)[:, :size] % size
    weights = np.zeros((count, size))
    np.add.at(weights, (np.arange(count)[:, None], index), 1.0 / size)
    return weights @ values


def bootstrap_bounds(
    values: np.ndarray, level: float = 0.95, count: int = 1000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (...) that hold ``level`` of the resampled means of ``values`` (T, ...)."""
    return bounds_of(resampled_means(values, block_length(len(values)), count, seed), level)


def resampled_ratios(
    above: np.ndarray, below: np.ndarray, block: int, count: int = 1000, seed: int = 0
) -> np.ndarray:
    """Ratios of root mean squares (``count``, ...) in circular block resamples of the squares
    ``above`` and ``below`` (T, ...) of the same times."""
    a, b = (resampled_means(values, block, count, seed) for values in (above, below))
    return np.asarray(np.sqrt(a / b))


def bounds_of(draws: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (...) that hold ``level`` of ``draws`` (count, ...)."""
    tail = 50 * (1 - level)
    low, high = np.percentile(draws, [tail, 100 - tail], axis=0)
    return np.asarray(low), np.asarray(high)


def discoveries(p: np.ndarray, rate: float = 0.05) -> np.ndarray:
    """Which of the probabilities (N,) are significant when ``rate`` of the significant ones may be
    chance; NaN is not."""
    known = np.flatnonzero(np.isfinite(p))
    found = np.zeros(p.shape, bool)
    if not known.size:
        return found
    order = known[np.argsort(p[known], kind="stable")]
    below = p[order] <= rate * np.arange(1, known.size + 1) / known.size
    if below.any():
        found[order[: int(np.flatnonzero(below).max()) + 1]] = True
    return found
