"""A year of cycles in one process: memory, open files, time, disk and attributes must stay flat.

    python -m benchmarks.soak --cycles 1460 [--keep FOLDER]
    python -m benchmarks.soak --users 100 --data ../shared/data

- ``--cycles``: the tiny cycle; each background is made of the analysis before, so that whatever
  adds to a file's attributes would go on adding. It relaxes to the mean, as a forecast does to its
  climate: the truths of two cycles have nothing in common, and errors would add up where few
  report.
- ``--users``: analyses of the world's METARs against a GFS forecast, the size of users.

Everything runs in this process but the readers of files, which are its children and are counted
too. The last quarter of the samples is compared with the second one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from unittest.mock import patch

import netCDF4
import pandas as pd
import xarray as xr

from benchmarks.cycle_case import FIRST, STEP, Case
from benchmarks.outcome import finish
from benchmarks.tiny_case import MEAN
from phyda_cli import app
from phyda_cli.cycle import attempts, background
from phyda_cli.cycle.child import Ended
from phyda_cli.cycle.clock import Clock
from phyda_cli.cycle.run import Cycle
from phyda_cli.errors import PhydaError
from phyda_cli.settings.cycle import CycleSettings

Sample = dict[str, float]
RELAXED = 0.5  # what is left of an anomaly after a forecast
MOST = {  # growth that counts as none: a fraction, and an amount
    "memory_mb": (0.05, 10.0),
    "open_files": (0.0, 0.0),
    "processor_seconds": (0.25, 0.05),
    "disk_mb": (0.05, 0.1),
    "attributes_kb": (0.02, 0.1),
}


def within(
    command: Sequence[str],
    log: Path,
    minutes: float,
    memory: int | None = None,
    folder: Path | None = None,
) -> Ended:
    """As ``run_limited``, but in this process."""
    if command[0] == "persist":
        persist(Path(command[1]), Path(command[2]), datetime.fromisoformat(command[3]))
        return Ended(0, "")
    with contextlib.chdir(folder or Path.cwd()):
        return phyda(list(command)[list(command).index("phyda_cli") + 1 :])


def phyda(words: Sequence[str]) -> Ended:
    """How ``phyda WORDS`` ends in this process."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        try:
            app.app(list(words), standalone_mode=False)
        except PhydaError as error:
            return Ended(error.exit_code, error.message)
    return Ended(0, out.getvalue())


def persist(previous: Path, out: Path, when: datetime) -> None:
    """The forecast for ``when``: the analysis ``previous``, half-way to the mean."""
    with xr.open_dataset(previous) as data:
        moved = data.load().assign_coords(time=[pd.Timestamp(when).tz_localize(None)])
    for name in [n for n in moved if str(n).endswith(("_increment", "_spread"))]:
        del moved[name]
    for channel, mean in MEAN.items():
        field = moved[channel.rstrip("0123456789")]
        field.values = mean + RELAXED * (field.values - mean)
    moved.to_netcdf(out)


def cycles(root: Path, count: int) -> Iterator[Sample]:
    """One sample after each cycle of the tiny case."""
    case = Case(root, root / "cycle")
    values = case.settings().model_dump() | {
        "background": [
            {"run": ["persist", "{previous}", "{out}", "{time:%Y-%m-%dT%H:%M}"]},
            {"pattern": f"{root}/fc_{{start:%Y%m%d%H}}_f{{lead:03d}}.nc"},
        ]
    }
    settings = CycleSettings.model_validate(values)
    for index in range(count):
        when = FIRST + index * STEP
        case.feed(when)
        case.forget(when - STEP)
        before = time.process_time()
        with (
            patch.object(attempts, "run_limited", within),
            patch.object(background, "run_limited", within),
        ):
            (found,) = Cycle(settings, Clock(when + timedelta(minutes=5)), lambda _: None).run()
        if found.code:
            raise RuntimeError(f"cycle {index} stopped: {found}")
        yield sample(time.process_time() - before, case.folder / "latest", case.folder)


def users(root: Path, data: Path, count: int) -> Iterator[Sample]:
    """One sample after each analysis of METARs and GFS."""
    files = {
        "obs": data / "observations" / "metar_20201001T06.csv",
        "background": data / "forecasts" / "gfs_2p5deg_20110110T12_f120.grib2",
        "out": root / "analysis.nc",
        "feedback": root / "feedback.nc",
    }
    words = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    words += ["--method", "oi", "--fine", "off", "--valid-time", "2020-10-01T06", "--overwrite"]
    for index in range(count):
        before = time.process_time()
        ended = phyda(["assimilate", *words, "--json"])
        if ended.code:
            raise RuntimeError(f"analysis {index} ended with {ended.code}: {ended.output}")
        yield sample(time.process_time() - before, root, root)


def sample(seconds: float, made: Path, folder: Path) -> Sample:
    """What this process and its children hold, and how large the files are."""
    size = 0
    for name in ("analysis.nc", "feedback.nc"):
        with netCDF4.Dataset(made / name) as data:
            names = set(data.ncattrs()) - {"phyda_verdict"}  # which is longer on bad days
            size += sum(len(str(data.getncattr(a))) for a in names)
    processes = [os.getpid(), *_children()]
    disk = sum(p.stat().st_size for p in folder.rglob("*.*") if p.is_file())
    return {
        "memory_mb": sum(map(_resident, processes)),
        "open_files": sum(len(os.listdir(f"/proc/{p}/fd")) for p in processes),
        "processor_seconds": seconds,
        "disk_mb": disk / 1e6,
        "attributes_kb": size / 1e3,
    }


def _children() -> list[int]:
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text(encoding="ascii").split()]


def _resident(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def grown(samples: Sequence[Sample]) -> tuple[dict[str, list[float]], list[str]]:
    """Medians of the second and the last quarter; and what has grown from one to the other."""
    quarter = len(samples) // 4
    found, wrong = {}, []
    for name, (fraction, amount) in MOST.items():
        before = median(s[name] for s in samples[quarter : 2 * quarter])
        after = median(s[name] for s in samples[-quarter:])
        found[name] = [round(before, 3), round(after, 3)]
        if after > before * (1 + fraction) + amount:
            wrong.append(f"{name} grows from {before:.3g} to {after:.3g}")
    return found, wrong


def main() -> None:
    """Run; exit 1 when anything has grown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cycles", type=int, default=1460)
    parser.add_argument("--users", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--keep", type=Path, help="folder of the cycle and of its samples")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = (args.keep or Path(temporary)).absolute()
        root.mkdir(parents=True, exist_ok=True)
        (root / "tmp").mkdir(exist_ok=True)
        taken = (
            users(root, args.data.absolute(), args.users)
            if args.users
            else cycles(root, args.cycles)
        )
        samples = []
        with (root / "samples.jsonl").open("w", encoding="utf-8") as log:
            for one in taken:
                samples.append(one)
                log.write(json.dumps(one) + "\n")
                log.flush()
    found, wrong = grown(samples)
    for name, (before, after) in found.items():
        print(f"{name:18} {before:10.3f} {after:10.3f}")
    finish(wrong)


if __name__ == "__main__":
    main()
