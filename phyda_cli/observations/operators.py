"""Observation operators as one sparse matrix: H(x) = matrix @ x + offset, with the transpose as the
exact adjoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from phyda_cli.constants import GRAVITY, LAPSE_RATE, STANDARD_TEMPERATURE
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.remap import present_levels
from phyda_cli.observations.atmosphere import pressure_at_height, standard_pressure
from phyda_cli.observations.operator_rows import OperatorRows
from phyda_cli.observations.qc import set_codes
from phyda_cli.observations.table import QC

__all__ = ["HEIGHT_LIMIT", "Operator", "build_operator", "operator_check"]

HEIGHT_LIMIT = 500.0  # m between a station and the surface that the model's value belongs to
_EXTRAPOLATION_2M = 1.25
_LEAST_SPEED = 1.0  # m s-1: below, the derivative of a speed has no direction to follow


@dataclass(frozen=True, eq=False)
class Operator:
    """H(x) = ``matrix`` (P, n) @ x + ``offset`` (P,) for x = ``Fields.vector()`` (n,) of the fields
    it was built for.

    ``ok`` (P,) tells which rows can be used; for the others ``qc`` (P,) holds 13, 15 or 17. Rows
    without any model equivalent (13, 15) are empty and have a NaN offset; those with 17 are
    computed all the same. ``notes`` says what was left out.
    """

    matrix: sparse.csr_matrix
    offset: np.ndarray
    ok: np.ndarray
    qc: np.ndarray
    notes: tuple[str, ...] = ()

    def apply(self, vector: np.ndarray) -> np.ndarray:
        """H(x) (P,) of one state (n,), or (P, M) of M states (n, M)."""
        return self.matrix @ vector + (self.offset if vector.ndim == 1 else self.offset[:, None])

    def of(self, fields: Fields) -> np.ndarray:
        """H(x) (P,) of ``fields``, of which only the points in use are looked at; what is missing
        there is taken as zero."""
        narrow, values = self._narrow(fields)
        return np.asarray(narrow @ np.nan_to_num(values) + self.offset)

    def deviation(self, spread: Fields) -> np.ndarray:
        """The standard deviation (P,) of H(x) where neighbouring points err together; NaN where
        ``spread``, in the layout of the fields, is missing."""
        narrow, values = self._narrow(spread)
        return np.asarray(abs(narrow) @ values)

    def _narrow(self, fields: Fields) -> tuple[sparse.csr_matrix, np.ndarray]:
        used, column = np.unique(self.matrix.indices, return_inverse=True)
        shape = (self.matrix.shape[0], used.size)
        narrow = sparse.csr_matrix((self.matrix.data, column, self.matrix.indptr), shape)
        return narrow, fields.picked(used)


def operator_check(table: pd.DataFrame, operator: Operator) -> pd.DataFrame:
    """``table`` with the operator's code on rows that pass so far but have no usable model
    equivalent."""
    return set_codes(table, operator.qc != 0, operator.qc)


def build_operator(
    fields: Fields,
    table: pd.DataFrame,
    static_orography: np.ndarray | None,
    height_limit: float = HEIGHT_LIMIT,
) -> Operator:
    """The operator from the channels of ``fields`` to every row of ``table``.

    Bilinear in the horizontal, linear in log pressure between the levels that hold the variable
    (slices of NaN are absent ones). The values of ``fields`` enter where H depends on the state:
    temperature in the reduction of pressure, geopotential for the pressure of a height.
    ``static_orography`` (H, W) [m] defaults to ``orography`` among the surface fields.

    - t u v q z at a pressure, or at a height above sea level by their z. Up to 15 % of
      pressure below the lowest level u, v and q keep its value and t warms by 6.5 K/km, if there
      are several levels and the lowest is below 850 hPa; z does not.
    - The same with ``pressure_top``: mass-weighted means of the layer, exact for what is linear in
      log pressure. thickness: z at the top less z at the bottom, over g. tcwv: q from the station's
      pressure (else the model surface's) to the top level, over g.
    - wind_speed, at the surface or aloft: its tangent at their wind, the one operator here
      that is not linear in the wind itself.
    - t2m: 6.5 K/km times station minus model height; q2m: else from q at the standard
      pressure of the station.
    - sp: the model's, taken to the station's height; else from msl likewise. u10, v10, msl:
      as they are.
    - Where a station is more than ``height_limit`` [m] from the model surface (with sp from
      msl: the sea) that its value belongs to: QC 17. Without the elevation t2m is taken as it
      is and sp fails; without the model's orography t2m is as well, with a note.
    """
    h = OperatorRows(fields, table, static_orography, height_limit)
    variable = table["variable"].to_numpy(object)
    inside = h.qc == 0
    for name in sorted(set(variable[inside])):
        rows = np.flatnonzero((variable == name) & inside)
        if name in _SPECIAL:
            _SPECIAL[name](h, rows)
        elif name in fields.surface:
            h.surface(name, rows)
        elif name in fields.upper:
            h.profile(name, rows)
        else:
            h.fail(rows)
    matrix = h.matrix()
    return Operator(matrix, h.offset, h.qc == 0, h.qc, tuple(dict.fromkeys(h.notes)))


def _thickness(h: OperatorRows, rows: np.ndarray) -> None:
    if "z" not in h.fields.upper:
        return h.fail(rows)
    h.vertical("z", rows, h.top[rows], 1.0, 1 / GRAVITY)
    return h.vertical("z", rows, h.pressure[rows], 1.0, -1 / GRAVITY)


def _column_water_vapour(h: OperatorRows, rows: np.ndarray) -> None:
    """Surface pressure and its temperature are those of the fields: the derivative is taken with
    respect to humidity alone."""
    if "q" not in h.fields.upper or h.orography is None:
        return h.fail(rows)
    ground = h.value(h.orography, rows)
    height = np.where(np.isnan(h.elevation[rows]), ground, h.elevation[rows])
    source, factor, _ = _reduction(h, rows, height)
    if source is None:
        return h.fail(rows)
    surface = h.value(h.fields.surface[source], rows) * factor
    top = np.full(rows.size, h.fields.levels[present_levels(h.fields, "q")].min(initial=np.inf))
    h.layer("q", rows, surface, top, (surface - top) / GRAVITY, np.inf)
    return h.fail(rows[np.abs(height - ground) > h.height_limit], QC.DIFF_REF)


def _wind_speed(h: OperatorRows, rows: np.ndarray) -> None:
    aloft = ~(np.isnan(h.pressure[rows]) & np.isnan(h.height[rows]))
    table = h.table.iloc[rows]
    components = [
        build_operator(
            h.fields,
            table.assign(variable=np.where(aloft, *names)),
            h.orography,
            h.height_limit,
        )
        for names in (("u", "u10"), ("v", "v10"))
    ]
    winds = [np.nan_to_num(component.of(h.fields)) for component in components]
    speed = np.hypot(*winds)
    slope = np.maximum(speed, _LEAST_SPEED)
    for wind, component in zip(winds, components, strict=True):
        entries = component.matrix.tocoo()
        h.insert(rows[entries.row], entries.col, entries.data * (wind / slope)[entries.row])
        h.fail(rows[~component.ok])
    h.offset[rows] = speed - speed**2 / slope


def _temperature_2m(h: OperatorRows, rows: np.ndarray) -> None:
    if "t2m" not in h.fields.surface:
        return h.fail(rows)
    rise = h.rise(rows, h.elevation[rows])
    h.surface("t2m", rows)
    h.offset[rows] = -LAPSE_RATE * np.nan_to_num(rise)
    return h.fail(rows[np.abs(rise) > h.height_limit], QC.DIFF_REF)


def _humidity_2m(h: OperatorRows, rows: np.ndarray) -> None:
    if "q2m" in h.fields.surface:
        return h.surface("q2m", rows)
    if "q" not in h.fields.upper:
        return h.fail(rows)
    height = h.elevation[rows]
    if h.orography is not None:
        height = np.where(np.isnan(height), h.value(h.orography, rows), height)
    return h.vertical("q", rows, standard_pressure(np.nan_to_num(height)), _EXTRAPOLATION_2M)


def _surface_pressure(h: OperatorRows, rows: np.ndarray) -> None:
    """Hydrostatic, with the temperature of the fields: the derivative is taken with respect to
    pressure alone."""
    h.fail(rows[np.isnan(h.elevation[rows])])
    source, factor, rise = _reduction(h, rows, h.elevation[rows])
    if source is None:
        return h.fail(rows)
    h.surface(source, rows, np.nan_to_num(factor))
    return h.fail(rows[np.abs(rise) > h.height_limit], QC.DIFF_REF)


def _reduction(
    h: OperatorRows, rows: np.ndarray, elevation: np.ndarray
) -> tuple[str | None, np.ndarray, np.ndarray]:
    """Which pressure of the fields to start from, the factor (P',) that takes it to ``elevation``
    [m], and how far that is [m]."""
    source = "sp" if "sp" in h.fields.surface and h.orography is not None else "msl"
    above_surface = h.rise(rows, elevation)
    rise = above_surface if source == "sp" else elevation
    if (
        "t2m" in h.fields.surface
    ):  # at the foot of the column between the model's value and the station
        to_foot = 0.0 if source == "sp" else np.nan_to_num(above_surface) - elevation
        foot = h.value(h.fields.surface["t2m"], rows) - LAPSE_RATE * to_foot
    else:
        foot = STANDARD_TEMPERATURE - LAPSE_RATE * (elevation - rise)
    return (
        source if source in h.fields.surface else None,
        pressure_at_height(np.ones(rows.size), foot, rise),
        rise,
    )


_SPECIAL: dict[str, Callable[[OperatorRows, np.ndarray], None]] = {
    "t2m": _temperature_2m,
    "q2m": _humidity_2m,
    "sp": _surface_pressure,
    "wind_speed": _wind_speed,
    "thickness": _thickness,
    "tcwv": _column_water_vapour,
}
