"""One picture of the physics of an analysis: maps of each residual, background, analysis and truth
side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from phyda_cli.errors import InputError
from phyda_cli.files.publish import publish
from phyda_cli.physics.residuals import RESIDUAL_UNITS
from phyda_cli.verification.maps import View, draw_field, sequential, symmetric
from phyda_cli.verification.physics import PhysicsReport
from phyda_cli.verification.readable import READABLE, raised

__all__ = ["draw_physics"]

_WIDTH = 4.4  # inches of a map of the globe
_GREY = "grey: not counted (poles, below ground, no common area, balance in the tropics)"


@dataclass(frozen=True)
class _Row:
    """One equation: its components, drawn as a magnitude where there are two, at the level nearest
    to ``hpa``."""

    name: str
    components: tuple[str, ...]
    hpa: float = 500.0


_ROWS = (
    _Row("hydrostatic", ("hydrostatic",), 600.0),
    _Row("mass divergence", ("mass",)),
    _Row("momentum, size", ("momentum_u", "momentum_v")),
    _Row("thermodynamic", ("thermodynamic",)),
    _Row("moisture", ("moisture",), 850.0),
    _Row("geostrophic departure, size", ("geostrophic_u", "geostrophic_v")),
    _Row("gradient-wind departure", ("gradient",)),
)
_COLUMNS = ("background", "analysis", "truth")


def draw_physics(
    path: Path,
    report: PhysicsReport,
    title: str,
    overwrite: bool = False,
) -> None:
    """Write a PNG with a row for each residual that ``report`` has and a column for each
    state.

    The states of a row share its colours, which reach the 99.5th percentile. Raises InputError
    without any residual, OutputError.
    """
    rows = [row for row in _ROWS if all(c in report.quantities["analysis"] for c in row.components)]
    if not rows:
        raise InputError(
            "no residual can be drawn", hint="z and t, or u and v on pressure levels are needed"
        )
    states = [name for name in _COLUMNS if name in report.quantities]
    view = View(report.layout.grid)
    height = min(
        _WIDTH * view.aspect * (view.north - view.south) / (view.east - view.west), 1.2 * _WIDTH
    )
    size = max((_WIDTH + 0.1) * len(states) + 1.6, 7.0), (height + 0.15) * len(rows) + 1.1
    figure = Figure(
        figsize=size,
        layout=ConstrainedLayoutEngine(w_pad=0.07, h_pad=0.05, wspace=0.0, hspace=0.0),
        dpi=100,
    )
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=13)
    figure.supxlabel(_GREY, fontsize=10, color="0.3")
    axes = figure.subplots(len(rows), len(states), squeeze=False, sharex=True, sharey=True)
    for line, row in zip(axes, rows, strict=True):
        where, values = _select(report, row, states)
        units, scale = READABLE.get(
            RESIDUAL_UNITS[row.components[0]], (RESIDUAL_UNITS[row.components[0]], 1.0)
        )
        style = (symmetric if len(row.components) == 1 else sequential)(scale * values)
        for ax, field in zip(line, scale * values, strict=True):
            ax.set_facecolor("0.85")  # where the residual does not count
            image = draw_field(ax, view, field, style)
        bar = figure.colorbar(
            image,
            ax=list(line),
            extend="both" if style["vmin"] else "max",
            aspect=14,
            shrink=0.92,
            pad=0.01,
        )
        bar.set_label(f"{row.name}\n{where}[{raised(units)}]")
        bar.ax.yaxis.set_major_locator(MaxNLocator(5))
    for ax, name in zip(axes[0], states, strict=True):
        ax.set_title(name)
    with publish(path, overwrite) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _select(report: PhysicsReport, row: _Row, states: list[str]) -> tuple[str, np.ndarray]:
    """The level's name and the fields of the states (S, H, W)."""
    levels = report.layout.levels / 100
    layers = report.quantities["analysis"][row.components[0]].shape[0]
    centres = levels if layers == levels.size else np.sqrt(levels[1:] * levels[:-1])
    k = 0 if layers == 1 else int(np.abs(np.log(centres / row.hpa)).argmin())
    fields = [[report.quantities[state][c][k] for c in row.components] for state in states]
    values = np.array([f[0] if len(f) == 1 else np.hypot(*f) for f in fields])
    if "mass" in row.components:
        return "", values
    return (
        f"{levels[k]:g} hPa " if layers == levels.size else f"{levels[k]:g}–{levels[k + 1]:g} hPa "
    ), values
