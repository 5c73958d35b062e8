"""Time and memory of ``phyda verify`` over many analyses of 64x32 points with 44 fields and 16
members, and of its report.

    python -m benchmarks.verification 120 /tmp/bench
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from phyda_cli.constants import GRAVITY
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.state import equiangular
from phyda_cli.formats.background import read_background
from phyda_cli.formats.write import write_analysis, write_fields

GRID = equiangular(64, 32)
LEVELS = np.array([50, 100, 200, 300, 500, 700, 850, 925]) * 100.0
SIZES = {"z": 100.0, "t": 1.0, "q": 1e-7, "u": 2.0, "v": 2.0}
BASE = {
    "z": GRAVITY * 44330 * (1 - (LEVELS / 101325) ** 0.19),
    "t": 220 + 60 * LEVELS / 1e5,
    "q": 8e-3 * (LEVELS / 1e5) ** 3,
    "u": np.zeros(LEVELS.size),
    "v": np.zeros(LEVELS.size),
}
SURFACE = {"msl": (1e5, 100.0), "t2m": (280.0, 1.0), "u10": (0.0, 1.0), "v10": (0.0, 1.0)}
START = np.datetime64("2020-01-01T00", "ns")


def state(rng: np.random.Generator, when: np.datetime64) -> Fields:
    """Noise of the usual size about a constant atmosphere."""
    shape = (LEVELS.size, *GRID.shape)
    upper = {k: v[:, None, None] + SIZES[k] * rng.normal(size=shape) for k, v in BASE.items()}
    surface = {k: base + size * rng.normal(size=GRID.shape) for k, (base, size) in SURFACE.items()}
    return Fields(GRID, when, LEVELS, upper, surface)


def make(folder: Path, count: int) -> None:
    """Write ``count`` analyses with truths, which differ by the time alone: contents do not change
    what reading and scoring cost."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    states = [state(rng, START) for _ in range(18)]
    for i in range(count):
        name = f"{i:04d}.nc"
        if (folder / f"an{name}").exists():
            continue
        when = START + np.timedelta64(6 * i, "h")
        truth, first, *members = (replace(s, time=when) for s in states)
        write_fields(folder / f"tr{name}", truth)
        write_fields(folder / "first.nc", first, overwrite=True)
        background = read_background(folder / "first.nc")
        analysis = members[0]
        increment = replace(
            analysis,
            upper={k: v - first.upper[k] for k, v in analysis.upper.items()},
            surface={k: v - first.surface[k] for k, v in analysis.surface.items()},
        )
        write_analysis(folder / f"an{name}", background, analysis, increment, first, members)


@dataclass
class Cost:
    """Seconds of the processor and the largest memory [MB] of a process."""

    seconds: float = 0.0
    megabytes: float = 0.0

    def look(self, pid: int) -> None:
        """Update both from what the system says of ``pid``, if it still runs."""
        with suppress(OSError, ValueError, IndexError):  # it may end meanwhile
            times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            status = Path(f"/proc/{pid}/status").read_text()
            self.seconds = sum(map(int, times[11:13])) / os.sysconf("SC_CLK_TCK")
            self.megabytes = int(status.partition("VmHWM:")[2].split()[0]) / 1024


def run(arguments: list[str]) -> tuple[float, Cost, Cost]:
    """Seconds by the clock of a command, and the costs of it and of its worker process, which reads
    the files."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "phyda_cli", *arguments], stdout=subprocess.DEVNULL
    )
    own, worker = Cost(), Cost()
    while process.poll() is None:
        own.look(process.pid)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        with suppress(OSError):
            for pid in children.read_text().split():
                worker.look(int(pid))
        time.sleep(0.2)
    assert process.returncode == 0, process.returncode
    return time.monotonic() - began, own, worker


def main(count: int, folder: Path) -> None:
    make(folder, count)
    pattern = [f"{folder}/an*.nc", "--truth", f"{folder}/tr*.nc", "--overwrite"]
    cases = {
        "scores": [*pattern, "--csv", str(folder / "scores.csv")],
        "report": [*pattern, "--report", str(folder / "report.html")],
    }
    for name, arguments in cases.items():
        wall, own, worker = run(["verify", *arguments])
        print(
            f"{count} analyses, {name}: {wall:.1f} s; CPU {own.seconds:.0f} s and in the worker "
            f"{worker.seconds:.0f} s; memory {own.megabytes:.0f} and {worker.megabytes:.0f} MB"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
