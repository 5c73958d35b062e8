"""One offline page about an observing-system simulation experiment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from phyda_cli.simulation.osse import Experiment, Outcome
from phyda_cli.simulation.osse_scores import FieldGain, Gains, Ratio
from phyda_cli.simulation.osse_summary import change_text, headline, notes_of, table_of
from phyda_cli.verification.charts import AFTER, BEFORE, new_figure
from phyda_cli.verification.page import render_page
from phyda_cli.verification.plots import stations_figure
from phyda_cli.verification.report_blocks import Block, Section, TableRow, picture
from phyda_cli.verification.significance import FEWEST_TIMES

__all__ = ["render_osse"]

_ROW = 0.2  # inches for a field


def render_osse(experiment: Experiment, outcome: Outcome, gains: Gains) -> str:
    """The page as HTML: the headline, ratios of RMSEs with their error bars, every number, and
    where the stations are."""
    table = table_of(gains)
    numbers = Block(
        caption=f"{table.title}; ratios below 1 are gains",
        header=table.header,
        rows=[TableRow(cells) for cells in table.rows],
        left=2,
        sortable=True,
    )
    chart = picture(
        gain_chart(gains),
        "ratios of RMSEs by field",
        f"below 1 is a gain; bars hold 95 % where there are {FEWEST_TIMES} times or more",
    )
    maps = [
        picture(
            stations_figure(reports.table, f"{name}: {experiment.networks[name].path.name}"),
            f"map of the {name}",
            f"where the {name} reports",
        )
        for name, reports in outcome.reports.items()
    ]
    return render_page(
        "osse.html.j2",
        title="What the observing network gives",
        result="RMSE " + change_text(gains.ratio, "background's"),
        lines=headline(experiment, outcome, gains),
        notes=notes_of(outcome, gains),
        sections=[
            Section("Gains by field", [chart], open=True),
            Section("All numbers", [numbers]),
            Section("Stations", maps),
        ],
    )


def gain_chart(gains: Gains) -> Figure:
    """Ratios to the background's RMSE by field, with their bounds."""
    fields = gains.scalars
    figure = new_figure(6.4, _ROW * len(fields) + 1.3)
    ax = figure.subplots()
    drawn: list[tuple[str, str, Sequence[Ratio | None]]] = [
        ("network", AFTER, [f.ratio for f in fields])
    ]
    if gains.baseline_ratio is not None:
        drawn.append(("baseline", BEFORE, [f.baseline_ratio for f in fields]))
    for i, (name, colour, ratios) in enumerate(drawn):
        y = np.arange(len(fields)) + 0.28 * i
        for place, ratio in zip(y, ratios, strict=True):
            if ratio is not None and ratio.low is not None and ratio.high is not None:
                ax.plot([ratio.low, ratio.high], [place, place], color=colour, linewidth=1.2)
        values = [np.nan if ratio is None else ratio.value for ratio in ratios]
        marker = "o" if i == 0 else "s"
        ax.scatter(values, y, s=16, color=colour, marker=marker, label=name, zorder=3)
    ax.axvline(1, color="0.5", linewidth=0.8)
    ax.set_yticks(np.arange(len(fields)), [_label(f) for f in fields], fontsize=8)
    ax.set_ylim(len(fields) - 0.4, -0.7)
    ax.set_xlabel("RMSE over the background's")
    ax.grid(axis="x", alpha=0.3)
    ax.legend(fontsize=8)
    return figure


def _label(field: FieldGain) -> str:
    return f"{field.variable} {field.level}".strip()
