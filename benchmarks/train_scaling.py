"""Training steps a second: two gloo processes against one, compiled networks, channels-last fields;
and the wait for data.

    python -m benchmarks.train_scaling [--repeats 5] [--steps 6] [--batch 16] [--only NAME]
    [--quick]

Networks, grid and channels are those of the bundled checkpoint, the cases random numbers read from
files as cached cases are. Every process has one core and one thread. The variants take turns and
the best of the repeats counts, as other work on the machine only slows; CPU seconds, of the busiest
process and with its reading of data, say what a step takes where nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

VARIANTS: dict[str, dict[str, Any]] = {
    "one process": {},
    "two processes": {"processes": 2},
    "compile": {"compile": True},
    "bfloat16": {"precision": "bfloat16"},
}
PHASES = ("encoder", "denoiser")
CASES = 64


def worker(folder: Path, steps: int, batch: int, options: dict[str, Any]) -> None:
    """Time both phases in this process, and print the seconds of a step and of waiting in it from
    the first process."""
    os.sched_setaffinity(
        0, {sorted(os.sched_getaffinity(0))[int(os.environ.get("LOCAL_RANK", "0"))]}
    )
    torch.set_num_threads(1)
    from phyda_cli.model.checkpoint import BUNDLED, Checkpoint, build_networks
    from phyda_cli.parallel.training import together
    from phyda_cli.preprocessing.store import PairStore
    from phyda_cli.settings.training import TrainingSettings
    from phyda_cli.training.cases import Cases
    from phyda_cli.training.loop import Pace, Phase
    from phyda_cli.training.monitor import Lines
    from phyda_cli.training.objectives import (
        Physics,
        denoiser_loss,
        encoder_loss,
        noise_draws,
    )
    from phyda_cli.training.run import Run

    checkpoint = Checkpoint.open(BUNDLED)
    spec = checkpoint.state
    settings = TrainingSettings(batch=batch, network=checkpoint.metadata.network, **options)
    states = np.load(folder / "states.npy", mmap_mode="r")
    pairs = np.stack([np.arange(CASES), np.arange(CASES) + 1], axis=1)
    time = np.datetime64("2020-01-01", "s") + np.arange(CASES + 1) * np.timedelta64(6, "h")
    ones = np.ones(CASES)
    store = PairStore(
        folder,
        spec.channels,
        spec.grid,
        states,
        time,
        pairs,
        ones,
        6 * ones,
        checkpoint.statics,
        {},
        split=np.zeros(CASES, np.int8),
        kind=np.zeros(CASES, np.int8),
        statistics={},
    )
    cases = Cases(folder, store, states, spec, np.arange(CASES))
    area = torch.from_numpy(spec.grid.area_weights[:, None].astype(np.float32))
    physics = Physics(spec, checkpoint.metadata.physics_scale)
    torch.manual_seed(0)
    encoder, denoiser = build_networks(spec, settings.network)
    found: dict[str, Pace] = {}
    with together() as ranks:
        run = Run(folder, settings, ranks, torch.device("cpu"), Lines(print))
        loss = encoder_loss(area, physics, 0.3, run.precision)
        found["encoder"] = Phase("encoder", encoder, loss, cases, 1, run).pace(steps)
        encoder.eval().requires_grad_(False)
        loss = denoiser_loss(encoder, area, physics, 0.2, run.precision)
        phase = Phase("denoiser", denoiser, loss, cases, 1, run, noise_draws)
        found["denoiser"] = phase.pace(steps)
    if ranks.rank == 0:
        print(json.dumps({phase: asdict(pace) for phase, pace in found.items()}))


def measured(
    folder: Path, steps: int, batch: int, options: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """The figures of a worker, started anew with ``options``."""
    settings = {k: v for k, v in options.items() if k != "processes"}
    module = [
        "-m",
        "benchmarks.train_scaling",
        "--worker",
        str(folder),
        "--steps",
        str(steps),
        "--batch",
        str(batch),
    ]
    start = [sys.executable]
    if (processes := options.get("processes", 1)) > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [*start, *module, "--options", json.dumps(settings)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def write_cases(folder: Path) -> None:
    """Random states and cached cases of the bundled checkpoint's shape."""
    from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
    from phyda_cli.training.cases import CHUNK, PARTS

    spec = Checkpoint.open(BUNDLED).state
    rng, shape = np.random.default_rng(0), (spec.n_channels, *spec.grid.shape)
    noise = rng.standard_normal((CASES + 1, *shape), np.float32)
    np.save(folder / "states.npy", spec.column("mean") + 0.3 * spec.column("std") * noise)
    for chunk in range(CASES // CHUNK):
        parts = np.abs(rng.standard_normal((CHUNK, PARTS, *shape), np.float32)).astype(np.float16)
        np.save(folder / f"{chunk:05d}.npy", parts)
        np.save(folder / f"{chunk:05d}.factor.npy", np.ones((CHUNK, spec.n_channels), np.float32))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument(
        "--only", default="", help="variants whose name contains this, and one process"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one repeat, of one process and two only"
    )
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--options", default="{}", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args.steps, args.batch, json.loads(args.options))
        return
    chosen = "two" if args.quick else args.only
    variants = {
        name: options
        for name, options in VARIANTS.items()
        if chosen in name or name == "one process"
    }
    repeats = 1 if args.quick else args.repeats
    best: dict[str, dict[str, dict[str, float]]] = {
        name: {phase: {} for phase in PHASES} for name in variants
    }
    with tempfile.TemporaryDirectory() as folder:
        write_cases(Path(folder))
        for _ in range(repeats):
            for name, options in variants.items():
                found = measured(Path(folder), args.steps, args.batch, options)
                print(name, json.dumps(found), file=sys.stderr, flush=True)
                for phase, figures in found.items():
                    kept = best[name][phase]
                    kept |= {k: min(kept.get(k, v), v) for k, v in figures.items()}
    print(
        f"batch {args.batch}, {args.steps} steps, best of {repeats}: seconds a step and CPU "
        "seconds, with the gain over one process"
    )
    for name, kept_best in best.items():
        cells = []
        for phase in PHASES:
            ours, one = kept_best[phase], best["one process"][phase]
            cells.append(
                f"{phase} "
                + ", ".join(f"{ours[k]:.3f} ({one[k] / ours[k]:.2f}x)" for k in ("seconds", "cpu"))
            )
        print(f"{name:30}" + "   ".join(cells))


if __name__ == "__main__":
    main()
