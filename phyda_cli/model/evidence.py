r"""What the innovations say of the size of the background error, place by place and channel by
channel.

An innovation with independent errors is distributed as d ~ N(0, sigma_o^2 + sigma_b^2). A
Fisher-scoring step from the assumed sigma_b towards the variance that explains the innovations
around a point is (as the global step of :mod:`phyda_cli.analysis.background_scale`; spatially
varying: El Gharamti 2018, Mon. Wea. Rev. 146, 623)

.. math:: \epsilon = \frac{\sum k\, s\, (\chi^2 - 1)}{\beta + \sum k\, s^2}, \qquad s =
          \frac{\sigma_b^2}{\sigma_o^2 + \sigma_b^2}, \quad \chi^2 = \frac{d^2}{\sigma_o^2 +
          \sigma_b^2}

with weights k of distance: in a neighbourhood, and all around the latitude. The network of the
background spread reads these maps.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import sparse

from phyda_cli.constants import EARTH_RADIUS
from phyda_cli.fields.grid import Grid

__all__ = ["N_MAPS", "evidence"]

N_MAPS = 4  # a channel
NEIGHBOURHOOD = 1000e3  # m, standard deviation of the weights k
CUT = 3.5**2  # chi-square of one observation at most: gross errors have no more say
BETA = 0.5  # observations' worth of evidence for the assumed sigma_b


def evidence(
    grid: Grid,
    prior_variance: np.ndarray,
    matrix: sparse.csr_matrix,
    innovation: np.ndarray,
    error: np.ndarray,
    sigma_b: np.ndarray,
) -> np.ndarray:
    """Maps (N_MAPS * C, H, W): epsilon and log(1 + sum k s^2) of the neighbourhood, then of the
    latitude.

    Args:
        prior_variance: assumed variance of the increment (C, H, W), in the units of ``matrix``.
        matrix: operator on the flattened increment, (P, C*H*W); innovation, error, sigma_b: (P,)
            [observation units], the last the assumed standard deviation of the background's error
            there.
    """
    shape = prior_variance.shape
    total = error**2 + sigma_b**2
    share = sigma_b**2 / total
    excess = share * (np.minimum(innovation**2 / total, CUT) - 1)
    origin = (
        matrix.multiply(matrix) @ sparse.diags_array(prior_variance.ravel())
    ).tocsr()  # of each innovation's sigma_b^2
    origin = (
        sparse.diags_array(1 / np.maximum(np.asarray(origin.sum(axis=1)).ravel(), 1e-30)) @ origin
    )
    sums = (origin.T @ np.stack([excess, share**2], axis=1)).T.reshape(2, *shape).astype(np.float32)
    maps = []
    for along in _kernels(grid):
        step, weight = np.einsum(
            "hi,aciw->achw", along[0], np.einsum("hwv,achv->achw", along[1], sums)
        )
        maps += [step / (BETA + weight), np.log1p(weight)]
    return np.concatenate(maps).astype(np.float32)


@lru_cache(maxsize=4)
def _kernels(grid: Grid) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Weights between rows (H, H) and within rows (H, W, W), of the neighbourhood and of the
    latitude; one at no distance."""
    latitude, longitude = np.deg2rad(grid.latitude), np.deg2rad(grid.longitude)
    apart = np.abs(longitude[:, None] - longitude)
    if grid.periodic:
        apart = np.minimum(apart, 2 * np.pi - apart)
    rows = _gaussian(latitude[:, None] - latitude)
    along = _gaussian(apart * np.maximum(np.cos(latitude), 0.05)[:, None, None])
    return (rows, along), (rows, np.ones_like(along))


def _gaussian(angle: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * (angle * EARTH_RADIUS / NEIGHBOURHOOD) ** 2).astype(np.float32)
