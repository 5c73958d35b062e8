r"""Integrals over layers of pressure, exact for profiles that are linear in log pressure between
levels."""

from __future__ import annotations

import numpy as np

__all__ = ["layer_weights"]


def layer_weights(levels: np.ndarray, bottom: np.ndarray, top: np.ndarray) -> np.ndarray:
    r"""Weights (P, L) of ``levels`` (L,) in the mass-weighted mean between ``bottom`` and ``top``
    (P,), all Pa, levels in any order.

    The weight of level k is the integral of its hat function of x = ln p over :math:`dp = e^x dx`,
    divided by the layer's depth. Beyond the outermost levels the profile keeps their values. Rows
    sum to one.
    """
    order = np.argsort(levels)
    x = np.log(np.asarray(levels, float)[order])
    low, high = np.log(top), np.log(bottom)
    weights = np.zeros((low.size, x.size))
    weights[:, 0] += np.exp(np.minimum(high, x[0])) - np.exp(np.minimum(low, x[0]))
    weights[:, -1] += np.exp(np.maximum(high, x[-1])) - np.exp(np.maximum(low, x[-1]))
    for k in range(x.size - 1):
        a, b = np.clip(low, x[k], x[k + 1]), np.clip(high, x[k], x[k + 1])
        whole = np.exp(b) - np.exp(a)
        rising = ((b - x[k] - 1) * np.exp(b) - (a - x[k] - 1) * np.exp(a)) / (x[k + 1] - x[k])
        weights[:, k] += whole - rising
        weights[:, k + 1] += rising
    result = np.empty_like(weights)
    result[:, order] = weights / (bottom - top)[:, None]
    return result
