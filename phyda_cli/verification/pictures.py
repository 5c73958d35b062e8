"""From an analysis to its picture: which field, its units and title, the coastline and the
stations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from phyda_cli.errors import InputError, UsageError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.fields.interpolate import grid_to_grid
from phyda_cli.fields.remap import to_grid
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.names import VARIABLES, Channel, parse_channel
from phyda_cli.verification.analysis_file import AnalysisFile
from phyda_cli.verification.fields import common_channels
from phyda_cli.verification.maps import Stations, draw_increment, stations_of
from phyda_cli.verification.readable import raised

__all__ = ["draw_channel", "land_fraction", "utc"]

_FIRST_CHOICES = ("t850", "z500", "msl", "t2m")


def draw_channel(
    path: Path,
    file: AnalysisFile,
    background: Fields | None,
    key: str | None = None,
    feedback: pd.DataFrame | None = None,
    overwrite: bool = False,
) -> None:
    """Draw the increment from ``background`` and the spread of one field (``t850``, ``msl``; None:
    a usual one) as PNG.

    ``feedback`` are the rows of a feedback file, whose stations are drawn. Raises InputError
    without a background, UsageError when the field is not there, OutputError.
    """
    if background is None:
        raise InputError(
            f"{file.path} has no increments to draw", hint="give the first guess with --background"
        )
    channel = _choose(key, common_channels(file.fields, background))
    grid = file.fields.grid
    after, before = (to_grid(f, [channel], grid)[0][0] for f in (file.fields, background))
    spread = None
    if file.spread is not None:
        values, available = to_grid(file.spread, [channel], grid)
        spread = values[0] if available[0] else None
    stations = Stations()
    if feedback is not None:
        stations = stations_of(
            *(feedback[k].to_numpy() for k in ("latitude", "longitude", "EffectiveQC"))
        )
    variable = VARIABLES[channel.variable]
    place = "" if channel.level is None else f" at {channel.level:g} hPa"
    title = f"Increment of {variable.long_name}{place}, {utc(file.fields.time)}"
    draw_increment(
        path,
        after - before,
        spread,
        grid,
        stations,
        title,
        raised(variable.units),
        land_fraction(file.fields, grid),
        overwrite,
    )


def utc(time: np.datetime64) -> str:
    """``2011-01-21 06:00 UTC``."""
    return np.datetime_as_string(time, unit="m").replace("T", " ") + " UTC"


def _choose(key: str | None, channels: list[Channel]) -> Channel:
    if key is None:
        return next((c for name in _FIRST_CHOICES for c in channels if c.key == name), channels[0])
    try:
        wanted = parse_channel(key)
    except ValueError:
        wanted = None
    if wanted not in channels:
        raise UsageError(
            f"there is no field {key!r} to draw",
            hint=f"there are {', '.join(c.key for c in channels)}",
        )
    return wanted


def land_fraction(fields: Fields, grid: Grid) -> np.ndarray | None:
    """Land fraction (H, W) on ``grid``: the file's own, else that of the bundled model."""
    if "lsm" in fields.surface:
        return to_grid(fields, [Channel("lsm")], grid)[0][0]
    if not (BUNDLED / "model.json").is_file():
        return None
    model = Checkpoint.open(BUNDLED)
    inside = model.state.grid.contains(*grid.mesh)
    land = (grid_to_grid(model.state.grid, grid) @ model.statics["lsm"].ravel()).reshape(grid.shape)
    return np.where(inside, land, np.nan)
