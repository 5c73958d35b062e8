"""Scores of numbers: no files, no fields. NaN means absent and is left out, with its weight.

The ensemble score is the fair CRPS (Ferro 2014, eq. 8), which a finite ensemble cannot improve by
being too narrow; the Gaussian one is Gneiting et al. 2005, eq. 5.
"""

from __future__ import annotations

import numpy as np
from scipy.special import erf

from phyda_cli.observations.departures import mean, rms

__all__ = ["crps_ensemble", "crps_gaussian", "mae", "mean", "rms"]


def mae(values: np.ndarray, weights: np.ndarray | float = 1.0) -> float:
    """Weighted mean magnitude."""
    return mean(np.abs(np.asarray(values, np.float64)), weights)


def crps_ensemble(members: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Fair CRPS (...) of ``members`` (M, ...) against ``truth`` (...), in their units; the absolute
    error for M = 1."""
    members = np.asarray(members, np.float64)
    size = members.shape[0]
    error = np.abs(members - truth).mean(axis=0)
    if size == 1:
        return np.asarray(error)
    # The sum of |x_i - x_j| over all pairs, from the order statistics: no M x M array.
    rank = (2 * np.arange(1, size + 1) - size - 1).reshape(-1, *(1,) * (members.ndim - 1))
    pairs = (rank * np.sort(members, axis=0)).sum(axis=0)
    return np.asarray(error - pairs / (size * (size - 1)))


def crps_gaussian(centre: np.ndarray, spread: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """CRPS of normal distributions, all arguments (...) in the same units; the absolute error where
    ``spread`` is zero."""
    spread = np.asarray(spread, np.float64)
    error = np.asarray(truth, np.float64) - centre
    z = np.divide(
        error,
        spread,
        out=np.zeros(np.broadcast_shapes(error.shape, spread.shape)),
        where=spread > 0,
    )
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    closed = spread * (z * erf(z / np.sqrt(2)) + 2 * density - 1 / np.sqrt(np.pi))
    return np.where(spread > 0, closed, np.where(spread == 0, np.abs(error), np.nan))
