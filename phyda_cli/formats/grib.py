"""GRIB1 and GRIB2 with mixed level types as frames: the fields of a file are scanned once, sorted
into frames and variables, and decoded when their frame is wanted. Variables have cfgrib's names
(ecCodes' ``cfVarName``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from phyda_cli import cf
from phyda_cli.errors import InputError
from phyda_cli.formats.axes import ROW
from phyda_cli.formats.grib_messages import (
    ECCODES,
    ISOBARIC,
    GribMessage,
    attributes_of,
    coordinates_of,
    decoded,
    scan,
    values_of_message,
)
from phyda_cli.formats.projection import GRID_MAPPING, Projection, projection_of
from phyda_cli.formats.series import Contents, Rows, Series, contents_of, read_channels
from phyda_cli.formats.times import to_seconds
from phyda_cli.names import VARIABLES, canonical_variable, parse_channel

__all__ = ["GribFrames", "open_grib_series", "places_of"]

_PLAIN_TYPES = (*ISOBARIC, "surface", "meanSea", "heightAboveGround")
_STATIC_NAMES = ("orog", "lsm", "z", "gh")
_LEVEL_ATTRIBUTES = {
    "units": "hPa",
    "standard_name": "air_pressure",
    "long_name": "pressure",
    "positive": "down",
    "axis": "Z",
}


def open_grib_series(path: Path, channels: bool) -> Series:
    """The frames of a GRIB file, and with ``channels`` what they hold. Raises InputError for
    damaged files, unsupported grids and files without a variable phyda knows."""
    messages, notes = scan(path)
    instant = [m for m in messages if m.step_type == "instant"] or messages
    static = _statics(instant)
    still = {m.index for m in static}
    keys = list(
        dict.fromkeys((m.reference, m.valid, m.member) for m in instant if m.index not in still)
    )
    groups: dict[tuple[Any, ...], list[GribMessage]] = {}
    for m in messages:
        groups.setdefault((m.reference, m.valid, m.member), []).append(m)
    if not keys and not channels:
        keys = list(groups)[:1]
    reference, valid, member = (np.array([k[i] for k in keys]) for i in range(3))
    lead = (valid - reference) / np.timedelta64(1, "h") if keys else np.zeros(0)
    frames = GribFrames(path, tuple(tuple(groups[k]) for k in keys), tuple(static))
    return Series(
        path=path,
        valid=to_seconds(valid) if keys else np.zeros(0, "datetime64[s]"),
        lead=lead,
        member=np.unique(member, return_inverse=True)[1] if keys else np.zeros(0, int),
        label=member,
        forecasts=bool(np.any(lead != 0)),
        frames=frames,
        contents=frames.contents() if channels else None,
        time_name="time",
        notes=tuple(notes),
    )


def _statics(messages: Sequence[GribMessage]) -> list[GribMessage]:
    """Orography and land-sea mask, which many files hold for the first step only."""
    return [m for m in messages if m.level_type == "surface" and m.name in _STATIC_NAMES]


def _key(message: GribMessage) -> tuple[str, str, str]:
    return message.name, message.level_type, message.step_type


@dataclass(frozen=True, eq=False)
class GribFrames:
    """``frames`` are the messages of each time and member; ``static`` those of all times."""

    path: Path
    frames: tuple[tuple[GribMessage, ...], ...]
    static: tuple[GribMessage, ...]

    def frame(self, index: int) -> tuple[xr.Dataset, list[str]]:
        """One frame in memory, and notes on what cannot be placed."""
        notes: list[str] = []
        with ECCODES:
            valid = self.frames[index][0].valid
            return grib_dataset(self.path, self.messages(index), valid, notes), notes

    def messages(self, index: int) -> list[GribMessage]:
        """The messages of one frame, with the static fields that only another one has."""
        own = self.frames[index]
        have = {m.name for m in own if m.level_type == "surface"}
        first: dict[str, GribMessage] = {}
        for m in self.static:
            if m.name not in have:
                first.setdefault(m.name, m)
        return [*own, *first.values()]

    def contents(self) -> Contents:
        """What the frames hold, by the first."""
        first = self.frames[0] if self.frames else self.static
        chosen = [m for m in first if m.step_type == "instant"] or list(first)
        have = {_key(m) for m in chosen}
        extra = {m.name: m for m in reversed(self.static) if _key(m) not in have}
        with ECCODES:
            dataset = grib_dataset(self.path, [*chosen, *extra.values()], chosen[0].valid, [])
        return contents_of(dataset.isel(time=0), self.path, {}, loaded=True)

    def read(self, positions: Sequence[int], channels: Sequence[str]) -> Rows:
        """The fields of ``channels`` at ``positions``."""
        with ECCODES:
            each = [dict(_by_row(self._one(self.frames[p], channels))) for p in positions]
        yield (
            list(range(len(channels))),
            np.stack([np.stack([one[row] for row in range(len(channels))]) for one in each]),
        )

    def _one(self, messages: Sequence[GribMessage], channels: Sequence[str]) -> Rows:
        instant = [m for m in messages if m.step_type == "instant"] or messages
        wanted = _useful(instant, channels)
        dataset = grib_dataset(self.path, wanted, messages[0].valid, []).isel(time=0)
        contents = contents_of(dataset, self.path, {}, loaded=True)
        lacking = [key for key in channels if key not in contents.slots]
        if lacking:
            raise InputError(
                f"{self.path}: no {', '.join(lacking)} at {str(messages[0].valid)[:16]}, which "
                "its other times have"
            )
        yield from read_channels(dataset, contents, channels, {}, 1)

    def close(self) -> None:
        """Nothing is open between reads."""


def _by_row(rows: Rows) -> list[tuple[int, np.ndarray]]:
    return [(row, values[0, i]) for chosen, values in rows for i, row in enumerate(chosen)]


def _useful(messages: Sequence[GribMessage], channels: Sequence[str]) -> list[GribMessage]:
    """Surface fields, and of the others those on a level of some channel."""
    levels = {level for key in channels if (level := parse_channel(key).level) is not None}
    upper = any(parse_channel(key).level is None for key in channels)
    return [
        m for m in messages if (m.level in levels if m.level_type == "isobaricInhPa" else upper)
    ]


def unique_names(messages: Sequence[GribMessage]) -> dict[tuple[str, str, str], str]:
    """Variable name of each (name, level type, step type): plain for the most useful, with the
    level type or step type for the others."""
    names: dict[tuple[str, str, str], str] = {}

    def rank(key: tuple[str, str, str]) -> tuple[int, bool, str]:
        return (
            _PLAIN_TYPES.index(key[1]) if key[1] in _PLAIN_TYPES else len(_PLAIN_TYPES),
            key[2] != "instant",
            key[1],
        )

    for key in sorted({_key(m) for m in messages}, key=rank):
        name, level_type, step_type = key
        known = canonical_variable(name)
        misleading = (
            known is not None and not VARIABLES[known].surface and level_type != "isobaricInhPa"
        )
        typed = [f"{name}_{level_type}", f"{name}_{level_type}_{step_type}"]
        candidates = typed if misleading else [name, *typed]
        names[key] = next(c for c in candidates if c not in names.values())
    return names


def grib_dataset(
    path: Path, messages: Sequence[GribMessage], valid: np.datetime64, notes: list[str]
) -> xr.Dataset:
    """``messages`` of one time and one member as a data set with the dimensions time, level type,
    latitude, longitude; what cannot be placed is added to ``notes``. Levels missing from a variable
    that others of its level type have are NaN."""
    names = unique_names(messages)
    levels = levels_by_type(messages)
    counts = Counter(_key(m) for m in {(_key(m), m.level): m for m in messages}.values())
    arrays: dict[str, np.ndarray] = {}
    attributes: dict[str, dict[str, Any]] = {}
    coordinates: tuple[np.ndarray, np.ndarray] | None = None
    projection: Projection = ({}, {})
    for m, message in decoded(path, _first_of_each(messages, names, notes)):
        if coordinates is None:
            coordinates = coordinates_of(message, path, m)
            if coordinates[0].ndim > 1 and coordinates[0].shape[0] > 1:
                projection = projection_of(message, *coordinates)
        key = _key(m)
        name, own = names[key], levels[m.level_type]
        values = values_of_message(message, path, m, coordinates)
        several = counts[key] > 1 or m.level_type == "isobaricInhPa"
        if not several:
            arrays[name] = values
        else:
            arrays.setdefault(name, np.full((len(own), *values.shape), np.nan, np.float32))[
                own.index(m.level)
            ] = values
        attributes.setdefault(name, attributes_of(message, m, several))
    assert coordinates is not None
    dataset = _dataset(arrays, attributes, levels, coordinates, valid)
    return _projected(dataset, *projection)


def _projected(
    dataset: xr.Dataset,
    mapping: dict[str, Any],
    axes: Mapping[str, tuple[np.ndarray, dict[str, str]]],
) -> xr.Dataset:
    """``dataset`` with its grid mapping and the coordinates along the axes of the projection."""
    if not mapping:
        return dataset
    for variable in dataset.data_vars.values():
        variable.attrs["grid_mapping"] = GRID_MAPPING
    dataset[GRID_MAPPING] = ((), np.int32(0), mapping)
    renamed = {old: new for old, new in zip(("y", "x"), axes, strict=True) if old != new}
    dataset = dataset.rename_dims(renamed)
    return dataset.assign_coords({name: (name, *axis) for name, axis in axes.items()})


def levels_by_type(messages: Sequence[GribMessage]) -> dict[str, list[float]]:
    """The levels of each type: of pressure upwards, of others increasing."""
    return {
        t: sorted({m.level for m in messages if m.level_type == t}, reverse=t == "isobaricInhPa")
        for t in {m.level_type for m in messages}
    }


def places_of(messages: Sequence[GribMessage]) -> list[tuple[GribMessage, str, int]]:
    """Each message that :func:`grib_dataset` takes, with the name of its variable and the index of
    its level."""
    names, levels = unique_names(messages), levels_by_type(messages)
    return [
        (m, names[_key(m)], levels[m.level_type].index(m.level))
        for m in _first_of_each(messages, names, [])
    ]


def _first_of_each(
    messages: Sequence[GribMessage], names: Mapping[tuple[str, str, str], str], notes: list[str]
) -> list[GribMessage]:
    """Of several messages of one field the first, the final version before a preliminary one."""
    found: dict[tuple[Any, ...], GribMessage] = {}
    for m in sorted(messages, key=lambda m: (m.version == _PRELIMINARY, m.index)):
        if found.setdefault((_key(m), m.level), m) is not m:
            notes.append(f"a second {names[_key(m)]} at {m.level_type} {m.level:g} is left out")
    return list(found.values())


_PRELIMINARY = 5


def _off_axis(attributes: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in attributes.items() if k != "axis"}


def _dataset(
    arrays: dict[str, np.ndarray],
    attributes: dict[str, dict[str, Any]],
    levels: dict[str, list[float]],
    coordinates: tuple[np.ndarray, np.ndarray],
    valid: np.datetime64,
) -> xr.Dataset:
    two_dimensional = coordinates[0].ndim > 1
    reduced = two_dimensional and coordinates[0].shape[0] == 1
    horizontal = ("y", "x") if two_dimensional else ("latitude", "longitude")
    horizontal = (ROW, "points") if reduced else horizontal
    data = {}
    for name, values in arrays.items():
        level_type = attributes[name]["GRIB_typeOfLevel"]
        dims = ("time", *((level_type,) if values.ndim == 3 else ()), *horizontal)
        data[name] = (dims, values[None], attributes[name])
    coords: dict[str, Any] = {
        "time": ("time", np.array([valid])),
        "latitude": (
            horizontal if two_dimensional else "latitude",
            coordinates[0],
            _off_axis(cf.LATITUDE) if two_dimensional else cf.LATITUDE,
        ),
        "longitude": (
            horizontal if two_dimensional else "longitude",
            coordinates[1],
            _off_axis(cf.LONGITUDE) if two_dimensional else cf.LONGITUDE,
        ),
    }
    for level_type in {attributes[n]["GRIB_typeOfLevel"] for n, v in arrays.items() if v.ndim == 3}:
        extra = _LEVEL_ATTRIBUTES if level_type == "isobaricInhPa" else {"long_name": level_type}
        coords[level_type] = (level_type, np.array(levels[level_type]), extra)
    return xr.Dataset(data, coords)
