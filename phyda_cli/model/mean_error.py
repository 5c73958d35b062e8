r"""The mean error of a background as the background itself tells it: a regression on its leading
patterns and the season.

Persistence errs in a way that is partly known beforehand: highs move east, faster where the flow is
strong. With x_b a background, m the mean state, f(t) a constant and two harmonics of the year and s
= P (x_b - m) its scores on K patterns, truth minus background is expected to be

.. math:: e = A^T [f(t), s, s_i \cos t, s_i \sin t, s_i s_j], \quad i \le j \le Q

and x_b + e is the background that the analysis starts from. Products are there because advection is
one: of wind, which patterns of mass tell, and of what it carries. A forecast model's errors, and
those of a cycle, are not of this kind. Shapes: K patterns, Q of them with products, C channels, H x
W grid points.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np

from phyda_cli.fields.earth import year_angle

__all__ = ["N_SEASON", "MeanError", "n_predictors", "season"]

N_SEASON = 5
# standard deviations that a score counts as in a product, so that rare states are not extrapolated
# to
FARTHEST = 3.0


def season(time: np.ndarray) -> np.ndarray:
    """A constant and the first two harmonics of the year at ``time`` (n,): (n, N_SEASON)."""
    year = year_angle(time)
    return np.stack(
        [np.ones_like(year), np.cos(year), np.sin(year), np.cos(2 * year), np.sin(2 * year)], axis=1
    )


def n_predictors(patterns: int, products: int) -> int:
    """Number of predictors with so many ``patterns``, the first ``products`` of them multiplied."""
    return N_SEASON + patterns + 2 * products + products * (products + 1) // 2


@dataclass(frozen=True, eq=False)
class MeanError:
    """``origin`` m (C, H, W) [physical units]; ``patterns`` P (K, C, H, W) [one over them];
    ``weights`` A (n_predictors, C, H, W)."""

    origin: np.ndarray
    patterns: np.ndarray
    weights: np.ndarray

    @property
    def fits(self) -> bool:
        """Whether the number of weights goes with that of patterns."""
        more = len(self.weights) - N_SEASON - len(self.patterns)
        return more >= 0 and n_predictors(len(self.patterns), self.products) == len(self.weights)

    @property
    def products(self) -> int:
        """Q, from the number of weights."""
        return (isqrt(25 + 8 * (len(self.weights) - N_SEASON - len(self.patterns))) - 5) // 2

    def predictors(self, states: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Predictors (n, n_predictors) of ``states`` (n, C, H, W) in physical units, valid at
        ``time`` (n,)."""
        scores = (states - self.origin).reshape(len(states), -1) @ self.patterns.reshape(
            len(self.patterns), -1
        ).T
        year, first = season(time), scores[:, : self.products].clip(-FARTHEST, FARTHEST)
        i, j = np.triu_indices(first.shape[1])
        return np.concatenate(
            [year, scores, first * year[:, [1]], first * year[:, [2]], first[:, i] * first[:, j]],
            axis=1,
        )

    def __call__(self, states: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Expected truth minus background (n, C, H, W) float32 [physical units]; arguments as of
        :meth:`predictors`."""
        flat = self.predictors(states, time) @ self.weights.reshape(len(self.weights), -1)
        return flat.reshape(-1, *self.weights.shape[1:]).astype(np.float32)
