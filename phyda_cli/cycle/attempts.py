"""The analysis of a cycle, in a process of its own, from the best background that can be read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phyda_cli.cycle.background import Candidate, candidates
from phyda_cli.cycle.child import Ended, last_error, option, run_limited
from phyda_cli.cycle.gather import InputFile, copies_of
from phyda_cli.cycle.making import Making, Stopped
from phyda_cli.cycle.policy import stops
from phyda_cli.errors import EXIT_INPUT, EXIT_NO_OBSERVATIONS, InputError
from phyda_cli.files.publish import sha256
from phyda_cli.observations.stations import read_rules, read_stations
from phyda_cli.settings.cycle import CycleSettings

__all__ = ["OUTPUTS", "Attempts"]

OUTPUTS = ("analysis.nc", "feedback.nc")
LISTS: dict[str, Callable[[Path], object]] = {
    "--blacklist": read_rules,
    "--whitelist": read_rules,
    "--withhold-file": read_stations,
}


@dataclass(frozen=True)
class Attempts:
    """Analyses by ``program``, the words of the command ``phyda``."""

    settings: CycleSettings
    program: tuple[str, ...]

    def assimilate(self, making: Making) -> tuple[dict[str, Any], Candidate, list[InputFile]]:
        """The report of the analysis, the best background that can be read, and the forecasts as
        they were used."""
        s = self.settings
        self._require_observations(making)
        ended: Ended | None = None
        too_long = ""
        for candidate in candidates(s.background, making.time, making.previous, making.work):
            if candidate.fallback:
                making.note("background_late")
            ended, used = self._analyse_readable(making, candidate)
            if ended.code == 0:
                report: dict[str, Any] = json.loads(ended.output)
                if report.get("lead_hours", 0) > candidate.longest_hours:
                    too_long = f"{candidate.path} is a forecast of {report['lead_hours']:g} h"
                    _remove_outputs(making.work)
                    ended = None
                    continue
                making.require_no_older(candidate.lead_hours or report.get("lead_hours"))
                if report["status"] == "background_only":
                    making.faults.append("observations_none")
                return report, candidate, used
            if ended.code != EXIT_INPUT:
                break
            self._require_lists()
            making.note("background_unreadable", last_error(making.work / "log.txt"))
        if ended is None:
            raise Stopped.of("background_missing", too_long)
        if ended.code == EXIT_NO_OBSERVATIONS:
            raise Stopped("observations_none", ended.code)
        raise Stopped("analysis_failed", ended.code, last_error(making.work / "log.txt"))

    def _analyse_readable(
        self, making: Making, candidate: Candidate
    ) -> tuple[Ended, list[InputFile]]:
        """How the analysis with ``candidate`` ended: after a failure once more without the
        observations that cannot be read, and then without lagged forecasts."""
        ended, used = self._analyse(making, (candidate.path, *candidate.lagged))
        if ended.code == EXIT_INPUT and self._leave_out_unreadable(making):
            ended, used = self._analyse(making, (candidate.path, *candidate.lagged))
        if ended.code == EXIT_INPUT and candidate.lagged:
            ended, used = self._analyse(making, (candidate.path,))
            if ended.code == 0:
                making.note("lagged_unreadable")
        return ended, used

    def _leave_out_unreadable(self, making: Making) -> bool:
        """Whether there are observation files that cannot be read, which are used no more."""
        log, s = making.work / "log.txt", self.settings
        bad = []
        for number, file in ((n, f) for n, files in enumerate(making.files) for f in files):
            words = ["obs", "inspect", "--json", file.copy, *self._read_as(number)]
            command = [*self.program, *words]
            if run_limited(command, log, s.minutes, s.memory, making.work).code != 0:
                making.note("observations_unreadable", file.path)
                making.faults.append(file.path)
                bad.append(file)
        making.left_out += bad
        making.files = tuple(tuple(f for f in files if f not in bad) for files in making.files)
        if bad:
            making.require_no_fewer()
            self._require_observations(making)
        return bool(bad)

    def _require_observations(self, making: Making) -> None:
        """Stop without any observation file, where the policy says so."""
        if not making.observations and stops("observations_none", self.settings.policy):
            raise Stopped("observations_none", EXIT_NO_OBSERVATIONS)

    def _require_lists(self) -> None:
        """Stop where a list of stations is what cannot be read."""
        for name, read in LISTS.items():
            if path := option(self.settings.arguments, name):
                try:
                    read(Path(path))
                except InputError as error:
                    raise Stopped("analysis_failed", error.exit_code, error.message) from error

    def _analyse(self, making: Making, forecasts: Sequence[Path]) -> tuple[Ended, list[InputFile]]:
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

    def _read_as(self, number: int) -> list[str]:
        """The options that say how the text tables of a source are read."""
        source, own, words = self.settings.observations[number], copies_of(number), []
        if source.map is not None:
            words += ["--obs-map", f"{own}={source.map.absolute()}"]
        if source.decimal is not None:
            words += ["--decimal", f"{own}={source.decimal}"]
        return words

    def _command(self, making: Making, forecasts: Sequence[Path]) -> list[str]:
        s, (background, *lagged) = self.settings, forecasts
        words = [*self.program, "assimilate", "--json"]
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

    def recorded_command(self, making: Making, forecasts: Sequence[InputFile]) -> list[str]:
        """The words after ``phyda``, for the cycle's own folder."""
        words = self._command(making, [Path(f.path) for f in forecasts])[len(self.program) :]
        own = [w.removeprefix(f"{making.work.absolute()}/") for w in words]
        if making.memory is None or making.previous is None:
            return own
        beside = f"../{making.previous.path.name}/{making.memory.name}"
        return [beside if w == str(making.memory.absolute()) else w for w in own]


def _remove_outputs(work: Path) -> None:
    for name in OUTPUTS:
        (work / name).unlink(missing_ok=True)
