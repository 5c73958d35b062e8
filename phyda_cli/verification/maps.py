"""One picture of an analysis: increment and spread side by side, with the stations. Plain matplotlib, no display, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from phyda_cli.fields.atomic import publish
from phyda_cli.fields.grid import Grid

__all__ = ["Stations", "draw_increment", "stations_of"]

_ROBUST = 99.5  # percentile of magnitude that the colours reach
_USED, _PASSIVE, _REJECTED = "#1a1a1a", "#0a7f3f", "#d4007f"


def _nowhere() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(0), np.zeros(0)


@dataclass(frozen=True, eq=False)
class Stations:
    """Latitudes and longitudes [degrees] of each kind of station."""

    used: tuple[np.ndarray, np.ndarray] = field(default_factory=_nowhere)
    passive: tuple[np.ndarray, np.ndarray] = field(default_factory=_nowhere)
    rejected: tuple[np.ndarray, np.ndarray] = field(default_factory=_nowhere)


def stations_of(latitude: np.ndarray, longitude: np.ndarray, qc: np.ndarray) -> Stations:
    """Places (unique) from observations (P,): used where any is used, else passive where any is, else rejected."""
    place = np.stack([latitude, longitude], axis=1)
    known = np.isfinite(place).all(axis=1) & (np.abs(place[:, 0]) <= 90)
    unique, index = np.unique(place[known], axis=0, return_inverse=True)
    best = np.full(len(unique), 99)
    np.minimum.at(best, index.ravel(), np.minimum(qc[known].astype(int), 2))
    return Stations(*((unique[best == code, 0], unique[best == code, 1]) for code in range(3)))


def draw_increment(
    path: Path,
    increment: np.ndarray,
    spread: np.ndarray | None,
    grid: Grid,
    stations: Stations,
    title: str,
    units: str,
    land: np.ndarray | None = None,
    overwrite: bool = False,
) -> None:
    """Write a PNG of ``increment`` and ``spread`` (H, W) [``units``] on ``grid``; ``land`` (H, W) in 0..1 gives the coastline.

    The increment's colours are symmetric and reach its 99.5th percentile. Raises OutputError.
    """
    view = _View(grid)
    panels: list[tuple[str, np.ndarray, dict[str, Any]]] = [("analysis − background", increment, _symmetric(increment))]
    if spread is not None:
        panels.append(("analysis spread (1 standard deviation)", spread, _sequential(spread)))
    figure = Figure(figsize=view.size(len(panels)), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    figure.suptitle(title, fontsize=13)
    handles: Sequence[Any] = ()
    for ax, (name, values, style) in zip(axes, panels, strict=True):
        image = ax.pcolormesh(view.longitude, view.latitude, view.roll(values), shading="nearest", rasterized=True, **style)
        bar = figure.colorbar(image, ax=ax, orientation="horizontal", extend="both" if style["vmin"] else "max", aspect=40, pad=0.02)
        bar.set_label(f"{name} [{units}]")
        bar.ax.xaxis.set_major_locator(MaxNLocator(9))
        if land is not None:
            ax.contour(view.longitude, view.latitude, view.roll(land), levels=[0.5], colors="0.35", linewidths=0.7)
        handles = _draw_stations(ax, view, stations)
        _decorate(ax, view)
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, markerscale=1.6)
    with publish(path, overwrite) as temporary:
        figure.savefig(temporary, format="png", bbox_inches="tight", pad_inches=0.15)


def _symmetric(values: np.ndarray) -> dict[str, Any]:
    limit = _percentile(np.abs(values))
    return {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}


def _sequential(values: np.ndarray) -> dict[str, Any]:
    return {"cmap": "YlGnBu", "vmin": 0.0, "vmax": _percentile(values)}


def _percentile(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    limit = float(np.percentile(known, _ROBUST)) if known.size else 0.0
    return limit if limit > 0 else 1.0


class _View:
    """A grid as drawn: the globe from 180°W to 180°E, a limited area as it lies."""

    def __init__(self, grid: Grid) -> None:
        lon = (grid.longitude + 180) % 360 - 180 if grid.periodic else grid.longitude
        self.order, self.latitude = np.argsort(lon, kind="stable"), grid.latitude
        self.longitude = lon[self.order]
        half = np.diff(self.longitude).mean() / 2
        self.west, self.east = self.longitude[0] - half, self.longitude[-1] + half
        if grid.periodic:  # one more column on either side closes the seam
            self.order = np.concatenate([self.order[-1:], self.order, self.order[:1]])
            self.longitude = np.concatenate([[self.longitude[-1] - 360], self.longitude, [self.longitude[0] + 360]])
            self.west, self.east = -180.0, 180.0
        step = abs(float(np.diff(self.latitude).mean())) / 2
        self.south, self.north = max(-90.0, self.latitude.min() - step), min(90.0, self.latitude.max() + step)

    def roll(self, values: np.ndarray) -> np.ndarray:
        """``values`` (H, W) in the order drawn."""
        return values[:, self.order]

    def fold(self, longitude: np.ndarray) -> np.ndarray:
        """Longitudes within the picture, where they can be."""
        return (np.asarray(longitude, float) - self.west) % 360 + self.west

    @property
    def aspect(self) -> float:
        """Height of a degree of latitude over the width of one of longitude."""
        globe = self.east - self.west > 300
        return 1.0 if globe else float(1 / max(0.2, np.cos(np.deg2rad((self.south + self.north) / 2))))

    def size(self, panels: int) -> tuple[float, float]:
        """Inches of the figure."""
        width = 7.2
        height = width * self.aspect * (self.north - self.south) / (self.east - self.west)
        return width * panels, min(height, 7.5) + 1.6


def _draw_stations(ax: Axes, view: _View, stations: Stations) -> list[Any]:
    kinds = (
        ("used", stations.used, {"marker": "o", "s": 9, "facecolors": _USED, "edgecolors": "white", "linewidths": 0.4}),
        ("withheld", stations.passive, {"marker": "^", "s": 16, "facecolors": _PASSIVE, "edgecolors": "white", "linewidths": 0.4}),
        ("rejected", stations.rejected, {"marker": "x", "s": 18, "color": _REJECTED, "linewidths": 1.1}),
    )
    handles = []
    for name, (latitude, longitude), style in kinds:
        if latitude.size:
            label = f"{name} stations ({latitude.size})"
            handles.append(ax.scatter(view.fold(longitude), latitude, label=label, zorder=3, **style))  # type: ignore[arg-type]
    return handles


def _decorate(ax: Axes, view: _View) -> None:
    ax.set_xlim(view.west, view.east)
    ax.set_ylim(view.south, view.north)
    ax.set_aspect(view.aspect)
    for axis, low, high, names in ((ax.xaxis, view.west, view.east, "WE"), (ax.yaxis, view.south, view.north, "SN")):
        step = next(s for s in (1, 2, 5, 10, 20, 30, 60) if (high - low) / s <= 7 or s == 60)
        axis.set_major_locator(FixedLocator(np.arange(np.ceil(low / step) * step, high + 1e-9, step).tolist()))
        axis.set_major_formatter(FuncFormatter(_degrees(names)))
    ax.tick_params(labelsize=9)
    ax.grid(color="0.5", alpha=0.25, linewidth=0.5)


def _degrees(names: str) -> Any:
    def text(value: float, _: object) -> str:
        folded = (value + 180) % 360 - 180 if names == "WE" else value
        side = "" if folded in (0, -180, 180) else names[0] if folded < 0 else names[1]
        return f"{abs(folded):g}°{side}"

    return text
