"""From grid to grid and from level to level: fields to the model's, increments back to the user's.

There is one rule for fields, for the states that networks are trained on and for those that they
are given: see :func:`method_between`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from scipy import sparse

from phyda_cli.errors import GateError, UsageError
from phyda_cli.fields.conservative import conservative
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.fields.interpolate import grid_to_grid, log_pressure_weights, regrid
from phyda_cli.fields.layered import Layered, is_absent, plane
from phyda_cli.fields.mesh import Mesh
from phyda_cli.names import VARIABLES, Channel

__all__ = [
    "Regridder",
    "increments_to_fields",
    "method_between",
    "present",
    "present_levels",
    "regridder",
    "to_grid",
]

_DECAY = np.log(5.0)  # in log pressure, above the highest model level
_TOLERANCE = 1e-3  # of a grid spacing
_HALF = 0.5


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
        self._matrices: dict[bool, sparse.csr_matrix] = {}

    def _matrix(self, vector: bool) -> sparse.csr_matrix:
        vector = vector and self.method == "bilinear"
        if vector not in self._matrices:
            if self.method == "binned" and isinstance(self.source, Mesh):
                matrix = self.source.binned(self.target)
            elif self.method == "conservative":
                matrix = conservative(self.source, self.target)
            else:
                matrix = grid_to_grid(self.source, self.target, vector)
            self._matrices[vector] = matrix
        return self._matrices[vector]

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
    ``binned`` from a mesh at least twice as fine, else ``bilinear``."""
    if source.same_as(target):
        return "none"
    if isinstance(source, Mesh) or isinstance(target, Mesh):
        fine = (
            isinstance(source, Mesh)
            and not isinstance(target, Mesh)
            and 2 * source.spacing <= min(_spacing(target.latitude), _spacing(target.longitude))
        )
        return "binned" if fine else "bilinear"
    coarser = (
        _spacing(getattr(target, c)) > (1 - _TOLERANCE) * _spacing(getattr(source, c))
        for c in ("latitude", "longitude")
    )
    return "conservative" if all(coarser) else "bilinear"


def _spacing(coordinate: np.ndarray) -> float:
    return abs(float(np.median(np.diff(coordinate))))


@lru_cache(maxsize=4)
def _of_meshes(source: Grid, target: Grid) -> Regridder:
    return Regridder(source, target)


@lru_cache(maxsize=16)
def _known(*coordinates: bytes) -> Regridder:
    lat, lon, target_lat, target_lon = (np.frombuffer(c) for c in coordinates)
    return Regridder(Grid(lat, lon), Grid(target_lat, target_lon))


def regridder(source: Grid, target: Grid, complete: bool = True) -> Regridder:
    """The remapping between two grids, made once in a process.

    Raises UsageError when it is to be ``complete`` and ``target`` reaches outside ``source``.
    """
    if isinstance(source, Mesh) or isinstance(target, Mesh):
        found = _of_meshes(source, target)
    else:
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


def present(fields: Fields) -> dict[str, np.ndarray]:
    """For each upper-air variable which levels (L,) exist: a slice of NaN stands for an absent
    one."""
    return {name: present_levels(fields, name) for name in fields.upper}


def present_levels(fields: Fields, name: str) -> np.ndarray:
    """Which of ``fields.levels`` (L,) hold the upper-air field ``name``."""
    levels = range(fields.levels.size)
    return np.array([not is_absent(plane(fields.upper, name, k)) for k in levels], bool)


def to_grid(
    fields: Fields, channels: Sequence[Channel], grid: Grid
) -> tuple[np.ndarray, np.ndarray]:
    """``channels`` of ``fields`` on ``grid``: values (C, H, W) float64 and which channels are
    available (C,).

    Vertically linear in log pressure between existing levels of the variable, never beyond them
    (0.1 % tolerance); horizontally as :func:`method_between` says. Unavailable channels, and points
    outside a limited-area source or of which it lacks half or more, are NaN.
    """
    values = np.full((len(channels), *grid.shape), np.nan)
    remap = regridder(fields.grid, grid, complete=False)
    levels = present(fields)
    for i, channel in enumerate(channels):
        found = _slice(fields, channel, levels)
        if found is not None:
            vector = VARIABLES[channel.variable].vector
            values[i] = _around_gaps(remap, found[None], vector)[0]
    values[:, ~fields.grid.contains(*grid.mesh)] = np.nan
    return values, np.isfinite(values).any(axis=(1, 2))


def _around_gaps(remap: Regridder, fields: np.ndarray, vector: bool) -> np.ndarray:
    """``fields`` (N, H, W) remapped; next to missing points the others count, if they are more than
    half of what a point is made of."""
    remapped = np.array(remap(fields, vector))
    for i in np.flatnonzero(np.isnan(fields).any(axis=(1, 2))):
        known = np.isfinite(fields[i])
        share = np.asarray(remap(known.astype(float)[None])[0])
        total = remap(np.where(known, fields[i], 0.0)[None], vector)[0]
        beside = np.isnan(remapped[i]) & (share > _HALF)
        remapped[i][beside] = total[beside] / share[beside]
    return remapped


def _slice(fields: Fields, channel: Channel, levels: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """One channel on the fields' own grid (H, W) float64, or None when it does not exist there."""
    if channel.pressure is None:
        values = fields.surface.get(channel.variable)
        return None if values is None else np.asarray(values, np.float64)
    if channel.variable not in fields.upper:
        return None
    at = np.flatnonzero(fields.levels == channel.pressure)
    if at.size and levels[channel.variable][at[0]]:  # what a neighbour lacks is nothing to it
        return np.asarray(plane(fields.upper, channel.variable, int(at[0])), np.float64)
    exists = np.flatnonzero(levels[channel.variable])
    if exists.size == 0:
        return None
    index, weight, within = log_pressure_weights(
        fields.levels[exists], np.array([channel.pressure])
    )
    if not within[0]:
        return None
    low, high = (
        np.asarray(plane(fields.upper, channel.variable, int(exists[i])), np.float64)
        for i in index[0]
    )
    return low if weight[0, 1] == 0 else weight[0, 0] * low + weight[0, 1] * high


def increments_to_fields(
    increment: np.ndarray,
    channels: Sequence[Channel],
    grid: Grid,
    target: Fields,
    vectors: bool = True,
) -> Fields:
    """Increments (C, H, W) of ``channels`` on the model's ``grid``, on the grid and every level of
    ``target``.

    Horizontally bilinear (winds as ``vectors`` at the poles; their spreads are none), zero outside
    a limited-area model grid.
    Vertically linear in log pressure; constant below the lowest model level, decaying linearly in
    log pressure to zero at a fifth of the highest one's pressure. Only variables both sides have;
    slices absent in ``target`` get an increment that adding to NaN leaves absent. Raises GateError
    when an increment is not finite.
    """
    bad = [
        c.key
        for c, values in zip(channels, increment, strict=True)
        if not np.isfinite(values).all()
    ]
    if bad:
        raise GateError(
            f"the increments of {', '.join(bad)} are not finite",
            hint="this is a numerical failure; nothing was written",
        )
    same = grid.same_as(target.grid)

    def horizontally(values: np.ndarray, variable: str) -> np.ndarray:
        if same:
            return np.array(values)
        return regrid(grid, target.grid, values, vectors and VARIABLES[variable].vector)

    on_levels, surface = {}, {}
    for name in target.upper:
        if indices := [
            i for i, c in enumerate(channels) if c.variable == name and c.level is not None
        ]:
            weights = _vertical(
                np.array([channels[i].pressure for i in indices], float), target.levels
            )
            chosen = np.asarray(increment[indices], np.float64)
            on_levels[name] = np.einsum("lk,khw->lhw", weights, chosen)
    for name in target.surface:
        if indices := [i for i, c in enumerate(channels) if c.variable == name and c.level is None]:
            surface[name] = horizontally(np.asarray(increment[indices[0]], np.float64), name)
    upper = Layered(
        on_levels, target.levels.size, lambda name, k: horizontally(on_levels[name][k], name)
    )
    return Fields(target.grid, target.time, target.levels, upper, surface, target.lead_hours)


def _vertical(model: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Weights (L, K) from the model's pressures (K,) to ``levels`` (L,), both Pa."""
    index, weight, _ = log_pressure_weights(model, levels)
    weights = np.zeros((levels.size, model.size))
    np.add.at(weights, (np.arange(levels.size)[:, None], index), weight)
    above = np.log(model.min() / levels)
    return weights * np.clip(1 - np.maximum(above, 0) / _DECAY, 0, 1)[:, None]
