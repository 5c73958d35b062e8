"""Scores of fields against stations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields
from phyda_cli.observations.departures import Departure, departure
from phyda_cli.observations.operators import build_operator, operator_check
from phyda_cli.observations.qc import first_guess_check, summary
from phyda_cli.observations.surface_air import with_specific_humidity
from phyda_cli.observations.table import QC

__all__ = ["Compared", "StationReport", "compared", "score_stations"]


@dataclass(frozen=True)
class StationReport:
    """``scores`` by variable, the account of rows as :func:`~phyda_cli.observations.qc.summary`
    gives it, and notes."""

    scores: list[Departure]
    account: dict[str, Any]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Compared:
    """Rows of ``table`` with final codes, and what background (None without one) and analysis say
    of each (P,)."""

    table: pd.DataFrame
    before: np.ndarray | None
    after: np.ndarray
    notes: list[str]


def compared(
    table: pd.DataFrame, analysis: Fields, background: Fields | None = None, factor: float = 5.0
) -> Compared:
    """A table that :func:`~phyda_cli.observations.pre_qc.prepare` has made beside the fields.

    Gross errors are found against the first guess (else the analysis), as |O-B| > ``factor`` *
    sqrt(sigma_o^2 + s^2) with s the robust standard deviation of the variable's departures. Raises
    InputError when no row is left to compare with.
    """
    analysis = with_specific_humidity(analysis)
    first = analysis if background is None else with_specific_humidity(background)
    operators = [build_operator(fields, table, None) for fields in (first, analysis)]
    for operator in operators:
        table = operator_check(table, operator)
    before, after = (
        o.apply(np.nan_to_num(f.vector()))
        for o, f in zip(operators, (first, analysis), strict=True)
    )
    departures = table["value"].to_numpy() - before
    passing = (table["qc"] <= QC.PASSIVE).to_numpy()
    spread = _robust_spread(table["variable"].to_numpy(object), departures, passing)
    table = first_guess_check(table, departures, spread, factor)
    if not (table["qc"] <= QC.PASSIVE).any():
        raise InputError(
            "no observation can be compared with the fields: "
            f"{summary(table)['rejected'] or 'the files hold none'}"
        )
    notes = dict.fromkeys(note for operator in operators for note in operator.notes)
    return Compared(table, None if background is None else before, after, list(notes))


def score_stations(
    table: pd.DataFrame, analysis: Fields, background: Fields | None = None, factor: float = 5.0
) -> StationReport:
    """O-A, and O-B when ``background`` is given, of the rows that :func:`compared` leaves."""
    both = compared(table, analysis, background, factor)
    value = both.table["value"].to_numpy()
    names = both.table["variable"].to_numpy(object)
    good = (both.table["qc"] <= QC.PASSIVE).to_numpy()
    scores = [
        departure(
            str(name),
            None if both.before is None else (value - both.before)[rows],
            (value - both.after)[rows],
        )
        for name in sorted(set(names[good]))
        for rows in (np.flatnonzero(good & (names == name)),)
    ]
    return StationReport(scores, summary(both.table), both.notes)


def _robust_spread(names: np.ndarray, departure: np.ndarray, passing: np.ndarray) -> np.ndarray:
    """1.4826 times the median absolute departure of each row's variable (P,), zero where nothing
    passes."""
    spread = np.zeros(departure.size)
    for name in set(names[passing]):
        spread[names == name] = 1.4826 * np.median(np.abs(departure[passing & (names == name)]))
    return spread
