"""The picture of a single observation: the increment around it, and how far that reaches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from phyda_cli.fields.grid import Fields
from phyda_cli.names import OBSERVABLES
from phyda_cli.verification.analysis_file import AnalysisFile
from phyda_cli.verification.charts import AFTER, BEFORE, TRUTH, new_figure, to_png
from phyda_cli.verification.largest import place
from phyda_cli.verification.maps import Area, View, draw_field, symmetric
from phyda_cli.verification.plots import save_png, utc
from phyda_cli.verification.readable import READABLE, raised
from phyda_cli.verification.single_observation import (
    Cut,
    SingleObservation,
    increment_at,
    single_observation,
)

__all__ = ["draw_single_observation"]

_KM_PER_DEGREE = 111.2


def draw_single_observation(
    path: Path, file: AnalysisFile, background: Fields, feedback: pd.DataFrame, overwrite: bool
) -> None:
    """Write a PNG of the increment that the one used observation has made: a map, cuts along its
    row and column of the grid, and the profile above it. Raises InputError as
    :func:`single_observation`, OutputError."""
    found = single_observation(file, background, feedback)
    units, factor = _units(found.variable)
    increment, level = increment_at(file.fields, background, found.variable, found.pressure)
    values = factor * increment[level]
    figure = new_figure(11.0, 4.2)
    panels = 3 if found.vertical else 2
    axes = figure.subplots(1, panels, width_ratios=(1.6, 1.3, 0.8)[:panels])
    view = View(file.fields.grid, _area(found))
    latitude, longitude = file.fields.grid.mesh
    longitude = view.fold(longitude)
    shown = (longitude <= view.east) & (latitude >= view.south) & (latitude <= view.north)
    image = draw_field(axes[0], view, values, symmetric(values[shown], found.variable))
    figure.colorbar(image, ax=axes[0], label=raised(units), shrink=0.8, extend="both")
    axes[0].plot(view.fold(np.array(found.longitude)), found.latitude, "k+", markersize=10)
    _reach(axes[1], found, factor, units)
    if found.vertical:
        _profile(axes[2], found, factor, units)
    at = "" if np.isnan(found.pressure) else f" at {found.pressure / 100:g} hPa"
    figure.suptitle(
        f"{OBSERVABLES[found.variable].long_name}{at} of {found.station}, "
        f"{place(found.latitude, found.longitude)}, {utc(file.fields.time)}: "
        f"O−B {factor * found.innovation:.3g}, response {factor * found.response:.3g}, "
        f"expected {factor * found.expected:.3g} {units}",
        fontsize=10,
    )
    with save_png(path, overwrite) as temporary:
        temporary.write_bytes(to_png(figure))


def _units(variable: str) -> tuple[str, float]:
    own = OBSERVABLES[variable].units
    return READABLE.get(own, (own, 1.0))


def _area(found: SingleObservation) -> Area:
    """Three half widths around the observation, at least ten degrees."""
    widths = [w for w in found.half_width_km.values() if w is not None]
    north = max(10.0, 3 * max(widths, default=1000.0) / _KM_PER_DEGREE)
    east = min(north / max(np.cos(np.deg2rad(found.latitude)), 0.2), 180.0)
    south, top = max(found.latitude - north, -90.0), min(found.latitude + north, 90.0)
    return found.longitude - east, south, found.longitude + east, top


def _reach(ax: Axes, found: SingleObservation, factor: float, units: str) -> None:
    """The cuts west to east and south to north, to three half widths."""
    most = 3 * max([w for w in found.half_width_km.values() if w is not None], default=2000.0)
    for (behind, ahead), colour in ((("west", "east"), AFTER), (("south", "north"), BEFORE)):
        first, second = found.horizontal[behind], found.horizontal[ahead]
        x = np.concatenate([-first.distance[::-1], second.distance[1:]])
        y = factor * np.concatenate([first.values[::-1], second.values[1:]])
        inside = np.abs(x) <= most
        ax.plot(x[inside], y[inside], color=colour, marker=".", label=f"{behind} to {ahead}")
        for cut, sign in ((first, -1), (second, 1)):
            if cut.half is not None:
                ax.plot(
                    sign * cut.half, factor * cut.values[0] / 2, "o", color=colour, fillstyle="none"
                )
    ax.axhline(0, color=TRUTH, linewidth=0.7)
    ax.set_xlabel("km from the observation")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_ylabel(raised(units))
    ax.set_title("increment; circles: half of it", fontsize=10)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)


def _profile(ax: Axes, found: SingleObservation, factor: float, units: str) -> None:
    signs = {"up": -1.0, "down": 1.0}
    for name, cut in found.vertical.items():
        hpa = found.nearest_level / 100 * np.exp(signs[name] * cut.distance)
        ax.plot(factor * cut.values, hpa, color=AFTER, marker=".")
        _half(ax, cut, found.nearest_level / 100, signs[name], factor)
    ax.axvline(0, color=TRUTH, linewidth=0.7)
    ax.set_yscale("log")
    ax.invert_yaxis()
    ax.set_yticks(ticks := [100, 200, 300, 500, 700, 850, 1000], [f"{p}" for p in ticks])
    ax.minorticks_off()
    ax.set_ylabel("hPa")
    ax.set_xlabel(raised(units))
    ax.set_title("above and below", fontsize=10)
    ax.grid(alpha=0.3)


def _half(ax: Axes, cut: Cut, hpa: float, sign: float, factor: float) -> None:
    if cut.half is not None:
        at = factor * cut.values[0] / 2, hpa * np.exp(sign * cut.half)
        ax.plot(*at, "o", color=AFTER, fillstyle="none")
