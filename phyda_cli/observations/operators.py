"""Observation operators as one sparse matrix: H(x) = matrix @ x + offset, with the transpose as the exact adjoint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from phyda_cli.fields.grid import Fields
from phyda_cli.fields.regrid import bilinear, log_pressure_weights
from phyda_cli.names import GRAVITY, VARIABLES
from phyda_cli.observations.atmosphere import LAPSE_RATE, pressure_at_height, standard_height, standard_pressure
from phyda_cli.observations.qc import set_codes
from phyda_cli.observations.table import QC

__all__ = ["HEIGHT_LIMIT", "Operator", "build_operator", "operator_check", "present_levels"]

HEIGHT_LIMIT = 500.0  # m between a station and the surface that the model's value belongs to
_EXTRAPOLATION = 1.15  # a pressure this many times the lowest level's still uses that level
_EXTRAPOLATION_2M = 1.25
_NEAR_SURFACE = 84900.0  # Pa: only a level below this one can stand for what is underneath


@dataclass(frozen=True, eq=False)
class Operator:
    """H(x) = ``matrix`` (P, n) @ x + ``offset`` (P,) for x = ``Fields.vector()`` (n,) of the layout it was built for.

    ``ok`` (P,) tells which rows can be used; for the others ``qc`` (P,) holds 13, 15 or 17. Rows without any model equivalent
    (13, 15) are empty and have a NaN offset; those with 17 are computed all the same. ``notes`` says what was left out.
    """

    matrix: sparse.csr_matrix
    offset: np.ndarray
    ok: np.ndarray
    qc: np.ndarray
    notes: tuple[str, ...] = ()

    def apply(self, vector: np.ndarray) -> np.ndarray:
        """H(x) (P,) of one state (n,), or (P, M) of M states (n, M)."""
        return self.matrix @ vector + (self.offset if vector.ndim == 1 else self.offset[:, None])


def present_levels(fields: Fields, variable: str) -> np.ndarray:
    """Which of ``fields.levels`` (L,) hold ``variable``: those that are not NaN all over."""
    return ~np.isnan(fields.upper[variable]).all(axis=(1, 2))


def operator_check(table: pd.DataFrame, operator: Operator) -> pd.DataFrame:
    """``table`` with the operator's code on rows that pass so far but have no usable model equivalent."""
    return set_codes(table, operator.qc != 0, operator.qc)


def build_operator(
    layout: Fields, table: pd.DataFrame, static_orography: np.ndarray | None, height_limit: float = HEIGHT_LIMIT
) -> Operator:
    """The operator from the channels of ``layout`` to every row of ``table``.

    Bilinear in the horizontal, linear in log pressure between the levels that hold the variable (slices of NaN are absent
    ones). ``layout``'s own values enter where H depends on the state: temperature in the reduction of pressure, geopotential
    for the pressure of a height. ``static_orography`` (H, W) [m] defaults to ``orography`` among the surface fields.

    - t u v q z at a pressure, or at a height above sea level by the layout's z. Up to 15 % of pressure below the lowest level
      u, v and q keep its value and t warms by 6.5 K/km, if there are several levels and the lowest is below 850 hPa; z does not.
    - t2m: 6.5 K/km times station minus model height; q2m: else from q at the standard pressure of the station.
    - sp: the model's, taken to the station's height; else from msl likewise. msl, u10, v10: as they are.
    - Where a station is more than ``height_limit`` [m] from the model surface (for msl: the sea) that its value belongs to: QC 17.
      Without the elevation t2m is taken as it is and sp fails; without the model's orography t2m is as well, with a note.
    """
    return _Builder(layout, table, static_orography, height_limit).build()


class _Builder:
    """Collects the entries of the matrix variable by variable."""

    def __init__(self, layout: Fields, table: pd.DataFrame, orography: np.ndarray | None, height_limit: float) -> None:
        self.layout, self.grid, self.height_limit = layout, layout.grid, height_limit
        names = ("latitude", "longitude", "elevation", "pressure", "height")
        self.latitude, self.longitude, self.elevation, self.pressure, self.height = (table[k].to_numpy(float) for k in names)
        self.variable = table["variable"].to_numpy(object)
        self.orography = layout.surface.get("orography") if orography is None else orography
        self.offset = np.zeros(len(table))
        self.qc = np.zeros(len(table), np.int16)
        self.parts: list[sparse.coo_matrix] = []
        self.notes: list[str] = []
        self.start, position = {}, 0
        for name, field in (*layout.upper.items(), *layout.surface.items()):
            self.start[name] = position
            position += np.size(field)
        self.shape = len(table), position

    def build(self) -> Operator:
        inside = self.grid.contains(self.latitude, self.longitude)
        self.qc[~inside] = QC.DOMAIN
        for name in sorted(set(self.variable[inside])):
            rows = np.flatnonzero((self.variable == name) & inside)
            special = {"t2m": self.temperature_2m, "q2m": self.humidity_2m, "sp": self.surface_pressure}
            if name in special:
                special[name](rows)
            elif name in self.layout.surface:
                self.surface(name, rows)
            elif name in self.layout.upper:
                self.profile(name, rows)
            else:
                self.fail(rows)
        matrix = sparse.coo_matrix(self.shape) if not self.parts else sum(self.parts[1:], self.parts[0])
        matrix = sparse.csr_matrix(matrix)
        matrix.eliminate_zeros()
        return self.finish(matrix)

    def finish(self, matrix: sparse.csr_matrix) -> Operator:
        """Reject rows that touch a NaN of the layout, and empty those without a model equivalent."""
        absent = np.isnan(self.layout.vector()).astype(float)
        self.fail(np.flatnonzero(abs(matrix) @ absent > 0))
        lost = np.isin(self.qc, [QC.DOMAIN, QC.H_FAILED])
        matrix = sparse.diags((~lost).astype(float)) @ matrix
        matrix = sparse.csr_matrix(matrix)
        matrix.eliminate_zeros()
        return Operator(matrix, np.where(lost, np.nan, self.offset), self.qc == 0, self.qc, tuple(dict.fromkeys(self.notes)))

    def fail(self, rows: np.ndarray, code: QC = QC.H_FAILED) -> None:
        self.qc[rows[self.qc[rows] == 0]] = code

    def horizontal(self, rows: np.ndarray, vector: bool = False) -> sparse.csr_matrix:
        weights = bilinear(self.grid, self.latitude[rows], self.longitude[rows], vector)
        weights.eliminate_zeros()  # a NaN beside a point that needs no interpolation does no harm
        return weights

    def value(self, field: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The layout's ``field`` (H, W) at ``rows``."""
        return self.horizontal(rows) @ np.asarray(field, float).ravel()

    def add(self, weights: sparse.csr_matrix, rows: np.ndarray, start: np.ndarray, factor: np.ndarray) -> None:
        """Add factor * weights (P', H*W), moved to the columns from ``start`` (P',) on, to ``rows`` (P',) of the matrix."""
        w = weights.tocoo()
        columns = start[w.row] + w.col.astype(np.int64)
        self.parts.append(sparse.coo_matrix((w.data * factor[w.row], (rows[w.row], columns)), shape=self.shape).tocsr())

    def surface(self, name: str, rows: np.ndarray, factor: np.ndarray | None = None) -> None:
        """``factor`` (1) times the bilinear value of a surface field."""
        factor = np.ones(rows.size) if factor is None else factor
        self.add(self.horizontal(rows, VARIABLES[name].vector), rows, np.full(rows.size, self.start[name]), factor)

    def profile(self, name: str, rows: np.ndarray) -> None:
        """``name`` at the pressure or height of ``rows``."""
        pressure = np.where(np.isnan(self.pressure[rows]), self.pressure_of_height(rows), self.pressure[rows])
        self.vertical(name, rows, pressure, _EXTRAPOLATION)

    def vertical(self, name: str, rows: np.ndarray, pressure: np.ndarray, limit: float) -> None:
        """``name`` at ``pressure`` [Pa], down to ``limit`` times the lowest level's."""
        present = np.flatnonzero(present_levels(self.layout, name))
        usable = np.isfinite(pressure) & (pressure > 0) & (present.size > 0)
        self.fail(rows[~usable])
        rows, pressure = rows[usable], pressure[usable]
        if not rows.size:
            return
        levels = self.layout.levels[present]
        index, weights, within = log_pressure_weights(levels, pressure)
        lowest = levels.max()
        extended = (pressure > lowest) & (pressure <= limit * lowest) & (lowest > _NEAR_SURFACE) & (present.size > 1) & (name != "z")
        self.fail(rows[~(within | extended)])
        if name == "t":
            below = extended & ~within
            self.offset[rows[below]] = LAPSE_RATE * (standard_height(lowest) - standard_height(pressure[below]))
        horizontal = self.horizontal(rows, VARIABLES[name].vector)
        for k in range(2):
            self.add(horizontal, rows, self.start[name] + present[index[:, k]] * self.grid.size, weights[:, k])

    def pressure_of_height(self, rows: np.ndarray) -> np.ndarray:
        """Pressure [Pa] where the layout's geopotential is that of the rows' height, extrapolated downwards, NaN above its levels."""
        height = self.height[rows]
        result = np.full(rows.size, np.nan)
        known = np.flatnonzero(~np.isnan(height))
        if "z" not in self.layout.upper or not known.size:
            return result
        present = np.flatnonzero(present_levels(self.layout, "z"))
        present = present[np.argsort(-self.layout.levels[present])]  # upwards
        if present.size < 2:
            return result
        z = np.stack([self.value(self.layout.upper["z"][k], rows[known]) for k in present], axis=1)
        wanted = height[known] * GRAVITY
        lower = np.clip((z <= wanted[:, None]).sum(axis=1) - 1, 0, present.size - 2)
        each = np.arange(known.size)
        fraction = (wanted - z[each, lower]) / (z[each, lower + 1] - z[each, lower])
        log_p = np.log(self.layout.levels[present])
        pressure = np.exp(log_p[lower] + np.minimum(fraction, 1.0) * (log_p[lower + 1] - log_p[lower]))
        result[known] = np.where(fraction <= 1, pressure, np.nan)
        return result

    def rise(self, rows: np.ndarray) -> np.ndarray:
        """Station height above the model's surface [m], NaN where either is unknown."""
        if self.orography is None:
            self.notes.append("the model's orography is unknown: station heights are not accounted for")
            return np.full(rows.size, np.nan)
        return self.elevation[rows] - self.value(self.orography, rows)

    def temperature_2m(self, rows: np.ndarray) -> None:
        if "t2m" not in self.layout.surface:
            return self.fail(rows)
        rise = self.rise(rows)
        self.surface("t2m", rows)
        self.offset[rows] = -LAPSE_RATE * np.nan_to_num(rise)
        return self.fail(rows[np.abs(rise) > self.height_limit], QC.DIFF_REF)

    def humidity_2m(self, rows: np.ndarray) -> None:
        if "q2m" in self.layout.surface:
            return self.surface("q2m", rows)
        if "q" not in self.layout.upper:
            return self.fail(rows)
        height = self.elevation[rows]
        if self.orography is not None:
            height = np.where(np.isnan(height), self.value(self.orography, rows), height)
        return self.vertical("q", rows, standard_pressure(np.nan_to_num(height)), _EXTRAPOLATION_2M)

    def surface_pressure(self, rows: np.ndarray) -> None:
        """Hydrostatic, with the temperature of the layout: the derivative is taken with respect to pressure alone."""
        source = "sp" if "sp" in self.layout.surface and self.orography is not None else "msl"
        if source not in self.layout.surface:
            return self.fail(rows)
        self.fail(rows[np.isnan(self.elevation[rows])])
        above_surface = self.rise(rows)
        rise = above_surface if source == "sp" else self.elevation[rows]
        if "t2m" in self.layout.surface:  # at the foot of the column between the model's value and the station
            to_foot = 0.0 if source == "sp" else np.nan_to_num(above_surface) - self.elevation[rows]
            foot = self.value(self.layout.surface["t2m"], rows) - LAPSE_RATE * to_foot
        else:
            foot = 288.15 - LAPSE_RATE * (self.elevation[rows] - rise)
        factor = pressure_at_height(np.ones(rows.size), foot, rise)
        self.surface(source, rows, np.nan_to_num(factor))
        return self.fail(rows[np.abs(rise) > self.height_limit], QC.DIFF_REF)
