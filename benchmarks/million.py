"""A million observations from a text table to the analysis: seconds of each stage and the peak of
memory.

    python -m benchmarks.million [--observations 1000000] [--columns 40] [--json FILE]
    python -m benchmarks.million --quick

Surface stations, soundings and aircraft are drawn around the bundled case, each a place of its own,
written as long CSV, and assimilated with the method oi as ``phyda assimilate`` does it, all
settings at their defaults, feedback included. Then a part of the file is read again with
``--columns`` more columns that no one asked for. ``--quick``: 50 000 observations. Bars: 300 s (in
proportion for fewer), 6 GB, and 5 % more memory for the columns.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.outcome import finish
from phyda_cli.fields.grid import Fields
from phyda_cli.formats.background import read_background
from phyda_cli.names import default_error
from phyda_cli.observations.convert import write_csv
from phyda_cli.observations.operators import build_operator
from phyda_cli.observations.table import concat, make

DEMO = Path(__file__).resolve().parents[1] / "phyda_cli" / "demo"
SECONDS, MEGABYTES, GROWTH = 300.0, 6000.0, 1.05
EXTRA_ROWS = 200_000


def observations(count: int, truth: Fields, seed: int = 0) -> pd.DataFrame:
    """``count`` observations of ``truth`` with errors of the default size: 40 % at the surface, 40
    % soundings, 20 % aircraft."""
    rng = np.random.default_rng(seed)
    surface = [name for name in ("msl", "t2m", "u10", "v10") if name in truth.surface]
    kinds = [
        ("S", surface, 1, 0.4),
        ("T", ["z", "t", "u", "v", "q"], truth.levels.size, 0.4),
        ("A", ["t", "u", "v"], 1, 0.2),
    ]
    parts = []
    for kind, variables, levels, share in kinds:
        places = max(round(share * count / (len(variables) * levels)), 1)
        each, at, variable = (
            a.ravel()
            for a in np.meshgrid(
                np.arange(places), np.arange(levels), np.arange(len(variables)), indexing="ij"
            )
        )
        pressure = {
            "S": np.full(at.size, np.nan),
            "T": truth.levels[at],
            "A": rng.uniform(2e4, 4e4, places)[each],
        }[kind]
        latitude, longitude = (
            np.rad2deg(np.arcsin(rng.uniform(-0.99, 0.99, places))),
            rng.uniform(0, 360, places),
        )
        when = truth.time + rng.integers(-9000, 9000, places).astype("timedelta64[s]")
        parts.append(
            make(
                station_id=np.array([f"{kind}{i:06d}" for i in range(places)], object)[each],
                time=when[each],
                latitude=latitude.round(4)[each],
                longitude=longitude.round(4)[each],
                elevation=np.where(kind == "S", 0.0, np.nan),
                variable=np.array(variables, object)[variable],
                pressure=pressure.round(),
                value=np.zeros(at.size),
            )
        )
    table = concat(parts)
    table["value"] = build_operator(truth, table.assign(elevation=np.nan), None).apply(
        np.nan_to_num(truth.vector())
    )
    for name, rows in table.groupby("variable").indices.items():
        table.loc[rows, "value"] += default_error(
            str(name), table["pressure"].to_numpy()[rows]
        ) * rng.standard_normal(rows.size)
    return table.dropna(subset="value", ignore_index=True)


def assimilate(path: Path, out: Path) -> dict[str, Any]:
    """The stages of ``phyda assimilate`` and how long each took [s]."""
    from phyda_cli.analysis.assimilate import Request
    from phyda_cli.analysis.assimilate import assimilate as run
    from phyda_cli.settings.analysis import AnalysisSettings

    settings = AnalysisSettings(method="oi", device="cpu")
    request = Request(
        obs=[path],
        background=DEMO / "background.nc",
        out=out / "analysis.nc",
        feedback=out / "feedback.nc",
        overwrite=True,
    )
    report = run(request, settings).report
    return {k: report[k] for k in ("seconds", "stages", "rows")} | {
        k: report["observations"][k] for k in ("in", "used", "rejected")
    }


def read(path: Path, _: Path) -> dict[str, Any]:
    """Only read ``path``."""
    from phyda_cli.observations.read.read import read_observations

    began = time.monotonic()
    rows = read_observations([path]).rows_read
    return {"rows": rows, "seconds": round(time.monotonic() - began, 1)}


TASKS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {"assimilate": assimilate, "read": read}


def measure(task: str, path: Path, out: Path) -> dict[str, Any]:
    """What ``task`` returns in a process of its own, and that process's peak of memory [MB]."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.million", "--task", task, str(path), str(out)],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    answer = process.stdout.read()
    if process.wait():
        raise SystemExit(f"{task} failed with status {process.returncode}")
    return {"task": task, **json.loads(answer)}


def peak() -> int:
    """Most memory this process ever had [MB]; unlike ru_maxrss without its parent's."""
    status = Path("/proc/self/status").read_text()
    return round(int(status.partition("VmHWM:")[2].split()[0]) / 1024)


def widened(path: Path, out: Path, rows: int, columns: int) -> Path:
    """The first ``rows`` lines of ``path`` with ``columns`` more cells."""
    with path.open() as source, out.open("w") as target:
        for number, line in zip(range(rows + 1), source, strict=False):
            cells = (f"extra_{i}" if number == 0 else f"text {number}" for i in range(columns))
            target.write(",".join([line.rstrip("\n"), *cells]) + "\n")
    return out


def main() -> None:
    """Print a line for each measurement."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--observations", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=40)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--task", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        task, path, out = args.task
        print(json.dumps(TASKS[task](Path(path), Path(out)) | {"peak_mb": peak()}))
        return
    count = 50_000 if args.quick else args.observations
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_csv(
            folder / "obs.csv", observations(count, read_background(DEMO / "truth.nc").fields)
        )
        print(
            f"{count} observations, {(folder / 'obs.csv').stat().st_size / 1e6:.0f} MB of text",
            flush=True,
        )
        whole = measure("assimilate", folder / "obs.csv", folder)
        print(json.dumps(whole), flush=True)
        rows = min(count, EXTRA_ROWS)
        plain, wide = (
            measure("read", widened(folder / "obs.csv", folder / f"{n}.csv", rows, n), folder)
            for n in (0, args.columns)
        )
        print(
            json.dumps(plain | {"columns": 0}),
            json.dumps(wide | {"columns": args.columns}),
            sep="\n",
        )
    seconds = SECONDS * max(count / 1e6, 0.1)
    bars = [
        (whole["seconds"] > seconds, f"{whole['seconds']} s, more than {seconds:g}"),
        (whole["peak_mb"] > MEGABYTES, f"{whole['peak_mb']} MB, more than {MEGABYTES:g}"),
        (
            wide["peak_mb"] > GROWTH * plain["peak_mb"],
            f"{wide['peak_mb']} MB with {args.columns} more columns, {plain['peak_mb']} without",
        ),
    ]
    result = {"assimilate": whole, "read": [plain, wide]}
    finish([text for missed, text in bars if missed], result, args.json)


if __name__ == "__main__":
    main()
