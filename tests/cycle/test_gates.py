"""Each gate, on reports of analyses."""

from __future__ import annotations

from typing import Any

import pytest

from phyda_cli.cycle.gates import failed_gates
from phyda_cli.settings.cycle import GateSettings


def report(**changes: Any) -> dict[str, Any]:
    """The report of a good analysis."""
    return {
        "observations": {"used": 100, "rejected": {"too far from the background": 3}},
        "departures": {
            "used": {"t2m": {"n": 50, "ombg_rms": 2.0, "oman_rms": 1.0}},
            "passive": {"t2m": {"n": 40, "ombg_rms": 2.0, "oman_rms": 1.8}},
        },
        "increment_sigmas": {"t850": 1.2},
        "dry_mass_change_hpa": 0.05,
        "hydrostatic_excess": 1.04,
        "verdict": {"verdict": "ok", "reasons": []},
    } | changes


def departures(kind: str, n: int, oman: float) -> dict[str, Any]:
    """Departures of one kind."""
    return {kind: {"t2m": {"n": n, "ombg_rms": 2.0, "oman_rms": oman}}}


BAD: dict[str, dict[str, Any]] = {
    "rejected": {"observations": {"used": 10, "rejected": {"too far from the background": 11}}},
    "worse fit": {"departures": departures("used", 30, 2.1)},
    "withheld": {"departures": departures("passive", 30, 2.5)},
    "increment": {"increment_sigmas": {"t850": 4.1}},
    "more air": {"dry_mass_change_hpa": 2.1},
    "less air": {"dry_mass_change_hpa": -2.1},
    "not hydrostatic": {"hydrostatic_excess": 2.1},
}


def test_a_good_analysis_passes() -> None:
    assert failed_gates(report(), GateSettings()) == []


@pytest.mark.parametrize("name", BAD)
def test_each_gate(name: str) -> None:
    assert len(failed_gates(report(**BAD[name]), GateSettings())) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"departures": departures("used", 29, 2.1)},
        {"dry_mass_change_hpa": None},
        {"hydrostatic_excess": None},
    ],
)
def test_what_says_too_little(changes: dict[str, Any]) -> None:
    assert failed_gates(report(**changes), GateSettings()) == []


def test_a_suspect_analysis_where_none_is_wanted() -> None:
    suspect = report(verdict={"verdict": "suspect", "reasons": ["chi2"]})
    assert failed_gates(suspect, GateSettings()) == []
    assert len(failed_gates(suspect, GateSettings(verdict="ok"))) == 1
