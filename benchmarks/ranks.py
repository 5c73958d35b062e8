"""One process on one core against several on as many: wall time and processor time of a large
analysis.

    python -m benchmarks.ranks [--ranks 2] [--repeats 3] [--grid 144] [--members 32] [--observations
    20000]

The bundled model is put on a finer grid, of ``--grid`` longitudes: its members are interpolated,
its networks are the same, which costs what a model of that grid does. The demo's background is
interpolated to 0.5 degrees and ``--observations`` are drawn around its truth. Each rank is bound to
a core of its own; runs of one and of several processes alternate, and the best of each counts, as
other work on the machine only ever adds. Processor time is that of the busiest rank: what the wall
time would be on cores that do nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from benchmarks.million import DEMO, observations
from phyda_cli.fields.interpolate import grid_to_grid
from phyda_cli.fields.state import equiangular
from phyda_cli.formats.background import read_background
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint, save_checkpoint
from phyda_cli.observations.convert import write_csv


def finer_model(folder: Path, n_lon: int) -> Path:
    """The bundled model on the global grid of ``n_lon`` longitudes."""
    bundled = Checkpoint.open(BUNDLED)
    grid = equiangular(n_lon, n_lon // 2)
    matrix = grid_to_grid(bundled.state.grid, grid)

    def finer(fields: np.ndarray) -> np.ndarray:
        flat = np.ascontiguousarray(fields.reshape(-1, bundled.state.grid.size).T)
        return np.ascontiguousarray((matrix.astype(np.float32) @ flat).T).reshape(
            *fields.shape[:-2], *grid.shape
        )

    members = (
        bundled.members(np.datetime64("2001-01-01")) * len(bundled.metadata.member_times) ** 0.5
    )
    spec = bundled.state.model_copy(
        update={
            "latitude": tuple(grid.latitude.tolist()),
            "longitude": tuple(grid.longitude.tolist()),
        }
    )
    metadata = bundled.metadata.model_dump(mode="json") | {"state": spec.model_dump()}
    statics = {name: finer(field) for name, field in bundled.statics.items()}
    return save_checkpoint(
        folder / "model",
        metadata,
        statics,
        torch.from_numpy(finer(members.numpy())),
        *bundled.networks(),
    )


def finer_background(path: Path, n_lon: int) -> Path:
    """The demo's background on the global grid of ``n_lon`` longitudes."""
    fields = read_background(DEMO / "background.nc").fields
    grid = equiangular(n_lon, n_lon // 2)
    matrix = grid_to_grid(fields.grid, grid)

    def finer(values: np.ndarray) -> np.ndarray:
        out = matrix @ values.reshape(-1, fields.grid.size).T
        return np.ascontiguousarray(out.T, np.float32).reshape(*values.shape[:-2], *grid.shape)

    upper = {k: (("level", "latitude", "longitude"), finer(v)) for k, v in fields.upper.items()}
    surface = {k: (("latitude", "longitude"), finer(v)) for k, v in fields.surface.items()}
    axes = {
        "level": fields.levels / 100,
        "latitude": grid.latitude,
        "longitude": grid.longitude,
        "time": fields.time,
    }
    data = xr.Dataset({**upper, **surface}, axes)
    data["level"].attrs["units"] = "hPa"
    data.to_netcdf(path)
    return path


def run(arguments: list[str], ranks: int) -> dict[str, Any]:
    """``phyda assimilate`` by so many processes, each on a core of its own: seconds of wall, of the
    busiest one's processor, and of the analysis itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cores = sorted(os.sched_getaffinity(0))
    if ranks > len(cores):
        raise SystemExit(f"{ranks} ranks need as many cores, found {len(cores)}")
    began, processes = time.monotonic(), []
    for rank in range(ranks):
        own = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": ranks,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "OMP_NUM_THREADS": 1,
        }
        command = [
            "taskset",
            "-c",
            str(cores[rank]),
            sys.executable,
            "-m",
            "phyda_cli",
            "assimilate",
            *arguments,
            "--json",
        ]
        environment = os.environ | {k: str(v) for k, v in own.items()}
        processes.append(
            subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        )
    assert processes[0].stdout is not None
    report = json.loads(processes[0].stdout.read())
    used = []
    for process in processes:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"a rank failed with status {process.returncode}")
        used.append(usage.ru_utime + usage.ru_stime)
    return {
        "wall": time.monotonic() - began,
        "processor": max(used),
        "analysed": report["stages"]["analysed"],
    }


def main() -> None:
    """Print a line for each run, then the best of each number of ranks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (
        ("ranks", 2),
        ("repeats", 3),
        ("grid", 144),
        ("members", 32),
        ("observations", 20_000),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    best: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_csv(
            folder / "obs.csv",
            observations(args.observations, read_background(DEMO / "truth.nc").fields),
        )
        arguments = [
            "--obs",
            folder / "obs.csv",
            "--background",
            finer_background(folder / "fc.nc", 720),
            "--out",
            folder / "an.nc",
        ]
        arguments += [
            "--checkpoint",
            finer_model(folder, args.grid),
            "--members",
            args.members,
            "--overwrite",
        ]
        for _ in range(args.repeats):
            for ranks in (1, args.ranks):
                found = run(list(map(str, arguments)), ranks)
                print(
                    json.dumps({"ranks": ranks} | {k: round(v, 1) for k, v in found.items()}),
                    flush=True,
                )
                best[ranks] = {k: min(v, best.get(ranks, found)[k]) for k, v in found.items()}
    for ranks, figures in best.items():
        print(
            f"{ranks} ranks: "
            + ", ".join(
                f"{k} {v:.1f} s ({best[1][k] / v:.2f} times as fast)" for k, v in figures.items()
            )
        )


if __name__ == "__main__":
    main()
