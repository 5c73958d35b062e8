"""Faults of machines, feeds and people, at random times: what a cycle leaves and how it goes on.

    python -m benchmarks.faults --cycles 200 --forks 2000 --errors 2000
        [--seed 0] [--keep FOLDER] [--json]

Three campaigns over a tiny cycle of ``phyda cycle run``, of which every analysis remembers the one
before.

- ``--cycles``: real processes, which get SIGKILL or SIGTERM at random times.
- ``--forks``: the same command in forks of this process. Besides signals, calls of the system fail
  (ENOSPC, EIO), files may not grow beyond a random size, inputs are truncated or grow while they
  are used, two runs start at once, and the clock jumps back and ahead.
- ``--errors``: an error of the disk at every single call that writes, one after the other. A small
  program stands in for the analysis there.

Checked after every step: each cycle that a reader can see is whole, and its files have the hashes
that its report states. After each cycle: it is published, the same to the bit as without any
disturbance, and nothing else is left. No process may take longer than its limit, outlive the one
that started it, or print a traceback. With ``--keep`` a campaign that was ended goes on.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

from benchmarks.cycle_case import FIRST, STEP, Case, faults_seen, left_over
from benchmarks.fork_server import Trouble, adopt, failing_at, orphans, wait, warm
from benchmarks.fork_server import start as forked
from benchmarks.outcome import finish
from phyda_cli.cycle.clock import Clock, stamp
from phyda_cli.cycle.replay import differences
from phyda_cli.cycle.run import Cycle
from phyda_cli.settings.cycle import CycleSettings

LIMIT = 300.0  # seconds that one run may take
AFTER_A_SIGNAL = 5.0
NOT_REACHED = 77
BATCH = 10  # cycles that are compared together
FILES = ("analysis.nc", "feedback.nc")
Start = Callable[[Sequence[str], Path, Trouble | None], int]
STAND_IN = """
import json, sys
words = sys.argv[2:]
given = dict(zip(words, words[1:]))
text = open(given["--background"]).read() + open(given["--obs"]).read()
for name in ("--out", "--feedback"):
    open(given[name], "w").write(text)
counts = {"in": 9, "used": 9, "rejected": {}, "variables": {"t2m": {"used": 5}, "u10": {"used": 4}}}
print(json.dumps({"status": "ok", "observations": counts, "departures": {}}))
"""


def spawned(words: Sequence[str], stderr: Path, _: Trouble | None = None) -> int:
    """The process id of a real ``phyda WORDS``."""
    null = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    log = (os.POSIX_SPAWN_OPEN, 2, str(stderr), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    command = [sys.executable, "-m", "phyda_cli", *words]
    return os.posix_spawn(sys.executable, command, os.environ, file_actions=[null, log])


class Campaign:
    """A cycle in ``root`` whose runs :meth:`cycle` disturbs, at most ``most`` times for one
    analysis, by the ``troubles`` that it names."""

    def __init__(
        self,
        root: Path,
        seed: int,
        start: Start,
        troubles: Sequence[str],
        most: int,
        patience: float = 1.0,
    ) -> None:
        self.case, self.calm = Case(root, root / "cycle"), Case(root, root / "calm")
        self.seed, self.launch, self.troubles, self.most = seed, start, troubles, most
        self.patience = patience
        self.log = root / "progress.jsonl"
        self.stderr = root / "stderr.txt"
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.longest = 2.0
        (root / "tmp").mkdir(exist_ok=True)
        os.environ["TMPDIR"] = tempfile.tempdir = str(root / "tmp")

    def run(self, count: int) -> tuple[dict[str, int], list[str]]:
        """Go on until ``count`` cycles are published; what was done and what was wrong."""
        adopt()
        if self.launch is forked:
            warm(self.case.analysis())
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        for line in lines:
            self.counts.update(json.loads(line)["done"])
            self.wrong += json.loads(line)["wrong"]
        for index in range(len(lines), count):
            before, known, began = self.counts.copy(), len(self.wrong), time.monotonic()
            self.cycle(index)
            if index % BATCH == BATCH - 1 or index == count - 1:
                self.compare(range(index // BATCH * BATCH, index + 1))
            record = {
                "cycle": index,
                "done": dict(self.counts - before),
                "wrong": self.wrong[known:],
                "seconds": round(time.monotonic() - began, 2),
            }
            with self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        return dict(self.counts), self.wrong

    def cycle(self, index: int) -> None:
        """Disturb one cycle, and get it through."""
        draw = random.Random(f"{self.seed}:{index}")
        when = FIRST + index * STEP
        self.case.feed(when)
        now = when + timedelta(minutes=30)
        for _ in range(draw.randint(0, self.most)):
            name = draw.choice(self.troubles)
            self.counts[name] += 1
            getattr(self, name.replace(" ", "_"))(when, now, draw)
        began = time.monotonic()
        self.expect(self.start(now), {0}, f"the run of {stamp(when)}")
        self.longest = 0.8 * self.longest + 0.2 * (time.monotonic() - began)
        self.wrong += left_over(self.case.folder)
        self.wrong += [f"{p.name} is left in TMPDIR" for p in (self.case.root / "tmp").iterdir()]
        self.case.forget(when - 2 * BATCH * STEP)
        self.counts["cycles"] += 1

    def compare(self, indices: range) -> None:
        """Make the same cycles without any disturbance, and compare."""
        last = FIRST + indices[-1] * STEP
        self.expect(forked(self.calm.words(last), self.stderr), {0}, "the undisturbed run")
        for name in (stamp(FIRST + index * STEP) for index in indices):
            for file in FILES:
                one, other = (c.folder / "cycles" / name / file for c in (self.case, self.calm))
                if not one.is_file() or not other.is_file() or differences(one, other):
                    self.wrong.append(f"{name}/{file} is not as undisturbed")

    def start(self, now: datetime, trouble: Trouble | None = None) -> int:
        """Start a run at ``now``."""
        return self.launch(self.case.words(now), self.stderr, trouble)

    def expect(
        self, process: int, codes: set[int], what: str, limit: float = LIMIT, also: int = 0
    ) -> None:
        """Wait for ``process`` and ``also``, and look at what they said and left."""
        limit *= self.patience
        for code in [wait(p, limit) for p in (process, also) if p]:
            if code is None:
                self.wrong.append(f"{what} did not end within {limit:g} s")
            elif code not in codes:
                said = self.stderr.read_text(encoding="utf-8", errors="replace")[-300:]
                self.wrong.append(f"{what} ended with {code}: {said}")
        if b"Traceback" in self.stderr.read_bytes():
            self.wrong.append(f"{what}: a traceback: {self.stderr.read_text()[-2000:]}")
        self.stderr.write_bytes(b"")
        if left := orphans(AFTER_A_SIGNAL * self.patience):
            self.wrong.append(f"{what}: {len(left)} processes outlive it")
        self.wrong += faults_seen(self.case.folder)

    def sigkill(self, when: datetime, now: datetime, draw: random.Random) -> None:
        """A run is killed at a random time."""
        self._signal(now, draw, signal.SIGKILL)

    def sigterm(self, when: datetime, now: datetime, draw: random.Random) -> None:
        """A run is ended at a random time."""
        self._signal(now, draw, signal.SIGTERM)

    def _signal(self, now: datetime, draw: random.Random, number: signal.Signals) -> None:
        process = self.start(now)
        time.sleep(draw.uniform(0, self.longest))
        os.kill(process, number)
        # -n of the shell: a signal before Python has its handlers, or after it has ended
        self.expect(process, {0, 128 + number}, number.name, AFTER_A_SIGNAL)

    def disk_error(self, when: datetime, now: datetime, draw: random.Random) -> None:
        """A call of the system fails."""
        code = draw.choice([errno.ENOSPC, errno.EIO])
        trouble = Trouble(draw.random() < 0.5, code, draw.randint(1, 60))
        self.expect(self.start(now, trouble), {0, 2, 3}, f"{trouble}")

    def small_files(self, when: datetime, now: datetime, draw: random.Random) -> None:
        """No file may grow beyond a size, as on a disk that is full."""
        trouble = Trouble(draw.random() < 0.7, largest=int(10 ** draw.uniform(1, 6)))
        self.expect(self.start(now, trouble), {0, 2, 3}, f"{trouble}")

    def truncated_observations(self, when: datetime, now: datetime, draw: random.Random) -> None:
        """The observations come in two parts."""
        path = self.case.observations(when)
        whole = path.read_bytes()
        path.write_bytes(whole[: draw.randint(0, len(whole) - 1)])
        self.expect(self.start(now), {0, 3, 4, 5}, "a run with truncated observations")
        path.write_bytes(whole)

    def growing_observations(self, when: datetime, now: datetime, draw: random.Random) -> None:
        """The observations grow during a run."""
        self._growing(self.case.observations(when), now, draw)

    def truncated_forecast(self, when: datetime, now: datetime, draw: random.Random) -> None:
        """The forecast comes in two parts."""
        path = self.case.forecast(when)
        whole = path.read_bytes()
        path.write_bytes(whole[: draw.randint(0, len(whole) - 1)])
        self.expect(self.start(now), {0, 3}, "a run with a truncated forecast")
        path.write_bytes(whole)

    def growing_forecast(self, when: datetime, now: datetime, draw: random.Random) -> None:
        """The forecast grows during a run."""
        self._growing(self.case.forecast(when), now, draw)

    def _growing(self, path: Path, now: datetime, draw: random.Random) -> None:
        whole = path.read_bytes()
        at = draw.randint(0, len(whole) - 1)
        path.write_bytes(whole[:at])
        process = self.start(now)
        with path.open("ab") as file:
            for begin in range(at, len(whole), len(whole) // 8):
                time.sleep(draw.uniform(0, 0.3 * self.longest))
                file.write(whole[begin : begin + len(whole) // 8])
                file.flush()
        self.expect(process, {0, 3, 4, 5}, f"a run while {path.name} grows")

    def two_at_once(self, when: datetime, now: datetime, draw: random.Random) -> None:
        """Two runs start together."""
        first = self.start(now)
        self.expect(first, {0, 75}, "one of two runs at once", also=self.start(now))

    def clock_back(self, when: datetime, now: datetime, draw: random.Random) -> None:
        """The clock is two cycles late."""
        self.expect(self.start(when - 2 * STEP), {0, 2}, "a run with the clock set back")

    def clock_ahead(self, when: datetime, now: datetime, draw: random.Random) -> None:
        """The clock is a day early."""
        self.expect(self.start(when + 4 * STEP), {0, 3, 4}, "a run with the clock set ahead")


SIGNALS = ("sigkill", "sigkill", "sigterm")
TROUBLES = (
    *SIGNALS,
    "disk error",
    "disk error",
    "small files",
    "truncated observations",
    "growing observations",
    "truncated forecast",
    "growing forecast",
    "two at once",
    "clock back",
    "clock ahead",
)


def one_error(chosen: CycleSettings, program: list[str], now: datetime, at: int, code: int) -> int:
    """Run the cycle in a fork with an error at call ``at``; its exit status: 9 for
    a traceback, 77 when there were fewer calls."""
    child = os.fork()
    if child == 0:
        status = 9
        try:
            with ExitStack() as stack:
                reached = failing_at(at, code, stack)
                outcomes = Cycle(chosen, Clock(now), lambda _: None, program).run()
            status = outcomes[0].code if outcomes else 0
            status = status if reached() else NOT_REACHED
        except Exception as error:
            status = getattr(error, "exit_code", 9)
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def errors(count: int, seed: int) -> tuple[dict[str, int], list[str]]:
    """The second campaign."""
    draw, counts, wrong = random.Random(seed), Counter[str](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        chosen = Case(root, root / "cycle").settings()
        program = [sys.executable, "-c", STAND_IN]
        at = 1
        for index in range(count):
            when = FIRST + index * STEP
            (root / f"obs_{when:%Y%m%d%H}.csv").write_text(f"obs {index}")
            (root / f"fc_{when - STEP:%Y%m%d%H}_f006.nc").write_text(f"fc {index}")
            code = draw.choice([errno.ENOSPC, errno.EIO])
            ended = one_error(chosen, program, when, at, code)
            counts[f"exit {ended}"] += 1
            if ended not in (0, 2, 3, NOT_REACHED):
                wrong.append(f"{errno.errorcode[code]} at call {at} ended with {ended}")
            at = 1 if ended == NOT_REACHED else at + 1
            if (root / "cycle").is_dir():
                wrong += faults_seen(root / "cycle")
            outcomes = Cycle(chosen, Clock(when), lambda _: None, program).run()
            if any(o.code for o in outcomes):
                wrong.append(f"{stamp(when)} was not published after an error")
            wrong += left_over(root / "cycle")
            made = root / "cycle" / "cycles" / stamp(when) / "analysis.nc"
            if made.read_text() != f"fc {index}obs {index}":
                wrong.append(f"{stamp(when)} is not as undisturbed")
            counts["cycles"] += 1
    return dict(counts), wrong


def main() -> None:
    """Run the campaigns; exit 1 when anything was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cycles", type=int, default=0, help="cycles of real processes")
    parser.add_argument("--forks", type=int, default=0, help="cycles of forks")
    parser.add_argument("--errors", type=int, default=0, help="errors of the disk, one by one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="where the campaigns are kept, to go on with")
    parser.add_argument(
        "--patience", type=float, default=1.0, help="factor on all limits, for a busy machine"
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    done: dict[str, dict[str, int]] = {}
    wrong: list[str] = []
    with ExitStack() as stack:
        temporary = stack.enter_context(tempfile.TemporaryDirectory())
        root = args.keep or Path(temporary)
        if args.errors:
            done["errors"], wrong = errors(args.errors, args.seed)
        for name, count, start, troubles, most in (
            ("real", args.cycles, spawned, SIGNALS, 2),
            ("forks", args.forks, forked, TROUBLES, 3),
        ):
            if count:
                (root / name).mkdir(parents=True, exist_ok=True)
                campaign = Campaign(root / name, args.seed, start, troubles, most, args.patience)
                done[name], more = campaign.run(count)
                wrong += more
    if args.json:
        print(json.dumps({"done": done, "wrong": wrong}, indent=1))
    else:
        print("\n".join(f"{name}: {counts}" for name, counts in done.items()))
    finish(sorted(set(wrong)))


if __name__ == "__main__":
    main()
