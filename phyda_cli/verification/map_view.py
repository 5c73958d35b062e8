"""How maps look: a grid as drawn, colours that outliers do not spoil, degrees on the axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from phyda_cli.fields.grid import Grid

__all__ = ["View", "decorate", "sequential", "symmetric"]

_ROBUST = 99.5  # percentile of magnitude that the colours reach


def symmetric(values: np.ndarray) -> dict[str, Any]:
    """Colours of values of either sign."""
    limit = _limit(np.abs(values))
    return {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}


def sequential(values: np.ndarray) -> dict[str, Any]:
    """Colours of magnitudes."""
    return {"cmap": "YlGnBu", "vmin": 0.0, "vmax": _limit(values)}


def _limit(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    limit = float(np.percentile(known, _ROBUST)) if known.size else 0.0
    return limit if limit > 0 else 1.0


class View:
    """A grid as drawn: the globe from 180°W to 180°E, a limited area as it lies."""

    def __init__(self, grid: Grid) -> None:
        lon = (grid.longitude + 180) % 360 - 180 if grid.periodic else grid.longitude
        self.order, self.latitude = np.argsort(lon, kind="stable"), grid.latitude
        self.longitude = lon[self.order]
        half = np.diff(self.longitude).mean() / 2
        self.west, self.east = self.longitude[0] - half, self.longitude[-1] + half
        if grid.periodic:  # one more column on either side closes the seam
            self.order = np.concatenate([self.order[-1:], self.order, self.order[:1]])
            self.longitude = np.concatenate(
                [[self.longitude[-1] - 360], self.longitude, [self.longitude[0] + 360]]
            )
            self.west, self.east = -180.0, 180.0
        step = abs(float(np.diff(self.latitude).mean())) / 2
        self.south, self.north = (
            max(-90.0, self.latitude.min() - step),
            min(90.0, self.latitude.max() + step),
        )

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
        return (
            1.0 if globe else float(1 / max(0.2, np.cos(np.deg2rad((self.south + self.north) / 2))))
        )

    def size(self, panels: int) -> tuple[float, float]:
        """Inches of the figure."""
        width = 7.2
        height = width * self.aspect * (self.north - self.south) / (self.east - self.west)
        return width * panels, min(height, 7.5) + 1.6


def decorate(ax: Axes, view: View) -> None:
    """Limits, aspect, and degrees on the axes."""
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
