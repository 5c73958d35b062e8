"""How maps look: the area shown, colours by variable, coastlines, stations. No display, no network.

The coastlines are those of Natural Earth 1:110 million, public domain
(``examples/make_coastline.py`` derives them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import FixedLocator, FuncFormatter

from phyda_cli.fields.grid import Grid
from phyda_cli.fields.interpolate import on_covering
from phyda_cli.fields.mesh import Mesh
from phyda_cli.names import Channel

__all__ = [
    "Area",
    "Stations",
    "View",
    "area_of",
    "decorate",
    "draw_field",
    "draw_stations",
    "sequential",
    "shared",
    "stations_of",
    "stations_of_channel",
    "symmetric",
]

Area = tuple[float, float, float, float]
"""West, south, east, north [degrees]; east lies east of west."""

_ROBUST = 99.5  # percentile of magnitude that the colours reach
_MARGIN = 3.0  # degrees around stations
_FEW = 90.0, 60.0  # degrees of longitude and latitude that stations of a part of the globe fit in
_USED, _PASSIVE, _REJECTED = "#1a1a1a", "#0a7f3f", "#d4007f"
_COAST = "0.25"

# Colour-blind-safe scales: ColorBrewer's diverging ones without red against green, and viridis.
_DIVERGING = {
    "q": "BrBG",
    "r": "BrBG",
    "q2m": "BrBG",
    "d2m": "BrBG",
    "rh2m": "BrBG",
} | dict.fromkeys(("u", "v", "u10", "v10", "w", "wind_speed"), "PuOr_r")
_FIELD = {"q": "YlGnBu", "r": "YlGnBu", "q2m": "YlGnBu", "rh2m": "YlGnBu"} | dict.fromkeys(
    ("t", "t2m", "d2m"), "RdYlBu_r"
)


def symmetric(values: np.ndarray, variable: str | None = None) -> dict[str, Any]:
    """Colours of values of either sign, those of ``variable`` where it has its own."""
    limit = _limit(np.abs(values))
    return {"cmap": _DIVERGING.get(variable or "", "RdBu_r"), "vmin": -limit, "vmax": limit}


def sequential(values: np.ndarray) -> dict[str, Any]:
    """Colours of magnitudes."""
    return {"cmap": "YlGnBu", "vmin": 0.0, "vmax": _limit(values)}


def shared(values: Sequence[np.ndarray], variable: str) -> dict[str, Any]:
    """One scale for several states of ``variable``; symmetric for components of the wind."""
    stack = np.concatenate([np.ravel(v) for v in values])
    if variable in ("u", "v", "u10", "v10", "w"):
        return symmetric(stack, variable)
    known = stack[np.isfinite(stack)]
    low, high = np.percentile(known, [100 - _ROBUST, _ROBUST]) if known.size else (0.0, 1.0)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return {"cmap": _FIELD.get(variable, "viridis"), "vmin": float(low), "vmax": float(high)}


def _limit(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    limit = float(np.percentile(known, _ROBUST)) if known.size else 0.0
    return limit if limit > 0 else 1.0


class View:
    """A grid as drawn: the globe from 180°W to 180°E, a limited area as it lies, or an ``area`` of
    either; a mesh on the regular grid that covers it."""

    def __init__(self, grid: Grid, area: Area | None = None) -> None:
        self._mesh = grid if isinstance(grid, Mesh) else None
        grid = grid.covering if isinstance(grid, Mesh) else grid
        centre = 0.0 if area is None else (area[0] + area[2]) / 2
        lon = grid.longitude
        if grid.periodic:
            lon = (lon - centre + 180) % 360 - 180 + centre
        self.order, self.latitude = np.argsort(lon, kind="stable"), grid.latitude
        self.longitude = lon[self.order]
        half = np.diff(self.longitude).mean() / 2
        self.west, self.east = float(self.longitude[0] - half), float(self.longitude[-1] + half)
        if grid.periodic:  # one more column on either side closes the seam
            self.order = np.concatenate([self.order[-1:], self.order, self.order[:1]])
            self.longitude = np.concatenate(
                [[self.longitude[-1] - 360], self.longitude, [self.longitude[0] + 360]]
            )
            self.west, self.east = centre - 180.0, centre + 180.0
        step = abs(float(np.diff(self.latitude).mean())) / 2
        self.south = max(-90.0, float(self.latitude.min()) - step)
        self.north = min(90.0, float(self.latitude.max()) + step)
        if area is not None:
            turns = 360 * round(((self.west + self.east) / 2 - centre) / 360)
            self.west = max(self.west, area[0] + turns)
            self.east = min(self.east, area[2] + turns)
            self.south, self.north = max(self.south, area[1]), min(self.north, area[3])

    def roll(self, values: np.ndarray) -> np.ndarray:
        """``values`` (H, W) in the order drawn."""
        shown = values if self._mesh is None else on_covering(self._mesh, values)
        return shown[:, self.order]

    def fold(self, longitude: np.ndarray) -> np.ndarray:
        """Longitudes within the picture, where they can be."""
        return (np.asarray(longitude, float) - self.west) % 360 + self.west

    @property
    def globe(self) -> bool:
        """Whether the picture shows (nearly) all longitudes."""
        return self.east - self.west > 300

    @property
    def aspect(self) -> float:
        """Height of a degree of latitude over the width of one of longitude."""
        middle = np.cos(np.deg2rad((self.south + self.north) / 2))
        return 1.0 if self.globe else float(1 / max(0.2, middle))

    def size(self, panels: int, width: float = 7.2) -> tuple[float, float]:
        """Inches of the figure with so many maps side by side, each ``width`` wide."""
        height = width * self.aspect * (self.north - self.south) / (self.east - self.west)
        return width * panels, min(height, 7.5 * width / 7.2) + 1.6


def area_of(latitude: np.ndarray, longitude: np.ndarray) -> Area | None:
    """The area that holds all points with a margin, None where they are spread over the globe."""
    known = np.isfinite(latitude) & np.isfinite(longitude) & (np.abs(latitude) <= 90)
    lat, lon = latitude[known], np.sort(longitude[known] % 360)
    if not lat.size:
        return None
    gap = np.diff(np.append(lon, lon[0] + 360))
    widest = int(gap.argmax())
    width = 360 - float(gap[widest])
    if width > _FEW[0] or np.ptp(lat) > _FEW[1]:
        return None
    west = float(lon[(widest + 1) % lon.size])
    return (
        west - _MARGIN,
        max(float(lat.min()) - _MARGIN, -90.0),
        west + width + _MARGIN,
        min(float(lat.max()) + _MARGIN, 90.0),
    )


@cache
def _coastline() -> list[np.ndarray]:
    """Lines (n, 2) of longitude and latitude [degrees]."""
    with np.load(Path(__file__).with_name("coastline.npz")) as data:
        points = data["points"].astype(float) / 100
        return list(np.split(points, np.cumsum(data["lengths"])[:-1]))


def draw_field(ax: Axes, view: View, values: np.ndarray, style: dict[str, Any]) -> Any:
    """``values`` (H, W) with coastlines, limits and degrees on the axes; returns what a colour bar
    needs."""
    image = ax.pcolormesh(
        view.longitude,
        view.latitude,
        view.roll(values),
        shading="nearest",
        rasterized=True,
        **style,
    )
    decorate(ax, view)
    return image


def decorate(ax: Axes, view: View) -> None:
    """Coastlines, limits, aspect, and degrees on the axes."""
    lines = [line + np.array([turn, 0.0]) for line in _coastline() for turn in (-360.0, 0.0, 360.0)]
    seen = [
        line
        for line in lines
        if line[:, 0].max() > view.west
        and line[:, 0].min() < view.east
        and line[:, 1].max() > view.south
        and line[:, 1].min() < view.north
    ]
    ax.add_collection(LineCollection(seen, colors=_COAST, linewidths=0.6, zorder=2))
    ax.set_xlim(view.west, view.east)
    ax.set_ylim(view.south, view.north)
    ax.set_aspect(view.aspect)
    for axis, low, high, names in (
        (ax.xaxis, view.west, view.east, "WE"),
        (ax.yaxis, view.south, view.north, "SN"),
    ):
        step = next(s for s in (1, 2, 5, 10, 20, 30, 60) if (high - low) / s <= 7 or s == 60)
        axis.set_major_locator(
            FixedLocator(np.arange(np.ceil(low / step) * step, high + 1e-9, step).tolist())
        )
        axis.set_major_formatter(FuncFormatter(_degrees(names)))
    ax.tick_params(labelsize=9)
    ax.grid(color="0.5", alpha=0.25, linewidth=0.5)


def _degrees(names: str) -> Any:
    def text(value: float, _: object) -> str:
        folded = (value + 180) % 360 - 180 if names == "WE" else value
        side = "" if folded in (0, -180, 180) else names[0] if folded < 0 else names[1]
        return f"{abs(folded):g}°{side}"

    return text


def _nowhere() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(0), np.zeros(0)


@dataclass(frozen=True, eq=False)
class Stations:
    """Latitudes and longitudes [degrees] of each kind of station."""

    used: tuple[np.ndarray, np.ndarray] = field(default_factory=_nowhere)
    passive: tuple[np.ndarray, np.ndarray] = field(default_factory=_nowhere)
    rejected: tuple[np.ndarray, np.ndarray] = field(default_factory=_nowhere)

    @property
    def area(self) -> Area | None:
        """The area that they all fit in, None where it is the globe."""
        each = (self.used, self.passive, self.rejected)
        return area_of(*(np.concatenate([pair[i] for pair in each]) for i in range(2)))


def stations_of(latitude: np.ndarray, longitude: np.ndarray, qc: np.ndarray) -> Stations:
    """Positions (unique) from observations (P,): used where any is used, else passive where any is,
    else rejected."""
    position = np.stack([latitude, longitude], axis=1)
    known = np.isfinite(position).all(axis=1) & (np.abs(position[:, 0]) <= 90)
    unique, index = np.unique(position[known], axis=0, return_inverse=True)
    best = np.full(len(unique), 99)
    np.minimum.at(best, index.ravel(), np.minimum(qc[known].astype(int), 2))
    return Stations(*((unique[best == code, 0], unique[best == code, 1]) for code in range(3)))


# What is observed where a field is shown: the wind's components, and what follows from each other.
_OBSERVED_AS = {"z": ("z", "gh", "thickness"), "q": ("q", "td", "r"), "t": ("t", "thickness")}
_LAYER = 0.25  # in log pressure: observations this near to a level are drawn with it


def stations_of_channel(feedback: pd.DataFrame, channel: Channel) -> Stations:
    """The stations that observed ``channel``, from the rows of a feedback file."""
    chosen = feedback["variable"].isin(_OBSERVED_AS.get(channel.variable, (channel.variable,)))
    if channel.pressure is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            away = np.abs(np.log(feedback["pressure"].to_numpy(float) / channel.pressure))
        chosen &= ~(away > _LAYER)  # a height instead of a pressure is drawn at every level
    rows = feedback[chosen.to_numpy()]
    return stations_of(*(rows[k].to_numpy() for k in ("latitude", "longitude", "EffectiveQC")))


def draw_stations(ax: Axes, view: View, stations: Stations) -> list[Any]:
    """Dots of the stations within the picture, smaller and paler where there are many, and their
    legend's handles."""
    edge = {"edgecolors": "white", "linewidths": 0.3}
    kinds: tuple[tuple[str, tuple[np.ndarray, np.ndarray], float, dict[str, Any]], ...] = (
        ("rejected", stations.rejected, 1.4, {"marker": "x", "color": _REJECTED}),
        ("used", stations.used, 1.0, {"marker": "o", "facecolors": _USED, **edge}),
        ("withheld", stations.passive, 1.8, {"marker": "^", "facecolors": _PASSIVE, **edge}),
    )
    inside = {name: _inside(view, *positions) for name, positions, _, _ in kinds}
    count = sum(latitude.size for latitude, _ in inside.values())
    size = float(np.clip(3000 / max(count, 1), 2.0, 12))
    handles = []
    for name, _, factor, style in kinds:
        latitude, longitude = inside[name]
        if latitude.size:
            style = {"linewidths": 0.5 if count > 500 else 1.1, **style}
            handle = ax.scatter(
                longitude,
                latitude,
                s=factor * size,
                label=f"{name} stations ({latitude.size})",
                zorder=3,
                alpha=0.5 if count > 1500 else 0.9,
                **style,
            )
            handles.append(handle)
    return handles


def _inside(
    view: View, latitude: np.ndarray, longitude: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    folded = view.fold(longitude)
    seen = (folded <= view.east) & (latitude >= view.south) & (latitude <= view.north)
    return latitude[seen], folded[seen]
