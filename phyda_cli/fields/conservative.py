"""First-order conservative remapping between regular grids on the sphere: means over the overlap of
cells.

The weights are areas (Jones 1999, doi:10.1175/1520-0493(1999)127<2204:FASOCR>2.0.CO;2, eq. 7).
Between grids of latitude and longitude the area of an overlap is a product: that of the bands, in
the sine of latitude, times that of the sectors.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from phyda_cli.fields.grid import Grid

__all__ = ["cell_bounds", "conservative"]

_SLIVER = 1e-9  # of a cell's width: what rounding makes of edges that coincide
_HALF = 0.5


def cell_bounds(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the rows (H + 1,) in the sine of latitude, in the grid's direction, and of the
    columns (W + 1,) [degrees].

    Edges are half-way between neighbours (also on Gaussian grids), the outermost at a pole the grid
    covers, else half a step out.
    """
    lat = np.sort(grid.latitude)
    edges = _half_way(lat)
    south, north = grid.covers_poles
    edges[0], edges[-1] = (-90.0 if south else edges[0]), (90.0 if north else edges[-1])
    rows = np.sin(np.deg2rad(np.clip(edges, -90, 90)))
    columns = _half_way(grid.longitude)
    if grid.periodic:
        columns[0] = (grid.longitude[0] + grid.longitude[-1] - 360) / 2
        columns[-1] = columns[0] + 360
    return rows[::-1] if grid.latitude[0] > grid.latitude[-1] else rows, columns


def _half_way(x: np.ndarray) -> np.ndarray:
    middle = (x[1:] + x[:-1]) / 2
    return np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]])


def _overlap(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fraction of each target interval (N',) that each source interval (N,) covers, (N', N); edges
    in either direction."""
    low = np.maximum(
        np.minimum(target[:-1], target[1:])[:, None], np.minimum(source[:-1], source[1:])[None]
    )
    high = np.minimum(
        np.maximum(target[:-1], target[1:])[:, None], np.maximum(source[:-1], source[1:])[None]
    )
    fraction = (high - low) / np.abs(np.diff(target))[:, None]
    return np.where(fraction > _SLIVER, fraction, 0.0)


def _around(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """:func:`_overlap` of longitudes, which repeat after a circle."""
    turns = range(
        int(np.floor((target[0] - source[-1]) / 360)),
        int(np.ceil((target[-1] - source[0]) / 360)) + 1,
    )
    return np.sum([_overlap(source + 360.0 * turn, target) for turn in turns], axis=0)


def conservative(source: Grid, target: Grid) -> sparse.csr_matrix:
    """Matrix (target.size, source.size) that gives the means of fields of ``source`` over the cells
    of ``target``.

    Constants stay and, between grids that cover the same area, so does the integral. Of a cell at
    the edge of ``source`` the part inside counts; a cell of which half or more lies outside, and
    its centre too, has an empty row.
    """
    (source_rows, source_columns), (target_rows, target_columns) = (
        cell_bounds(source),
        cell_bounds(target),
    )
    rows, columns = _overlap(source_rows, target_rows), _around(source_columns, target_columns)
    covered = rows.sum(axis=1)[:, None] * columns.sum(axis=1)[None]
    kept = (covered > _HALF) | source.contains(*target.mesh)
    scale = np.divide(1.0, covered, out=np.zeros_like(covered), where=kept)
    product = sparse.kron(sparse.csr_matrix(rows), sparse.csr_matrix(columns), format="csr")
    matrix = sparse.csr_matrix(sparse.diags_array(scale.ravel()) @ product)
    matrix.eliminate_zeros()
    return matrix
