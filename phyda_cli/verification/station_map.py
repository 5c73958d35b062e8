"""A map of where observations lie, and which are fit for use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from phyda_cli.fields.grid import Grid
from phyda_cli.files.publish import publish
from phyda_cli.verification.map_view import View, decorate
from phyda_cli.verification.maps import draw_stations, stations_of

__all__ = ["draw_observations"]

_MARGIN = 3.0  # degrees


def draw_observations(path: Path, table: pd.DataFrame, title: str, overwrite: bool = False) -> None:
    """Write a PNG of the stations in ``table``. Raises OutputError."""
    latitude, longitude = table["latitude"].to_numpy(), table["longitude"].to_numpy()
    view = View(_around(latitude, longitude))
    figure = Figure(figsize=view.size(1), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    figure.suptitle(title, fontsize=13)
    handles = draw_stations(ax, view, stations_of(latitude, longitude, table["qc"].to_numpy()))
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


def _around(latitude: np.ndarray, longitude: np.ndarray) -> Grid:
    """A grid whose area holds all places: the globe, or a part of it where they fit in one."""
    known = np.isfinite(latitude) & np.isfinite(longitude) & (np.abs(latitude) <= 90)
    lat, lon = latitude[known], np.sort(longitude[known] % 360)
    everywhere = Grid(np.linspace(-90, 90, 37), np.arange(0, 360, 5.0))
    if not lat.size:
        return everywhere
    gap = np.diff(np.append(lon, lon[0] + 360))
    widest = int(gap.argmax())
    if gap[widest] < 180:
        return everywhere
    west = lon[(widest + 1) % lon.size] - _MARGIN
    east = west + 360 - gap[widest] + 2 * _MARGIN
    south, north = max(lat.min() - _MARGIN, -90), min(lat.max() + _MARGIN, 90)
    return Grid(np.linspace(south, north, 20), np.linspace(west, east, 20))
