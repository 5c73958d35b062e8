"""The sparse matrix of observation operators, collected row by row."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from phyda_cli.constants import GRAVITY, LAPSE_RATE
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.interpolate import bilinear, log_pressure_weights
from phyda_cli.fields.layered import plane
from phyda_cli.fields.mesh import Mesh
from phyda_cli.fields.remap import present_levels
from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.atmosphere import standard_height
from phyda_cli.observations.table import QC

__all__ = ["EXTRAPOLATION", "OperatorRows", "layer_weights"]

EXTRAPOLATION = 1.15  # a pressure this many times the lowest level's still uses that level
_TURNING = 3.0  # spacings of a mesh from a pole, within which east turns from point to point
_AT_A_POINT = 0.999  # weight of the point that an observation is taken to be at
_NEAR_SURFACE = 84900.0  # Pa: only a level below this one can stand for what is underneath


class OperatorRows:
    """Rows of H for the observations of ``table``: entries, offsets (P,) and codes (P,); ``fields``
    are what H depends on."""

    def __init__(
        self, fields: Fields, table: pd.DataFrame, orography: np.ndarray | None, height_limit: float
    ) -> None:
        self.fields, self.table, self.grid, self.height_limit = (
            fields,
            table,
            fields.grid,
            height_limit,
        )
        names = ("latitude", "longitude", "elevation", "pressure", "pressure_top", "height")
        self.latitude, self.longitude, self.elevation, self.pressure, self.top, self.height = (
            table[k].to_numpy(float) for k in names
        )
        self.orography = fields.surface.get("orography") if orography is None else orography
        self.offset = np.zeros(len(table))
        self.qc = np.where(self.grid.contains(self.latitude, self.longitude), 0, QC.DOMAIN).astype(
            np.int16
        )
        self.notes: list[str] = []
        self._entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.start, position = {}, 0
        for name in (*fields.upper, *fields.surface):
            self.start[name] = position
            position += self.grid.size * (fields.levels.size if name in fields.upper else 1)
        self.shape = len(table), position

    def matrix(self) -> sparse.csr_matrix:
        """H (P, n). Rows that touch a NaN of the fields are rejected, those without a model
        equivalent are empty."""
        row, column, value = (
            map(np.concatenate, zip(*self._entries, strict=True))
            if self._entries
            else [np.zeros(0, int)] * 3
        )
        used, place = np.unique(column, return_inverse=True)
        absent = np.isnan(self.fields.picked(used))
        self.fail(np.unique(row[absent[place] & (value != 0)]))
        lost = np.isin(self.qc, [QC.DOMAIN, QC.H_FAILED])
        self.offset[lost] = np.nan
        kept = ~lost[row] & (value != 0)
        return sparse.coo_matrix((value[kept], (row[kept], column[kept])), self.shape).tocsr()

    def fail(self, rows: np.ndarray, code: QC = QC.H_FAILED) -> None:
        self.qc[rows[self.qc[rows] == 0]] = code

    def horizontal(self, rows: np.ndarray, vector: bool = False) -> sparse.csr_matrix:
        """Weights (P', H*W) of the points around ``rows``. Winds between the points of a mesh fail
        where its east turns from one point to the next, beside a pole."""
        weights = bilinear(self.grid, self.latitude[rows], self.longitude[rows], vector)
        weights.eliminate_zeros()  # a NaN beside a point that needs no interpolation does no harm
        if vector and isinstance(self.grid, Mesh):
            close = 90 - np.abs(self.latitude[rows]) < _TURNING * self.grid.spacing
            if close.any():
                self.fail(rows[close & (weights.max(axis=1).toarray().ravel() < _AT_A_POINT)])
        return weights

    def value(self, field: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """``field`` (H, W) of the fields at ``rows``."""
        return self.horizontal(rows) @ np.asarray(field, float).ravel()

    def add(
        self, weights: sparse.csr_matrix, rows: np.ndarray, start: np.ndarray, factor: np.ndarray
    ) -> None:
        """Add factor * weights (P', H*W), moved to the columns from ``start`` (P',) on, to ``rows``
        (P',) of the matrix."""
        w = weights.tocoo()
        self.insert(rows[w.row], start[w.row] + w.col, w.data * factor[w.row])

    def insert(self, row: np.ndarray, column: np.ndarray, value: np.ndarray) -> None:
        """Add entries (n,) to the matrix."""
        self._entries.append((row.astype(np.int32), column.astype(np.int32), value))

    def surface(self, name: str, rows: np.ndarray, factor: np.ndarray | None = None) -> None:
        """``factor`` (1) times the bilinear value of a surface field."""
        factor = np.ones(rows.size) if factor is None else factor
        self.add(
            self.horizontal(rows, OBSERVABLES[name].vector),
            rows,
            np.full(rows.size, self.start[name]),
            factor,
        )

    def profile(self, name: str, rows: np.ndarray) -> None:
        """``name`` at the pressure or height of ``rows``, or its mean over their layer."""
        layered = ~np.isnan(self.top[rows])
        self.layer(name, rows[layered], self.pressure[rows[layered]], self.top[rows[layered]])
        rows = rows[~layered]
        pressure = np.where(
            np.isnan(self.pressure[rows]), self.pressure_of_height(rows), self.pressure[rows]
        )
        self.vertical(name, rows, pressure, EXTRAPOLATION)

    def layer(
        self,
        name: str,
        rows: np.ndarray,
        bottom: np.ndarray,
        top: np.ndarray,
        factor: np.ndarray | None = None,
        limit: float = EXTRAPOLATION,
    ) -> None:
        """``factor`` (1) times the mean of ``name`` between ``bottom`` and ``top`` [Pa], down to
        ``limit`` times the lowest level's."""
        present = np.flatnonzero(present_levels(self.fields, name))
        levels = self.fields.levels[present]
        within = (
            (bottom > top)
            & (top >= levels.min(initial=np.inf) * 0.999)
            & (bottom <= limit * levels.max(initial=0.0))
        )
        self.fail(rows[~within])
        if not within.any():
            return
        rows = rows[within]
        weights = layer_weights(levels, bottom[within], top[within]) * (
            1.0 if factor is None else factor[within, None]
        )
        horizontal = self.horizontal(rows, OBSERVABLES[name].vector)
        for k, level in enumerate(present):
            self.add(
                horizontal,
                rows,
                np.full(rows.size, self.start[name] + level * self.grid.size),
                weights[:, k],
            )

    def vertical(
        self, name: str, rows: np.ndarray, pressure: np.ndarray, limit: float, factor: float = 1.0
    ) -> None:
        """``factor`` times ``name`` at ``pressure`` [Pa], down to ``limit`` times the lowest
        level's."""
        present = np.flatnonzero(present_levels(self.fields, name))
        usable = np.isfinite(pressure) & (pressure > 0) & (present.size > 0)
        self.fail(rows[~usable])
        rows, pressure = rows[usable], pressure[usable]
        if not rows.size:
            return
        levels = self.fields.levels[present]
        index, weights, within = log_pressure_weights(levels, pressure)
        lowest = levels.max()
        extended = (
            (pressure > lowest)
            & (pressure <= limit * lowest)
            & (lowest > _NEAR_SURFACE)
            & (present.size > 1)
            & (name != "z")
        )
        self.fail(rows[~(within | extended)])
        if name == "t":
            below = extended & ~within
            self.offset[rows[below]] = LAPSE_RATE * (
                standard_height(lowest) - standard_height(pressure[below])
            )
        horizontal = self.horizontal(rows, OBSERVABLES[name].vector)
        for k in range(2):
            self.add(
                horizontal,
                rows,
                self.start[name] + present[index[:, k]] * self.grid.size,
                factor * weights[:, k],
            )

    def pressure_of_height(self, rows: np.ndarray) -> np.ndarray:
        """Pressure [Pa] where the fields' geopotential is that of the rows' height, extrapolated
        downwards, NaN above its levels."""
        height = self.height[rows]
        result = np.full(rows.size, np.nan)
        known = np.flatnonzero(~np.isnan(height))
        if "z" not in self.fields.upper or not known.size:
            return result
        present = np.flatnonzero(present_levels(self.fields, "z"))
        present = present[np.argsort(-self.fields.levels[present])]  # upwards
        if present.size < 2:
            return result
        z = np.stack(
            [self.value(plane(self.fields.upper, "z", int(k)), rows[known]) for k in present],
            axis=1,
        )
        wanted = height[known] * GRAVITY
        # a level below ground is missing, and lies lower than any height that is asked for
        below = ~(z > wanted[:, None])
        lower = np.clip(below.sum(axis=1) - 1, 0, present.size - 2)
        each = np.arange(known.size)
        fraction = (wanted - z[each, lower]) / (z[each, lower + 1] - z[each, lower])
        log_p = np.log(self.fields.levels[present])
        pressure = np.exp(
            log_p[lower] + np.minimum(fraction, 1.0) * (log_p[lower + 1] - log_p[lower])
        )
        result[known] = np.where(fraction <= 1, pressure, np.nan)
        return result

    def rise(self, rows: np.ndarray, elevation: np.ndarray) -> np.ndarray:
        """Height of stations at ``elevation`` [m] above the model's surface [m], NaN where either
        is unknown."""
        if self.orography is None:
            self.notes.append(
                "the model's orography is unknown: station heights are not accounted for"
            )
            return np.full(rows.size, np.nan)
        return elevation - self.value(self.orography, rows)


def layer_weights(levels: np.ndarray, bottom: np.ndarray, top: np.ndarray) -> np.ndarray:
    r"""Weights (P, L) of ``levels`` (L,) in the mass-weighted mean between ``bottom`` and ``top``
    (P,), all Pa, levels in any order.

    The weight of level k is the integral of its hat function of x = ln p over :math:`dp = e^x dx`,
    divided by the layer's depth. Beyond the outermost levels the profile keeps their values. Rows
    sum to one.
    """
    order = np.argsort(levels)
    x = np.log(np.asarray(levels, float)[order])
    low, high = np.log(top), np.log(bottom)
    weights = np.zeros((low.size, x.size))
    weights[:, 0] += np.exp(np.minimum(high, x[0])) - np.exp(np.minimum(low, x[0]))
    weights[:, -1] += np.exp(np.maximum(high, x[-1])) - np.exp(np.maximum(low, x[-1]))
    for k in range(x.size - 1):
        a, b = np.clip(low, x[k], x[k + 1]), np.clip(high, x[k], x[k + 1])
        whole = np.exp(b) - np.exp(a)
        rising = ((b - x[k] - 1) * np.exp(b) - (a - x[k] - 1) * np.exp(a)) / (x[k + 1] - x[k])
        weights[:, k] += whole - rising
        weights[:, k + 1] += rising
    result = np.empty_like(weights)
    result[:, order] = weights / (bottom - top)[:, None]
    return result
