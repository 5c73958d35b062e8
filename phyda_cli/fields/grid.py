"""Regular latitude-longitude grids, global or limited, and the fields that live on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from phyda_cli.errors import InputError
from phyda_cli.fields.layered import plane
from phyda_cli.names import Channel

__all__ = ["Fields", "Grid"]


@dataclass(frozen=True, eq=False)
class Grid:
    """A rectilinear grid: ``latitude`` (H,) in either direction, ``longitude`` (W,) increasing
    [degrees].

    Raises InputError when a coordinate is not strictly monotone or out of range.
    """

    latitude: np.ndarray
    longitude: np.ndarray

    def __post_init__(self) -> None:
        lat, lon = np.asarray(self.latitude, float), np.asarray(self.longitude, float)
        object.__setattr__(self, "latitude", lat)
        object.__setattr__(self, "longitude", lon)
        if lat.size < 2 or lon.size < 2:
            raise InputError(
                f"a grid needs at least 2x2 points, got {lat.size} latitudes and {lon.size} "
                "longitudes"
            )
        if np.abs(lat).max() > 90 + 1e-6:
            raise InputError(
                f"latitude must be within -90..90, found {lat[np.abs(lat).argmax()]:g}"
            )
        steps = np.diff(lat)
        if not (np.all(steps > 0) or np.all(steps < 0)):
            raise InputError("latitudes are not strictly monotone")
        if not np.all(np.diff(lon) > 0) or lon[-1] - lon[0] >= 360:
            raise InputError(
                f"longitudes must increase and span less than 360 degrees, found {lon[0]:g} to "
                f"{lon[-1]:g}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.latitude.size, self.longitude.size

    @property
    def size(self) -> int:
        """Number of points."""
        return self.latitude.size * self.longitude.size

    @cached_property
    def periodic(self) -> bool:
        """Whether the longitudes close the circle."""
        gap = 360 - (self.longitude[-1] - self.longitude[0])
        return bool(gap < 1.5 * np.median(np.diff(self.longitude)))

    @cached_property
    def covers_poles(self) -> tuple[bool, bool]:
        """Whether the southern and the northern pole lie within a row's spacing of the grid's
        edge."""
        step = abs(float(np.median(np.diff(self.latitude))))
        south, north = self.latitude.min() + 90, 90 - self.latitude.max()
        return bool(self.periodic and south < 1.01 * step), bool(
            self.periodic and north < 1.01 * step
        )

    @cached_property
    def area_weights(self) -> np.ndarray:
        """Area of each row's cells divided by the mean (H,)."""
        lat = self.latitude
        edges = np.concatenate(
            [
                [lat[0] - (lat[1] - lat[0]) / 2],
                (lat[1:] + lat[:-1]) / 2,
                [lat[-1] + (lat[-1] - lat[-2]) / 2],
            ]
        )
        area = np.abs(np.diff(np.sin(np.deg2rad(np.clip(edges, -90, 90)))))
        return area / area.mean()

    @cached_property
    def point_weights(self) -> np.ndarray:
        """Area of each cell divided by the mean (H, W)."""
        return np.broadcast_to(self.area_weights[:, None], self.shape)

    @cached_property
    def mesh(self) -> tuple[np.ndarray, np.ndarray]:
        """Latitude and longitude of every point, each (H, W)."""
        lat, lon = np.meshgrid(self.latitude, self.longitude, indexing="ij")
        return lat, lon

    @cached_property
    def spacing(self) -> float:
        """Of rows and columns, their geometric mean [degrees]."""
        steps = (np.median(np.abs(np.diff(a))) for a in (self.latitude, self.longitude))
        return float(np.sqrt(np.prod([*steps])))

    def contains(self, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
        """Which points can be interpolated to: inside the grid, or beyond its last row at a covered
        pole."""
        lat, lon = np.asarray(latitude, float), np.asarray(longitude, float)
        south, north = self.covers_poles
        low = -90.0 if south else self.latitude.min()
        high = 90.0 if north else self.latitude.max()
        inside = (lat >= low - 1e-6) & (lat <= high + 1e-6)
        if not self.periodic:
            span = self.longitude[-1] - self.longitude[0]
            offset = (lon - self.longitude[0] + 1e-6) % 360
            inside &= offset <= span + 2e-6
        return inside

    def same_as(self, other: Grid) -> bool:
        """Equal to within 1e-4 degrees."""
        return (
            self.latitude.shape == other.latitude.shape
            and self.longitude.shape == other.longitude.shape
            and bool(np.allclose(self.latitude, other.latitude, atol=1e-4))
            and bool(np.allclose(self.longitude, other.longitude, atol=1e-4))
        )


@dataclass(frozen=True, eq=False)
class Fields:
    """Fields of one valid time under canonical names and in canonical units.

    ``upper`` maps a variable to (L, H, W) on ``levels`` (L,) in Pa; ``surface`` maps a variable to
    (H, W).
    """

    grid: Grid
    time: np.datetime64
    levels: np.ndarray
    upper: Mapping[str, np.ndarray]
    surface: Mapping[str, np.ndarray]
    lead_hours: float = 0.0

    @property
    def channels(self) -> list[Channel]:
        """Every two-dimensional slice, in the order of :meth:`vector`."""
        return [Channel(v, float(p) / 100) for v in self.upper for p in self.levels] + [
            Channel(v) for v in self.surface
        ]

    def vector(self) -> np.ndarray:
        """All values flattened in the order of :attr:`channels`, (len(channels) * H * W,),
        float64."""
        parts = [
            np.asarray(a, np.float64).ravel()
            for a in (*self.upper.values(), *self.surface.values())
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def picked(self, index: np.ndarray) -> np.ndarray:
        """The values at increasing positions ``index`` (n,) of :meth:`vector`, which is not
        made."""
        found, size = np.empty(index.size), self.grid.size
        planes: list[tuple[str, int | None]] = [
            *((name, k) for name in self.upper for k in range(self.levels.size)),
            *((name, None) for name in self.surface),
        ]
        bounds = np.searchsorted(index, size * np.arange(len(planes) + 1))
        for n, (name, k) in enumerate(planes):
            chosen = slice(bounds[n], bounds[n + 1])
            if bounds[n] < bounds[n + 1]:
                values = self.surface[name] if k is None else plane(self.upper, name, k)
                found[chosen] = values.ravel()[index[chosen] - n * size]
        return found
