r"""Draws of the background's small-scale errors at any points, together.

A stationary field is a sum of waves whose numbers follow the spectrum of its covariance (random
Fourier features, Rahimi and Recht 2007): Cauchy's in space for :math:`e^{-r/L}` (and in the land
fraction), normal for the Gaussian of elevation; those of a product are independent. The taper at
the radius is left out: it shapes correlations at distances where draws hardly correlate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from phyda_cli.analysis.fine_covariance import Points, SmallScale

__all__ = ["prior_draws"]

_WAVES = 200  # of each of the two ranges
_POINTS = 4_000  # at once


def prior_draws(
    small: SmallScale, places: Sequence[Points], count: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """``count`` draws (n, count) of the same fields at each of the ``places`` (n,)."""
    ranges = (
        (small.near_variance, small.near_km, small.near_m, small.land),
        (small.far_variance, small.far_km, small.far_m, 0.0),
    )
    waves, amplitudes = [], []
    for variance, length, height, land in ranges:
        across = rng.standard_normal((_WAVES, 3)) / np.abs(rng.standard_normal((_WAVES, 1)))
        upward = rng.standard_normal((_WAVES, 1)) / float(height)
        ashore = float(land) * rng.standard_cauchy((_WAVES, 1))
        waves.append(np.hstack([across / float(length), upward, ashore]))
        width = np.sqrt(float(variance) / _WAVES)
        amplitudes.append(width * rng.standard_normal((2, _WAVES, count)))
    number = torch.from_numpy(np.concatenate(waves))
    cosine, sine = torch.from_numpy(np.concatenate(amplitudes, axis=1)).float()

    def at(points: Points) -> np.ndarray:
        where = np.hstack([points.position, points.elevation[:, None], points.land[:, None]])
        drawn = np.zeros((len(where), count), np.float32)
        for start in range(0, len(where) if count else 0, _POINTS):
            phase = torch.from_numpy(where[start : start + _POINTS]) @ number.T
            phase = torch.remainder(phase, 2 * torch.pi).float()
            drawn[start : start + _POINTS] = phase.cos() @ cosine + phase.sin() @ sine
        return drawn

    return [at(points) for points in places]
