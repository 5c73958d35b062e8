"""The groups of surface variables that are analysed together on fine scales, and what their rows
are for that: scaled values at points."""

from __future__ import annotations

import numpy as np
import pandas as pd

from phyda_cli.analysis.fine_covariance import Points
from phyda_cli.analysis.fine_drift import height_predictor, wind_predictors
from phyda_cli.constants import STANDARD_PRESSURE
from phyda_cli.fields.earth import east_and_north
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.interpolate import bilinear

__all__ = [
    "GROUPS",
    "components",
    "grid_points",
    "one_a_place",
    "predictors",
    "reports",
    "stations",
    "unit",
    "vectors",
]

GROUPS: dict[str, tuple[str, ...]] = {
    "temperature": ("t2m",),
    "humidity": ("q2m",),
    "wind": ("u10", "v10"),
    "pressure": ("sp", "msl"),
}
_REPORT = ["station_id", "time", "latitude", "longitude", "elevation"]
_HUMIDITY = 5e-3  # kg kg-1, where the error of humidity is as it is estimated


def reports(
    table: pd.DataFrame, usable: np.ndarray, names: tuple[str, ...], together: bool
) -> np.ndarray:
    """Numbers of the ``usable`` (P,) rows (m, V) of ``names``: one of them, or with ``together``
    all of a report."""
    variable = table["variable"].to_numpy(object)
    if not together:
        return np.flatnonzero(usable & np.isin(variable, names))[:, None]
    parts = [
        table.loc[usable & (variable == name), _REPORT].assign(row=lambda t: t.index)
        for name in names
    ]
    both = parts[0].merge(parts[1], on=_REPORT, suffixes=("", "_other"))
    return both[["row", "row_other"]].to_numpy()


def unit(group: str, value: np.ndarray) -> np.ndarray:
    """What residuals near ``value`` (of the background) are divided by, so that they vary alike
    everywhere: pressure is proportional to pressure, humidity's errors grow with its root."""
    if group == "pressure":
        return np.asarray(value) / STANDARD_PRESSURE
    if group == "humidity":
        return np.sqrt(np.maximum(value, 0.04 * _HUMIDITY) / _HUMIDITY)
    return np.ones(np.shape(value))


def vectors(position: np.ndarray, values: np.ndarray, group: str) -> np.ndarray:
    """Scalars as they are (m, 1); winds (m, 2) as vectors (m, 3) in space, which need no common
    north."""
    if group != "wind":
        return values
    east, north = east_and_north(position)
    return values[:, :1] * east + values[:, 1:] * north


def components(position: np.ndarray, vectors: np.ndarray, group: str) -> np.ndarray:
    """The way back."""
    if group != "wind":
        return vectors
    return np.stack([(vectors * axis).sum(axis=1) for axis in east_and_north(position)], axis=1)


def stations(background: Fields, table: pd.DataFrame) -> tuple[Points, np.ndarray]:
    """Where the rows (m,) are, and the background's ground there (m,) [m]. Where it has none,
    nobody knows how high its points are: elevation has no say."""
    latitude, longitude = table["latitude"].to_numpy(), table["longitude"].to_numpy()
    weights = bilinear(background.grid, latitude, longitude)

    def of(name: str) -> np.ndarray | None:
        if name not in background.surface:
            return None
        return np.asarray(weights @ np.nan_to_num(background.surface[name]).ravel())

    ground, elevation = of("orography"), table["elevation"].to_numpy()
    if ground is None:
        ground = elevation = np.zeros(len(table))
    elevation = np.where(np.isnan(elevation), ground, elevation)
    return Points.at(latitude, longitude, elevation, of("lsm")), ground


def one_a_place(
    places: Points, values: np.ndarray, weight: np.ndarray
) -> tuple[Points, np.ndarray, np.ndarray]:
    """``places`` (k,) without repeats, the mean of the ``values`` (m, V) there and the smallest
    ``weight`` (m,). Rows at one place (to a metre) are of one instrument, such as both pressures of
    a barometer, or see the same air: several know no more than one, and agree better than
    neighbours do."""
    metres = np.column_stack([1e3 * places.position, places.elevation]).round().astype(np.int64)
    _, first, of = np.unique(metres, axis=0, return_index=True, return_inverse=True)
    if first.size == len(values):
        return places, values, weight
    order = np.argsort(first)
    rank = np.argsort(order)[of.ravel()]
    share = 1 / weight**2
    total = np.bincount(rank, share)
    mean = np.stack([np.bincount(rank, share * v) for v in values.T], axis=1) / total[:, None]
    smallest = np.full(first.size, np.inf)
    np.minimum.at(smallest, rank, weight)
    return places.take(first[order]), mean, smallest


def grid_points(background: Fields) -> Points:
    """The points (H * W,) of the grid of ``background``."""
    latitude, longitude = (a.ravel() for a in background.grid.mesh)
    fixed = (background.surface.get(name) for name in ("orography", "lsm"))
    return Points.at(latitude, longitude, *(None if f is None else f.ravel() for f in fixed))


def predictors(
    group: str, places: Points, analysed: np.ndarray, ground: np.ndarray | None = None
) -> np.ndarray:
    """Of the drift (m, V, K) at ``places`` (m,) where stage 1 has ``analysed`` (m, V) and the
    background its ``ground`` (m,) [m]; without, they are on it."""
    if group == "wind":
        return wind_predictors(analysed, places.land)
    return height_predictor(places.elevation - (places.elevation if ground is None else ground))
