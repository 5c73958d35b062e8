"""Interpolation as sparse matrices: bilinear on the sphere with poles, linear in log pressure in
height."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import sparse

from phyda_cli.fields.grid import Grid
from phyda_cli.fields.mesh import Mesh

__all__ = ["bilinear", "grid_to_grid", "log_pressure_weights", "on_covering", "regrid"]


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
    n_lon = grid.shape[1]
    inside = np.flatnonzero(grid.contains(lat, lon))
    (i, fy, polar), (j, fx) = _rows_beside(grid, lat[inside]), _columns_beside(grid, lon[inside])
    rows, columns, weights = [], [], []
    for row, wy in zip(i, (1 - fy, fy), strict=True):
        for column, wx in zip(j, (1 - fx, fx), strict=True):
            rows.append(inside)
            columns.append(row * n_lon + column)
            weights.append(wy * wx * (1 - polar))
    at_pole = np.flatnonzero(polar > 0)
    if at_pole.size:
        edge = np.where(
            lat[inside][at_pole] > 0, np.argmax(grid.latitude), np.argmin(grid.latitude)
        )
        w = _cap(grid, lon[inside][at_pole], vector) * polar[at_pole, None]
        rows.append(np.repeat(inside[at_pole], n_lon))
        columns.append((edge[:, None] * n_lon + np.arange(n_lon)).ravel())
        weights.append(w.ravel())
    matrix = sparse.coo_matrix(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))),
        shape=(lat.size, grid.size),
    )
    return matrix.tocsr()


def _rows_beside(
    grid: Grid, latitude: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]:
    """The rows on both sides of ``latitude`` (P,) within the grid, the fraction towards the second
    one, and the weight of the pole's own value."""
    order = np.argsort(grid.latitude)
    knots = grid.latitude[order]
    i, fraction = _bracket(knots, np.clip(latitude, knots[0], knots[-1]))
    polar = np.zeros(latitude.size)
    for pole, edge in ((-90.0, knots[0]), (90.0, knots[-1])):
        beyond = (latitude - edge) * np.sign(pole) > 1e-9
        polar = np.where(beyond, (latitude - edge) / (pole - edge) if pole != edge else 0.0, polar)
    return (order[i], order[i + 1]), fraction, polar


def _columns_beside(
    grid: Grid, longitude: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The columns on both sides of ``longitude`` (P,) within the grid, and the fraction towards the
    second one."""
    first = grid.longitude[0]
    knots = np.append(grid.longitude, first + 360) if grid.periodic else grid.longitude
    x = first + (longitude - first + 1e-6) % 360 - 1e-6
    j, fraction = _bracket(knots, np.clip(x, knots[0], knots[-1]))
    return (j, (j + 1) % grid.longitude.size), fraction


def _cap(grid: Grid, longitude: np.ndarray, vector: bool) -> np.ndarray:
    """Weights (P, W) of the points of the last row for the pole's value at ``longitude`` (P,)."""
    angle = np.deg2rad(longitude[:, None] - grid.longitude)
    return (2 * np.cos(angle) if vector else np.ones_like(angle)) / grid.longitude.size


@lru_cache(maxsize=2)
def grid_to_grid(source: Grid, target: Grid, vector: bool = False) -> sparse.csr_matrix:
    """Bilinear interpolation matrix (target.size, source.size), kept for the increments, spreads
    and members of one analysis."""
    lat, lon = target.mesh
    return bilinear(source, lat, lon, vector)


def regrid(source: Grid, target: Grid, values: np.ndarray, vector: bool = False) -> np.ndarray:
    """``values`` (H, W) of ``source`` on ``target`` as :func:`bilinear` has them, zero outside.
    Between regular grids it goes by rows, then by columns, which needs no large matrix."""
    if isinstance(source, Mesh) or isinstance(target, Mesh):
        matrix = grid_to_grid(source, target, vector)
        return np.asarray(matrix @ values.ravel()).reshape(target.shape)
    along, across, caps = _separable(source, target, vector)
    values = np.asarray(values, float)
    if target.latitude.size < source.latitude.size:
        found = (across @ (along @ values).T).T
    else:  # the rows last, which are long and contiguous
        found = along @ np.ascontiguousarray((across @ values.T).T)
    for row, weight, cap in caps:
        found[weight > 0] += weight[weight > 0, None] * (cap @ values[row])
    return np.asarray(found)


def on_covering(mesh: Mesh, values: np.ndarray) -> np.ndarray:
    """``values`` (H, W) of ``mesh`` on its covering grid, NaN where the mesh is not."""
    matrix = grid_to_grid(mesh, mesh.covering)
    found = np.where(matrix.getnnz(axis=1) > 0, matrix @ np.ravel(values), np.nan)
    return found.reshape(mesh.covering.shape)


@lru_cache(maxsize=4)
def _separable(
    source: Grid, target: Grid, vector: bool
) -> tuple[sparse.csr_array, sparse.csr_array, list[tuple[int, np.ndarray, np.ndarray]]]:
    """Weights of the source's rows (H', H) and columns (W', W), and for each pole its row, the
    weights (H',) of the pole's value and those of the row's points (W', W) for that value."""
    latitude, longitude = target.latitude, target.longitude
    within = (
        source.contains(latitude, np.full(latitude.size, source.longitude[0])),
        source.contains(np.full(longitude.size, source.latitude[0]), longitude),
    )
    (i, fy, polar), (j, fx) = _rows_beside(source, latitude), _columns_beside(source, longitude)
    along = np.zeros((latitude.size, source.latitude.size))
    across = np.zeros((longitude.size, source.longitude.size))
    for matrix, index, fraction, known in ((along, i, fy, within[0]), (across, j, fx, within[1])):
        for one, weight in zip(index, (1 - fraction, fraction), strict=True):
            np.add.at(matrix, (np.arange(len(matrix)), one), weight * known)
    along *= (1 - polar)[:, None]
    cap = _cap(source, longitude, vector)
    ends = (np.argmin(source.latitude), -1), (np.argmax(source.latitude), 1)
    caps = [(int(row), polar * within[0] * (latitude * side > 0), cap) for row, side in ends]
    return sparse.csr_array(along), sparse.csr_array(across), caps


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
