"""Pictures as PNG files: increment and spread, fields, cross-sections, observations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from phyda_cli.errors import InputError, UsageError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.fields.remap import to_grid
from phyda_cli.files.publish import publish
from phyda_cli.names import VARIABLES, Channel, parse_channel
from phyda_cli.verification.analysis_file import AnalysisFile
from phyda_cli.verification.channels import common_channels
from phyda_cli.verification.maps import (
    Area,
    Stations,
    View,
    decorate,
    draw_field,
    draw_stations,
    sequential,
    shared,
    stations_of,
    stations_of_channel,
    symmetric,
)
from phyda_cli.verification.readable import READABLE, raised

__all__ = [
    "choose_channel",
    "draw_channel",
    "draw_increment",
    "draw_observations",
    "draw_one",
    "figure_of",
    "save_png",
    "utc",
]

_FIRST_CHOICES = ("t850", "z500", "msl", "t2m")
Panel = tuple[str, np.ndarray, dict[str, Any]]
"""A map's name, its values (H, W) and its colours."""


def utc(time: np.datetime64) -> str:
    """``2011-01-21 06:00 UTC``."""
    return np.datetime_as_string(time, unit="m").replace("T", " ") + " UTC"


def choose_channel(key: str | None, channels: Sequence[Channel]) -> Channel:
    """The channel called ``key``, or a usual one. Raises UsageError when it is not among
    ``channels``."""
    if key is None:
        return next((c for name in _FIRST_CHOICES for c in channels if c.key == name), channels[0])
    try:
        wanted = parse_channel(key)
    except ValueError:
        wanted = None
    if wanted is None or wanted not in channels:
        raise UsageError(
            f"there is no field {key!r} to draw",
            hint=f"there are {', '.join(c.key for c in channels)}",
        )
    return wanted


def draw_channel(
    path: Path,
    file: AnalysisFile,
    background: Fields | None,
    key: str | None = None,
    feedback: pd.DataFrame | None = None,
    overwrite: bool = False,
    area: Area | None = None,
) -> None:
    """Draw the increment from ``background`` and the spread of one field (``t850``, ``msl``; None:
    a usual one) as PNG.

    ``feedback`` are the rows of a feedback file: the stations that observed the field are drawn,
    and where they are few and close the picture shows their ``area``. Raises InputError without a
    background, UsageError when the field is not there, OutputError.
    """
    if background is None:
        raise InputError(
            f"{file.path} has no increments to draw", hint="give the first guess with --background"
        )
    channel = choose_channel(key, common_channels(file.fields, background))
    grid = file.fields.grid
    after, before = (to_grid(f, [channel], grid)[0][0] for f in (file.fields, background))
    spread = None
    if file.spread is not None:
        values, available = to_grid(file.spread, [channel], grid)
        spread = values[0] if available[0] else None
    stations = Stations() if feedback is None else stations_of_channel(feedback, channel)
    variable = VARIABLES[channel.variable]
    units, factor = READABLE.get(variable.units, (variable.units, 1.0))
    at = "" if channel.level is None else f" at {channel.level:g} hPa"
    title = f"Increment of {variable.long_name}{at}, {utc(file.fields.time)}"
    draw_increment(
        path,
        factor * (after - before),
        None if spread is None else factor * spread,
        grid,
        stations,
        title,
        raised(units),
        overwrite=overwrite,
        variable=channel.variable,
        area=stations.area if area is None else area,
    )


def draw_one(
    path: Path,
    fields: Fields,
    name: str = "",
    key: str | None = None,
    feedback: pd.DataFrame | None = None,
    overwrite: bool = False,
    area: Area | None = None,
) -> None:
    """Draw one field of ``fields``; ``name`` is ``Spread of `` for spreads. Raises UsageError when
    the field is not there, OutputError."""
    channel = choose_channel(key, common_channels(fields, fields))
    variable = VARIABLES[channel.variable]
    units, factor = READABLE.get(variable.units, (variable.units, 1.0))
    values = factor * to_grid(fields, [channel], fields.grid)[0][0]
    style = sequential(values) if name else shared([values], channel.variable)
    at = "" if channel.level is None else f" at {channel.level:g} hPa"
    title = f"{name}{variable.long_name}{at}, {utc(fields.time)}"
    stations = Stations() if feedback is None else stations_of_channel(feedback, channel)
    view = View(fields.grid, stations.area if area is None else area)
    figure = figure_of([(variable.long_name, values, style)], view, raised(units), title, stations)
    with save_png(path, overwrite) as temporary:
        figure.savefig(temporary, **_PNG)


def draw_increment(
    path: Path,
    increment: np.ndarray,
    spread: np.ndarray | None,
    grid: Grid,
    stations: Stations,
    title: str,
    units: str,
    overwrite: bool = False,
    variable: str | None = None,
    area: Area | None = None,
) -> None:
    """Write a PNG of ``increment`` and ``spread`` (H, W) [``units``] on ``grid``.

    The increment's colours are symmetric and reach its 99.5th percentile. Raises OutputError.
    """
    panels: list[Panel] = [
        ("analysis − background", increment, symmetric(increment, variable)),
    ]
    if spread is not None:
        panels.append(("analysis spread (1 standard deviation)", spread, sequential(spread)))
    with save_png(path, overwrite) as temporary:
        figure_of(panels, View(grid, area), units, title, stations).savefig(temporary, **_PNG)


_PNG: dict[str, Any] = {"format": "png", "bbox_inches": "tight", "pad_inches": 0.15}
_PNG |= {"metadata": {"Software": None}}  # the same input gives the same bytes


def figure_of(
    panels: Sequence[Panel],
    view: View,
    units: str,
    title: str = "",
    stations: Stations | None = None,
    width: float = 7.2,
) -> Figure:
    """A figure of maps side by side, each with its colour bar, and the stations on all of them."""
    figure = Figure(figsize=view.size(len(panels), width), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    if title:
        figure.suptitle(title, fontsize=13)
    handles: Sequence[Any] = ()
    for ax, (name, values, style) in zip(axes, panels, strict=True):
        image = draw_field(ax, view, values, style)
        bar = figure.colorbar(
            image,
            ax=ax,
            orientation="horizontal",
            extend="max" if style["vmin"] == 0 else "both",
            aspect=40,
            pad=0.02,
        )
        bar.set_label(f"{name} [{units}]")
        bar.ax.xaxis.set_major_locator(MaxNLocator(9))
        handles = draw_stations(ax, view, stations or Stations())
    _legend(figure, handles)
    return figure


def _legend(figure: Figure, handles: Sequence[Any]) -> None:
    if handles:
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=len(handles),
            frameon=False,
            markerscale=2.0,
        )


@contextmanager
def save_png(path: Path, overwrite: bool) -> Iterator[Path]:
    """Where to save a picture that then appears whole as ``path``. Raises OutputError."""
    with publish(path, overwrite) as temporary:
        yield temporary


def draw_observations(path: Path, table: pd.DataFrame, title: str, overwrite: bool = False) -> None:
    """Write a PNG of the stations in ``table``. Raises OutputError."""
    figure = stations_figure(table, title)
    with save_png(path, overwrite) as temporary:
        figure.savefig(temporary, **_PNG)


def stations_figure(table: pd.DataFrame, title: str) -> Figure:
    """A map of the stations in ``table``."""
    latitude, longitude = table["latitude"].to_numpy(), table["longitude"].to_numpy()
    stations = stations_of(latitude, longitude, table["qc"].to_numpy())
    everywhere = Grid(np.linspace(-90, 90, 37), np.arange(0, 360, 5.0))
    view = View(everywhere, stations.area)
    figure = Figure(figsize=view.size(1), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    figure.suptitle(title, fontsize=13)
    decorate(ax, view)
    _legend(figure, draw_stations(ax, view, stations))
    return figure
