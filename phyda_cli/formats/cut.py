"""A part of an output: an area, or some of its levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from phyda_cli.errors import UsageError
from phyda_cli.fields.mesh import Mesh
from phyda_cli.fields.reduced import Reduced
from phyda_cli.formats.background import Background

__all__ = ["area_of", "levels_of"]

_SAME = 1e-3  # of a pressure
_EDGE = 1e-6  # degrees


def levels_of(dataset: xr.Dataset, background: Background, levels: Sequence[float]) -> xr.Dataset:
    """``dataset``, in the layout of ``background.source``, on ``levels`` [hPa] alone. Raises
    UsageError for one that no variable has."""
    axes = {
        s.level_dim: s.levels
        for s in background.sources
        if s.level_dim is not None and s.levels is not None
    }
    wanted, missing = 100 * np.asarray(levels, float), set(levels)
    chosen = {}
    for dim, own in axes.items():
        near = abs(np.log(own[:, None] / wanted[None])) < _SAME
        chosen[dim] = np.flatnonzero(near.any(axis=1))
        missing -= {levels[int(i)] for i in np.flatnonzero(near.any(axis=0))}
    if missing:
        found = sorted({round(float(p) / 100, 4) for own in axes.values() for p in own})
        raise UsageError(
            f"the background has no level {', '.join(f'{p:g}' for p in sorted(missing))} hPa",
            hint=f"it has {', '.join(f'{p:g}' for p in found)}",
        )
    return dataset.isel({d: i for d, i in chosen.items() if i.size})


def area_of(
    dataset: xr.Dataset, background: Background, area: tuple[float, float, float, float]
) -> xr.Dataset:
    """The points of ``dataset`` within ``area``: north, west, south, east [degrees]; of a
    two-dimensional grid the rows and columns that hold them. Raises UsageError when there are
    none."""
    north, west, south, east = area
    width = (east - west) % 360 or 360.0
    axes, grid = background.axes, background.axes.grid
    lat, lon = grid.mesh

    def within(longitude: np.ndarray) -> np.ndarray:
        return np.asarray((longitude - west + _EDGE) % 360 <= width + 2 * _EDGE)

    inside = (lat <= north + _EDGE) & (lat >= south - _EDGE) & within(lon)
    if not inside.any():
        raise UsageError(
            f"no point of the grid is within {south:g} to {north:g} north and {west:g} to "
            f"{east:g} east",
            hint="the area is north,west,south,east; phyda inspect shows where the grid is",
        )
    if isinstance(grid, Reduced):
        return dataset.isel({axes.longitude: np.flatnonzero(inside[0])})
    rows, columns = (np.flatnonzero(inside.any(axis=k)) for k in (1, 0))
    if isinstance(grid, Mesh):
        columns = np.arange(columns[0], columns[-1] + 1)
        return dataset.isel({axes.latitude: np.arange(rows[0], rows[-1] + 1)}).isel(
            {axes.longitude: columns}
        )
    own = grid.longitude[axes.back]
    offset = (own - west + _EDGE) % 360 - _EDGE
    columns = np.flatnonzero(within(own))
    columns = columns[np.unique(offset[columns].round(6), return_index=True)[1]]
    part = dataset.isel({axes.latitude: rows, axes.longitude: columns})
    name = axes.longitude
    if name in part.variables and not np.all(np.diff(part[name].values) > 0):
        values = (west + offset[columns]).astype(part[name].dtype)
        part = part.assign_coords({name: part[name].copy(data=values)})
    return part
