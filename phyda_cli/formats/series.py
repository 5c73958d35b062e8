"""An input of any format as a list of frames: one time and one member each, which hold the same
fields. A background is one frame; training data are many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import xarray as xr

from phyda_cli.errors import UsageError
from phyda_cli.fields.grid import Grid
from phyda_cli.formats.axes import Axes
from phyda_cli.formats.recognise import Source, find_axes, find_sources
from phyda_cli.formats.times import choose, of_start
from phyda_cli.names import STATICS, VARIABLES, Channel, parse_channel

__all__ = [
    "Contents",
    "Frames",
    "Rows",
    "Series",
    "contents_of",
    "read_channels",
    "static_fields",
    "values_of",
]

Rows = Iterator[tuple[list[int], np.ndarray]]


class Frames(Protocol):
    """The frames of one input."""

    def frame(self, index: int) -> tuple[xr.Dataset, list[str]]:
        """One frame in memory, every variable of the file at that time and of that member; and
        notes on what was left out of it."""
        ...

    def read(self, positions: Sequence[int], channels: Sequence[str]) -> Rows:
        """For each variable in turn, which of ``channels`` these are and their fields (n, c, H, W)
        [canonical units]."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


@dataclass(frozen=True)
class Slot:
    """Where a channel is: in which variable, and on which of its levels (None: it has no dimension
    for them)."""

    source: Source
    level: int | None


Slots = Mapping[str, Slot]


@dataclass(frozen=True, eq=False)
class Contents:
    """What every frame of an input holds of the channels that phyda knows."""

    axes: Axes
    slots: Slots
    statics: Mapping[str, np.ndarray]

    @property
    def channels(self) -> tuple[str, ...]:
        """Keys of the channels, upper air before the surface."""
        return tuple(
            sorted(self.slots, key=lambda key: VARIABLES[parse_channel(key).variable].surface)
        )


@dataclass(frozen=True, eq=False)
class Series:
    """What an input holds. Frame ``i`` is valid at ``valid[i]``, ``lead[i]`` hours into a forecast
    by the ``member[i]``-th member, which the file calls ``label[i]``.

    An input of ``forecasts`` is one with a dimension for lead times, or of leads other than zero. A
    file of nothing but static fields has no frames. ``time_name`` is the file's time coordinate,
    None when it has none; ``contents`` is known where the input is read as channels.
    """

    path: Path
    valid: np.ndarray
    lead: np.ndarray
    member: np.ndarray
    label: np.ndarray
    forecasts: bool
    frames: Frames
    contents: Contents | None = None
    time_name: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid:
        """The grid of the channels."""
        assert self.contents is not None
        return self.contents.axes.grid

    @property
    def channels(self) -> tuple[str, ...]:
        """Keys of the channels, upper air before the surface."""
        return () if self.contents is None else self.contents.channels

    @property
    def statics(self) -> Mapping[str, np.ndarray]:
        """Orography and land-sea mask (H, W), those that are there."""
        return {} if self.contents is None else self.contents.statics

    @property
    def labels(self) -> list[int | str]:
        """The file's names of its members, none where it has a single one."""
        names = dict.fromkeys(self.label.tolist())
        return list(names) if len(names) > 1 else []

    def find(
        self,
        time: np.datetime64 | None,
        near: np.datetime64 | None,
        member: int | str | None,
        start: np.datetime64 | None = None,
    ) -> int:
        """The frame at ``time``, else the nearest to ``near``, of ``member``; of several forecasts
        valid then that of ``start``, else the one with the shortest lead. Raises UsageError when a
        time or a member must be chosen."""
        of = np.arange(self.valid.size)
        if start is not None:
            of = np.flatnonzero(of_start(self.valid, self.lead, start))
        first = of[choose(self.valid[of], self.lead[of], time, near, self.path)]
        same = np.flatnonzero((self.valid == self.valid[first]) & (self.lead == self.lead[first]))
        return int(same[choose_member(self.label[same], member, self.path)])


def choose_member(labels: np.ndarray, member: int | str | None, path: Path) -> int:
    """Index of ``member`` among ``labels``; the only one when there is one. Raises UsageError
    otherwise."""
    if labels.size == 1 and member is None:
        return 0
    found = np.flatnonzero(labels == member) if member is not None else np.zeros(0, int)
    if found.size == 0:
        what = (
            f"has an ensemble of {labels.size} members"
            if member is None
            else f"has no member {member}"
        )
        raise UsageError(
            f"{path} {what}: {', '.join(map(str, labels))}", hint="choose one with --member"
        )
    return int(found[0])


def contents_of(
    dataset: xr.Dataset, path: Path, rename: Mapping[str, str], loaded: bool = False
) -> Contents:
    """What one frame holds; levels that are empty are found where it is ``loaded``. Raises
    InputError for a file on another grid or without a variable phyda knows."""
    axes = find_axes(dataset, path, rename)
    sources, _ = find_sources(dataset, axes, path, rename)
    return Contents(
        axes, _locate(sources, dataset if loaded else None), static_fields(dataset, axes, sources)
    )


def _locate(sources: Sequence[Source], dataset: xr.Dataset | None) -> Slots:
    """The slot of every channel that ``sources`` offer; of several the first, specific humidity
    before relative; without the levels that are empty in ``dataset``."""
    slots: dict[str, Slot] = {}
    temperatures = {
        p for s in sources if s.variable == "t" and s.levels is not None for p in s.levels
    }
    for s in sorted(sources, key=lambda s: s.variable == "r"):
        variable = "q" if s.variable == "r" else s.variable
        if variable in STATICS:
            continue
        if s.levels is None:
            slots.setdefault(variable, Slot(s, None))
            continue
        for i, pressure in enumerate(s.levels):
            if s.variable == "r" and pressure not in temperatures:
                continue
            slot = Slot(s, None if s.level_dim is None else i)
            if dataset is None or not _empty(dataset, slot):
                slots.setdefault(Channel(variable, round(float(pressure) / 100, 4)).key, slot)
    return slots


def _empty(dataset: xr.Dataset, slot: Slot) -> bool:
    at = {} if slot.level is None else {slot.source.level_dim: slot.level}
    return bool(np.isnan(dataset[slot.source.name].isel(at)).all())


def values_of(dataset: xr.Dataset, axes: Axes, source: Source) -> np.ndarray:
    """The values of a variable as the file has them, on the columns of the grid: (L, H, W), or (H,
    W) without ``level_dim``."""
    variable = dataset[source.name]
    order = [
        *([] if source.level_dim is None else [source.level_dim]),
        axes.latitude,
        axes.longitude,
    ]
    single = {d: 0 for d in variable.dims if d not in order}
    return axes.on_grid(np.asarray(variable.isel(single).transpose(*order).values))


def canonical(source: Source, values: np.ndarray) -> np.ndarray:
    """``values`` of a variable in canonical units: float32 as stored where nothing is converted."""
    if (source.scale, source.offset) == (1, 0):
        return values
    return source.scale * values.astype(np.float64) + source.offset


def read_channels(
    dataset: xr.Dataset,
    contents: Contents,
    channels: Sequence[str],
    frames: Mapping[str, np.ndarray],
    count: int,
) -> Rows:
    """Fields of ``channels`` at ``count`` frames, which are given by their index (n,) along each of
    the dataset's dimensions for them."""
    slots, axes = contents.slots, contents.axes
    by_source: dict[str, list[int]] = {}
    for row, key in enumerate(channels):
        by_source.setdefault(slots[key].source.name, []).append(row)
    for rows in by_source.values():
        source = slots[channels[rows[0]]].source
        levels = [slots[channels[row]].level for row in rows]
        values = _values(dataset, axes, source, levels, frames, count)
        if source.variable == "r":
            from phyda_cli.formats.humidity import specific_humidity  # loads torch

            pressure = np.array([parse_channel(channels[row]).pressure for row in rows])
            warm = [slots[Channel("t", parse_channel(channels[row]).level).key] for row in rows]
            t = np.concatenate(
                [_values(dataset, axes, w.source, [w.level], frames, count) for w in warm], axis=1
            )
            values = specific_humidity(values, t, pressure[:, None, None])
        yield rows, values


def _values(
    dataset: xr.Dataset,
    axes: Axes,
    source: Source,
    levels: Sequence[int | None],
    frames: Mapping[str, np.ndarray],
    count: int,
) -> np.ndarray:
    """(n, c, H, W) in canonical units: float32 as stored where nothing is converted.

    The smallest box of the file that holds the frames and levels is read at once; they are picked
    from it in memory.
    """
    variable = dataset[source.name]
    index = {str(d): np.asarray(frames[str(d)]) for d in variable.dims if str(d) in frames}
    chosen = [level for level in levels if level is not None]
    if source.level_dim is not None:
        index[source.level_dim] = np.asarray(chosen)
    box = {d: slice(int(i.min()), int(i.max()) + 1) for d, i in index.items()}
    horizontal = (axes.latitude, axes.longitude)
    single = {d: 0 for d in variable.dims if d not in index and d not in horizontal}
    order = [
        *(d for d in index if d != source.level_dim),
        *([source.level_dim] if source.level_dim is not None else []),
    ]
    values = np.asarray(_versions(variable, box, single).transpose(*order, *horizontal).values)
    inner = [index[d] - box[d].start for d in order]
    if source.level_dim is None:
        values = values[tuple(inner)][..., None, :, :] if inner else values[None, None]
    else:
        *outer, level = inner
        values = values[(*(p[:, None] for p in outer), level[None] if outer else level)]
        values = values if outer else values[None]
    values = axes.on_grid(values)
    if values.shape[0] != count:  # the variable is the same at all times
        values = np.broadcast_to(values, (count, *values.shape[1:]))
    return canonical(source, values)


def _versions(
    variable: xr.DataArray, box: Mapping[str, slice], single: Mapping[object, int]
) -> xr.DataArray:
    """The part of a variable that is asked for, of ECMWF's versions the first that has it."""
    dim = next((d for d in single if str(d).lower() == "expver"), None)
    if dim is None:
        return variable.isel({**box, **single})
    rest = {d: i for d, i in single.items() if d != dim}
    return merged_versions(variable.isel({**box, **rest}), dim)


def merged_versions(variable: xr.DataArray, dim: object) -> xr.DataArray:
    """Without the dimension of the versions: each value from the first version that has it, the
    final one (expver 1) before the preliminary one (5)."""
    found = variable.isel({dim: 0}, drop=True)
    for i in range(1, variable.sizes[dim]):
        found = found.where(found.notnull(), variable.isel({dim: i}, drop=True))
    return found.assign_attrs(variable.attrs)


def static_fields(
    dataset: xr.Dataset, axes: Axes, sources: Sequence[Source]
) -> dict[str, np.ndarray]:
    """Orography and land-sea mask (H, W), those that are there."""
    found: dict[str, np.ndarray] = {}
    for s in sources:
        if s.variable in STATICS and s.variable not in found:
            found[s.variable] = np.asarray(
                _values(dataset, axes, s, [None], {}, 1)[0, 0], np.float64
            )
    return found
