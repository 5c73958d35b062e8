"""What an observing-system simulation experiment has found, in words, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from phyda_cli.simulation.osse import Experiment, Outcome
from phyda_cli.simulation.osse_scores import BASELINE, NETWORK, FieldGain, Gains, Ratio
from phyda_cli.verification.readable import READABLE
from phyda_cli.verification.screen import TextTable, number
from phyda_cli.verification.significance import FEWEST_TIMES
from phyda_cli.verification.summary import SHOWN, span_of

__all__ = ["as_json", "bounds_text", "change_text", "headline", "notes_of", "table_of"]

SCHEMA = 1
_Cell = Callable[[FieldGain, float], str]


def headline(experiment: Experiment, outcome: Outcome, gains: Gains) -> list[str]:
    """What the network gives, in some sentences."""
    mean = f"mean of {len(gains.scalars)} fields"
    lines = [
        f"{span_of(outcome.dates)}{_times(experiment.repeats)}; method {experiment.settings.method}"
    ]
    ratios = {NETWORK: gains.ratio, BASELINE: gains.baseline_ratio}
    for name, ratio in ratios.items():
        if ratio is not None:
            change = change_text(ratio, "background's")
            lines.append(f"{_described(experiment, outcome, name)}: RMSE {change}, {mean}")
    if gains.to_baseline is not None:
        change = change_text(gains.to_baseline, "baseline's")
        lines.append(f"network against baseline: RMSE {change}, {mean}")
    if gains.dates < FEWEST_TIMES:
        lines.append(
            f"no error bars: they need {FEWEST_TIMES} times, and the truth has {gains.dates}"
        )
    return lines


def _times(repeats: int) -> str:
    return "" if repeats == 1 else f", each with {repeats} draws of the errors"


def _described(experiment: Experiment, outcome: Outcome, name: str) -> str:
    network, counts = experiment.networks[name], outcome.counts[name]
    return (
        f"{name} {network.path.name} ({network.stations} stations, "
        f"{np.mean(counts):.0f} observations an analysis)"
    )


def change_text(ratio: Ratio, other: str) -> str:
    """``12.3 % below the background's (95 %: 10.1 to 14.5 %)``."""
    percent = 100 * (1 - ratio.value)
    sign, word = (1, "below") if percent >= 0 else (-1, "ABOVE")
    text = f"{sign * percent:.1f} % {word} the {other}"
    if ratio.low is None or ratio.high is None:
        return text
    low, high = sorted(sign * 100 * (1 - bound) for bound in (ratio.low, ratio.high))
    return f"{text} (95 %: {low:.1f} to {high:.1f} %)"


def bounds_text(ratio: Ratio | None) -> str:
    """``0.812–0.845``."""
    if ratio is None or ratio.low is None or ratio.high is None:
        return "–"
    return f"{ratio.low:.3f}–{ratio.high:.3f}"


def _value(ratio: Ratio | None) -> str:
    return number(None if ratio is None else ratio.value, ".3f")


def table_of(gains: Gains) -> TextTable:
    """A line for each field, those that are looked at most first, and the means."""
    title = "RMSE of background and network against the truth"
    columns: dict[str, _Cell] = {
        "background": lambda f, s: number(f.background * s),
        "network": lambda f, s: number(f.network * s),
        "ratio": lambda f, s: _value(f.ratio),
        "95 %": lambda f, s: bounds_text(f.ratio),
    }
    means = ["", "", _value(gains.ratio), bounds_text(gains.ratio)]
    if gains.to_baseline is not None:
        title = "RMSE of background (bg), baseline (base) and network (net) against the truth"
        columns = {
            "bg": columns["background"],
            "base": lambda f, s: number(None if f.baseline is None else f.baseline * s),
            "net": columns["network"],
            "net/bg": columns["ratio"],
            "net/base": lambda f, s: _value(f.to_baseline),
            "95 %": lambda f, s: bounds_text(f.to_baseline),
        }
        means = ["", "", "", means[2], _value(gains.to_baseline), bounds_text(gains.to_baseline)]
    order = {name: i for i, name in enumerate(SHOWN)}
    rows = []
    for f in sorted(gains.fields, key=lambda f: order.get(f.name, len(order))):
        units, scale = READABLE.get(f.units, (f.units, 1.0))
        rows.append([f.name, units, *(text(f, scale) for text in columns.values())])
    rows.append([f"mean of {len(gains.scalars)}", "", *means])
    return TextTable(title, ["field", "units", *columns], rows, last=1)


def notes_of(outcome: Outcome, gains: Gains) -> list[str]:
    """What was assumed or left out."""
    notes = list(outcome.notes)
    for time, reason in outcome.skipped.items():
        notes.append(f"{np.datetime_as_string(time, unit='m')}Z is left out: {reason}")
    if gains.lacking:
        notes.append(f"not at all times, so without a score here: {', '.join(gains.lacking)}")
    total = outcome.verdicts.total()
    if suspect := total - outcome.verdicts["ok"]:
        notes.append(f"{suspect} of {total} analyses were not ok by their own verdict")
    return notes


def as_json(experiment: Experiment, outcome: Outcome, gains: Gains) -> dict[str, Any]:
    """Everything as one object of plain values."""
    networks = {
        name: {
            "file": network.path.name,
            "stations": network.stations,
            "observations": outcome.counts[name],
            "notes": list(network.notes),
            "account": outcome.reports[name].account(),
        }
        for name, network in experiment.networks.items()
    }
    return {
        "schema": SCHEMA,
        "times": [f"{np.datetime_as_string(t, unit='m')}Z" for t in outcome.dates],
        "repeats": experiment.repeats,
        "seed": experiment.settings.seed,
        "method": experiment.settings.method,
        "networks": networks,
        "ratio": _plain(gains.ratio),
        "baseline_ratio": _plain(gains.baseline_ratio),
        "ratio_to_baseline": _plain(gains.to_baseline),
        "fields": [f.as_dict() for f in gains.fields],
        "verdicts": dict(outcome.verdicts),
        "headline": headline(experiment, outcome, gains),
        "notes": notes_of(outcome, gains),
        "notes_of_the_first_analysis": outcome.remarks,
    }


def _plain(ratio: Ratio | None) -> dict[str, float | None] | None:
    return None if ratio is None else {"value": ratio.value, "low": ratio.low, "high": ratio.high}
