"""Variational quality control: observations that the analysis cannot fit weigh less, smoothly
rather than all or nothing.

With the Huber norm (Huber 1964, Ann. Math. Stat. 35, 73; in weather prediction Tavolato and Isaksen
2015, QJRMS 141, 1514) the cost of a misfit r = (y - H x_a) / sigma_o is quadratic up to k and
linear beyond. Its minimum is that of a quadratic cost whose weights w = min(1, k / |r|) come from
the minimum itself: it is found by solving again with the errors sigma_o / sqrt(w).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["huber_weights", "reweighted"]


def huber_weights(misfit: np.ndarray, k: float) -> np.ndarray:
    """Weights (P,) in 0..1 of normalised misfits (P,)."""
    return np.asarray(k / np.maximum(np.abs(misfit), k))


def reweighted(
    fit: Callable[[np.ndarray], np.ndarray],
    observed: np.ndarray,
    error: np.ndarray,
    k: float,
    iterations: int,
) -> np.ndarray:
    """Weights (P,) for the last of ``iterations`` solutions.

    ``fit`` maps observation errors (P,) to the analysed equivalents (P,) of ``observed`` (P,), all
    in one unit.
    """
    weight = np.ones_like(error)
    for _ in range(iterations - 1):
        weight = huber_weights((observed - fit(error / np.sqrt(weight))) / error, k)
    return weight
