"""Interpolation as sparse matrices: bilinear on the sphere with poles, linear in log pressure in
height."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import sparse

from phyda_cli.fields.grid import Grid
from phyda_cli.fields.mesh import Mesh

__all__ = ["bilinear", "grid_to_grid", "log_pressure_weights"]


def _bracket(knots: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower index into increasing ``knots`` and the fraction towards the next, for ``x`` within
    them."""
    i = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, knots.size - 2)
    return i, (x - knots[i]) / (knots[i + 1] - knots[i])


def bilinear(
    grid: Grid, latitude: np.ndarray, longitude: np.ndarray, vector: bool = False
) -> sparse.csr_matrix:
    """Bilinear interpolation matrix (P, H*W) from ``grid`` to P points [degrees].

    Longitude wraps on a periodic grid. Between the last row and a covered pole the pole's value is
    the row's mean, and for a wind component (``vector``) its zonal wavenumber one, so that a
    uniform flow crosses the pole unchanged. Rows of points outside the grid are empty.
    """
    if isinstance(grid, Mesh):
        return grid.bilinear(latitude, longitude, vector)
    lat, lon = np.asarray(latitude, float).ravel(), np.asarray(longitude, float).ravel()
    rows, columns, weights = [], [], []
    n_lat, n_lon = grid.shape
    descending = grid.latitude[0] > grid.latitude[-1]
    lat_knots = grid.latitude[::-1] if descending else grid.latitude
    inside = np.flatnonzero(grid.contains(lat, lon))

    def row_index(i: np.ndarray) -> np.ndarray:
        return n_lat - 1 - i if descending else i

    lon_knots = (
        np.append(grid.longitude, grid.longitude[0] + 360) if grid.periodic else grid.longitude
    )
    x = grid.longitude[0] + (lon[inside] - grid.longitude[0] + 1e-6) % 360 - 1e-6
    j, fx = _bracket(lon_knots, np.clip(x, lon_knots[0], lon_knots[-1]))
    y = lat[inside]
    i, fy = _bracket(lat_knots, np.clip(y, lat_knots[0], lat_knots[-1]))

    polar = np.zeros(y.size)  # weight of the pole's own value
    for pole, edge in ((-90.0, lat_knots[0]), (90.0, lat_knots[-1])):
        beyond = (y - edge) * np.sign(pole) > 1e-9
        polar = np.where(beyond, (y - edge) / (pole - edge) if pole != edge else 0.0, polar)
    for di, wy in ((0, 1 - fy), (1, fy)):
        for dj, wx in ((0, 1 - fx), (1, fx)):
            rows.append(inside)
            columns.append(row_index(i + di) * n_lon + (j + dj) % n_lon)
            weights.append(wy * wx * (1 - polar))
    at_pole = np.flatnonzero(polar > 0)
    if at_pole.size:
        edge_row = row_index(np.where(y[at_pole] > 0, n_lat - 1, 0))
        angle = np.deg2rad(lon[inside][at_pole, None] - grid.longitude[None, :])
        w = (2 * np.cos(angle) if vector else np.ones_like(angle)) / n_lon * polar[at_pole, None]
        rows.append(np.repeat(inside[at_pole], n_lon))
        columns.append((edge_row[:, None] * n_lon + np.arange(n_lon)).ravel())
        weights.append(w.ravel())
    matrix = sparse.coo_matrix(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))),
        shape=(lat.size, grid.size),
    )
    return matrix.tocsr()


@lru_cache(maxsize=2)
def grid_to_grid(source: Grid, target: Grid, vector: bool = False) -> sparse.csr_matrix:
    """Bilinear interpolation matrix (target.size, source.size), kept for the increments, spreads
    and members of one analysis."""
    lat, lon = target.mesh
    return bilinear(source, lat, lon, vector)


def log_pressure_weights(
    levels: np.ndarray, pressure: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Linear interpolation in log pressure from ``levels`` (L,) to ``pressure`` (P,), both Pa, any
    order.

    Returns the two level indices (P, 2), their weights (P, 2), and which points lie within the
    levels' range (to 0.1 %); points outside carry the nearest level's value.
    """
    order = np.argsort(levels)
    knots = np.log(np.asarray(levels, float)[order])
    x = np.log(np.asarray(pressure, float))
    within = (x >= knots[0] - 1e-3) & (x <= knots[-1] + 1e-3)
    if knots.size == 1:
        index = np.full((x.size, 2), order[0])
        return index, np.tile([1.0, 0.0], (x.size, 1)), within
    i, f = _bracket(knots, np.clip(x, knots[0], knots[-1]))
    return np.stack([order[i], order[i + 1]], 1), np.stack([1 - f, f], 1), within
