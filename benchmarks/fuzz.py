"""Damaged observation files: no reader may crash, hang or raise anything but phyda's own errors.

    python -m benchmarks.fuzz [--copies 10000] [--seed 0] FILE...

Reads COPIES mutated copies of each FILE (bytes changed, removed, repeated, cut off) in a worker
process, and prints how many were read, refused, crashed the decoder (and were contained), or took
too long. Any other exception ends it with the copy kept.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from phyda_cli.errors import PhydaError
from phyda_cli.observations.read.worker import Worker
from phyda_cli.observations.table import check

__all__ = ["fuzz", "mutate"]


def mutate(content: bytes, generator: np.random.Generator) -> bytes:
    """A damaged copy: one to eight bytes changed, a stretch removed or repeated, or the end cut
    off."""
    data = bytearray(content)
    kind = generator.integers(8)
    at, length = int(generator.integers(len(data))), int(generator.integers(1, 20))
    if kind == 0:
        del data[at:]
    elif kind == 1:
        del data[at : at + length]
    elif kind == 2:
        data[at:at] = data[at : at + length]
    else:
        for _ in range(generator.integers(1, 9)):
            data[generator.integers(len(data))] = generator.choice(
                [0, 255, int(generator.integers(256))]
            )
    return bytes(data)


def fuzz(content: bytes, copies: int, folder: Path, seed: int = 0) -> dict[str, int | float]:
    """What became of ``copies`` mutated copies of ``content``, and the longest time for one [s];
    ``folder`` holds the one at hand."""
    generator = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    longest = 0.0
    worker = Worker()
    path = folder / "mutated"
    try:
        for _ in range(copies):
            path.write_bytes(mutate(content, generator))
            began = time.monotonic()
            try:
                check(worker.read(path).table)
                counts["read"] += 1
            except PhydaError as error:
                crashed, slow = "crashed" in error.message, "took more than" in error.message
                counts["crashed" if crashed else "slow" if slow else "refused"] += 1
            longest = max(longest, time.monotonic() - began)
    finally:
        worker.close()
    return {**counts, "longest_s": round(longest, 2)}


def main() -> None:
    """Fuzz the files on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--copies", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="phyda-fuzz-"))
    for file in arguments.files:
        print(
            json.dumps(
                {"file": str(file)}
                | fuzz(file.read_bytes(), arguments.copies, folder, arguments.seed)
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
