"""What departures say about the errors that were assumed: chi-square, Desroziers' estimates, and
the factor that would set it right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.groups import GROUPINGS, in_order
from phyda_cli.observations.qc import summary
from phyda_cli.observations.table import QC
from phyda_cli.verification.scores import desroziers, mean, rms

__all__ = ["Departure", "FeedbackSummary", "departure", "inflation", "summarise_feedback"]

Groups = Mapping[str, Mapping[str, "list[Departure]"]]

FEWEST = 20  # rows that an estimate of errors is made from
_BOUNDS = (0.05, 20.0)


@dataclass(frozen=True)
class Departure:
    """Statistics of O-B and O-A of one variable in its ``units``; None what is unknown.

    ``chi2`` is the mean of (O-B)^2 / (sigma_o^2 + sigma_b^2), one when the errors are right;
    ``sigma_o`` and ``sigma_b`` are Desroziers' estimates, ``error`` the mean of the observation
    error that was assumed and ``inflation`` the factor on it that would make chi2 one.
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
    inflation: float | None = None
    error: float | None = None
    sigma_o: float | None = None
    sigma_b: float | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class FeedbackSummary:
    """Departures of ``used`` and ``passive`` rows by variable, and ``groups`` of the used ones
    (type, level, region) by variable.

    ``chi2`` and ``inflation`` are those of all used rows together; ``account`` is as
    :func:`~phyda_cli.observations.qc.summary` gives it.
    """

    account: dict[str, Any]
    used: list[Departure]
    passive: list[Departure]
    groups: Groups
    chi2: float | None
    inflation: float | None

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        groups = {
            f"by_{kind}": {k: [d.as_dict() for d in v] for k, v in found.items()}
            for kind, found in self.groups.items()
        }
        lists = {
            "used": [d.as_dict() for d in self.used],
            "passive": [d.as_dict() for d in self.passive],
        }
        return {
            "account": self.account,
            "chi2": self.chi2,
            "inflation": self.inflation,
            **lists,
            **groups,
        }


def inflation(ombg: np.ndarray, error: np.ndarray, sigma_b: np.ndarray) -> float | None:
    """The factor f on ``error`` for which the mean of d^2 / (f^2 sigma_o^2 + sigma_b^2) over
    innovations ``ombg`` is one, all (P,).

    None for fewer than 20 rows, and where no factor within 1/20 to 20 does: the background error
    alone is then too large, say.
    """
    known = np.isfinite(ombg) & np.isfinite(error) & np.isfinite(sigma_b)
    d, o, b = ombg[known] ** 2, error[known] ** 2, sigma_b[known] ** 2
    if d.size < FEWEST:
        return None

    def excess(log_factor: float) -> float:
        return float(np.mean(d / (np.exp(2 * log_factor) * o + b))) - 1

    low, high = np.log(_BOUNDS)
    if excess(low) < 0 or excess(high) > 0:
        return None
    return float(np.exp(brentq(excess, low, high, xtol=1e-6)))


def departure(
    variable: str,
    ombg: np.ndarray | None,
    oman: np.ndarray,
    error: np.ndarray | None = None,
    sigma_b: np.ndarray | None = None,
    assimilated: bool = False,
) -> Departure:
    """Statistics of departures (P,). Desroziers' estimates are of ``assimilated`` ones only: the
    analysis must have seen them."""
    before, after = None if ombg is None else rms(ombg), rms(oman)
    chi2 = factor = None
    estimates: tuple[float | None, float | None] = (None, None)
    if ombg is not None and error is not None and sigma_b is not None:
        chi2, factor = (
            _known(mean(ombg**2 / (error**2 + sigma_b**2))),
            inflation(ombg, error, sigma_b),
        )
    if ombg is not None and assimilated:
        first, second = desroziers(ombg, oman)
        estimates = _known(first), _known(second)
    return Departure(
        variable,
        OBSERVABLES[variable].units if variable in OBSERVABLES else "",
        int(oman.size),
        before,
        None if ombg is None else mean(ombg),
        after,
        mean(oman),
        after / before if before else None,
        chi2,
        factor,
        None if error is None else mean(error),
        *estimates,
    )


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def summarise_feedback(feedback: pd.DataFrame) -> FeedbackSummary:
    """What the rows of :func:`~phyda_cli.observations.feedback.read_feedback` say; a
    superobservation counts as the one that was used."""
    table = feedback.assign(
        qc=feedback["EffectiveQC"], file=feedback["source_file"], row=feedback["source_row"]
    )
    rows = {
        code: np.flatnonzero((table["qc"] == code).to_numpy()) for code in (QC.PASS, QC.PASSIVE)
    }
    table = table.assign(**_as_used(table))
    used, passive = (table.iloc[r] for r in rows.values())
    kinds = {kind: label(table)[rows[QC.PASS]] for kind, label in GROUPINGS.items()}
    groups = {
        kind: {name: _by_variable(used.iloc[r], True) for name, r in in_order(labels)}
        for kind, labels in kinds.items()
    }
    ombg, error, sigma_b = (
        used[k].to_numpy(float) for k in ("ombg", "EffectiveError", "hofx0_error")
    )
    chi2 = _known(mean(ombg**2 / (error**2 + sigma_b**2)))
    return FeedbackSummary(
        summary(table),
        _by_variable(used, True),
        _by_variable(passive, False),
        groups,
        chi2,
        inflation(ombg, error, sigma_b),
    )


def _as_used(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Departures of the values that the analysis took."""
    if "DerivedObsValue" not in table:
        return {}
    value = table["DerivedObsValue"].to_numpy(float)
    return {
        name: np.where(np.isnan(value), table[name], value - table[h])
        for name, h in (("ombg", "hofx0"), ("oman", "hofx1"))
    }


def _by_variable(rows: pd.DataFrame, assimilated: bool) -> list[Departure]:
    found = []
    for variable, group in rows.groupby("variable", sort=True):
        ombg, oman, error, sigma_b = (
            group[k].to_numpy(float) for k in ("ombg", "oman", "EffectiveError", "hofx0_error")
        )
        found.append(departure(str(variable), ombg, oman, error, sigma_b, assimilated))
    return found
