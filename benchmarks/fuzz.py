"""Damaged files: no reader may crash, hang or raise anything but phyda's own errors.

    python -m benchmarks.fuzz [--copies 10000] [--seed 0] [--forecasts] FILE...

Reads COPIES mutated copies of each FILE (bytes changed, removed, repeated, cut off) of observations
or, with --forecasts, of fields in another process, and prints how many were read, refused, crashed
the decoder, or took too long. Any other exception ends it with the copy kept.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from phyda_cli.errors import PhydaError
from phyda_cli.formats import grib  # noqa: F401  before forking: it takes long to load
from phyda_cli.formats.background import background_of
from phyda_cli.formats.inputs import open_forecast
from phyda_cli.observations.read.worker import Worker
from phyda_cli.observations.table import check

__all__ = ["fuzz", "fuzz_forecasts", "mutate"]

LIMIT = 60.0  # s for one forecast


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


def fuzz_forecasts(
    content: bytes, copies: int, folder: Path, seed: int = 0, limit: float = LIMIT
) -> dict[str, int | float]:
    """What became of ``copies`` mutated copies of the forecast ``content``, and the longest time
    for one [s]. They are read in a process that is started again after a crash, or after ``limit``
    [s]; RuntimeError for an exception that is not phyda's own."""
    generator = np.random.default_rng(seed)
    mutated = [mutate(content, generator) for _ in range(copies)]
    counts: Counter[str] = Counter()
    longest, done = 0.0, 0
    while done < copies:
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(
            target=_read_each, args=(theirs, folder, mutated[done:]), daemon=True
        )
        process.start()
        theirs.close()
        began = time.monotonic()
        while done < copies:
            try:
                answer = ours.recv() if ours.poll(limit) else "slow"
            except EOFError:
                answer = "crashed"
            longest = max(longest, time.monotonic() - began)
            began = time.monotonic()
            done += 1
            if answer not in ("read", "refused", "slow", "crashed"):
                raise RuntimeError(f"{folder / 'mutated'}: {answer}")
            counts[answer] += 1
            if answer in ("slow", "crashed"):
                (folder / f"{answer}-{done}").write_bytes(mutated[done - 1])
                break
        process.kill()
        process.join()
    return {**counts, "longest_s": round(longest, 2)}


def _read_each(answers: Connection, folder: Path, mutated: list[bytes]) -> None:
    """Read copies one after the other, and say what became of each."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders say much of damaged files
    path = folder / "mutated"
    for content in mutated:
        path.write_bytes(content)
        try:
            series = open_forecast(path, None, np.datetime64("2020-01-01"))
            background_of(series, 0)
            series.frames.close()
            answers.send("read")
        except PhydaError:
            answers.send("refused")
        except Exception as error:
            answers.send(repr(error))
            return


def main() -> None:
    """Fuzz the files on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--copies", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--forecasts", action="store_true")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="phyda-fuzz-"))
    run = fuzz_forecasts if arguments.forecasts else fuzz
    for file in arguments.files:
        print(
            json.dumps(
                {"file": str(file)}
                | run(file.read_bytes(), arguments.copies, folder, arguments.seed)
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
