"""Scores of fields against stations, and what a feedback file says about an analysis."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields
from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.operators import build_operator, operator_check
from phyda_cli.observations.qc import first_guess_check, summary
from phyda_cli.observations.table import QC
from phyda_cli.verification.scores import desroziers, mean, rms

__all__ = ["Departure", "FeedbackSummary", "StationReport", "score_stations", "summarise_feedback"]


@dataclass(frozen=True)
class Departure:
    """Statistics of O-B and O-A of one variable in its ``units``; None what is unknown.

    ``chi2`` is the mean of (O-B)^2 / (sigma_o^2 + sigma_b^2), one when the errors are right; ``sigma_o`` and ``sigma_b``
    are Desroziers' estimates, ``error`` the mean of the observation error that was assumed.
    """

    variable: str
    units: str
    n: int
    ombg_rms: float | None
    ombg_mean: float | None
    oman_rms: float
    oman_mean: float
    ratio: float | None = None
    chi2: float | None = None
    error: float | None = None
    sigma_o: float | None = None
    sigma_b: float | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class StationReport:
    """``scores`` by variable, the account of rows as :func:`~phyda_cli.observations.qc.summary` gives it, and notes."""

    scores: list[Departure]
    account: dict[str, Any]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class FeedbackSummary:
    """Departures of ``used`` and ``passive`` rows by variable, and the ``account`` of all rows as in :class:`StationReport`."""

    account: dict[str, Any]
    used: list[Departure]
    passive: list[Departure]


def _departure(
    variable: str, ombg: np.ndarray | None, oman: np.ndarray, error: np.ndarray | None = None, sigma_b: np.ndarray | None = None
) -> Departure:
    before = None if ombg is None else rms(ombg)
    after = rms(oman)
    chi2 = None
    if ombg is not None and error is not None and sigma_b is not None:
        chi2 = mean(ombg**2 / (error**2 + sigma_b**2))
    return Departure(
        variable,
        OBSERVABLES[variable].units if variable in OBSERVABLES else "",
        int(oman.size),
        before,
        None if ombg is None else mean(ombg),
        after,
        mean(oman),
        after / before if before else None,
        chi2 if chi2 is not None and np.isfinite(chi2) else None,
        None if error is None else mean(error),
    )


def score_stations(table: pd.DataFrame, analysis: Fields, background: Fields | None = None, factor: float = 5.0) -> StationReport:
    """O-A, and O-B when ``background`` is given, of a table that :func:`~phyda_cli.observations.prepare.prepare` has made.

    Gross errors are found against the first guess (else the analysis), as |O-B| > ``factor`` * sqrt(sigma_o^2 + s^2) with
    s the robust standard deviation of the variable's departures. Raises InputError when no row is left to compare with.
    """
    first = analysis if background is None else background
    operators = [build_operator(fields, table, None) for fields in (first, analysis)]
    for operator in operators:
        table = operator_check(table, operator)
    value = table["value"].to_numpy()
    before, after = (value - o.apply(np.nan_to_num(f.vector())) for o, f in zip(operators, (first, analysis), strict=True))
    passing = (table["qc"] <= QC.PASSIVE).to_numpy()
    table = first_guess_check(table, before, _robust_spread(table["variable"].to_numpy(object), before, passing), factor)
    good = (table["qc"] <= QC.PASSIVE).to_numpy()
    account = summary(table)
    if not good.any():
        raise InputError(f"no observation can be compared with the fields: {account['rejected'] or 'the files hold none'}")
    names = table["variable"].to_numpy(object)
    scores = [
        _departure(str(name), None if background is None else before[rows], after[rows])
        for name in sorted(set(names[good]))
        for rows in (np.flatnonzero(good & (names == name)),)
    ]
    notes = dict.fromkeys(note for operator in operators for note in operator.notes)
    return StationReport(scores, account, list(notes))


def _robust_spread(names: np.ndarray, departure: np.ndarray, passing: np.ndarray) -> np.ndarray:
    """1.4826 times the median absolute departure of each row's variable (P,), zero where nothing passes."""
    spread = np.zeros(departure.size)
    for name in set(names[passing]):
        spread[names == name] = 1.4826 * np.median(np.abs(departure[passing & (names == name)]))
    return spread


def summarise_feedback(feedback: pd.DataFrame) -> FeedbackSummary:
    """What the rows of :func:`~phyda_cli.observations.feedback.read_feedback` say, by variable."""
    table = feedback.assign(qc=feedback["EffectiveQC"])
    used, passive = (table[table["qc"] == code] for code in (QC.PASS, QC.PASSIVE))
    return FeedbackSummary(summary(table), _by_variable(used, True), _by_variable(passive, False))


def _by_variable(rows: pd.DataFrame, assimilated: bool) -> list[Departure]:
    out = []
    for variable, group in rows.groupby("variable", sort=True):
        ombg, oman, error, sigma_b = (group[k].to_numpy(float) for k in ("ombg", "oman", "EffectiveError", "hofx0_error"))
        departure = _departure(str(variable), ombg, oman, error, sigma_b)
        if assimilated:  # the estimates presume that the analysis has seen the observations
            sigma_o, sigma_b = (None if np.isnan(s) else s for s in desroziers(ombg, oman))
            departure = replace(departure, sigma_o=sigma_o, sigma_b=sigma_b)
        out.append(departure)
    return out
