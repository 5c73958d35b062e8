"""Whether an analysis can be trusted, from written rules.

The limits are ours (settings ``verdict.*``; docs/explanation/verdict.md tells why). A rule looks
at one kind of evidence, numbers by variable, and speaks once of all that lie beyond its limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from phyda_cli.analysis.analyse import Analysis, Problem
from phyda_cli.analysis.departures import scaled_as
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.layered import plane
from phyda_cli.names import Channel
from phyda_cli.observations.table import QC
from phyda_cli.settings.analysis import VerdictSettings

__all__ = [
    "RULES",
    "Measured",
    "Rule",
    "Verdict",
    "evidence_of",
    "increments_of",
    "judge",
    "verdict_of",
]

AGAINST_BACKGROUND = (QC.FIRST_GUESS, QC.BUDDY, QC.SPATIAL, QC.PARTNER)
_NAMED = 3  # variables in a sentence
ELSEWHERE = (QC.DOMAIN, QC.TIME_WINDOW)


class Measured(NamedTuple):
    """A number and how many observations it comes from; None where it does not come from some."""

    value: float
    n: int | None = None


Evidence = Mapping[str, Mapping[str, Measured]]  # by kind and name


@dataclass(frozen=True)
class Rule:
    """An analysis is suspect where ``evidence`` reaches the setting ``limit``, or falls to it."""

    evidence: str
    limit: str
    text: str
    below: bool = False

    def reasons(self, evidence: Evidence, limits: VerdictSettings) -> list[str]:
        """What the rule has to say, most often nothing: one sentence, of the worst first."""
        limit = float(getattr(limits, self.limit))
        beyond = [
            (value, n, name)
            for name, (value, n) in evidence.get(self.evidence, {}).items()
            if (value <= limit if self.below else value >= limit)
            and (n is None or n >= limits.fewest)
        ]
        if not beyond:
            return []
        beyond.sort(key=lambda found: found[0], reverse=not self.below)
        value, n, _ = beyond[0]
        names = [name for _, _, name in beyond]
        more = [] if len(names) <= _NAMED else [f"{len(names) - _NAMED} more"]
        several = ("down to " if self.below else "up to ") if len(names) > 1 else ""
        listed = _enumerated([*names[:_NAMED], *more])
        return [self.text.format(name=listed, value=value, n=n, several=several)]


def _enumerated(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


RULES = (
    Rule("elsewhere", "most_elsewhere", "{value:.0%} of {n} {name} are of another area or time"),
    Rule("rejected", "most_rejected", "{several}{value:.0%} of {name} do not fit the background"),
    Rule(
        "bias",
        "largest_bias",
        "mean O-B of {name} is {several}{value:.1f} times its expected error",
    ),
    Rule(
        "scale",
        "largest_scale",
        "the background error of {name} is {several}{value:.2g} times as large",
    ),
    Rule(
        "scale",
        "smallest_scale",
        "the background error of {name} is {several}{value:.2g} times as large",
        below=True,
    ),
    Rule("chi2", "largest_chi2", "chi2 of {name} is {several}{value:.2g}"),
    Rule("chi2", "smallest_chi2", "chi2 of {name} is {several}{value:.2g}", below=True),
    Rule(
        "increment",
        "largest_increment",
        "increments of {name} are {several}{value:.1f} times the usual background error",
    ),
    Rule(
        "withheld",
        "largest_withheld_ratio",
        "O-A of {name} is {several}{value:.2f} times O-B at withheld stations",
    ),
)


@dataclass(frozen=True)
class Verdict:
    """``word`` is ok, suspect or background_only; ``reasons`` are those of suspect."""

    word: str
    reasons: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {"verdict": self.word, "reasons": list(self.reasons)}

    def because(self, reasons: Sequence[str]) -> Verdict:
        """Suspect for these ``reasons`` too; what is its background stays so."""
        if not reasons or self.word == "background_only":
            return self
        return Verdict("suspect", (*self.reasons, *reasons))

    @classmethod
    def from_text(cls, text: str) -> Verdict:
        """The verdict that ``str`` made into ``text``."""
        word, _, reasons = text.partition(": ")
        return cls(word, tuple(reasons.split("; ")) if reasons else ())

    def __str__(self) -> str:
        return f"{self.word}: {'; '.join(self.reasons)}" if self.reasons else self.word


def judge(evidence: Evidence, limits: VerdictSettings, background_only: bool = False) -> Verdict:
    """The verdict of all rules. An analysis that is its background needs no judging."""
    if background_only:
        return Verdict("background_only")
    reasons = tuple(reason for rule in RULES for reason in rule.reasons(evidence, limits))
    return Verdict("suspect" if reasons else "ok", reasons)


def evidence_of(
    variable: np.ndarray,
    qc: np.ndarray,
    ombg: np.ndarray,
    oman: np.ndarray | None,
    error: np.ndarray,
    sigma_b: np.ndarray,
    factor: np.ndarray,
) -> dict[str, dict[str, Measured]]:
    """What the rows of observations say, all (P,): canonical names, codes, O-B, O-A (None before
    the analysis), and the standard deviations of observation and background error [units of the
    row]. ``sigma_b`` holds the ``factor`` on the background error, which ``bias`` leaves out."""
    out: dict[str, dict[str, Measured]] = {
        kind: {} for kind in ("elsewhere", "rejected", "bias", "chi2", "withheld")
    }
    if len(qc):
        out["elsewhere"]["observations"] = Measured(float(np.isin(qc, ELSEWHERE).mean()), len(qc))
    total, expected = np.hypot(error, sigma_b), np.hypot(error, sigma_b / factor)
    for name in np.unique(variable):
        of_it = variable == name
        compared = of_it & np.isin(qc, (QC.PASS, QC.PASSIVE, *AGAINST_BACKGROUND))
        used = of_it & (qc == QC.PASS)
        known = used & np.isfinite(ombg) & np.isfinite(total) & (total > 0)
        if compared.any():
            share = float(np.isin(qc[compared], AGAINST_BACKGROUND).mean())
            out["rejected"][str(name)] = Measured(share, int(compared.sum()))
        if known.any():
            n = int(known.sum())
            bias = abs(ombg[known].mean()) / np.sqrt((expected[known] ** 2).mean())
            out["bias"][str(name)] = Measured(float(bias), n)
            out["chi2"][str(name)] = Measured(float(((ombg / total)[known] ** 2).mean()), n)
        if oman is None:
            continue
        withheld = of_it & (qc == QC.PASSIVE) & np.isfinite(ombg) & np.isfinite(oman)
        if (ombg[withheld] ** 2).sum() > 0:
            ratio = np.sqrt((oman[withheld] ** 2).sum() / (ombg[withheld] ** 2).sum())
            out["withheld"][str(name)] = Measured(float(ratio), int(withheld.sum()))
    return out


def increments_of(
    increment: Fields, channels: Sequence[Channel], background_std: np.ndarray
) -> dict[str, Measured]:
    """rms of the ``increment`` in units of ``background_std`` (C,) of the checkpoint's
    ``channels``, for those whose level the increment has."""
    out: dict[str, Measured] = {}
    for channel, deviation in zip(channels, background_std, strict=True):
        if channel.pressure is None:
            values = increment.surface.get(channel.variable)
        else:
            level = np.flatnonzero(np.isclose(increment.levels, channel.pressure, rtol=1e-3))
            known = level.size and channel.variable in increment.upper
            values = plane(increment.upper, channel.variable, level[0]) if known else None
        if values is not None and np.isfinite(values).any():
            rms = float(np.sqrt(np.nanmean(np.square(values, dtype=float))))
            out[channel.key] = Measured(rms / float(deviation))
    return out


def verdict_of(problem: Problem, analysis: Analysis | None = None) -> Verdict:
    """What the rules say, without an analysis those about the observations alone."""
    departures, settings = problem.departures, problem.settings
    rows = departures.table
    oman = None
    if analysis is not None:
        oman = analysis.feedback.unbiased - analysis.feedback.hofx1
    variable = rows["variable"].to_numpy(str)
    evidence = evidence_of(
        variable,
        rows["qc"].to_numpy(),
        departures.innovation,
        oman,
        departures.error,
        departures.sigma_b,
        departures.scale.of(scaled_as(rows).tolist()),
    )
    if settings.background_error_scale == "auto":
        evidence["scale"] = {k: Measured(v) for k, v in departures.scale.groups.items()}
    if analysis is not None:
        spec = problem.prior.spec
        deviation = spec.column("background_std").ravel()
        evidence["increment"] = increments_of(analysis.increment, spec.channel_list, deviation)
    only = analysis is not None and analysis.status == "background_only"
    return judge(evidence, settings.verdict, only)
