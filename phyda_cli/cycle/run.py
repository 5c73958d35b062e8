"""One run of the cycle: every analysis that is due, in order, each whole or not at all."""

from __future__ import annotations

import os
import shutil
import sys
import time as system_time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from phyda_cli.cycle.attempts import Attempts
from phyda_cli.cycle.background import youngest_is_there
from phyda_cli.cycle.child import option
from phyda_cli.cycle.clock import Clock, stamp, times_between
from phyda_cli.cycle.folder import CycleFolder, Published
from phyda_cli.cycle.gates import failed_gates, unusual, verdict_of
from phyda_cli.cycle.gather import gather, inventory
from phyda_cli.cycle.making import Making, Stopped, gathered_by
from phyda_cli.cycle.policy import FAULTS
from phyda_cli.cycle.record import cycle_record
from phyda_cli.cycle.retention import retain
from phyda_cli.errors import EXIT_NO_OBSERVATIONS, EXIT_USAGE, OutputError
from phyda_cli.files.lock import locked
from phyda_cli.files.publish import sha256
from phyda_cli.settings.cycle import CycleSettings

__all__ = ["Cycle", "Outcome"]

SCHEMA = 1
PROGRAM = (sys.executable, "-P", "-m", "phyda_cli")
BUNDLED = Path(__file__).resolve().parents[1] / "pretrained"
_LOOK_EVERY = 5.0  # seconds
Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What became of the analysis of ``time``: its exit ``code`` (0 when it was published), its
    ``status`` and why it is not plainly ok."""

    time: datetime
    code: int
    status: str
    reasons: tuple[str, ...] = ()


class Cycle:
    """The cycle of ``settings``. ``say`` gets one line an event; ``program`` is the command that
    makes an analysis."""

    def __init__(
        self,
        settings: CycleSettings,
        clock: Clock,
        say: Say,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self.settings, self.clock, self.say = settings, clock, say
        self._attempts = Attempts(settings, tuple(program))
        self.folder = CycleFolder(settings.folder)

    def run(self, until: datetime | None = None, once: bool = False) -> list[Outcome]:
        """Make every analysis that is due, or only the first of them.

        A cycle that cannot be made never stops the later ones. Raises BusyError when another run
        works in the folder, OutputError when it cannot be written to.
        """
        root = self.folder.root
        try:
            root.mkdir(parents=True, exist_ok=True)
            return self._run(root, until, once)
        except OSError as error:
            raise OutputError(
                f"cannot write in {root}: {error.strerror or error}", hint=FAULTS["disk"].follows
            ) from error

    def _run(self, root: Path, until: datetime | None, once: bool) -> list[Outcome]:
        with locked(root / "lock", f"another phyda cycle works in {root}"):
            self.folder.sweep()
            due = self._due(until)
            outcomes = [self._one(time) for time in (due[:1] if once else due)]
            retain(self.folder, self.settings.retention)
            self._write_status(outcomes)
        return outcomes

    def _due(self, until: datetime | None) -> list[datetime]:
        s, now = self.settings, self.clock.now()
        last = self.folder.last()
        if last is not None and last.time > now:
            fault = FAULTS["clock"]
            raise OutputError(
                f"the last cycle in {s.folder} is {stamp(last.time)}, but the clock says "
                f"{now:%Y-%m-%dT%H:%MZ}",
                hint=fault.follows,
            )
        after = None if last is None else last.time
        due = times_between(s.first, after, min(until or now, now), s.every_hours)
        if last is not None and self._late_observations(last):
            due.insert(0, last.time)
        return due[-1:] if s.catch_up == "newest" else due

    def _late_observations(self, last: Published) -> bool:
        """Whether the last published cycle is to be made again with files that arrived after it, or
        have changed: never where one that it used is gone."""
        s = self.settings
        if s.late == "ignore" or self.clock.now() > last.time + timedelta(minutes=s.cutoff_minutes):
            return False
        used = {f["path"]: f["sha256"] for f in gathered_by(last.report)}
        there = inventory(s.observations, last.time)
        return used.keys() <= there.keys() and there != used

    def _one(self, time: datetime) -> Outcome:
        work = self.folder.work(time)
        replaced = self.folder.published(time) if time in self.folder.times() else None
        making = Making(time, work, self.settings.policy, self.folder.last(before=time), replaced)
        began = system_time.monotonic()
        try:
            outcome = self._make(making, began)
        except Stopped as stopped:
            reasons = (*making.faults, stopped.fault, *filter(None, [stopped.details]))
            outcome = Outcome(time, stopped.code, "stopped", tuple(dict.fromkeys(reasons)))
        except OSError as error:
            outcome = Outcome(time, EXIT_USAGE, "stopped", ("disk", f"{error.strerror}"))
        finally:
            shutil.rmtree(work, ignore_errors=True)
        self._tell(outcome, system_time.monotonic() - began)
        return outcome

    def _make(self, making: Making, began: float) -> Outcome:
        s, time = self.settings, making.time
        deadline = time + timedelta(minutes=s.cutoff_minutes)
        gathered = gather(
            s.observations,
            time,
            making.work / "observations",
            self.clock,
            deadline,
            s.settle_seconds,
        )
        making.files = gathered.files
        for fault in gathered.faults:
            making.note(fault)
        making.require_no_fewer()
        self._same_as_before(making)
        self._same_model(making)
        making.memory = self._memory(making)
        self._wait_for_background(time, deadline)
        report, background, forecasts = self._attempts.assimilate(making)
        for fault in unusual(report, self._earlier(time), s.gates):
            making.note(fault)
        if report.get("status") == "degraded" or verdict_of(report) == "suspect":
            making.note("analysis_degraded")
        facts = {
            "model_sha256": self._model_sha256(),
            "command": self._attempts.recorded_command(making, forecasts),
            "seconds": round(system_time.monotonic() - began, 2),
        }
        record = cycle_record(s, making, background, forecasts, report, facts)
        if reasons := failed_gates(report, s.gates):
            self.folder.reject(making.work, time, record | {"status": "rejected", "gates": reasons})
            raise Stopped.of("gate", "; ".join(reasons))
        self.folder.commit(making.work, time, record)
        return Outcome(time, 0, record["status"], tuple(making.faults))

    def _same_as_before(self, making: Making) -> None:
        """Stop where every file is one of the cycle before's, and where the same inputs have been
        rejected already."""
        hashes = sorted(f.sha256 for f in making.observations)
        if hashes and making.previous is not None:
            before = sorted(f["sha256"] for f in gathered_by(making.previous.report))
            if hashes == before:
                raise Stopped("observations_repeated", EXIT_NO_OBSERVATIONS)
        rejected = self.folder.rejected(making.time)
        if rejected and sorted(f["sha256"] for f in gathered_by(rejected)) == hashes:
            raise Stopped.of("gate", "rejected before with the same inputs")

    def _same_model(self, making: Making) -> None:
        """Note, or stop, where the model is another than the cycle before's."""
        before = making.previous and making.previous.report["model_sha256"]
        if before is None or before == self._model_sha256():
            return
        if not self.settings.allow_checkpoint_change:
            raise Stopped.of("checkpoint_changed")
        making.note("checkpoint_changed")

    def _memory(self, making: Making) -> Path | None:
        """The feedback of the cycle before, as it was published."""
        previous, s = making.previous, self.settings
        if previous is None or not s.remember or option(s.arguments, "--previous"):
            return None
        expected = previous.report["outputs"].get("feedback.nc")
        path = previous.path / "feedback.nc"
        if expected is None or not path.is_file() or sha256(path) != expected:
            making.note("memory_lost")
            return None
        return path

    def _model_sha256(self) -> str:
        """The hash of the model's description, which names the hashes of everything else."""
        given = option(self.settings.arguments, "--checkpoint")
        path = Path(given or os.environ.get("PHYDA_CHECKPOINT") or BUNDLED) / "model.json"
        return sha256(path) if path.is_file() else ""

    def _wait_for_background(self, time: datetime, deadline: datetime) -> None:
        source = self.settings.background[0]
        while not youngest_is_there(source, time) and self.clock.now() < deadline:
            self.clock.sleep(_LOOK_EVERY)

    def _earlier(self, time: datetime) -> list[dict[str, Any]]:
        """The analyses' reports of the cycles before ``time``."""
        times = [t for t in self.folder.times() if t < time]
        kept = times[-self.settings.gates.usual_cycles :]
        return [self.folder.published(t).report["analysis"] for t in kept]

    def _tell(self, outcome: Outcome, seconds: float) -> None:
        name = "published" if outcome.code == 0 else "stopped"
        details = {
            "cycle": stamp(outcome.time),
            "code": outcome.code,
            "status": outcome.status,
            "reasons": list(outcome.reasons),
            "seconds": round(seconds, 2),
        }
        self.folder.event(self.clock.now(), name, **details)
        why = f": {', '.join(outcome.reasons)}" if outcome.reasons else ""
        self.say(f"cycle {stamp(outcome.time)} {outcome.status} ({outcome.code}){why}")
        for fault in (FAULTS[r] for r in outcome.reasons if r in FAULTS and outcome.code):
            self.say(f"  {fault.means}")

    def _write_status(self, outcomes: Sequence[Outcome]) -> None:
        last = self.folder.last()
        self.folder.write_status(
            {
                "schema": SCHEMA,
                "at": self.clock.now().isoformat(timespec="seconds"),
                "last": None if last is None else stamp(last.time),
                "status": None if last is None else last.report["status"],
                "stopped": [
                    {"cycle": stamp(o.time), "code": o.code, "reasons": list(o.reasons)}
                    for o in outcomes
                    if o.code
                ],
                "process": os.getpid(),
            }
        )
