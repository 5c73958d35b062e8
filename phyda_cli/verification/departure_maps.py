"""Maps of observations: how far they are from the background, and why they were rejected."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from phyda_cli.fields.grid import Grid
from phyda_cli.observations.table import QC
from phyda_cli.verification.maps import View, area_of, decorate

__all__ = ["departure_map", "rejected_map"]

# Okabe and Ito's colours, which the colour-blind tell apart; each reason has its marker too.
_COLOURS = ("#D55E00", "#0072B2", "#CC79A7", "#009E73", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("x", "o", "s", "^", "D", "v", "+")
_GLOBE = Grid(np.linspace(-90, 90, 37), np.arange(0, 360, 5.0))


def _map(rows: pd.DataFrame) -> tuple[Figure, View]:
    latitude, longitude = (rows[k].to_numpy(float) for k in ("latitude", "longitude"))
    view = View(_GLOBE, area_of(latitude, longitude))
    figure = Figure(figsize=view.size(1, 7.0), layout="constrained", dpi=100)
    FigureCanvasAgg(figure)
    return figure, view


def departure_map(rows: pd.DataFrame, variable: str) -> Figure:
    """Dots of O-B over sqrt(sigma_o^2 + sigma_b^2) of feedback ``rows`` of one variable."""
    figure, view = _map(rows)
    ax = figure.subplots()
    decorate(ax, view)
    error, sigma_b = (rows[k].to_numpy(float) for k in ("EffectiveError", "hofx0_error"))
    values = rows["ombg"].to_numpy(float) / np.sqrt(error**2 + sigma_b**2)
    size = float(np.clip(4000 / max(len(rows), 1), 5, 22))
    image = None
    for code, marker in ((QC.PASS, "o"), (QC.PASSIVE, "^")):
        chosen = (rows["EffectiveQC"] == code).to_numpy()
        if chosen.any():
            image = ax.scatter(
                view.fold(rows["longitude"].to_numpy(float)[chosen]),
                rows["latitude"].to_numpy(float)[chosen],
                c=values[chosen],
                s=size,
                marker=marker,
                cmap="RdBu_r",
                vmin=-3,
                vmax=3,
                edgecolors="0.2",
                linewidths=0.3,
                zorder=3,
            )
    if image is not None:
        bar = figure.colorbar(image, ax=ax, orientation="horizontal", extend="both", aspect=40)
        bar.set_label(f"O−B of {variable} over its expected standard deviation")
    return figure


def rejected_map(rows: pd.DataFrame) -> Figure:
    """Rejected observations by reason, each observation once."""
    figure, view = _map(rows)
    ax = figure.subplots()
    decorate(ax, view)
    codes = rows["EffectiveQC"].to_numpy()
    order = rows["EffectiveQC"].value_counts().index
    for i, code in enumerate(order[: len(_COLOURS)]):
        chosen = codes == code
        ax.scatter(
            view.fold(rows["longitude"].to_numpy(float)[chosen]),
            rows["latitude"].to_numpy(float)[chosen],
            s=18,
            marker=_MARKERS[i],
            color=_COLOURS[i],
            linewidths=0.9,
            label=f"{QC(code).meaning} ({chosen.sum()})",
            zorder=3,
        )
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure
