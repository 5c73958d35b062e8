"""Two runs over the same times: differences, which of them are more than chance, the scorecard."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from phyda_cli.errors import InputError
from phyda_cli.verification.significance import (
    FEWEST_TIMES,
    block_length,
    bootstrap_bounds,
    diebold_mariano,
    discoveries,
)
from phyda_cli.verification.sums import Key, Sums

__all__ = ["Cell", "Scorecard", "compare", "scorecard_lines"]


@dataclass(frozen=True)
class Cell:
    """Our RMSE (or CRPS) against the other run's of the same times: ``change`` in per cent of
    theirs, negative where ours is the better one, with 95 % bounds and the probability that chance
    does as much. ``verdict`` is better, worse, same (not significant) or too few."""

    source: str
    variable: str
    level: str
    independence: str
    score: str
    ours: float
    theirs: float
    change: float
    low: float | None
    high: float | None
    p: float | None
    n: int
    verdict: str

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Scorecard:
    """``cells`` from ``common`` times of the ``ours`` and ``theirs`` that the runs have."""

    cells: list[Cell]
    common: int
    ours: int
    theirs: int

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "common_times": self.common,
            "our_times": self.ours,
            "their_times": self.theirs,
            "cells": [c.as_dict() for c in self.cells],
        }


def compare(ours: Sums, theirs: Sums, seed: int = 0, rate: float = 0.05) -> Scorecard:
    """Compare all that both runs have at their common times.

    A cell is significant when the Diebold-Mariano test stands after the false-discovery ``rate``
    and the bounds of the block bootstrap leave zero out. Raises InputError when no time is common.
    """
    common = sorted(set(ours.times) & set(theirs.times))
    if not common:
        raise InputError(
            f"the two runs have no common time: one has {_span(ours)}, the other {_span(theirs)}",
            hint="compare runs over the same days",
        )
    cells = []
    for key in sorted(set(ours.series) & set(theirs.series)):
        pair = [_by_time(sums, key) for sums in (ours, theirs)]
        times = sorted(set(pair[0]) & set(pair[1]))
        for score, square, weight, root in (
            ("rmse", "a_squared", "weight", True),
            ("crps", "crps", "weight_crps", False),
        ):
            values = [_values(rows, times, square, weight) for rows in pair]
            known = np.isfinite(values[0]) & np.isfinite(values[1])
            if known.any():
                a, b = values[0][known], values[1][known]
                cells.append(_cell(key, score, a, b, root, seed))
    p = np.array([np.nan if c.p is None else c.p for c in cells])
    significant = discoveries(p, rate)
    return Scorecard(
        [_judged(c, bool(s)) for c, s in zip(cells, significant, strict=True)],
        len(common),
        len(ours.times),
        len(theirs.times),
    )


def _span(sums: Sums) -> str:
    if not sums.times:
        return "no time"
    first, last = (
        np.datetime_as_string(np.datetime64(t, "s"), unit="m") + "Z"
        for t in (min(sums.times), max(sums.times))
    )
    return f"{first} to {last}"


def _by_time(sums: Sums, key: Key) -> dict[float, dict[str, float]]:
    columns = sums.series_of(key)
    return {
        float(time): {name: float(values[i]) for name, values in columns.items()}
        for i, time in enumerate(columns["time"])
    }


def _values(
    rows: dict[float, dict[str, float]], times: list[float], name: str, weight: str
) -> np.ndarray:
    """The mean of a sum at each time (T,); NaN without weight."""
    return np.array(
        [rows[t][name] / rows[t][weight] if rows[t][weight] > 0 else np.nan for t in times]
    )


def _cell(key: Key, score: str, a: np.ndarray, b: np.ndarray, root: bool, seed: int) -> Cell:
    ours, theirs = float(a.mean()), float(b.mean())
    if root:
        ours, theirs = float(np.sqrt(ours)), float(np.sqrt(theirs))
    change = 100 * (ours / theirs - 1) if theirs > 0 else 0.0
    low = high = p = None
    if a.size >= FEWEST_TIMES:
        difference = a - b
        _, p = diebold_mariano(difference, block_length(a.size))
        p = p if np.isfinite(p) else diebold_mariano(difference)[1]
        bounds = [float(x) for x in bootstrap_bounds(difference, seed=seed)]
        # A difference of means as per cent of the score: linear, which small changes are.
        size = float(b.mean()) * (2 if root else 1)
        low, high = (100 * x / size if size > 0 else 0.0 for x in bounds)
    where = (key.source, key.variable, key.level, key.independence)
    return Cell(*where, score, ours, theirs, change, low, high, p, int(a.size), "")


def _judged(cell: Cell, significant: bool) -> Cell:
    if cell.n < FEWEST_TIMES:
        verdict = "too few"
    elif significant and cell.low is not None and cell.high is not None:
        verdict = "better" if cell.high < 0 else "worse" if cell.low > 0 else "same"
    else:
        verdict = "same"
    return Cell(**(asdict(cell) | {"verdict": verdict}))


_MARKS = {"better": "▼", "worse": "▲", "same": "·", "too few": "?"}


def scorecard_lines(card: Scorecard, width: int = 80) -> list[str]:
    """The scorecard as text: change of the RMSE in per cent by variable and level."""
    cells = [c for c in card.cells if c.score == "rmse"]
    lines = [
        f"{card.common} common times of our {card.ours} and their {card.theirs}; change of RMSE "
        "in %,",
        "▼ better, ▲ worse (significant), · not significant, ? too few times (below "
        f"{FEWEST_TIMES})",
    ]
    for source in dict.fromkeys(c.source for c in cells):
        own = [c for c in cells if c.source == source]
        levels = sorted({c.level for c in own if c.level}, key=_number)
        columns = [*levels, ""] if any(not c.level for c in own) else levels
        fits = max(1, (width - 12) // 8)
        shown = columns if len(columns) <= fits else [*columns[:: -(-len(columns) // fits)]]
        lines.append(f"{source:12}" + "".join(f"{_short(c):>8}" for c in shown))
        for variable in dict.fromkeys(c.variable for c in own):
            at = {c.level: c for c in own if c.variable == variable}
            if any(c in at for c in shown):
                lines.append(f"{variable:12}" + "".join(_text(at.get(c)) for c in shown))
    return lines


def _number(level: str) -> float:
    try:
        return float(level)
    except ValueError:
        return float("inf")


def _short(level: str) -> str:
    return "surface" if not level else level[:7]


def _text(cell: Cell | None) -> str:
    return " " * 8 if cell is None else f"{cell.change:+6.1f}{_MARKS[cell.verdict]:>2}"
