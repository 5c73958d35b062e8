"""How a training is fitted into a time, and what it says of its result."""

from __future__ import annotations

import time

import pytest

from phyda_cli.training.estimate import CaseSeconds, Estimate, PhaseEstimate
from phyda_cli.training.plan import CASES, KEPT, Plan, planned
from phyda_cli.training.train import no_better

BATCH = 16


def found(samples: int = 1000, case: float = 1.0, held: float = 1.0) -> Estimate:
    """Cases for training, and 100 held of ``held`` seconds each; networks of 2 000 s."""
    phases = (
        PhaseEstimate("spread", 10, 100, 5.0, 0.0, 0.0),
        PhaseEstimate("encoder", 10, 100, 10.0, 0.0, 0.0),
        PhaseEstimate("denoiser", 10, 100, 5.0, 0.0, 0.0),
    )
    seconds = (CaseSeconds(part * case, part * held) for part in (0.8, 0.2))
    return Estimate(phases, 1, samples, 100, *seconds, 0, 0, 0, 0)


def test_what_fits_is_not_cut() -> None:
    assert found().seconds == 1100 + 2000
    plan = planned(found(), minutes=60, batch=BATCH)
    assert plan.samples == 1000
    assert plan.seconds == pytest.approx(
        {"evidence": 220, "spread": 500, "cases": 880, "encoder": 1000, "denoiser": 500}
    )


@pytest.mark.parametrize("minutes", [5, 10, 30])
@pytest.mark.parametrize("case", [0.1, 1.0])
def test_all_parts_together_are_the_time_given(minutes: float, case: float) -> None:
    plan = planned(found(case=case), minutes, BATCH)
    seconds = KEPT * 60 * minutes
    together = sum(plan.seconds.values())
    assert together <= seconds * (1 + 1e-9)
    assert together > seconds - 4 or plan.samples == 1000
    assert plan.seconds["encoder"] == pytest.approx(2 * plan.seconds["denoiser"])


def test_cases_take_a_third_where_the_networks_want_far_more() -> None:
    """0.1 s a case, and 0.67 s of all networks for it."""
    plan = planned(found(samples=3000, case=0.1, held=0.1), minutes=10, batch=BATCH)
    assert plan.seconds["evidence"] + plan.seconds["cases"] == pytest.approx(
        CASES * KEPT * 600, abs=0.2
    )


def test_cheap_cases_are_all_simulated() -> None:
    assert planned(found(case=0.01), minutes=10, batch=BATCH).samples == 1000


def test_time_that_the_networks_do_not_need_is_for_cases() -> None:
    """9.5 minutes less 100 s for held cases, at 0.05 s a case and 0.02 s of all networks for it."""
    plan = planned(found(samples=100_000, case=0.05), minutes=10, batch=BATCH)
    assert plan.samples == int(470 / 0.07)
    assert sum(plan.seconds.values()) == pytest.approx(570, abs=0.1)


def test_dear_cases_for_validation_do_not_make_those_for_training_dear() -> None:
    """9.5 minutes less 100 s for held cases, at 0.5 s a case and 0.02 s of all networks for it."""
    plan = planned(found(samples=100_000, case=0.5, held=1.0), minutes=10, batch=BATCH)
    assert plan.samples == int(470 / 0.52)
    assert plan.seconds["cases"] == pytest.approx(0.8 * (plan.samples * 0.5 + 100))


def test_a_phase_gets_its_part_of_what_is_left() -> None:
    seconds = {"cases": 10.0, "encoder": 30.0, "denoiser": 10.0}
    plan = Plan(1, seconds, ends=time.monotonic() + 100)
    assert plan.share("encoder") == pytest.approx(75, abs=1)
    assert plan.share("denoiser") == pytest.approx(100, abs=1)
    assert Plan(1, seconds).share("encoder") > 0  # late already


def test_a_result_that_is_no_better_than_oi_is_told() -> None:
    assert no_better({"encoder": 0.5, "oi": 0.6}) == ""
    assert "0.6000" in no_better({"encoder": 0.61, "oi": 0.6})
    assert no_better({"encoder": 0.38216, "oi": 0.38220})
