"""Two more pictures: a vertical cross-section, and what one station has reported over time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from phyda_cli.constants import EARTH_RADIUS
from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.interpolate import bilinear
from phyda_cli.names import OBSERVABLES, VARIABLES
from phyda_cli.observations.table import QC
from phyda_cli.verification.charts import AFTER, BEFORE, TRUTH, new_figure, to_png
from phyda_cli.verification.largest import place
from phyda_cli.verification.maps import shared, symmetric
from phyda_cli.verification.plots import save_png, utc
from phyda_cli.verification.readable import READABLE, raised

__all__ = ["Ends", "draw_section", "draw_station", "great_circle"]

Ends = tuple[float, float, float, float]
"""Latitude and longitude of the first point, then of the last [degrees]."""


def great_circle(ends: Ends, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latitudes, longitudes [degrees] and distances [km] of ``count`` points on the shortest way.
    Raises InputError where the ends are one point or opposite ones."""
    vectors = []
    for latitude, longitude in (ends[:2], ends[2:]):
        a, b = np.deg2rad(latitude), np.deg2rad(longitude)
        vectors.append(np.array([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)]))
    angle = float(np.arccos(np.clip(vectors[0] @ vectors[1], -1, 1)))
    if not 1e-4 < angle < np.pi - 1e-4:
        raise InputError("a cross-section needs two points that are neither one nor opposite")
    part = np.linspace(0, 1, count)[:, None]
    points = (np.sin((1 - part) * angle) * vectors[0] + np.sin(part * angle) * vectors[1]) / np.sin(
        angle
    )
    latitude = np.rad2deg(np.arcsin(np.clip(points[:, 2], -1, 1)))
    longitude = np.rad2deg(np.arctan2(points[:, 1], points[:, 0]))
    return latitude, longitude, part[:, 0] * angle * EARTH_RADIUS / 1000


def draw_section(
    path: Path,
    fields: Fields,
    variable: str,
    ends: Ends,
    background: Fields | None = None,
    overwrite: bool = False,
) -> None:
    """Write a PNG of ``variable`` on pressure levels along a great circle; with ``background`` of
    the increment. Raises InputError for a variable without levels or a line outside the area,
    OutputError."""
    if variable not in fields.upper or fields.levels.size < 2:
        raise InputError(
            f"{variable} has no levels for a cross-section; there are {', '.join(fields.upper)}"
        )
    values = np.asarray(fields.upper[variable], float)
    if background is not None:
        values = values - background.upper[variable]
    latitude, longitude, distance = great_circle(ends, 120)
    if not fields.grid.contains(latitude, longitude % 360).all():
        raise InputError("the cross-section leaves the area of the fields")
    matrix = bilinear(fields.grid, latitude, longitude % 360, VARIABLES[variable].vector)
    cut = (matrix @ values.reshape(len(values), -1).T).T
    units, factor = READABLE.get(VARIABLES[variable].units, (VARIABLES[variable].units, 1.0))
    cut = factor * cut
    style = symmetric(cut, variable) if background is not None else shared([cut], variable)
    figure = new_figure(8.0, 4.2)
    ax = figure.subplots()
    image = ax.pcolormesh(distance, fields.levels / 100, cut, shading="nearest", **style)
    ax.set_yscale("log")
    ticks: list[float] = []
    for hpa in np.sort(fields.levels / 100):
        if not ticks or np.log(hpa / ticks[-1]) > 0.12:
            ticks.append(float(hpa))
    ax.set_yticks(ticks, [f"{p:g}" for p in ticks])
    ax.minorticks_off()
    ax.invert_yaxis()
    ax.set_ylabel("hPa")
    ax.set_xlabel(f"km from {place(*ends[:2])} to {place(*ends[2:])}")
    what = "Increment of " if background is not None else ""
    ax.set_title(f"{what}{VARIABLES[variable].long_name}, {utc(fields.time)}", fontsize=11)
    figure.colorbar(image, ax=ax, label=raised(units), extend="both")
    with save_png(path, overwrite) as temporary:
        temporary.write_bytes(to_png(figure))


def draw_station(
    path: Path,
    tables: Sequence[tuple[np.datetime64, pd.DataFrame]],
    station: str,
    variable: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write a PNG of what ``station`` has reported, and of its O-B and O-A, from feedback rows by
    time. Raises InputError when there is no such report, OutputError."""
    rows = pd.concat([t for _, t in tables]) if tables else pd.DataFrame()
    own = rows[(rows["station_id"] == station).to_numpy()] if len(rows) else rows
    if not len(own):
        raise InputError(
            f"no feedback has a report of station {station!r}", hint="names are as in the files"
        )
    surface = own[own["pressure"].isna().to_numpy()]
    own = surface if len(surface) else own
    names = list(dict.fromkeys(own["variable"])) if variable is None else [variable]
    names = [n for n in names if (own["variable"] == n).any()][:4]
    if not names:
        found = ", ".join(dict.fromkeys(own["variable"]))
        raise InputError(f"station {station!r} has no {variable}; it has {found}")
    figure = new_figure(8.0, 2.4 * len(names) + 0.6)
    axes = figure.subplots(len(names), 1, squeeze=False, sharex=True)[:, 0]
    for ax, name in zip(axes, names, strict=True):
        part = own[(own["variable"] == name).to_numpy()].sort_values("time")
        units, factor = READABLE.get(OBSERVABLES[name].units, (OBSERVABLES[name].units, 1.0))
        time = part["time"].to_numpy().astype("datetime64[s]").astype(object)
        for column, colour, label in (("ombg", BEFORE, "O−B"), ("oman", AFTER, "O−A")):
            values = factor * part[column].to_numpy(float)
            ax.plot(time, values, "o-", color=colour, markersize=4, linewidth=0.8, label=label)
        bad = (part["EffectiveQC"] > QC.PASSIVE).to_numpy()
        if bad.any():
            y = factor * part["ombg"].to_numpy(float)[bad]
            ax.plot(time[bad], y, "x", color="#d4007f", markersize=8, label="rejected")
        good = part[~bad].set_index("time")["ombg"].sort_index()
        mean, std = (factor * f for f in (good.rolling("5D").mean(), good.rolling("5D").std()))
        if len(good) > 2:
            days = mean.index.to_numpy().astype("datetime64[s]").astype(object)
            ax.plot(days, mean, color=TRUTH, label="O−B, mean and std of five days")
            ax.fill_between(days, mean - std, mean + std, color=TRUTH, alpha=0.15)
        ax.axhline(0, color=TRUTH, linewidth=0.7)
        if len(part) == 1:
            ax.set_xlim(time[0] - timedelta(days=1), time[0] + timedelta(days=1))
        ax.set_ylabel(f"{name} [{raised(units)}]")
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8, ncols=3)
    figure.suptitle(f"Station {station}", fontsize=11)
    figure.autofmt_xdate()
    with save_png(path, overwrite) as temporary:
        temporary.write_bytes(to_png(figure))
