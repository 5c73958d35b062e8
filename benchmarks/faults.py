"""Faults of machines, feeds and people, at random times: what a cycle leaves and how it goes on.

    python -m benchmarks.faults --cycles 200 --errors 2000 --seed 0 [--json]

Two campaigns over a cycle of the bundled case, whose dates are moved on by six hours each time.

- ``--cycles``: real processes of ``phyda cycle run``, each killed at random times, with SIGKILL or
  SIGTERM, until one gets through. Files also grow, are truncated and come back; two runs start at
  once; the clock jumps.
- ``--errors``: an error of the disk (ENOSPC or EIO) at every single call that writes, one after the
  other, in processes forked from this one. A small program stands in for the analysis there.

Checked after every step: each cycle that a reader can see is whole, and its files have the hashes
that its report states. In the end every cycle is published, is the same to the bit as without any
disturbance, and nothing else is left. No process may take longer than its limit, or print a
traceback.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import xarray as xr

from benchmarks.outcome import finish
from phyda_cli.commands.demo import BUNDLED_CASE
from phyda_cli.cycle.clock import Clock, stamp
from phyda_cli.cycle.folder import CycleFolder
from phyda_cli.cycle.replay import differences
from phyda_cli.cycle.run import Cycle
from phyda_cli.files.publish import sha256
from phyda_cli.settings.cycle import CycleSettings

FIRST = datetime(2021, 1, 1, tzinfo=UTC)
STEP = timedelta(hours=6)
LIMIT = 120.0  # seconds that one run may take
NOT_REACHED = 77
VISIBLE = {"cycles", "events.jsonl", "latest", "lock", "status.json"}
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


def settings(root: Path, out: Path) -> CycleSettings:
    """The cycle in ``out`` over the feeds in ``root``."""
    return CycleSettings.model_validate(
        {
            "folder": out,
            "first": FIRST,
            "settle_seconds": 0,
            "cutoff_minutes": 60,
            "arguments": ["--method", "oi"],
            "observations": [{"pattern": f"{root}/stations_{{time:%Y%m%d%H}}.csv"}],
            "background": [{"pattern": f"{root}/fc_{{start:%Y%m%d%H}}_f{{lead:03d}}.nc"}],
        }
    )


def write_config(path: Path, chosen: CycleSettings) -> None:
    """``chosen`` as a TOML file."""
    path.write_text(
        f"""
        folder = "{chosen.folder}"
        first = {FIRST:%Y-%m-%dT%H:%M:%SZ}
        settle_seconds = 0
        cutoff_minutes = 60
        arguments = ["--method", "oi"]
        observations = [{{ pattern = "{chosen.observations[0].pattern}" }}]
        background = [{{ pattern = "{chosen.background[0].pattern}" }}]
        """,
        encoding="utf-8",
    )


def feed(root: Path, when: datetime) -> Path:
    """Write the bundled case as if it were valid at ``when``; returns the observations."""
    with xr.open_dataset(BUNDLED_CASE / "background.nc") as case:
        valid = pd.Timestamp(case["time"].values.ravel()[0], tz="UTC")
        moved = case.load().assign_coords(time=case["time"] + (pd.Timestamp(when) - valid))
    start = when - STEP
    moved.to_netcdf(root / f"fc_{start:%Y%m%d%H}_f006.nc")
    table = pd.read_csv(BUNDLED_CASE / "stations.csv")
    times = pd.to_datetime(table["time"], utc=True) + (pd.Timestamp(when) - valid)
    table["time"] = times.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    path = root / f"stations_{when:%Y%m%d%H}.csv"
    table.to_csv(path, index=False)
    return path


def faults_seen(out: Path) -> list[str]:
    """What is wrong with what a reader sees in the cycle's folder ``out``."""
    found = []
    folder = CycleFolder(out)
    for path in (out / "cycles").glob("*"):
        if not (path / "report.json").is_file():
            found.append(f"{path.name} has no report")
    for when in folder.times():
        cycle = folder.published(when)
        for name, expected in cycle.report["outputs"].items():
            if not (cycle.path / name).is_file() or sha256(cycle.path / name) != expected:
                found.append(f"{cycle.path.name}/{name} is not what its report says")
    link = out / "latest"
    if link.is_symlink() and not (link / "report.json").is_file():
        found.append("latest leads nowhere")
    return found


def left_over(out: Path) -> list[str]:
    """Names that should not be there after a success."""
    names = {p.name for p in out.iterdir()} - VISIBLE
    return [f"{name} is left" for name in sorted(names)]


class Processes:
    """The first campaign: ``counts`` of what was done, and what was ``wrong``."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.draw = root, random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.out = root / "cycle"
        self.config = root / "cycle.toml"
        write_config(self.config, settings(root, self.out))
        self.longest = 3.0

    def start(self, now: datetime) -> subprocess.Popen[bytes]:
        """Start ``phyda cycle run`` at ``now``."""
        words = [sys.executable, "-m", "phyda_cli", "cycle", "run", "--config", str(self.config)]
        words += ["--now", now.isoformat()]
        log = (self.root / "stderr.txt").open("wb")
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=log)

    def ended(self, process: subprocess.Popen[bytes]) -> int:
        """The exit code of ``process`` within the limit, and a look at its messages."""
        try:
            code = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            self.wrong.append("a run did not end within its limit")
            code = process.wait()
        if b"Traceback" in (self.root / "stderr.txt").read_bytes():
            self.wrong.append("a traceback")
        self.wrong += faults_seen(self.out)
        return code

    def kill(self, now: datetime, number: signal.Signals) -> None:
        """Start a run and send it ``number`` at a random time."""
        process = self.start(now)
        time.sleep(self.draw.uniform(0.05, self.longest))
        began = time.monotonic()
        process.send_signal(number)
        code = self.ended(process)
        if code not in (0, -number, 128 + number):
            self.wrong.append(f"code {code} after {number.name}")
        if time.monotonic() - began > 5:
            self.wrong.append(f"{number.name} took more than 5 s")
        self.counts[number.name] += 1

    def cycle(self, when: datetime) -> None:
        """Get one cycle through."""
        path = feed(self.root, when)
        whole = path.read_bytes()
        now = when + timedelta(minutes=30)
        if self.draw.random() < 0.2:  # half of the file is there, and then all of it
            path.write_bytes(whole[: len(whole) // 3])
            os.truncate(path, 0)
            self.counts["empty file"] += 1
            self.ended(self.start(now))
            path.write_bytes(whole)
        if self.draw.random() < 0.1:
            self.counts["clock back"] += 1
            if self.ended(self.start(FIRST - STEP)) not in (0, 2):
                self.wrong.append("a clock that went back was not refused")
        while self.draw.random() < 0.75:
            self.kill(now, self.draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
        began = time.monotonic()
        first = self.start(now)
        if self.draw.random() < 0.2:
            self.counts["two at once"] += 1
            if self.ended(self.start(now)) not in (0, 75):
                self.wrong.append("the second of two runs was neither busy nor idle")
        if self.ended(first) not in (0, 75):
            self.wrong.append(f"{stamp(when)} was not published")
        self.longest = 0.5 * (self.longest + time.monotonic() - began)
        self.ended(self.start(now))
        self.counts["cycles"] += 1


def undisturbed(root: Path, out: Path, count: int) -> None:
    """The same cycles without any disturbance, in ``out``."""
    cycle = Cycle(settings(root, out), Clock(FIRST + (count - 1) * STEP), lambda _: None)
    cycle.run()


def processes(count: int, seed: int) -> tuple[dict[str, int], list[str]]:
    """The first campaign."""
    with tempfile.TemporaryDirectory() as folder:
        campaign = Processes(Path(folder), seed)
        for index in range(count):
            campaign.cycle(FIRST + index * STEP)
        calm = Path(folder) / "calm"
        undisturbed(Path(folder), calm, count)
        wrong = campaign.wrong + left_over(campaign.out)
        for index in range(count):
            name = stamp(FIRST + index * STEP)
            for file in ("analysis.nc", "feedback.nc"):
                one, other = (f / "cycles" / name / file for f in (campaign.out, calm))
                if not one.is_file() or differences(one, other):
                    wrong.append(f"{name}/{file} is not as undisturbed")
        return dict(campaign.counts), wrong


WRITERS: tuple[tuple[Any, str], ...] = (
    (os, "fsync"),
    (os, "replace"),
    (os, "rename"),
    (os, "symlink"),
    (os, "mkdir"),
    (shutil, "copyfile"),
    (Path, "write_text"),
    (Path, "open"),
)


def failing_at(number: int, code: int, stack: ExitStack) -> Callable[[], bool]:
    """Let the call ``number`` of all calls that write fail with ``code``; returns whether there
    have been so many."""
    calls = 0

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == number:
                raise OSError(code, os.strerror(code))
            return function(*args, **options)

        return call

    for owner, name in WRITERS:
        stack.enter_context(patch.object(owner, name, wrapped(getattr(owner, name))))
    return lambda: calls >= number


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
        chosen = settings(root, root / "cycle")
        program = [sys.executable, "-c", STAND_IN]
        at = 1
        for index in range(count):
            when = FIRST + index * STEP
            (root / f"stations_{when:%Y%m%d%H}.csv").write_text(f"obs {index}")
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
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--errors", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="two cycles and 60 errors")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    cycles, count = (2, 60) if args.quick else (args.cycles, args.errors)
    done, wrong = errors(count, args.seed)
    killed, more = processes(cycles, args.seed)
    wrong += more
    if args.json:
        print(json.dumps({"errors": done, "processes": killed, "wrong": wrong}, indent=1))
    else:
        print(f"errors of the disk: {done}\nreal processes: {killed}")
    finish(sorted(set(wrong)))


if __name__ == "__main__":
    main()
