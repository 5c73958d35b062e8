"""GRIB inputs as series of frames: messages are found once and decoded when their time is
wanted."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from phyda_cli.errors import InputError
from phyda_cli.formats.grib import GribMessage, grib_dataset, grib_messages, unique_names
from phyda_cli.formats.recognise import find_axes, find_sources
from phyda_cli.formats.series import (
    STATICS,
    Place,
    Places,
    Rows,
    Series,
    channels_of,
    locate,
    read_places,
    static_fields,
)
from phyda_cli.names import parse_channel

__all__ = ["open_grib_series"]

_ECCODES = threading.RLock()  # its multi-field switch is global
_STATIC_NAMES = ("orog", "lsm", "z", "gh")


@dataclass(frozen=True, eq=False)
class _Frames:
    """``frames`` are the messages of each time and member."""

    path: Path
    frames: tuple[tuple[GribMessage, ...], ...]

    def read(self, positions: Sequence[int], channels: Sequence[str]) -> Rows:
        with _ECCODES:
            each = [dict(_by_row(self._one(self.frames[p], channels))) for p in positions]
        yield (
            list(range(len(channels))),
            np.stack([np.stack([one[row] for row in range(len(channels))]) for one in each]),
        )

    def _one(self, messages: tuple[GribMessage, ...], channels: Sequence[str]) -> Rows:
        wanted = _useful(messages, channels)
        dataset = grib_dataset(self.path, wanted, messages[0].valid, []).isel(time=0)
        axes = find_axes(dataset, self.path, {})
        places = _there(dataset, locate(find_sources(dataset, axes, self.path, {})[0]))
        lacking = [key for key in channels if key not in places]
        if lacking:
            raise InputError(
                f"{self.path}: no {', '.join(lacking)} at {str(messages[0].valid)[:16]}, which "
                "its other times have"
            )
        yield from read_places(dataset, axes, places, channels, {}, 1)


def _there(dataset: xr.Dataset, places: Places) -> Places:
    """Without the levels that a variable does not have, where others of its level type do."""

    def empty(place: Place) -> bool:
        return place.level is not None and bool(
            np.isnan(dataset[place.source.name].isel({place.source.level_dim: place.level})).all()
        )

    return {key: place for key, place in places.items() if not empty(place)}


def _by_row(rows: Rows) -> list[tuple[int, np.ndarray]]:
    return [(row, values[0, i]) for chosen, values in rows for i, row in enumerate(chosen)]


def _useful(messages: Sequence[GribMessage], channels: Sequence[str]) -> list[GribMessage]:
    """Surface fields, and of the others those on a level of some channel."""
    levels = {level for key in channels if (level := parse_channel(key).level) is not None}
    upper = any(parse_channel(key).level is None for key in channels)
    return [
        m for m in messages if (m.level in levels if m.level_type == "isobaricInhPa" else upper)
    ]


def open_grib_series(path: Path) -> Series:
    """Raises InputError for damaged files, unsupported grids and files without a variable phyda
    knows."""
    with _ECCODES:
        messages, _ = grib_messages(path)
        instant = [m for m in messages if m.step_type == "instant"] or messages
        groups: dict[tuple[np.datetime64, np.datetime64, int], list[GribMessage]] = {}
        for m in instant:
            groups.setdefault((m.reference, m.valid, m.member), []).append(m)
        names = unique_names(instant)
        static = [
            m
            for m in instant
            if m.level_type == "surface"
            and names[m.name, m.level_type, m.step_type] in _STATIC_NAMES
        ]
        keys = [k for k, members in groups.items() if any(m not in static for m in members)]
        first = groups[keys[0]] if keys else static
        dataset = grib_dataset(path, first, first[0].valid, []).isel(time=0)
        axes = find_axes(dataset, path, {})
        sources, _ = find_sources(dataset, axes, path, {})
        statics = static_fields(dataset, axes, [s for s in sources if s.variable in STATICS])
    reference, valid, member = (np.array([k[i] for k in keys]) for i in range(3))
    lead = (valid - reference) / np.timedelta64(1, "h") if keys else np.zeros(0)
    _, number = np.unique(member, return_inverse=True)
    return Series(
        path=path,
        grid=axes.grid,
        channels=channels_of(_there(dataset, locate(sources))),
        valid=valid.astype("datetime64[s]"),
        lead=lead,
        member=number,
        forecasts=bool(np.any(lead != 0)),
        statics=statics,
        reader=_Frames(path, tuple(tuple(groups[k]) for k in keys)),
    )
