"""One block of states: read, regridded, checked and written. A pure function of the inputs,
whichever process or thread runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Grid
from phyda_cli.fields.remap import regridder
from phyda_cli.formats.checks import check_range
from phyda_cli.formats.inputs import open_series
from phyda_cli.names import VARIABLES, parse_channel
from phyda_cli.preprocessing.plan import Block, Part
from phyda_cli.preprocessing.store import pack

__all__ = ["Job", "UnusableValuesError", "write_block"]


class UnusableValuesError(InputError):
    """Values that are missing or cannot be: no use in trying again."""


@dataclass(frozen=True, eq=False)
class Job:
    """What all blocks share: the store to write into, its channels and grid, and what to do with
    missing values."""

    store: Path
    channels: tuple[str, ...]
    grid: Grid
    packing: str
    skip: bool


def write_block(job: Job, block: Block) -> dict[str, np.ndarray]:
    """Write the states of a block; returns how many values of each are ``missing`` (n,) and,
    packed, ``offset`` and ``factor`` (n, C).

    Raises InputError for values that are missing (unless they are to be skipped) or that the
    variable cannot have.
    """
    states = np.empty((block.count, len(job.channels), *job.grid.shape), np.float32)
    for part in block.parts:
        _fill(states, job, part)
    missing = (~np.isfinite(states)).sum(axis=(1, 2, 3))
    if missing.any() and not job.skip:
        raise _missing(states, job, block)
    _check(states[missing == 0], job, block.parts)
    array = zarr.open_array(str(job.store / "states"), mode="r+")
    result = {"missing": missing}
    if job.packing == "int16":
        states, result["offset"], result["factor"] = pack(states)
    array[block.start : block.start + block.count] = states
    return result


def _fill(states: np.ndarray, job: Job, part: Part) -> None:
    """Put one input's channels in their rows, a variable at a time."""
    series = open_series(part.path)
    remap = regridder(series.grid, job.grid)
    for chosen, fields in series.frames.read(
        part.positions, [job.channels[row] for row in part.rows]
    ):
        for vector in (False, True):
            these = [
                i
                for i, c in enumerate(chosen)
                if _variable(job.channels[part.rows[c]]) in _VECTORS[vector]
            ]
            if these:
                some = fields if len(these) == len(chosen) else fields[:, these]
                states[:, [part.rows[chosen[i]] for i in these]] = remap(some, vector)


_VECTORS = {
    v: {name for name, known in VARIABLES.items() if known.vector == v} for v in (False, True)
}


def _variable(channel: str) -> str:
    return parse_channel(channel).variable


def _paths(parts: Sequence[Part], row: int) -> str:
    return next(str(part.path) for part in parts if row in part.rows)


def _missing(states: np.ndarray, job: Job, block: Block) -> UnusableValuesError:
    bad = (~np.isfinite(states)).sum(axis=(2, 3))
    state, row = (int(i) for i in np.unravel_index(int(np.argmax(bad > 0)), bad.shape))
    part = next(p for p in block.parts if row in p.rows)
    when = str(open_series(part.path).valid[part.positions[state]])[:16]
    count = int((bad > 0).any(axis=1).sum())
    return UnusableValuesError(
        f"{part.path}: {job.channels[row]} at {when}: {bad[state, row]} of {states[0, 0].size} "
        "values are missing or not finite"
        + (f", and so at {count - 1} other times of {block.count}" if count > 1 else ""),
        hint="leave the channel out, narrow the time with --first and --last, or leave such "
        "states out with --missing skip",
    )


def _check(states: np.ndarray, job: Job, parts: Sequence[Part]) -> None:
    if not len(states):
        return
    for row, key in enumerate(job.channels):
        channel = parse_channel(key)
        where = "" if channel.level is None else f" at {channel.level:g} hPa"
        try:
            check_range(
                channel.variable,
                states[:, row],
                where,
                _paths(parts, row),
                channel.variable,
                channel.pressure,
            )
        except InputError as error:
            raise UnusableValuesError(error.message, hint=error.hint) from error
