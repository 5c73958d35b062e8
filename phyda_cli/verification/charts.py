"""Curves and bars: profiles, histograms, series, ranks, spectra, the scorecard."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from phyda_cli.verification.experiments import Scorecard
from phyda_cli.verification.history import SERIES_NAMES, Moment, control_limits
from phyda_cli.verification.plots import save_png
from phyda_cli.verification.readable import raised
from phyda_cli.verification.spectra import Spectrum

__all__ = [
    "departure_histogram",
    "draw_scorecard",
    "profile_chart",
    "rank_chart",
    "scorecard_chart",
    "series_chart",
    "spectra_chart",
    "to_png",
]

BEFORE, AFTER, TRUTH = (
    "#d95f02",
    "#1b6ca8",
    "#444444",
)  # told apart by the colour-blind, and in grey
GREY = "0.6"
Line = tuple[str, np.ndarray, dict[str, Any]]


def new_figure(width: float, height: float) -> Figure:
    """An empty figure that needs no display."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=100)
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: Figure) -> bytes:
    """The picture's bytes: the same for the same figure."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once is enough
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="png", bbox_inches="tight", pad_inches=0.12, metadata={"Software": None}
    )
    return buffer.getvalue()


def profile_chart(
    levels: Sequence[str],
    lines: Sequence[Line],
    counts: Sequence[tuple[int, int]],
    label: str,
) -> Figure:
    """Numbers by layer from the top down, with the possible and the used observations beside
    them."""
    figure = new_figure(7.2, 0.45 * len(levels) + 1.6)
    left, right = figure.subplots(1, 2, width_ratios=(3, 1), sharey=True)
    y = np.arange(len(levels))
    for name, values, style in lines:
        left.plot(values, y, marker="o", markersize=4, label=name, **style)
    left.axvline(0, color="0.7", linewidth=0.8)
    left.set_yticks(y, list(levels))
    left.invert_yaxis()
    left.set_xlabel(label)
    left.legend(fontsize=8, loc="best")
    left.grid(alpha=0.3)
    possible, used = (np.array([c[i] for c in counts]) for i in range(2))
    right.barh(y, possible, color="0.85", label="possible")
    right.barh(y, used, color=AFTER, label="used", height=0.5)
    right.set_xlabel("observations")
    right.tick_params(axis="x", rotation=60, labelsize=8)
    right.legend(fontsize=8)
    return figure


def departure_histogram(
    before: np.ndarray, after: np.ndarray, expected: float, label: str
) -> Figure:
    """O-B and O-A over the expected standard deviation (1 when the errors are right), with the
    Gaussian that was assumed."""
    figure = new_figure(4.6, 3.0)
    ax = figure.subplots()
    edges = np.linspace(-5, 5, 41)
    x = np.linspace(-5, 5, 201)
    for values, colour, name in ((before, BEFORE, "O−B"), (after, AFTER, "O−A")):
        inside = np.clip(values[np.isfinite(values)], -5, 5)
        if inside.size:
            ax.hist(
                inside,
                edges.tolist(),
                density=True,
                histtype="step",
                color=colour,
                label=name,
                linewidth=1.5,
            )
    gauss = np.exp(-((x / expected) ** 2) / 2) / np.sqrt(2 * np.pi) / expected
    ax.plot(x, gauss, color=TRUTH, linestyle="--", linewidth=1, label="assumed for O−B")
    ax.set_xlabel(label)
    ax.set_yticks([])
    ax.legend(fontsize=8)
    return figure


def rank_chart(counts: np.ndarray, title: str) -> Figure:
    """A rank histogram, flat in a perfect ensemble."""
    figure = new_figure(4.6, 2.6)
    ax = figure.subplots()
    size = counts.size
    ax.bar(np.arange(size), counts / counts.sum() * size, width=0.9, color=AFTER)
    ax.axhline(1, color=TRUTH, linestyle="--", linewidth=1)
    ax.set_xlabel("rank of the truth among the members, low to high")
    ax.set_ylabel("over flat")
    ax.set_title(title, fontsize=10)
    return figure


def series_chart(moments: Sequence[Moment], name: str, last: int) -> Figure:
    """One number of every analysis, with the limits from the ``last`` ones before the latest."""
    figure = new_figure(7.2, 2.0)
    ax = figure.subplots()
    times = np.array([m.time for m in moments]).astype("datetime64[m]").astype(object)
    values = [getattr(m, name) for m in moments]
    known = np.array([np.nan if v is None else float(v) for v in values])
    ax.plot(times, known, color=AFTER, marker="o", markersize=3, linewidth=1)
    limits = control_limits(values[-last - 1 : -1])
    if limits is not None:
        ax.axhspan(limits.low, limits.high, color="0.5", alpha=0.15)
        ax.axhline(limits.median, color=TRUTH, linestyle="--", linewidth=0.8)
    ax.set_title(SERIES_NAMES[name], fontsize=10, loc="left")
    ax.grid(alpha=0.3)
    ax.tick_params(labelsize=8)
    return figure


def spectra_chart(spectra: Sequence[Spectrum], units: Sequence[str]) -> Figure:
    """Power by wavelength of some fields."""
    figure = new_figure(4.6 * len(spectra), 3.4)
    axes = figure.subplots(1, len(spectra), squeeze=False)[0]
    for ax, spectrum, unit in zip(axes, spectra, units, strict=True):
        for values, colour, style, name in (
            (spectrum.background, BEFORE, "-", "background"),
            (spectrum.analysis, AFTER, "-", "analysis"),
            (spectrum.truth, TRUTH, "-", "truth"),
            (spectrum.error_background, BEFORE, ":", "error of the background"),
            (spectrum.error, AFTER, ":", "error of the analysis"),
        ):
            if values is not None:
                shown = np.where(values > 0, values, np.nan)
                ax.loglog(spectrum.wavelength_km, shown, color=colour, linestyle=style, label=name)
        if spectrum.effective_km is not None:
            ax.axvline(spectrum.effective_km, color="0.5", linewidth=0.8)
        ax.invert_xaxis()
        ax.minorticks_off()
        ax.set_title(spectrum.channel, fontsize=10)
        ax.set_xlabel("wavelength [km]")
        ax.set_ylabel(f"power [({raised(unit)})²]")
        ax.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    return figure


def scorecard_chart(card: Scorecard) -> Figure:
    """The scorecard: size is the difference, filled is significant, a cross too few times."""
    cells = [c for c in card.cells if c.score == "rmse"]
    rows = list(dict.fromkeys((c.source, c.variable) for c in cells))
    levels = list(dict.fromkeys(c.level for c in sorted(cells, key=lambda c: _order(c.level))))
    figure = new_figure(max(5.0, 0.75 * len(levels) + 2.5), 0.38 * len(rows) + 2.0)
    ax = figure.subplots()
    largest = max([abs(c.change) for c in cells] or [1.0]) or 1.0
    for cell in cells:
        x, y = levels.index(cell.level), rows.index((cell.source, cell.variable))
        if cell.verdict == "too few":
            ax.scatter(x, y, marker="x", s=18, color=GREY, linewidths=0.8)
            continue
        colour = AFTER if cell.change < 0 else BEFORE
        face = colour if cell.verdict in ("better", "worse") else "none"
        size = 8 + 170 * min(abs(cell.change) / largest, 1.0)
        marker = "v" if cell.change < 0 else "^"
        ax.scatter(x, y, marker=marker, s=size, facecolors=face, edgecolors=colour)
    ax.set_xticks(
        range(len(levels)), [x or "surface, all" for x in levels], rotation=60, fontsize=8
    )
    ax.set_yticks(range(len(rows)), [f"{v} ({s[:3]})" for s, v in rows], fontsize=8)
    ax.set_xlim(-0.6, len(levels) - 0.4)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(alpha=0.2)
    ax.set_title(
        f"RMSE against the other run, {card.common} common times: blue ▼ better, orange ▲ worse;\n"
        f"size: difference (largest {largest:.1f} %), filled: significant, ×: too few times",
        fontsize=9,
        loc="left",
    )
    return figure


def _order(level: str) -> float:
    try:
        return float(level)
    except ValueError:
        return float("inf")


def draw_scorecard(path: Path, card: Scorecard, overwrite: bool = False) -> None:
    """Write the scorecard as PNG. Raises OutputError."""
    with save_png(path, overwrite) as temporary:
        temporary.write_bytes(to_png(scorecard_chart(card)))
