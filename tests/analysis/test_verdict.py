"""The verdict: every rule speaks where it should and is silent otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phyda_cli.analysis.verdict import (
    RULES,
    Measured,
    Verdict,
    evidence_of,
    increments_of,
    judge,
)
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.names import parse_channel
from phyda_cli.observations.table import QC
from phyda_cli.settings.analysis import AnalysisSettings, VerdictSettings

LIMITS = VerdictSettings()
N = 400


def rows(
    codes: dict[QC, float] | None = None, bias: float = 0.0, spread: float = 1.0, gain: float = 0.6
) -> dict[str, dict[str, Measured]]:
    """Evidence of N t2m observations with shares of ``codes``; the analysis leaves ``gain`` of the
    departures."""
    rng = np.random.default_rng(0)
    qc = np.zeros(N, int)
    start = 0
    for code, share in (codes or {}).items():
        end = start + round(share * N)
        qc[start:end] = code
        start = end
    ombg = bias + spread * np.sqrt(2) * rng.standard_normal(N)
    one = np.ones(N)
    return evidence_of(np.full(N, "t2m"), qc, ombg, gain * ombg, one, one, one)


def test_good_observations_are_ok() -> None:
    evidence = rows({QC.PASSIVE: 0.2, QC.FIRST_GUESS: 0.02, QC.TIME_WINDOW: 0.1})
    evidence["scale"] = {"temperature": Measured(1.4)}
    evidence["increment"] = {"t850": Measured(0.9)}
    verdict = judge(evidence, LIMITS)
    assert (verdict.word, verdict.reasons) == ("ok", ())
    assert str(verdict) == "ok"


@pytest.mark.parametrize(
    ("kind", "evidence"),
    [
        ("rejected", rows({QC.FIRST_GUESS: 0.3})),
        ("rejected", rows({QC.FIRST_GUESS: 0.1, QC.BUDDY: 0.06})),
        ("elsewhere", rows({QC.DOMAIN: 0.3, QC.TIME_WINDOW: 0.25})),
        ("bias", rows(bias=2.0, spread=0.1)),
        ("chi2", rows(spread=2.0)),
        ("chi2", rows(spread=0.2)),
        ("withheld", rows({QC.PASSIVE: 0.2}, gain=1.2)),
        ("scale", {"scale": {"wind": Measured(4.0)}}),
        ("scale", {"scale": {"wind": Measured(0.25)}}),
        ("increment", {"increment": {"z500": Measured(3.5)}}),
    ],
)
def test_each_rule_speaks_alone(kind: str, evidence: dict[str, dict[str, Measured]]) -> None:
    verdict = judge(evidence, LIMITS)
    spoken = {r.evidence for r in RULES if r.reasons(evidence, LIMITS)}
    assert spoken == {kind}
    assert verdict.word == "suspect"
    assert len(verdict.reasons) == 1
    assert Verdict.from_text(str(verdict)) == verdict


def test_few_observations_prove_nothing() -> None:
    evidence = {kind: {"t2m": Measured(1.0, 29)} for kind in ("rejected", "withheld")}
    evidence["bias"] = {"t2m": Measured(9.0, 29)}
    assert judge(evidence, LIMITS).word == "ok"
    assert judge(evidence, VerdictSettings(fewest=29)).word == "suspect"


def test_a_background_is_not_judged() -> None:
    assert (
        judge(rows({QC.FIRST_GUESS: 0.9}), LIMITS, background_only=True).word == "background_only"
    )


def test_the_factor_does_not_hide_a_bias() -> None:
    one, four = np.ones(N), np.full(N, 4.0)
    ombg = np.full(N, 3.0)
    found = evidence_of(np.full(N, "t2m"), np.zeros(N, int), ombg, None, one, four, four)
    assert found["bias"]["t2m"].value == pytest.approx(3 / np.sqrt(2))
    assert found["chi2"]["t2m"].value == pytest.approx(9 / 17)
    assert found["withheld"] == {}


@given(st.floats(0, 1), st.floats(0, 10), st.floats(0, 50), st.integers(0, 500))
def test_worse_evidence_never_helps(share: float, bias: float, chi2: float, n: int) -> None:
    limits = VerdictSettings(smallest_chi2=0)
    better = {
        "rejected": {"t": Measured(share, n)},
        "bias": {"t": Measured(bias, n)},
        "chi2": {"t": Measured(chi2 + 1e-6, n)},
    }
    worse = {k: {"t": Measured(2 * v["t"].value, n)} for k, v in better.items()}
    assert len(judge(worse, limits).reasons) >= len(judge(better, limits).reasons)


def test_increments_in_units_of_the_background_error() -> None:
    grid = Grid(np.linspace(-80, 80, 5), np.arange(0, 360, 45.0))
    upper = {"t": np.stack([np.full(grid.shape, 2.0), np.full(grid.shape, np.nan)])}
    surface = {"t2m": np.full(grid.shape, -3.0, np.float32)}
    time = np.datetime64("2020-01-01", "ns")
    levels = np.array([50000.0, 85000.0])
    fields = Fields(grid=grid, levels=levels, upper=upper, surface=surface, time=time)
    channels = [parse_channel(k) for k in ("t500", "t850", "t200", "t2m", "msl")]
    found = increments_of(fields, channels, np.array([1.0, 1.0, 1.0, 1.5, 1.0]))
    assert {k: v.value for k, v in found.items()} == {"t500": 2.0, "t2m": 2.0}


def test_rows_without_an_analysis_do_not_silence_the_others() -> None:
    ombg, oman, one = np.ones(N), np.full(N, 1.2), np.ones(N)
    oman[0] = ombg[1] = np.nan
    qc = np.full(N, QC.PASSIVE)
    found = evidence_of(np.full(N, "t2m"), qc, ombg, oman, one, one, one)
    assert found["withheld"]["t2m"] == Measured(pytest.approx(1.2), N - 2)


def test_limits_are_settings() -> None:
    assert {rule.limit for rule in RULES} <= set(VerdictSettings.model_fields)
    assert AnalysisSettings().verdict == LIMITS
