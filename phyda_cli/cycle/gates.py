"""What an analysis must pass before it is published: pure functions of its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from phyda_cli.observations.table import QC
from phyda_cli.settings.cycle import GateSettings

__all__ = ["failed_gates", "unusual"]

AGAINST_THE_BACKGROUND = (QC.FIRST_GUESS, QC.BUDDY, QC.SPATIAL, QC.PARTNER)
FEWEST_WITHHELD = 30


def failed_gates(report: Mapping[str, Any], settings: GateSettings) -> list[str]:
    """Why an analysis with this ``report`` must not be published; empty when it may."""
    reasons = []
    counts = report["observations"]
    rejected = sum(counts["rejected"].get(code.meaning, 0) for code in AGAINST_THE_BACKGROUND)
    judged = rejected + counts["used"]
    if judged and rejected / judged > settings.rejected_fraction:
        reasons.append(
            f"{rejected} of {judged} observations disagree with the background or their neighbours"
        )
    for variable, d in report.get("departures", {}).get("used", {}).items():
        if d["n"] >= FEWEST_WITHHELD and d["oman_rms"] > d["ombg_rms"]:
            reasons.append(f"{variable}: the analysis fits its observations worse than before")
    for variable, d in report.get("departures", {}).get("passive", {}).items():
        worse = d["oman_rms"] > settings.withheld_ratio * d["ombg_rms"]
        if d["n"] >= FEWEST_WITHHELD and worse:
            reasons.append(
                f"{variable}: {d['n']} withheld observations are "
                f"{d['oman_rms'] / d['ombg_rms']:.2f} times as far from the analysis"
            )
    reasons += _unphysical(report, settings)
    if settings.verdict == "ok" and verdict_of(report) == "suspect":
        reasons.append(f"the verdict is suspect: {'; '.join(report['verdict']['reasons'])}")
    return reasons


def _unphysical(report: Mapping[str, Any], settings: GateSettings) -> list[str]:
    """What the analysis changes that no observation can have meant."""
    reasons = [
        f"increments of {channel} are {value:.1f} times the usual background error"
        for channel, value in report.get("increment_sigmas", {}).items()
        if value > settings.increment_sigmas
    ]
    change, excess = (report.get(n) for n in ("dry_mass_change_hpa", "hydrostatic_excess"))
    if change is not None and abs(change) > settings.dry_mass_hpa:
        reasons.append(f"the mean pressure of dry air changes by {change:.2f} hPa")
    if excess is not None and excess > settings.hydrostatic_excess:
        reasons.append(f"the departure from hydrostatic balance is {excess:.2f} times as large")
    return reasons


def verdict_of(report: Mapping[str, Any]) -> str:
    """The verdict in an analysis's report: ok, suspect or background_only."""
    verdict = report.get("verdict") or {}
    return str(verdict.get("verdict", "ok")) if isinstance(verdict, Mapping) else str(verdict)


def unusual(
    report: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]], settings: GateSettings
) -> list[str]:
    """Faults of counts against those of the ``earlier`` analyses' reports."""
    faults = []
    used = [r["observations"]["used"] for r in earlier[-settings.usual_cycles :]]
    counts = report["observations"]
    if used and counts["used"] < settings.fewest_of_usual * median(used):
        faults.append("observations_few")
    if earlier and len(_observed(report)) == 1 and median(len(_observed(r)) for r in earlier) > 1:
        faults.append("one_type")
    return faults


def _observed(report: Mapping[str, Any]) -> list[str]:
    return [n for n, c in report["observations"]["variables"].items() if c["used"]]
