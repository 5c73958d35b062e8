"""Whole fields from one grid to another, with the weights made once for each pair of grids."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import sparse

from phyda_cli.errors import UsageError
from phyda_cli.fields.conservative import conservative
from phyda_cli.fields.grid import Grid
from phyda_cli.fields.interpolate import grid_to_grid

__all__ = ["Regridder", "method_between", "regridder"]

_TOLERANCE = 1e-3


class Regridder:
    """Fields (..., H, W) of ``source`` on ``target`` (..., H', W'): as they are on the same grid,
    else float64.

    Points of the target outside the source are NaN; so is what a NaN has a share in. The products
    are summed in one order whatever the number of fields or threads, so that the result is always
    the same to the bit.
    """

    def __init__(self, source: Grid, target: Grid) -> None:
        self.source, self.target = source, target
        self.method = method_between(source, target)
        self._made: dict[bool, sparse.csr_matrix] = {}

    def _matrix(self, vector: bool) -> sparse.csr_matrix:
        vector = vector and self.method == "bilinear"
        if vector not in self._made:
            conserving = self.method == "conservative"
            self._made[vector] = (
                conservative(self.source, self.target)
                if conserving
                else grid_to_grid(self.source, self.target, vector)
            )
        return self._made[vector]

    def outside(self) -> int:
        """Number of points of the target that the source does not reach."""
        return 0 if self.method == "none" else int((self._matrix(False).getnnz(axis=1) == 0).sum())

    def __call__(self, fields: np.ndarray, vector: bool = False) -> np.ndarray:
        """``vector``: they are components of the wind, which bilinear interpolation carries across
        the poles."""
        if self.method == "none":
            return fields
        matrix = self._matrix(vector)
        flat = matrix @ np.ascontiguousarray(fields.reshape(-1, self.source.size).T, np.float64)
        flat[matrix.getnnz(axis=1) == 0] = np.nan
        return np.ascontiguousarray(flat.T).reshape(*fields.shape[:-2], *self.target.shape)


def method_between(source: Grid, target: Grid) -> str:
    """``none`` on the same grid, ``conservative`` to one as coarse or coarser in both directions,
    else ``bilinear``."""
    if source.same_as(target):
        return "none"
    coarser = (
        _spacing(getattr(target, c)) > (1 - _TOLERANCE) * _spacing(getattr(source, c))
        for c in ("latitude", "longitude")
    )
    return "conservative" if all(coarser) else "bilinear"


def _spacing(coordinate: np.ndarray) -> float:
    return abs(float(np.median(np.diff(coordinate))))


@lru_cache(maxsize=16)
def _known(*coordinates: bytes) -> Regridder:
    lat, lon, target_lat, target_lon = (np.frombuffer(c) for c in coordinates)
    return Regridder(Grid(lat, lon), Grid(target_lat, target_lon))


def regridder(source: Grid, target: Grid, complete: bool = True) -> Regridder:
    """The remapping between two grids, made once in a process.

    Raises UsageError when it is to be ``complete`` and ``target`` reaches outside ``source``.
    """
    found = _known(
        *(
            np.ascontiguousarray(x).tobytes()
            for g in (source, target)
            for x in (g.latitude, g.longitude)
        )
    )
    if complete and (outside := found.outside()):
        raise UsageError(
            f"the target grid reaches outside the data's area: {outside} of {target.size} points",
            hint="--grid as-is keeps the data's own grid",
        )
    return found
