"""Damaged files: no reader may crash, hang or raise anything but phyda's own errors.

    python -m benchmarks.fuzz [--copies 10000] [--seed 0] [--kind observations] FILE...

Reads COPIES mutated copies of each FILE (bytes changed, removed, repeated, cut off), which holds
observations, a forecast or feedback, in a worker process, and prints how many were read, refused,
crashed the decoder, or took too long. Any other exception ends it with the copy kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import netCDF4
import numpy as np

from phyda_cli.errors import PhydaError
from phyda_cli.files.worker import Worker
from phyda_cli.formats.background import Background, read_background
from phyda_cli.formats.inputs import attributes_of
from phyda_cli.observations.feedback import read_feedback, read_memory
from phyda_cli.observations.read.decode import decode_apart
from phyda_cli.observations.report import ReadResult
from phyda_cli.observations.table import check

__all__ = ["READERS", "fuzz", "mutate", "mutate_netcdf", "read_forecast"]

LIMIT = 30.0  # s for one copy
START = np.datetime64("2020-01-01")
Reader = Callable[[Path], object]
Mutate = Callable[[bytes, np.random.Generator], bytes]


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


def mutate_netcdf(content: bytes, generator: np.random.Generator) -> bytes:
    """A copy of a NetCDF file with a sound structure and one to eight changed values or attributes.

    HDF5 guards its structure by checksums: bytes changed at random are mostly found out by the
    library, and a reader never sees what they say.
    """
    with tempfile.NamedTemporaryFile(suffix=".nc") as file:
        file.write(content)
        file.flush()
        with netCDF4.Dataset(file.name, "r+") as data:
            data.set_auto_maskandscale(False)
            groups = [data, *data.groups.values()]
            variables = [v for group in groups for v in group.variables.values()]
            for _ in range(generator.integers(1, 9)):
                variable = variables[generator.integers(len(variables))]
                change = _change_value if generator.random() < 0.5 else _change_attribute
                with suppress(RuntimeError, AttributeError, TypeError, ValueError, OSError):
                    change(variable, generator)  # not every attribute may be changed
        return Path(file.name).read_bytes()


def _change_value(variable: netCDF4.Variable, generator: np.random.Generator) -> None:
    at = tuple(int(generator.integers(n)) for n in variable.shape)
    old = variable[at]
    if isinstance(old, str):
        variable[at] = _changed_text(old, generator)
        return
    raw = bytearray(np.asarray(old).tobytes())
    raw[generator.integers(len(raw))] = generator.choice(
        [0, 127, 255, int(generator.integers(256))]
    )
    variable[at] = np.frombuffer(bytes(raw), np.asarray(old).dtype)[0]


def _change_attribute(variable: netCDF4.Variable, generator: np.random.Generator) -> None:
    names = [name for name in variable.ncattrs() if name != "_FillValue"]
    name = names[generator.integers(len(names))]
    old = variable.getncattr(name)
    if generator.random() < 0.2:
        variable.delncattr(name)
    elif isinstance(old, str):
        variable.setncattr(name, _changed_text(old, generator))
    else:
        variable.setncattr(name, float(generator.choice([0.0, -1.0, np.nan, np.inf, 1e300])))


def _changed_text(text: str, generator: np.random.Generator) -> str:
    raw = mutate(text.encode() or b"x", generator)
    return raw.decode("latin-1").replace("\0", "?") or "?"


def fuzz(
    content: bytes,
    copies: int,
    folder: Path,
    seed: int = 0,
    read: Reader = decode_apart,
    limit: float = LIMIT,
    damage: Mutate = mutate,
) -> dict[str, int | float]:
    """What became of ``copies`` copies of ``content``, each with some ``damage``, that ``read``
    reads within ``limit`` [s], and the longest time for one [s]; ``folder`` holds the one at hand,
    and those that crashed the decoder or took too long. Any exception but phyda's own is raised."""
    generator = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    longest = 0.0
    worker = Worker()
    path = folder / "mutated"
    for number in range(copies):
        path.write_bytes(damage(content, generator))
        began = time.monotonic()
        try:
            found = worker.call(partial(read, path), path, limit)
            if isinstance(found, ReadResult):
                check(found.table)
            outcome = "read"
        except PhydaError as error:
            crashed, slow = "crashed" in error.message, "took more than" in error.message
            outcome = "crashed" if crashed else "slow" if slow else "refused"
        counts[outcome] += 1
        if outcome in ("crashed", "slow"):
            shutil.copy(path, folder / f"{outcome}-{number}")
        longest = max(longest, time.monotonic() - began)
    worker.close()
    return {**counts, "longest_s": round(longest, 2)}


def read_forecast(path: Path) -> Background:
    """The first frame, at a date of ours where the file has none."""
    return read_background(path, near=START, assume=START)


READERS: dict[str, Reader] = {
    "observations": decode_apart,
    "forecast": read_forecast,
    "feedback": read_feedback,
    "memory": read_memory,
    "output": attributes_of,
}


def main() -> None:
    """Fuzz the files on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--copies", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=sorted(READERS), default="observations")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="phyda-fuzz-"))
    read = READERS[arguments.kind]
    for file in arguments.files:
        print(
            json.dumps(
                {"file": str(file)}
                | fuzz(file.read_bytes(), arguments.copies, folder, arguments.seed, read)
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
