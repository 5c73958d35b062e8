"""Fewer observations where they are dense: one of each box is kept, or their mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from phyda_cli.constants import DEGREE
from phyda_cli.observations.atmosphere import standard_pressure
from phyda_cli.observations.qc.codes import set_codes
from phyda_cli.observations.table import QC

__all__ = ["Superobs", "box_numbers", "level_numbers", "superob", "superob_error", "thin"]

_DEGREE = DEGREE / 1000  # km


def level_numbers(table: pd.DataFrame, depth: float) -> np.ndarray:
    """Number of what a row belongs to in the vertical (P,): the layer of thickness ``depth`` in log
    pressure, by the standard atmosphere for heights; -1 at the surface; and rows of a layer of air
    only with those of the same layer."""
    pressure, height, top = (table[k].to_numpy() for k in ("pressure", "height", "pressure_top"))
    level = np.where(np.isnan(pressure), standard_pressure(np.clip(height, None, 40e3)), pressure)
    number = np.where(
        np.isnan(level), -1, np.floor(np.log(np.where(level > 0, level, 1.0)) / depth)
    ).astype(int)
    return np.asarray(number + (number.max(initial=0) + 2) * (pd.factorize(top)[0] + 1))


def box_numbers(table: pd.DataFrame, size_km: float, depth: float) -> tuple[np.ndarray, np.ndarray]:
    """The box of every row (P,), and its distance [km] from the box's centre (P,).

    Boxes are bands of latitude ``size_km`` wide, cut into pieces as long, and layers of ``depth``
    in log pressure; each holds one variable.
    """
    latitude, longitude = table["latitude"].to_numpy(), table["longitude"].to_numpy() % 360
    step = 180 / max(round(180 * _DEGREE / size_km), 1)
    row = np.minimum(np.floor((latitude + 90) / step), round(180 / step) - 1)
    middle = -90 + step * (row + 0.5)
    pieces = np.maximum(np.round(360 / step * np.cos(np.deg2rad(middle))), 1)
    column = np.floor(longitude / 360 * pieces)
    level = level_numbers(table, depth)
    variable = pd.factorize(table["variable"])[0]
    box = np.unique(np.stack([row, column, level, variable]), axis=1, return_inverse=True)[
        1
    ].ravel()
    eastward = (longitude - (column + 0.5) * 360 / pieces) * np.cos(np.deg2rad(latitude))
    return box, _DEGREE * np.hypot(latitude - middle, eastward)


def thin(
    table: pd.DataFrame, valid_time: np.datetime64, size_km: float, depth: float
) -> pd.DataFrame:
    """QC 16 for all used rows of a box but one: the nearest to ``valid_time``, of those the nearest
    to the box's centre, then the first."""
    rows = np.flatnonzero((table["qc"] == QC.PASS).to_numpy())
    part = table.iloc[rows]
    box, distance = box_numbers(part, size_km, depth)
    late = np.abs(part["time"].to_numpy() - valid_time.astype("datetime64[ns]"))
    order = np.lexsort((distance, late))
    redundant = np.zeros(len(table), bool)
    redundant[rows[order]] = pd.Series(box[order]).duplicated().to_numpy()
    return set_codes(table, redundant, QC.THINNED)


def superob_error(error: np.ndarray, correlation: float) -> float:
    """Standard deviation of the mean of n reports weighted by 1/sigma^2, whose errors ``error``
    (n,) have the same ``correlation``.

    For equal errors sigma^2 (1 + (n - 1) rho) / n.
    """
    weight = error**-2 / (error**-2).sum()
    independent, common = (
        (1 - correlation) * np.square(weight * error).sum(),
        correlation * (weight * error).sum() ** 2,
    )
    return float(np.sqrt(independent + common))


@dataclass(frozen=True, eq=False)
class Superobs:
    """``table`` with its codes; what the analysis is to use, each (P,): ``innovation``, ``error``,
    and of how many reports, ``size``."""

    table: pd.DataFrame
    innovation: np.ndarray
    error: np.ndarray
    size: np.ndarray


def superob(
    table: pd.DataFrame, innovation: np.ndarray, size_km: float, depth: float, correlation: float
) -> Superobs:
    """The used rows of each box as one: the row nearest to their middle stands for all, the others
    get QC 43.

    Innovations (P,) are averaged, not values (as in JEDI's superob filter), so that stations of
    different heights or hours mix; weights are 1/sigma^2, and the error is :func:`superob_error`'s.
    """
    rows = np.flatnonzero((table["qc"] == QC.PASS).to_numpy())
    used, error, size = (
        innovation.copy(),
        table["error"].to_numpy().copy(),
        np.ones(len(table), int),
    )
    merged = np.zeros(len(table), bool)
    part = table.iloc[rows]
    for members in (
        pd.Series(np.arange(rows.size))
        .groupby(box_numbers(part, size_km, depth)[0])
        .indices.values()
    ):
        if members.size < 2:
            continue
        r = rows[members]
        weight = error[r] ** -2 / (error[r] ** -2).sum()
        mean, spread = float(weight @ innovation[r]), superob_error(error[r], correlation)
        chosen = r[
            _nearest_to_middle(
                part["latitude"].to_numpy()[members], part["longitude"].to_numpy()[members]
            )
        ]
        used[chosen], error[chosen], size[chosen] = mean, spread, r.size
        merged[r[r != chosen]] = True
    return Superobs(set_codes(table, merged, QC.SUPEROBBED), used, error, size)


def _nearest_to_middle(latitude: np.ndarray, longitude: np.ndarray) -> int:
    """Number of the point nearest to the mean of points (n,) that lie within one box, which never
    crosses longitude zero."""
    east = (longitude % 360 - (longitude % 360).mean()) * np.cos(np.deg2rad(latitude.mean()))
    return int(np.argmin(np.hypot(latitude - latitude.mean(), east)))
