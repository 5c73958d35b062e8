"""Sparse matrices of the discrete operators, found by applying them to impulses."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from phyda_cli.physics.sphere import VECTOR, Sphere

__all__ = ["divergence_matrix"]


def divergence_matrix(sphere: Sphere) -> sparse.csr_matrix:
    """:meth:`Sphere.divergence` as a matrix (H*W, 2*H*W) [m-1] on flattened u and v, one after the
    other.

    An impulse in longitude serves every row at once. One in latitude, at the first longitude,
    serves every other one: a limited area has no derivative that leaves its column, and a grid that
    closes the circle is evenly spaced.
    """
    n_lat, n_lon = sphere.grid.shape
    along = sphere.ddx(
        torch.eye(n_lon, dtype=torch.float64)[:, None, :].expand(-1, n_lat, -1)
    ).numpy()  # of, row, at
    of, row, at = np.nonzero(along)
    zonal = sparse.coo_matrix(
        (along[of, row, at], (row * n_lon + at, row * n_lon + of)), shape=(sphere.grid.size,) * 2
    )

    impulses = torch.zeros(n_lat, n_lat, n_lon, dtype=torch.float64)
    impulses[range(n_lat), range(n_lat), 0] = 1.0
    across = (sphere.ddy(impulses, VECTOR) - impulses * sphere.curvature(impulses)).numpy()
    of, row, offset = np.nonzero(across)
    shift = np.arange(n_lon)[:, None]
    value = np.broadcast_to(across[of, row, offset], (n_lon, of.size))
    index = (row * n_lon + (offset + shift) % n_lon).ravel(), (of * n_lon + shift).ravel()
    meridional = sparse.coo_matrix((value.ravel(), index), shape=(sphere.grid.size,) * 2)
    return sparse.hstack([zonal, meridional]).tocsr()
