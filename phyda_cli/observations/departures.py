"""Statistics of departures, the only ones: of ``assimilate`` in memory, of ``verify`` from the
feedback file.

Chi-square, the estimates of Desroziers et al. (2005) and the factor that would set the assumed
errors right say what the departures tell of these errors.
"""

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

__all__ = [
    "Departure",
    "FeedbackSummary",
    "as_used",
    "departure",
    "departures_by_variable",
    "desroziers",
    "inflation",
    "mean",
    "rms",
    "summarise_feedback",
]

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


def mean(values: np.ndarray, weights: np.ndarray | float = 1.0) -> float:
    """Mean of the finite ``values``, weighted by ``weights`` (broadcast against them); NaN when
    there is none."""
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    weights = np.where(known, np.broadcast_to(weights, values.shape), 0.0)
    total = weights.sum()
    return (
        float((weights * np.where(known, values, 0.0)).sum() / total) if total > 0 else float("nan")
    )


def rms(values: np.ndarray, weights: np.ndarray | float = 1.0) -> float:
    """Root of the weighted mean square."""
    return float(np.sqrt(mean(np.square(np.asarray(values, np.float64)), weights)))


def desroziers(ombg: np.ndarray, oman: np.ndarray) -> tuple[float, float]:
    """Standard deviations of observation and background error that the departures (P,) of
    assimilated rows suggest.

    sigma_o^2 = E[(O-A)(O-B)], sigma_b^2 = E[(A-B)(O-B)]; NaN where the estimate is negative.
    """
    ombg, oman = np.asarray(ombg, np.float64), np.asarray(oman, np.float64)
    variances = np.array([mean(oman * ombg), mean((ombg - oman) * ombg)])
    sigma_o, sigma_b = np.sqrt(np.where(variances >= 0, variances, np.nan))
    return float(sigma_o), float(sigma_b)


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
    innovation: np.ndarray | None = None,
) -> Departure:
    """Statistics of departures (P,). Desroziers' estimates are of ``assimilated`` ones only: the
    analysis must have seen them.

    ``innovation`` is O-B of the background that the analysis started from, which the errors are
    those of: ``ombg`` but where the background's mean error was corrected.
    """
    before, after = None if ombg is None else rms(ombg), rms(oman)
    chi2 = factor = None
    estimates: tuple[float | None, float | None] = (None, None)
    start = ombg if innovation is None else innovation
    if start is not None and error is not None and sigma_b is not None:
        chi2 = _known(mean(start**2 / (error**2 + sigma_b**2)))
        factor = inflation(start, error, sigma_b)
    if start is not None and assimilated:
        first, second = desroziers(start, oman)
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
    used, passive = (as_used(table[table["qc"] == code]) for code in (QC.PASS, QC.PASSIVE))
    groups = {
        kind: {
            name: _by_variable(used.iloc[rows], True)
            for name, rows in in_order(label(table)[(table["qc"] == QC.PASS).to_numpy()])
        }
        for kind, label in GROUPINGS.items()
    }
    innovation, error, sigma_b = (used[k].to_numpy(float) for k in _ERRORS)
    return FeedbackSummary(
        account=summary(table),
        used=_by_variable(used, True),
        passive=_by_variable(passive, False),
        groups=groups,
        chi2=_known(mean(innovation**2 / (error**2 + sigma_b**2))),
        inflation=inflation(innovation, error, sigma_b),
    )


def departures_by_variable(feedback: pd.DataFrame) -> dict[str, list[Departure]]:
    """Of the ``used`` and the ``passive`` rows of a feedback, see
    :meth:`phyda_cli.observations.feedback.Feedback.frame`."""
    code = feedback["EffectiveQC"]
    return {
        "used": _by_variable(as_used(feedback[code == QC.PASS]), True),
        "passive": _by_variable(as_used(feedback[code == QC.PASSIVE]), False),
    }


_ERRORS = ("innovation", "EffectiveError", "hofx0_error")


def as_used(rows: pd.DataFrame) -> pd.DataFrame:
    """``rows`` with the departures of the values that the analysis took, and with those from the
    background that it started from, the ``innovation``."""
    value = rows["ObsValue"] if "DerivedObsValue" not in rows else rows["DerivedObsValue"]
    rows = rows.assign(
        ombg=np.where(np.isnan(value), rows["ombg"], value - rows["hofx0"]),
        oman=np.where(np.isnan(value), rows["oman"], value - rows["hofx1"]),
    )
    start = value - rows["hofx0_corrected"] if "hofx0_corrected" in rows else rows["ombg"]
    return rows.assign(innovation=start)


def _by_variable(rows: pd.DataFrame, assimilated: bool) -> list[Departure]:
    found = []
    for variable, group in rows.groupby("variable", sort=True):
        ombg, oman = (group[k].to_numpy(float) for k in ("ombg", "oman"))
        innovation, error, sigma_b = (group[k].to_numpy(float) for k in _ERRORS)
        found.append(departure(str(variable), ombg, oman, error, sigma_b, assimilated, innovation))
    return found
