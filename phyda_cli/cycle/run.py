"""One run of the cycle: every analysis that is due, in order, each whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time as system_time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from phyda_cli import __version__
from phyda_cli.cycle.background import Candidate, candidates, youngest_is_there
from phyda_cli.cycle.child import Ended, last_error, option, run_limited
from phyda_cli.cycle.clock import Clock, stamp, times_between
from phyda_cli.cycle.folder import CycleFolder, Published
from phyda_cli.cycle.gates import failed_gates, unusual, verdict_of
from phyda_cli.cycle.gather import InputFile, copies_of, gather, inventory
from phyda_cli.cycle.policy import FAULTS, stops
from phyda_cli.cycle.retention import retain
from phyda_cli.errors import EXIT_INPUT, EXIT_NO_OBSERVATIONS, EXIT_USAGE, OutputError
from phyda_cli.files.lock import locked
from phyda_cli.files.publish import sha256
from phyda_cli.settings.cycle import CycleSettings

__all__ = ["Cycle", "Outcome"]

SCHEMA = 1
OUTPUTS = ("analysis.nc", "feedback.nc")
PROGRAM = (sys.executable, "-P", "-m", "phyda_cli")
BUNDLED = Path(__file__).resolve().parents[1] / "pretrained"
_LOOK_EVERY = 5.0  # seconds
_LOSSES = ("background_late", "background_unreadable", "lagged_unreadable", "memory_lost")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What became of the analysis of ``time``: its exit ``code`` (0 when it was published), its
    ``status`` and why it is not plainly ok."""

    time: datetime
    code: int
    status: str
    reasons: tuple[str, ...] = ()


@dataclass
class _Stopped(Exception):
    """The cycle stops for ``fault``."""

    fault: str
    code: int
    details: str = ""


@dataclass
class _Making:
    """A cycle on its way: where it is made, the one before and the published one that it replaces,
    the feedback that it remembers the one before by, the observations of each source, those that
    cannot be read, and the faults so far."""

    time: datetime
    work: Path
    previous: Published | None
    replaced: Published | None = None
    memory: Path | None = None
    files: tuple[tuple[InputFile, ...], ...] = ()
    left_out: list[InputFile] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def observations(self) -> list[InputFile]:
        """The observation files that are used."""
        return [file for files in self.files for file in files]


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
        self._program = list(program)
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
        used = {f["path"]: f["sha256"] for f in _gathered_by(last.report)}
        there = inventory(s.observations, last.time)
        return used.keys() <= there.keys() and there != used

    def _one(self, time: datetime) -> Outcome:
        work = self.folder.work(time)
        replaced = self.folder.published(time) if time in self.folder.times() else None
        making = _Making(time, work, self.folder.last(before=time), replaced)
        began = system_time.monotonic()
        try:
            outcome = self._make(making, began)
        except _Stopped as stopped:
            reasons = (*making.faults, stopped.fault, *filter(None, [stopped.details]))
            outcome = Outcome(time, stopped.code, "stopped", tuple(dict.fromkeys(reasons)))
        except OSError as error:
            outcome = Outcome(time, EXIT_USAGE, "stopped", ("disk", f"{error.strerror}"))
        finally:
            shutil.rmtree(work, ignore_errors=True)
        self._tell(outcome, system_time.monotonic() - began)
        return outcome

    def _make(self, making: _Making, began: float) -> Outcome:
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
            self._note(making, fault)
        _require_no_fewer(making)
        self._same_as_before(making)
        self._same_model(making)
        making.memory = self._memory(making)
        self._wait_for_background(time, deadline)
        report, background, forecasts = self._assimilate(making)
        for fault in unusual(report, self._earlier(time), s.gates):
            self._note(making, fault)
        if report.get("status") == "degraded" or verdict_of(report) == "suspect":
            self._note(making, "analysis_degraded")
        record = self._record(making, background, forecasts, report, began)
        if reasons := failed_gates(report, s.gates):
            self.folder.reject(making.work, time, record | {"status": "rejected", "gates": reasons})
            raise _Stopped("gate", FAULTS["gate"].code, "; ".join(reasons))
        self.folder.commit(making.work, time, record)
        return Outcome(time, 0, record["status"], tuple(making.faults))

    def _note(self, making: _Making, fault: str, details: str = "") -> None:
        """Go on with ``fault``, or stop where the policy says so, and where it makes a published
        analysis worse."""
        if stops(fault, self.settings.policy):
            raise _Stopped(fault, FAULTS[fault].code, details)
        if fault in _LOSSES and making.replaced and fault not in making.replaced.report["reasons"]:
            raise _Stopped("replacement_poorer", FAULTS["replacement_poorer"].code, fault)
        if fault not in making.faults:
            making.faults.append(fault)

    def _same_as_before(self, making: _Making) -> None:
        """Stop where every file is one of the cycle before's, and where the same inputs have been
        rejected already."""
        hashes = sorted(f.sha256 for f in making.observations)
        if hashes and making.previous is not None:
            before = sorted(f["sha256"] for f in _gathered_by(making.previous.report))
            if hashes == before:
                raise _Stopped("observations_repeated", EXIT_NO_OBSERVATIONS)
        rejected = self.folder.rejected(making.time)
        if rejected and sorted(f["sha256"] for f in _gathered_by(rejected)) == hashes:
            raise _Stopped("gate", FAULTS["gate"].code, "rejected before with the same inputs")

    def _same_model(self, making: _Making) -> None:
        """Note, or stop, where the model is another than the cycle before's."""
        before = making.previous and making.previous.report["model_sha256"]
        if before is None or before == self._model_sha256():
            return
        if not self.settings.allow_checkpoint_change:
            raise _Stopped("checkpoint_changed", FAULTS["checkpoint_changed"].code)
        self._note(making, "checkpoint_changed")

    def _memory(self, making: _Making) -> Path | None:
        """The feedback of the cycle before, as it was published."""
        previous, s = making.previous, self.settings
        if previous is None or not s.remember or option(s.arguments, "--previous"):
            return None
        expected = previous.report["outputs"].get("feedback.nc")
        path = previous.path / "feedback.nc"
        if expected is None or not path.is_file() or sha256(path) != expected:
            self._note(making, "memory_lost")
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

    def _assimilate(self, making: _Making) -> tuple[dict[str, Any], Candidate, list[InputFile]]:
        """The report of the analysis, the best background that can be read, and the forecasts as
        they were used."""
        s = self.settings
        self._require_observations(making)
        ended: Ended | None = None
        too_long = ""
        for candidate in candidates(s.background, making.time, making.previous, making.work):
            if candidate.fallback:
                self._note(making, "background_late")
            ended, used = self._analyse_readable(making, candidate)
            if ended.code == 0:
                report: dict[str, Any] = json.loads(ended.output)
                if report.get("lead_hours", 0) > candidate.longest_hours:
                    too_long = f"{candidate.path} is a forecast of {report['lead_hours']:g} h"
                    _remove_outputs(making.work)
                    ended = None
                    continue
                _require_no_older(making, candidate.lead_hours or report.get("lead_hours"))
                if report["status"] == "background_only":
                    making.faults.append("observations_none")
                return report, candidate, used
            if ended.code != EXIT_INPUT:
                break
            self._note(making, "background_unreadable", last_error(making.work / "log.txt"))
        if ended is None:
            raise _Stopped("background_missing", FAULTS["background_missing"].code, too_long)
        if ended.code == EXIT_NO_OBSERVATIONS:
            raise _Stopped("observations_none", ended.code)
        raise _Stopped("analysis_failed", ended.code, last_error(making.work / "log.txt"))

    def _require_observations(self, making: _Making) -> None:
        """Stop without any observation file, where the policy says so."""
        if not making.observations and stops("observations_none", self.settings.policy):
            raise _Stopped("observations_none", EXIT_NO_OBSERVATIONS)

    def _analyse_readable(
        self, making: _Making, candidate: Candidate
    ) -> tuple[Ended, list[InputFile]]:
        """How the analysis with ``candidate`` ended: after a failure once more without the
        observations that cannot be read, and then without lagged forecasts."""
        ended, used = self._analyse(making, (candidate.path, *candidate.lagged))
        if ended.code == EXIT_INPUT and self._leave_out_unreadable(making):
            ended, used = self._analyse(making, (candidate.path, *candidate.lagged))
        if ended.code == EXIT_INPUT and candidate.lagged:
            ended, used = self._analyse(making, (candidate.path,))
            if ended.code == 0:
                self._note(making, "lagged_unreadable")
        return ended, used

    def _leave_out_unreadable(self, making: _Making) -> bool:
        """Whether there are observation files that cannot be read, which are used no more."""
        log, s = making.work / "log.txt", self.settings
        bad = []
        for number, file in ((n, f) for n, files in enumerate(making.files) for f in files):
            words = ["obs", "inspect", "--json", file.copy, *self._read_as(number)]
            command = [*self._program, *words]
            if run_limited(command, log, s.minutes, s.memory, making.work).code != 0:
                self._note(making, "observations_unreadable", file.path)
                making.faults.append(file.path)
                bad.append(file)
        making.left_out += bad
        making.files = tuple(tuple(f for f in files if f not in bad) for files in making.files)
        if bad:
            _require_no_fewer(making)
            self._require_observations(making)
        return bool(bad)

    def _read_as(self, number: int) -> list[str]:
        """The options that say how the text tables of a source are read."""
        source, own, words = self.settings.observations[number], copies_of(number), []
        if source.map is not None:
            words += ["--obs-map", f"{own}={source.map.absolute()}"]
        if source.decimal is not None:
            words += ["--decimal", f"{own}={source.decimal}"]
        return words

    def _analyse(self, making: _Making, forecasts: Sequence[Path]) -> tuple[Ended, list[InputFile]]:
        """How the analysis with ``forecasts``, the background first, ended, and what they were; one
        that changes meanwhile is unreadable."""
        s = self.settings
        used = [InputFile(str(p), p.stat().st_size, sha256(p)) for p in forecasts]
        command = self._command(making, forecasts)
        ended = run_limited(command, making.work / "log.txt", s.minutes, s.memory, making.work)
        if ended.code == 0 and any(sha256(Path(file.path)) != file.sha256 for file in used):
            ended = Ended(EXIT_INPUT, "")
            _remove_outputs(making.work)
        return ended, used

    def _command(self, making: _Making, forecasts: Sequence[Path]) -> list[str]:
        s, (background, *lagged) = self.settings, forecasts
        words = [*self._program, "assimilate", "--json"]
        for number, files in enumerate(making.files):
            for file in files:
                words += ["--obs", file.copy]
            if files:
                words += self._read_as(number)
        words += [
            "--background",
            str(background.absolute()),
            "--time",
            f"{making.time:%Y-%m-%dT%H:%M:%S}",
        ]
        for path in lagged:
            words += ["--lagged", str(path.absolute())]
        words += ["--out", "analysis.nc", "--feedback", "feedback.nc"]
        if making.memory is not None:
            words += ["--previous", str(making.memory.absolute())]
        if s.analysis is not None:
            words += ["--config", str(s.analysis.absolute())]
        if s.policy == "background_only":
            words += ["--allow-no-obs"]
        return [*words, *s.arguments]

    def _earlier(self, time: datetime) -> list[dict[str, Any]]:
        """The analyses' reports of the cycles before ``time``."""
        times = [t for t in self.folder.times() if t < time]
        kept = times[-self.settings.gates.usual_cycles :]
        return [self.folder.published(t).report["analysis"] for t in kept]

    def _record(
        self,
        making: _Making,
        background: Candidate,
        forecasts: Sequence[InputFile],
        report: dict[str, Any],
        began: float,
    ) -> dict[str, Any]:
        file, *lagged = forecasts
        previous = making.previous
        outputs = {name: making.work / name for name in OUTPUTS}
        own = background.path.parent == making.work
        lead = background.lead_hours
        if lead is None:  # its name does not say it
            lead = report.get("lead_hours")
        record = {
            "schema": SCHEMA,
            "cycle": stamp(making.time),
            "status": "degraded" if making.faults else "ok",
            "reasons": making.faults,
            "phyda_version": __version__,
            "previous": {}
            if previous is None
            else {"cycle": stamp(previous.time), "sha256": sha256(previous.path / "report.json")},
            "memory": {}
            if previous is None or making.memory is None
            else {"cycle": stamp(previous.time), "sha256": sha256(making.memory)},
            "observations": [f.record() for f in making.observations],
            "settings": [f.record() for f in self._settings_files(making)],
            "left_out": [f.record() for f in making.left_out],
            "background": file.record()
            | {"origin": background.origin, "lead_hours": lead}
            | ({"copy": background.path.name} if own else {}),
            "lagged": [f.record() for f in lagged],
            "model_sha256": self._model_sha256(),
            "command": self._recorded_command(making, [Path(f.path) for f in forecasts]),
            "outputs": {n: sha256(p) for n, p in outputs.items() if p.is_file()},
            "analysis": report,
            "seconds": round(system_time.monotonic() - began, 2),
        }
        if report.get("status") == "background_only":
            record["status"] = "background_only"
        return record

    def _settings_files(self, making: _Making) -> list[InputFile]:
        """The settings of the analysis, and the mapping files with their tables of stations."""
        from phyda_cli.observations.read.read import TextTables  # slow to import

        sources = zip(self.settings.observations, making.files, strict=True)
        maps = tuple(str(source.map) for source, files in sources if files and source.map)
        own = [] if self.settings.analysis is None else [self.settings.analysis]
        paths = [path.absolute() for path in (*own, *TextTables(maps).files)]
        return [InputFile(str(p), p.stat().st_size, sha256(p)) for p in dict.fromkeys(paths)]

    def _recorded_command(self, making: _Making, forecasts: Sequence[Path]) -> list[str]:
        """The words after ``phyda``, for the cycle's own folder."""
        words = self._command(making, forecasts)[len(self._program) :]
        own = [w.removeprefix(f"{making.work.absolute()}/") for w in words]
        if making.memory is None or making.previous is None:
            return own
        beside = f"../{making.previous.path.name}/{making.memory.name}"
        return [beside if w == str(making.memory.absolute()) else w for w in own]

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


def _gathered_by(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The observation files that a cycle had, also those that it could not read."""
    return [*report["observations"], *report.get("left_out", ())]


def _require_no_fewer(making: _Making) -> None:
    """Stop where the published analysis, which this one replaces, used a file that is not used
    now."""
    if making.replaced is None:
        return
    gone = {f["path"] for f in making.replaced.report["observations"]}
    gone -= {f.path for f in making.observations}
    if gone:
        code = FAULTS["replacement_poorer"].code
        raise _Stopped("replacement_poorer", code, f"without {', '.join(sorted(gone))}")


def _require_no_older(making: _Making, lead_hours: float | None) -> None:
    """Stop where the published analysis, which this one replaces, had a later background."""
    if making.replaced is None or lead_hours is None:
        return
    before = making.replaced.report["background"]["lead_hours"]
    if before is not None and lead_hours > before:
        code = FAULTS["replacement_poorer"].code
        raise _Stopped("replacement_poorer", code, f"a background of {lead_hours:g} h")


def _remove_outputs(work: Path) -> None:
    for name in OUTPUTS:
        (work / name).unlink(missing_ok=True)
