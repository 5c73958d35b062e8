r"""The deterministic ensemble transform with the symmetric square root (Hunt et al. 2007, eqs. 21
and 24).

For anomalies X scaled so that B = X X^T, and each column's Gram matrix G = Y^T rho Y and pull b =
Y^T rho d,

.. math:: w = (I + G)^{-1} b, \qquad T = (I + G)^{-1/2}, \qquad \bar x_a = \bar x_b + X w, \qquad
X_a = X T

The symmetric root is the one closest to the identity; members that sum to zero still do afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ensemble_transform"]


def ensemble_transform(gram: Tensor, pull: Tensor) -> tuple[Tensor, Tensor]:
    """``gram`` (M, N, N) and ``pull`` (M, N) of M columns → weights of the mean (M, N) and the
    transform (M, N, N), float64."""
    values, vectors = torch.linalg.eigh(gram.double())
    shrink = 1 / (1 + values.clamp(min=0.0))[:, None, :]
    weights = (vectors * shrink) @ (vectors.mT @ pull.double()[:, :, None])
    return weights[:, :, 0], (vectors * shrink.sqrt()) @ vectors.mT
