r"""The mean error of a background as the background itself tells it: a linear regression on its leading patterns and the season.

Persistence errs in a way that is partly known beforehand: highs move east. With x_b a background, m the mean state and f(t) a constant
and two harmonics of the year, truth minus background is expected to be

.. math:: e = A^T [f(t), P (x_b - m)]

and x_b + e is the background that the analysis starts from. A forecast model's errors, and those of a cycle, are not of this kind.
Shapes: K patterns, C channels, H x W grid points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["N_SEASON", "MeanError", "season"]

N_SEASON = 5


def season(time: np.ndarray) -> np.ndarray:
    """A constant and the first two harmonics of the year at ``time`` (n,): (n, N_SEASON)."""
    second = np.asarray(time, "datetime64[s]")
    year = 2 * np.pi * ((second - second.astype("datetime64[Y]")) / np.timedelta64(1, "s")) / (365.25 * 86400)
    return np.stack([np.ones_like(year), np.cos(year), np.sin(year), np.cos(2 * year), np.sin(2 * year)], axis=1)


@dataclass(frozen=True, eq=False)
class MeanError:
    """``origin`` m (C, H, W) [physical units]; ``patterns`` P (K, C, H, W) [one over them]; ``weights`` A (N_SEASON + K, C, H, W)."""

    origin: np.ndarray
    patterns: np.ndarray
    weights: np.ndarray

    def predictors(self, states: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Predictors (n, N_SEASON + K) of ``states`` (n, C, H, W) in physical units, valid at ``time`` (n,)."""
        scores = (states - self.origin).reshape(len(states), -1) @ self.patterns.reshape(len(self.patterns), -1).T
        return np.concatenate([season(time), scores], axis=1)

    def __call__(self, states: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Expected truth minus background (n, C, H, W) float32 [physical units]; arguments as of :meth:`predictors`."""
        flat = self.predictors(states, time) @ self.weights.reshape(len(self.weights), -1)
        return flat.reshape(-1, *self.weights.shape[1:]).astype(np.float32)
