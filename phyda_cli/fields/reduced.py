"""Reduced grids, such as ECMWF's reduced Gaussian one: rows of latitude, each with a number of
points of its own all around the Earth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from phyda_cli.errors import InputError
from phyda_cli.fields.mesh import Mesh

__all__ = ["Reduced"]

_LEAST = 4  # points of a row


@dataclass(frozen=True, eq=False)
class Reduced(Mesh):
    """Points (1, N) [degrees] in rows of one latitude each, eastwards and evenly around the Earth.

    Raises InputError for points that are not.
    """

    def __post_init__(self) -> None:
        for name in ("latitude", "longitude"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), float).reshape(1, -1))
        if not (np.isfinite(self.latitude).all() and np.isfinite(self.longitude).all()):
            raise InputError("latitude or longitude has missing values")
        if np.abs(self.latitude).max() > 90 + 1e-6:
            raise InputError(f"latitude must be within -90..90, found {self.latitude.max():g}")
        rows, count = self.rows.size, self.counts
        steps = np.diff(self.rows)
        in_order = rows > 1 and (np.all(steps > 0) or np.all(steps < 0))
        if (
            not in_order
            or count.min() < _LEAST
            or not np.allclose(
                self._offset, np.arange(self.size) - np.repeat(self.start, count), atol=0.01
            )
        ):
            raise InputError("the points are a list that does not form rows around the Earth")

    def __reduce__(self) -> tuple[type[Mesh], tuple[np.ndarray, np.ndarray]]:
        return Reduced, (self.latitude, self.longitude)

    @cached_property
    def start(self) -> np.ndarray:
        """Where each row begins (R,)."""
        return np.flatnonzero(np.append(True, np.diff(self.latitude[0]) != 0))

    @cached_property
    def counts(self) -> np.ndarray:
        """Points of each row (R,)."""
        return np.diff(np.append(self.start, self.size))

    @cached_property
    def rows(self) -> np.ndarray:
        """Latitude of each row (R,)."""
        return self.latitude[0, self.start]

    @property
    def _offset(self) -> np.ndarray:
        """How far each point is from the first one of its row, in steps."""
        first = np.repeat(self.longitude[0, self.start], self.counts)
        step = np.repeat(360.0 / self.counts, self.counts)
        return np.asarray(((self.longitude[0] - first + 0.5 * step) % 360) / step - 0.5)

    @cached_property
    def covers_poles(self) -> tuple[bool, bool]:
        """Rows around the Earth to within a row of each pole."""
        step = 1.01 * abs(float(np.median(np.diff(self.rows))))
        return bool(self.rows.min() + 90 < step), bool(90 - self.rows.max() < step)

    @cached_property
    def point_weights(self) -> np.ndarray:
        """Area of each point's cell divided by the mean (1, N)."""
        rows = self.rows
        edges = np.concatenate([[np.sign(rows[0]) * 90], (rows[1:] + rows[:-1]) / 2])
        edges = np.append(edges, np.sign(rows[-1]) * 90)
        area = np.abs(np.diff(np.sin(np.deg2rad(edges)))) / self.counts
        each = np.repeat(area, self.counts)[None]
        return np.asarray(each / each.mean())

    @cached_property
    def spacing(self) -> float:
        """Distance of rows [degrees]."""
        return abs(float(np.median(np.diff(self.rows))))

    def contains(self, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
        """Which points lie between the rows, or beyond the last one at a pole."""
        south, north = self.covers_poles
        low = -90.0 if south else self.rows.min()
        high = 90.0 if north else self.rows.max()
        lat = np.asarray(latitude, float)
        return (lat >= low - 1e-6) & (lat <= high + 1e-6)

    def bilinear(
        self, latitude: np.ndarray, longitude: np.ndarray, vector: bool = False
    ) -> sparse.csr_matrix:
        """Interpolation matrix (P, N): along the two rows beside a point, then between them. Beyond
        the last row the pole is what ``phyda_cli.fields.interpolate.bilinear`` makes it."""
        lat, lon = np.ravel(latitude).astype(float), np.ravel(longitude).astype(float)
        at = np.flatnonzero(self.contains(lat, lon))
        lat, lon = lat[at], lon[at]
        order = np.argsort(self.rows)
        knots = self.rows[order]
        i = np.clip(np.searchsorted(knots, lat, side="right") - 1, 0, knots.size - 2)
        fy = np.clip((lat - knots[i]) / (knots[i + 1] - knots[i]), 0, 1)
        pole = np.sign(lat) * 90
        edge = np.where(lat > 0, knots[-1], knots[0])
        beyond = (lat - edge) * np.sign(lat) > 1e-9
        share = np.divide(lat - edge, pole - edge, out=np.zeros(lat.size), where=beyond)
        parts = []
        for row, weight in ((order[i], 1 - fy), (order[i + 1], fy)):
            number = self.counts[row]
            x = ((lon - self.longitude[0, self.start[row]] + 1e-9) % 360) * number / 360
            j = np.minimum(np.floor(x).astype(int), number - 1)
            fx = x - j
            for step, w in ((0, 1 - fx), (1, fx)):
                parts.append((at, self.start[row] + (j + step) % number, weight * w * (1 - share)))
        for n in np.flatnonzero(beyond):
            row = order[-1] if lat[n] > 0 else order[0]
            chosen = self.start[row] + np.arange(self.counts[row])
            angle = np.deg2rad(lon[n] - self.longitude[0, chosen])
            value = (2 * np.cos(angle) if vector else np.ones(chosen.size)) * share[n]
            parts.append((np.full(chosen.size, at[n]), chosen, value / chosen.size))
        row, column, value = (np.concatenate([p[k] for p in parts]) for k in range(3))
        shape = (np.size(latitude), self.size)
        return sparse.coo_matrix((value, (row, column)), shape=shape).tocsr()
