"""One picture of an analysis: increment and spread side by side, with the stations. Plain
matplotlib, no display, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from phyda_cli.fields.grid import Grid
from phyda_cli.files.publish import publish
from phyda_cli.verification.map_view import View, decorate, sequential, symmetric

__all__ = ["Stations", "draw_increment", "draw_stations", "stations_of"]

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
    """Places (unique) from observations (P,): used where any is used, else passive where any is,
    else rejected."""
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
    """Write a PNG of ``increment`` and ``spread`` (H, W) [``units``] on ``grid``; ``land`` (H, W)
    in 0..1 gives the coastline.

    The increment's colours are symmetric and reach its 99.5th percentile. Raises OutputError.
    """
    view = View(grid)
    panels: list[tuple[str, np.ndarray, dict[str, Any]]] = [
        ("analysis − background", increment, symmetric(increment))
    ]
    if spread is not None:
        panels.append(("analysis spread (1 standard deviation)", spread, sequential(spread)))
    figure = Figure(figsize=view.size(len(panels)), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    figure.suptitle(title, fontsize=13)
    handles: Sequence[Any] = ()
    for ax, (name, values, style) in zip(axes, panels, strict=True):
        image = ax.pcolormesh(
            view.longitude,
            view.latitude,
            view.roll(values),
            shading="nearest",
            rasterized=True,
            **style,
        )
        bar = figure.colorbar(
            image,
            ax=ax,
            orientation="horizontal",
            extend="both" if style["vmin"] else "max",
            aspect=40,
            pad=0.02,
        )
        bar.set_label(f"{name} [{units}]")
        bar.ax.xaxis.set_major_locator(MaxNLocator(9))
        if land is not None:
            ax.contour(
                view.longitude,
                view.latitude,
                view.roll(land),
                levels=[0.5],
                colors="0.35",
                linewidths=0.7,
            )
        handles = draw_stations(ax, view, stations)
        decorate(ax, view)
    if handles:
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=len(handles),
            frameon=False,
            markerscale=1.6,
        )
    with publish(path, overwrite) as temporary:
        figure.savefig(temporary, format="png", bbox_inches="tight", pad_inches=0.15)


def draw_stations(ax: Axes, view: View, stations: Stations) -> list[Any]:
    kinds = (
        (
            "used",
            stations.used,
            {"marker": "o", "s": 9, "facecolors": _USED, "edgecolors": "white", "linewidths": 0.4},
        ),
        (
            "withheld",
            stations.passive,
            {
                "marker": "^",
                "s": 16,
                "facecolors": _PASSIVE,
                "edgecolors": "white",
                "linewidths": 0.4,
            },
        ),
        (
            "rejected",
            stations.rejected,
            {"marker": "x", "s": 18, "color": _REJECTED, "linewidths": 1.1},
        ),
    )
    handles = []
    for name, (latitude, longitude), style in kinds:
        if latitude.size:
            label = f"{name} stations ({latitude.size})"
            folded = view.fold(longitude)
            handle = ax.scatter(folded, latitude, label=label, zorder=3, **style)  # type: ignore[arg-type]
            handles.append(handle)
    return handles
