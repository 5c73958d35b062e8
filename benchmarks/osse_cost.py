"""Wall time and peak memory of an analysis by each method, each in a process of its own: the demo's
pair with 400 soundings.

    python -m benchmarks.osse_cost [--checkpoint DIR] [--method oi]

Seconds are those of the second analysis in the process, reading of files and of the model excluded;
memory is that of the process. Ensembles are the pair's background plus static members, which costs
what a user's would.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time as clock
from pathlib import Path

from phyda_cli.model.checkpoint import BUNDLED

__all__ = ["costs"]

MEASURED = ("oi", "phyda", "letkf-20", "letkf-40", "hybrid-40", "phyda-hybrid-40")
REPEATS = 3


def costs(checkpoint: Path, methods: tuple[str, ...] = MEASURED) -> dict[str, dict[str, float]]:
    """``seconds`` and ``peak_mb`` by method."""
    out = {}
    for method in methods:
        command = [
            sys.executable,
            "-m",
            "benchmarks.osse_cost",
            "--checkpoint",
            str(checkpoint),
            "--method",
            method,
        ]
        out[method] = json.loads(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout
        )
    return out


def measure(checkpoint_path: Path, name: str) -> dict[str, float]:
    """Seconds and peak memory of one method in this process."""
    import resource

    import numpy as np

    from benchmarks.held_out import bundled_pair
    from benchmarks.methods import METHODS, Analyser, Valid
    from benchmarks.networks import draw
    from phyda_cli.model.checkpoint import Checkpoint

    checkpoint = Checkpoint.open(checkpoint_path)
    pair, method = bundled_pair(checkpoint.state), METHODS[name]
    forecasts = pair.background[None]
    if method.members > 1:
        members = checkpoint.members(pair.time)[: method.members].numpy()
        forecasts = pair.background + members * len(
            checkpoint.metadata.member_times
        ) ** 0.5 * checkpoint.state.column("background_std")
    network = draw(
        "400 soundings", 1.0, checkpoint.state, checkpoint.statics["lsm"], np.random.default_rng(0)
    )
    analyser = Analyser(checkpoint, 16)
    seconds = []
    for seed in range(REPEATS):
        began = clock.perf_counter()
        analyser(method, forecasts, pair.truth, network, Valid(pair.time, pair.lead, seed))
        seconds.append(clock.perf_counter() - began)
    return {
        "seconds": min(seconds),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Print one method's cost, or the table of all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument("--method", choices=MEASURED)
    args = parser.parse_args()
    if args.method:
        print(json.dumps(measure(args.checkpoint, args.method)))
        return
    for method, cost in costs(args.checkpoint).items():
        print(f"{method:20} {cost['seconds']:6.2f} s {cost['peak_mb']:6.0f} MB")


if __name__ == "__main__":
    main()
