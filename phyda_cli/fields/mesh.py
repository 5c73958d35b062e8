"""Grids whose latitudes and longitudes are two-dimensional: Lambert, polar stereographic, rotated
and other quadrilateral grids."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.fields.layered import Layered, plane

__all__ = ["WINDS", "Mesh", "turned", "turned_spread"]

WINDS = (("u", "v"), ("u10", "v10"))
_ITERATIONS = 8
_EDGE = 1e-6  # of a cell, beyond the last row or column
_REACH = 2.0  # mesh spacings between a point and the nearest of the mesh
_MOST_STARTS = 100  # along the shorter side
_MOST_COVERING = 400
_AROUND = 300.0  # degrees of longitude: the mesh goes around a pole
_ROWS = 128  # at once, where all would take several times the memory of the mesh


@dataclass(frozen=True, eq=False)
class Mesh(Grid):
    """A quadrilateral grid: ``latitude`` and ``longitude`` (H, W) [degrees].

    Raises InputError when a coordinate is missing or out of range.
    """

    def __post_init__(self) -> None:
        lat, lon = np.asarray(self.latitude, float), np.asarray(self.longitude, float)
        object.__setattr__(self, "latitude", lat)
        object.__setattr__(self, "longitude", lon)
        if lat.ndim != 2 or lat.shape != lon.shape or min(lat.shape) < 2:
            raise InputError(f"a mesh needs at least 2x2 points, got {lat.shape} and {lon.shape}")
        if not (np.isfinite(lat).all() and np.isfinite(lon).all()):
            raise InputError("latitude or longitude has missing values")
        if np.abs(lat).max() > 90 + 1e-6:
            raise InputError(f"latitude must be within -90..90, found {np.abs(lat).max():g}")

    def __reduce__(self) -> tuple[type[Mesh], tuple[np.ndarray, np.ndarray]]:
        """Its coordinates alone go to another process, not what follows from them."""
        return Mesh, (self.latitude, self.longitude)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        rows, columns = self.latitude.shape
        return rows, columns

    @property
    def size(self) -> int:
        """Number of points."""
        return self.latitude.size

    @cached_property
    def periodic(self) -> bool:
        """A mesh has edges all around."""
        return False

    @cached_property
    def covers_poles(self) -> tuple[bool, bool]:
        """A pole inside is like any other point."""
        return False, False

    @cached_property
    def area_weights(self) -> np.ndarray:
        """Raises InputError: the areas of a mesh do not go by rows."""
        raise InputError(
            "this needs a regular latitude-longitude grid, and the fields are on a projected one",
            hint="bring the file to one first: cdo remapbil,r360x181 in.nc out.nc",
        )

    @cached_property
    def point_weights(self) -> np.ndarray:
        """Area of each cell divided by the mean (H, W)."""
        area = np.empty(self.shape)
        for row in range(0, len(area), _ROWS):  # and a row on either side
            first = max(row - 1, 0)
            some = self._position[first : row + _ROWS + 1]
            along = [np.gradient(some, axis=a) for a in (0, 1)]
            size = np.linalg.norm(np.cross(*along), axis=-1)[row - first :][:_ROWS]
            area[row : row + _ROWS] = size
        return area / area.mean()

    @cached_property
    def mesh(self) -> tuple[np.ndarray, np.ndarray]:
        """Latitude and longitude of every point, each (H, W)."""
        return self.latitude, self.longitude

    @cached_property
    def spacing(self) -> float:
        """Median distance of neighbours along either axis [degrees]."""
        return max(
            float(np.median(np.linalg.norm(np.diff(self._position, axis=a), axis=-1)))
            for a in (0, 1)
        ) * (180 / np.pi)

    @cached_property
    def covering(self) -> Grid:
        """A regular grid over what the mesh covers, about as fine but of no more than
        :data:`_MOST_COVERING` rows or columns: for pictures and cuts."""
        south, north = float(self.latitude.min()), float(self.latitude.max())
        middle = float(self.longitude[tuple(n // 2 for n in self.shape)])
        east = (self.longitude - middle + 180) % 360 - 180 + middle
        width = float(np.ptp(east))
        step = max(self.spacing, (north - south) / _MOST_COVERING, width / _MOST_COVERING)
        rows = np.linspace(south, north, max(round((north - south) / step), 1) + 1)
        if width > _AROUND:
            return Grid(rows, np.arange(-180, 180, 360 / round(360 / step)))
        columns = np.linspace(float(east.min()), float(east.max()), max(round(width / step), 1) + 1)
        return Grid(rows, columns)

    @cached_property
    def _position(self) -> np.ndarray:
        """Unit vectors (H, W, 3)."""
        return _unit(self.latitude, self.longitude)

    @cached_property
    def _tree(self) -> cKDTree:
        """Of every :attr:`_stride`-th point: a search in the mesh begins there."""
        few = self._position[:: self._stride, :: self._stride]
        return cKDTree(few.reshape(-1, 3), balanced_tree=False)

    @cached_property
    def _stride(self) -> int:
        return max(1, min(self.shape) // _MOST_STARTS)

    def locate(
        self, latitude: np.ndarray, longitude: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row and column (P,) of points in index space, where the mesh's positions are bilinear,
        and which lie on the mesh."""
        point = _unit(np.ravel(latitude), np.ravel(longitude))
        rows, columns = self.shape
        reach = _REACH * self._stride * np.deg2rad(self.spacing)
        distance, nearest = self._tree.query(point, distance_upper_bound=reach)
        starts = -(-columns // self._stride)
        y, x = (self._stride * n.astype(float) for n in np.divmod(nearest, starts))
        close = np.flatnonzero(np.isfinite(distance))
        for _ in range(_ITERATIONS):
            i = np.clip(np.floor(y[close]).astype(int), 0, rows - 2)
            j = np.clip(np.floor(x[close]).astype(int), 0, columns - 2)
            fy, fx = (y[close] - i)[:, None], (x[close] - j)[:, None]
            a, b = self._position[i, j], self._position[i, j + 1]
            c, d = self._position[i + 1, j], self._position[i + 1, j + 1]
            here = (1 - fy) * ((1 - fx) * a + fx * b) + fy * ((1 - fx) * c + fx * d)
            along_x = (1 - fy) * (b - a) + fy * (d - c)
            along_y = (1 - fx) * (c - a) + fx * (d - b)
            # the chord plane of a cell lies below the sphere: compare along the ray of the point
            miss = point[close] * np.sum(here * point[close], 1, keepdims=True) - here
            xx, yy, xy = (
                np.sum(p * q, axis=1)
                for p, q in ((along_x, along_x), (along_y, along_y), (along_x, along_y))
            )
            mx, my = np.sum(miss * along_x, 1), np.sum(miss * along_y, 1)
            determinant = xx * yy - xy**2
            x[close] = np.clip(x[close] + (yy * mx - xy * my) / determinant, -1, columns)
            y[close] = np.clip(y[close] + (xx * my - xy * mx) / determinant, -1, rows)
        inside = np.zeros(y.size, bool)
        inside[close] = True
        inside &= (y >= -_EDGE) & (y <= rows - 1 + _EDGE) & (x >= -_EDGE)
        inside &= x <= columns - 1 + _EDGE
        return np.clip(y, 0, rows - 1), np.clip(x, 0, columns - 1), inside

    def contains(self, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
        """Which points lie on the mesh."""
        return self.locate(latitude, longitude)[2].reshape(np.shape(latitude))

    def bilinear(
        self, latitude: np.ndarray, longitude: np.ndarray, vector: bool = False
    ) -> sparse.csr_matrix:
        """Interpolation matrix (P, H*W), bilinear in index space, the same for a component of the
        wind (``vector``). Rows of points outside are empty."""
        y, x, inside = self.locate(latitude, longitude)
        rows, columns = self.shape
        at = np.flatnonzero(inside)
        y, x = y[at], x[at]
        i = np.minimum(np.floor(y).astype(int), rows - 2)
        j = np.minimum(np.floor(x).astype(int), columns - 2)
        fy, fx = y - i, x - j
        corners = [(di, dj) for di in (0, 1) for dj in (0, 1)]
        index = np.concatenate([(i + di) * columns + j + dj for di, dj in corners])
        weight = np.concatenate(
            [(fy if di else 1 - fy) * (fx if dj else 1 - fx) for di, dj in corners]
        )
        return sparse.coo_matrix(
            (weight, (np.tile(at, 4), index)), shape=(inside.size, self.size)
        ).tocsr()

    def binned(self, target: Grid) -> sparse.csr_matrix:
        """Matrix (target.size, H*W) of means over the points in each of the target's cells;
        bilinear where a cell on the mesh has none."""
        row = _cell(target.latitude, self.latitude.ravel())
        east = target.longitude[0] - 180 / target.longitude.size
        column = _cell(target.longitude, east + (self.longitude.ravel() - east) % 360)
        within = (row >= 0) & (column >= 0)
        cell = row[within] * target.shape[1] + column[within]
        count = np.bincount(cell, minlength=target.size)
        covered = self.contains(*target.mesh).ravel()
        share = np.where(covered & (count > 0), 1 / np.maximum(count, 1), 0.0)
        means = sparse.coo_matrix(
            (share[cell], (cell, np.flatnonzero(within))), shape=(target.size, self.size)
        ).tocsr()
        means.eliminate_zeros()
        empty = sparse.diags((covered & (count == 0)).astype(float))
        rest = (empty @ self.bilinear(*target.mesh)).tocsr()
        rest.eliminate_zeros()
        return (means + rest).tocsr()

    @cached_property
    def angle(self) -> np.ndarray:
        """Angle (H, W) [radians] from the east to the direction in which columns increase,
        counterclockwise."""
        step = np.gradient(self._position, axis=1, edge_order=2 if self.shape[1] > 2 else 1)
        lat, lon = np.deg2rad(self.latitude), np.deg2rad(self.longitude)
        east = np.stack([-np.sin(lon), np.cos(lon), np.zeros_like(lon)], -1)
        north = np.stack([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)], -1)
        return np.arctan2(np.sum(step * north, -1), np.sum(step * east, -1))


def _unit(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    lat, lon = np.deg2rad(latitude), np.deg2rad(longitude)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)


def _cell(centres: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Index of the cell (P,) that each of ``x`` lies in, -1 for none."""
    order = np.argsort(centres)
    c = centres[order]
    edges = np.concatenate(
        [[1.5 * c[0] - 0.5 * c[1]], (c[1:] + c[:-1]) / 2, [1.5 * c[-1] - 0.5 * c[-2]]]
    )
    found = np.searchsorted(edges, x, side="right") - 1
    outside = (found < 0) | (found >= c.size)
    return np.where(outside, -1, order[np.clip(found, 0, c.size - 1)])


def turned(fields: Fields, angle: np.ndarray) -> Fields:
    """``fields`` with winds turned counterclockwise by ``angle`` (H, W) [radians]: from components
    along the axes of a mesh to eastward and northward ones. A component without the other goes."""
    c, s = np.cos(angle), np.sin(angle)

    def east(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(c * x - s * y)

    def north(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(s * x + c * y)

    lone = {n for pair in WINDS for n in pair if not _both(fields, pair)}
    found = _with_winds(fields, east, north)
    return replace(
        found,
        upper=_without(found.upper, lone, fields.levels.size),
        surface={k: v for k, v in found.surface.items() if k not in lone},
    )


def _both(fields: Fields, pair: tuple[str, str]) -> bool:
    return any(all(n in group for n in pair) for group in (fields.upper, fields.surface))


def _with_winds(
    fields: Fields,
    first: Callable[[np.ndarray, np.ndarray], np.ndarray],
    second: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Fields:
    """``fields`` whose pairs of winds become what ``first`` and ``second`` make of both."""
    rule = {
        n: (pair, make) for pair in WINDS for n, make in zip(pair, (first, second), strict=True)
    }
    turning = {n for n, (pair, _) in rule.items() if _both(fields, pair)}

    def level(name: str, k: int) -> np.ndarray:
        if name not in turning:
            return plane(fields.upper, name, k)
        (x, y), make = rule[name]
        return make(plane(fields.upper, x, k), plane(fields.upper, y, k))

    surface = dict(fields.surface)
    for name in turning & surface.keys():
        (x, y), make = rule[name]
        surface[name] = make(fields.surface[x], fields.surface[y])
    return replace(fields, upper=Layered(fields.upper, fields.levels.size, level), surface=surface)


def _without(
    upper: Mapping[str, np.ndarray], names: Collection[str], count: int
) -> Mapping[str, np.ndarray]:
    return Layered([n for n in upper if n not in names], count, lambda n, k: plane(upper, n, k))


def turned_spread(spread: Fields, angle: np.ndarray) -> Fields:
    """Standard deviations of turned winds whose components have independent errors."""
    c, s = np.cos(angle) ** 2, np.sin(angle) ** 2
    return _with_winds(
        spread,
        lambda x, y: np.sqrt(c * np.square(x) + s * np.square(y)),
        lambda x, y: np.sqrt(s * np.square(x) + c * np.square(y)),
    )
