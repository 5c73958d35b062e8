"""Time and memory of ``phyda verify`` over many analyses of 64x32 points with 44 fields and 16
members, and of its report.

    python -m benchmarks.verification 120 /tmp/bench
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
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


def run(arguments: list[str]) -> tuple[float, float, float]:
    """Seconds by the clock and of the processor, and the largest memory [MB], of a command."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "phyda_cli", *arguments], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, status
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main(count: int, folder: Path) -> None:
    make(folder, count)
    pattern = [f"{folder}/an*.nc", "--truth", f"{folder}/tr*.nc", "--overwrite"]
    cases = {
        "scores": [*pattern, "--csv", str(folder / "scores.csv")],
        "report": [*pattern, "--report", str(folder / "report.html")],
    }
    for name, arguments in cases.items():
        wall, cpu, memory = run(["verify", *arguments])
        print(f"{count} analyses, {name}: {wall:.1f} s, {cpu:.1f} s of CPU, {memory:.0f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
