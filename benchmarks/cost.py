"""Wall time and peak memory of whole processes, and reproducibility: the demo and ``--help``.

    python -m benchmarks.cost [--repeats 3] [--quick] [--json FILE]

Prints the best of the repeats beside each limit, and whether two runs with one seed give
byte-identical values.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import netCDF4
import numpy as np

from benchmarks.outcome import finish

PHYDA = [sys.executable, "-m", "phyda_cli"]
LIMITS = {  # seconds, MB
    "--help": (0.5, None),
    "demo --method oi": (8.0, None),
    "demo --members 16": (15.0, 1500.0),
}
HEAVY = ("torch", "xarray", "eccodes")


def measure(arguments: list[str]) -> tuple[float, float]:
    """Seconds and peak resident megabytes of one phyda process."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [*PHYDA, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(
            f"phyda {' '.join(arguments)} failed with status {os.waitstatus_to_exitcode(status)}"
        )
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def values(path: Path) -> dict[str, np.ndarray]:
    """Every variable of a NetCDF file as stored."""
    with netCDF4.Dataset(path) as data:
        data.set_auto_mask(False)
        return {name: np.asarray(v[...]) for name, v in data.variables.items() if v.dtype != str}


def main() -> None:
    """Print the table; exit 1 when a limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one repeat")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    failed = []
    costs = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (limit, memory) in LIMITS.items():
            out = (
                []
                if name == "--help"
                else ["--out", f"{folder}/{name.replace(' ', '')}", "--overwrite"]
            )
            runs = [
                measure([*name.split(), *out]) for _ in range(1 if args.quick else args.repeats)
            ]
            seconds, peak = min(r[0] for r in runs), max(r[1] for r in runs)
            costs[name] = {"seconds": seconds, "peak_mb": peak}
            failed += [name] * (seconds > limit or (memory is not None and peak > memory))
            print(
                f"phyda {name:20} {seconds:6.2f} s (limit {limit:g}) {peak:6.0f} MB"
                + (f" (limit {memory:g})" if memory else "")
            )
        first = values(Path(folder, "demo--members16", "analysis.nc"))
        measure(["demo", "--members", "16", "--out", f"{folder}/again", "--overwrite"])
        again = values(Path(folder, "again", "analysis.nc"))
    same = first.keys() == again.keys() and all(
        first[k].tobytes() == again[k].tobytes() for k in first
    )
    print(
        f"two runs with one seed: {'byte-identical' if same else 'DIFFERENT'} values in "
        f"{len(first)} variables"
    )
    loaded = f"import sys, phyda_cli.app; print([m for m in {HEAVY!r} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    ).stdout.strip()
    print(f"heavy modules loaded by the command line itself: {found}")
    failed += ["reproducibility"] * (not same) + ["imports"] * (found != "[]")
    finish(failed, costs, args.json)


if __name__ == "__main__":
    main()
