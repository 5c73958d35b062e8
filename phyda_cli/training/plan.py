"""How a training fits into ``max_minutes``: how many cases it simulates, and for how long it trains
each network."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from phyda_cli.files.publish import publish_text
from phyda_cli.files.resume import read_record

if TYPE_CHECKING:
    from phyda_cli.training.estimate import Estimate
    from phyda_cli.training.run import Run

__all__ = ["Plan", "kept_plan", "planned"]

CASES = 1 / 3  # of the time goes to simulating cases where the networks cannot have all they want
KEPT = 0.95  # of the time; the rest is for reading, the last scores and the checkpoint
CASES_OF = {"spread": "evidence", "encoder": "cases"}  # what is simulated before a network


@dataclass(frozen=True)
class Plan:
    """Number of ``samples`` to simulate; ``seconds`` of every part in its order; ``ends`` is the
    time [s] on the monotonic clock at which all is to be done."""

    samples: int
    seconds: dict[str, float]
    ends: float = 0.0

    def share(self, phase: str) -> float:
        """Seconds for ``phase``, from now: its part of what is left for it and all that follows."""
        names = list(self.seconds)
        later = sum(self.seconds[name] for name in names[names.index(phase) :])
        return max(1e-3, (self.ends - time.monotonic()) * self.seconds[phase] / later)


def planned(found: Estimate, minutes: float, batch: int) -> Plan:
    """A plan of ``minutes`` in all. Where everything fits, nothing is cut; else there are as many
    cases as all networks can see as often as they should, or as fit into a third of the time, and
    the networks divide the rest."""
    seconds = KEPT * 60 * minutes
    simulated = {"evidence": found.evidence_seconds, "cases": found.case_seconds}
    held = sum(each.of(0, found.validated) for each in simulated.values())
    one = sum(each.of(1, 0) for each in simulated.values())
    networks = sum(p.seconds for p in found.phases) / found.samples
    affordable = int(max((seconds - held) / (one + networks), (CASES * seconds - held) / one))
    fits = found.seconds <= seconds
    samples = found.samples if fits else min(found.samples, max(batch, affordable))
    left = seconds - held - samples * one
    wanted = networks * samples
    shrunk = samples / found.samples * min(1.0, max(left, 0.1 * seconds) / wanted)
    parts: dict[str, float] = {}
    for phase in found.phases:
        if (name := CASES_OF.get(phase.name)) is not None:
            parts[name] = simulated[name].of(samples, found.validated)
        parts[phase.name] = phase.seconds * shrunk
    return Plan(samples, parts)


def kept_plan(run: Run, estimated: Callable[[], Estimate]) -> Run:
    """``run`` with the plan in its folder, which is made of ``estimated`` where it is not there
    yet; the time counts from when the run began."""
    minutes, path = run.settings.max_minutes or 0.0, run.folder / "plan.json"
    ends = run.began + KEPT * 60 * minutes
    if not run.ranks.first(path.exists):
        found = estimated()
        left = max((ends - time.monotonic()) / (KEPT * 60), 0.1 * minutes)
        plan = planned(found, left, run.settings.batch)
        record = json.dumps({"samples": plan.samples, "seconds": plan.seconds})
        run.ranks.first(lambda: publish_text(path, record))
    plan = Plan(**read_record(path), ends=ends)
    settings = run.settings.model_copy(update={"samples": plan.samples})
    return replace(run, settings=settings, plan=plan)
