"""What a training store will hold, from the inputs' coordinates alone: states, where their fields
are, blocks of them to work on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from phyda_cli.errors import UsageError
from phyda_cli.fields.grid import Grid
from phyda_cli.fields.remap import regridder
from phyda_cli.fields.state import equiangular
from phyda_cli.formats.series import Series
from phyda_cli.names import STATICS, parse_channel
from phyda_cli.preprocessing.frames import (
    Composition,
    State,
    compose_analyses,
    compose_forecasts,
    lacking,
)
from phyda_cli.settings.data import PreprocessSettings

__all__ = ["Block", "Part", "Plan", "make_plan", "target_grid"]

BLOCK_BYTES = 32 << 20  # of source fields in float32
SPAN_BYTES = 16 << 20  # of states in float32, for statistics


@dataclass(frozen=True)
class Part:
    """Channels (by row) of the states of a block that come from one input, and their frames
    there."""

    path: Path
    rows: tuple[int, ...]
    positions: tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """Consecutive states from ``start`` on that come from the same inputs."""

    number: int
    start: int
    count: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """States are analyses in the order of time, then forecasts (``lead`` > 0); ``group`` tells
    which forecasts are members of one.

    ``need`` is the memory [bytes] that a block may take, ``provenance`` source, licence and
    references of the data.
    """

    channels: tuple[str, ...]
    grid: Grid
    statics: Mapping[str, np.ndarray]
    time: np.ndarray
    lead: np.ndarray
    cycled: np.ndarray
    group: np.ndarray
    blocks: tuple[Block, ...]
    need: int
    methods: tuple[str, ...]
    provenance: dict[str, str]
    notes: tuple[str, ...]

    @property
    def analyses(self) -> int:
        """Number of analyses, which come first."""
        return int((self.lead == 0).sum())


def target_grid(name: str, own: Grid) -> Grid:
    """``own`` for as-is, else columns x rows of a global grid: with the poles where the number of
    rows is odd, as in WeatherBench 2."""
    if name == "as-is":
        return own
    n_lon, n_lat = (int(n) for n in name.split("x"))
    if n_lat % 2 == 0:
        return equiangular(n_lon, n_lat)
    return Grid(np.linspace(-90, 90, n_lat), 360.0 / n_lon * np.arange(n_lon))


def make_plan(series: Sequence[Series], settings: PreprocessSettings) -> Plan:
    """Raises InputError when there are no analyses or channels are nowhere, UsageError when the
    grid reaches outside the data."""
    channels = settings.keys
    span = _span(settings)
    composition = Composition(series, channels, span, settings.missing == "skip")
    analyses = compose_analyses(composition)
    wanted = set(settings.pairs)
    forecasts = compose_forecasts(
        composition,
        {s.time for s in analyses},
        wanted == {"lagged"},
        not wanted & {"forecast", "twin"},
    )
    states = [*analyses, *forecasts]
    if not analyses:
        raise lacking(composition)
    used = sorted({number for s in states for number, _, _ in s.parts})
    first = series[analyses[0].parts[0][0]]
    grid = target_grid(settings.grid, first.grid)
    maps = {number: regridder(series[number].grid, grid) for number in used}
    blocks = tuple(_blocks(states, series))
    ordered = sorted(used, key=lambda n: series[n].forecasts)
    return Plan(
        channels=channels,
        grid=grid,
        statics=_statics([series[n] for n in ordered], series, grid),
        time=np.array([s.time for s in states], "datetime64[s]"),
        lead=np.array([s.lead for s in states], float),
        cycled=np.array([s.cycled for s in states], bool),
        group=np.array([s.group for s in states], np.int64),
        blocks=blocks,
        need=max(3 * SPAN_BYTES, *(_need(b, series, channels, grid) for b in blocks)),
        methods=tuple(sorted({m.method for m in maps.values()})),
        provenance={
            n: str(first.attributes.get(n, "")) for n in ("source", "license", "references")
        },
        notes=tuple(composition.notes),
    )


def _span(settings: PreprocessSettings) -> tuple[np.datetime64, np.datetime64]:
    limits = []
    for name, text, otherwise in (
        ("first", settings.first, "0001-01-01"),
        ("last", settings.last, "9999-01-01"),
    ):
        try:
            limits.append(np.datetime64(text or otherwise, "s"))
        except ValueError:
            raise UsageError(
                f"--{name} {text}: expected a date such as 2008-01-01 or 2008-01-01T12"
            ) from None
    return limits[0], limits[1]


def _statics(
    preferred: Sequence[Series], series: Sequence[Series], grid: Grid
) -> dict[str, np.ndarray]:
    """Orography and land-sea mask from the first input that has them, zero where none has."""
    found = {}
    for name in STATICS:
        holder = next((s for s in (*preferred, *series) if name in s.statics), None)
        found[name] = (
            np.zeros(grid.shape)
            if holder is None
            else regridder(holder.grid, grid)(holder.statics[name])
        )
    return found


def _bytes(parts: Sequence[tuple[int, tuple[int, ...], int]], series: Sequence[Series]) -> int:
    return sum(4 * len(rows) * series[number].grid.size for number, rows, _ in parts)


def _blocks(states: Sequence[State], series: Sequence[Series]) -> Iterator[Block]:
    start, number = 0, 0
    while start < len(states):
        signature = [p[:2] for p in states[start].parts]
        most = start + max(1, BLOCK_BYTES // _bytes(states[start].parts, series))
        stop = start + 1
        while stop < min(most, len(states)) and [p[:2] for p in states[stop].parts] == signature:
            stop += 1
        parts = [
            Part(series[n].path, rows, tuple(states[i].parts[k][2] for i in range(start, stop)))
            for k, (n, rows) in enumerate(signature)
        ]
        yield Block(number, start, stop - start, tuple(parts))
        start, number = stop, number + 1


def _need(block: Block, series: Sequence[Series], channels: Sequence[str], grid: Grid) -> int:
    """Variable by variable: as stored, picked and converted, turned and in float64; and the result,
    with a copy for writing."""
    sizes = {s.path: s.grid.size for s in series}
    largest = 0
    for part in block.parts:
        variables = [parse_channel(channels[row]).variable for row in part.rows]
        largest = max(largest, max(variables.count(v) for v in variables) * sizes[part.path])
    return block.count * (28 * largest + 12 * len(channels) * grid.size)
