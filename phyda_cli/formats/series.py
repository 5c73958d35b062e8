"""Inputs with many times: NetCDF, Zarr or GRIB files as a list of frames that hold the same
channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import xarray as xr

from phyda_cli.fields.grid import Grid
from phyda_cli.formats.recognise import Axes, Source
from phyda_cli.names import VARIABLES, Channel, parse_channel

__all__ = [
    "STATICS",
    "Place",
    "Places",
    "Reader",
    "Rows",
    "Series",
    "channels_of",
    "locate",
    "read_places",
    "static_fields",
]

STATICS = ("orography", "lsm")
Rows = Iterator[tuple[list[int], np.ndarray]]


@dataclass(frozen=True)
class Place:
    """Where a channel is: in which variable, and on which of its levels (None: it has no dimension
    for them)."""

    source: Source
    level: int | None


Places = dict[str, Place]


class Reader(Protocol):
    """Reads frames of one input."""

    def read(self, positions: Sequence[int], channels: Sequence[str]) -> Rows:
        """For each variable in turn, which of ``channels`` these are and their fields (n, c, H, W)
        [canonical units]."""
        ...


@dataclass(frozen=True, eq=False)
class Series:
    """What an input holds. Frame ``i`` is valid at ``valid[i]``, ``lead[i]`` hours into a forecast
    by ``member[i]``.

    An input of ``forecasts`` is one with a dimension for lead times, or of leads other than zero. A
    file of nothing but static fields has no frames.
    """

    path: Path
    grid: Grid
    channels: tuple[str, ...]
    valid: np.ndarray
    lead: np.ndarray
    member: np.ndarray
    forecasts: bool
    statics: Mapping[str, np.ndarray]
    reader: Reader
    attributes: Mapping[str, str] = field(default_factory=dict)


def locate(sources: Sequence[Source]) -> Places:
    """The place of every channel that ``sources`` offer; of several the first, specific humidity
    before relative."""
    places: Places = {}
    temperatures = {
        p for s in sources if s.variable == "t" and s.levels is not None for p in s.levels
    }
    for s in sorted(sources, key=lambda s: s.variable == "r"):
        variable = "q" if s.variable == "r" else s.variable
        if variable in STATICS:
            continue
        if s.levels is None:
            places.setdefault(variable, Place(s, None))
            continue
        for i, pressure in enumerate(s.levels):
            if s.variable != "r" or pressure in temperatures:
                key = Channel(variable, round(float(pressure) / 100, 4)).key
                places.setdefault(key, Place(s, None if s.level_dim is None else i))
    return places


def channels_of(places: Places) -> tuple[str, ...]:
    """Keys of the channels, upper air before the surface."""
    return tuple(sorted(places, key=lambda key: VARIABLES[parse_channel(key).variable].surface))


def read_places(
    dataset: xr.Dataset,
    axes: Axes,
    places: Places,
    channels: Sequence[str],
    frames: Mapping[str, np.ndarray],
    count: int,
) -> Rows:
    """Fields of ``channels`` at ``count`` frames, which are given by their index (n,) along each of
    the dataset's dimensions for them."""
    by_source: dict[str, list[int]] = {}
    for row, key in enumerate(channels):
        by_source.setdefault(places[key].source.name, []).append(row)
    for rows in by_source.values():
        source = places[channels[rows[0]]].source
        levels = [places[channels[row]].level for row in rows]
        values = _values(dataset, axes, source, levels, frames, count)
        if source.variable == "r":
            from phyda_cli.formats.humidity import (
                specific_humidity,  # torch, which other data do without
            )

            pressure = np.array([parse_channel(channels[row]).pressure for row in rows])
            warm = [_temperature(channels[row], places) for row in rows]
            t = np.concatenate(
                [_values(dataset, axes, p.source, [p.level], frames, count) for p in warm], axis=1
            )
            values = specific_humidity(values, t, pressure[:, None, None])
        yield rows, values


def _temperature(humidity: str, places: Places) -> Place:
    return places[Channel("t", parse_channel(humidity).level).key]


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
    values = np.asarray(variable.isel(box | single).transpose(*order, *horizontal).values)
    inner = [index[d] - box[d].start for d in order]
    if source.level_dim is None:
        values = values[tuple(inner)][..., None, :, :] if inner else values[None, None]
    else:
        *places, level = inner
        values = values[(*(p[:, None] for p in places), level[None] if places else level)]
        values = values if places else values[None]
    if not np.array_equal(axes.take, np.arange(axes.take.size)):
        values = values[..., axes.take]
    if values.shape[0] != count:  # the variable is the same at all times
        values = np.broadcast_to(values, (count, *values.shape[1:]))
    if (source.scale, source.offset) == (1, 0):
        return values
    return source.scale * values.astype(np.float64) + source.offset


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
