"""The training store: states on the model grid and the table of pairs drawn from them.

A pair is (background state, true state, scale): the truth used is background + scale * (true -
background), so that archived forecasts, twins and scaled lagged differences are one kind of data.
On disk it is a Zarr group with ``states`` (state, channel, latitude, longitude) one chunk a state,
``pairs`` (pair, 2), ``scale`` and ``lead`` (pair,), ``time`` (state,), static fields, and channels
and provenance as attributes; further ``kind`` and ``split`` (pair,), ``missing`` (state,), the
group ``statistics``, and for packed states ``offset`` and ``factor`` (state, channel).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import zarr

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Grid
from phyda_cli.names import STATICS

__all__ = ["MISSING", "PairStore", "States", "pack", "unpack"]

COORDINATES = ("latitude", "longitude", "time")
TABLE = ("pairs", "scale", "lead", "kind", "split")
MISSING = -32768  # of states packed as 16-bit integers
STEPS = 65534


class States:
    """The states (state, C, H, W) of a store, read and unpacked to float32 when they are taken:
    ``states[3]``, ``states[:10]``, ``states[ids]``."""

    def __init__(
        self, array: zarr.Array, offset: np.ndarray | None = None, factor: np.ndarray | None = None
    ) -> None:
        self._array, self._offset, self._factor = array, offset, factor
        self.shape: tuple[int, ...] = array.shape

    @classmethod
    def of(cls, group: zarr.Group) -> States:
        """Those of an open store."""
        packed = "offset" in group
        return cls(
            _array(group, "states"),
            *(
                (np.asarray(_array(group, name)[:]) for name in ("offset", "factor"))
                if packed
                else ()
            ),
        )

    def __len__(self) -> int:
        return self.shape[0]

    @overload
    def __getitem__(self, index: int | np.integer) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray: ...
    def __getitem__(self, index: int | np.integer | slice | np.ndarray) -> np.ndarray:
        values = np.asarray(
            self._array.oindex[index]
            if isinstance(index, np.ndarray)
            else self._array[_plain(index)]
        )
        if self._offset is None or self._factor is None:
            return np.asarray(values, np.float32)
        return unpack(values, self._offset[index], self._factor[index])


@dataclass(frozen=True, eq=False)
class PairStore:
    """An open store. ``states`` is lazy; everything else is in memory. ``split`` says of each pair
    whether it is for training (0), validation (1), testing (2) or none (-1), ``kind`` where it
    comes from; ``statistics`` holds ``mean``, ``std`` and ``background_std`` by channel."""

    path: Path
    channels: tuple[str, ...]
    grid: Grid
    states: States
    time: np.ndarray
    pairs: np.ndarray
    scale: np.ndarray
    lead: np.ndarray
    statics: dict[str, np.ndarray]
    attributes: dict[str, object]
    split: np.ndarray
    kind: np.ndarray
    statistics: dict[str, np.ndarray]

    @classmethod
    def open(cls, path: Path) -> PairStore:
        """Open a complete store. Raises InputError when it is missing, unfinished or without
        pairs."""
        try:
            group = zarr.open_group(str(path), mode="r")
            attributes: dict[str, Any] = dict(group.attrs)
            arrays = {
                name: np.asarray(_array(group, name)[:])
                for name in (*COORDINATES, *TABLE, *STATICS)
            }
            statistics = _arrays(group["statistics"])
            states = States.of(group)
        except (FileNotFoundError, KeyError, ValueError) as error:
            raise InputError(
                f"{path} is not a training store ({error})", hint="make one with `phyda preprocess`"
            ) from error
        if not attributes.get("complete"):
            raise InputError(
                f"{path} is unfinished", hint="run the same `phyda preprocess` command again"
            )
        if arrays["pairs"].size == 0:
            raise InputError(
                f"{path} holds no (background, truth) pairs", hint="see `phyda preprocess --pairs`"
            )
        channels = tuple(attributes["channels"])
        return cls(
            path,
            channels,
            Grid(arrays["latitude"], arrays["longitude"]),
            states,
            arrays["time"].astype("datetime64[s]"),
            arrays["pairs"],
            arrays["scale"],
            arrays["lead"],
            {k: arrays[k] for k in STATICS},
            attributes,
            arrays["split"],
            arrays["kind"],
            statistics,
        )

    @property
    def split_by_years(self) -> bool:
        """Whether ``split`` follows years that were asked for, or is only the latest part of the
        span."""
        settings = self.attributes.get("settings")
        return isinstance(settings, dict) and any(
            settings.get(f"{name}_years") for name in ("train", "validation", "test")
        )

    def load_states(self) -> np.ndarray:
        """Every state in memory, (state, C, H, W) float32."""
        return self.states[:]


def pack(states: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integers (n, C, H, W), offset and factor (n, C) of ``states``, for each field as in GRIB:
    wrong by half a factor at most, 1/131068 of a field's range."""
    packed = np.empty(states.shape, np.int16)
    offset, factor = np.zeros(states.shape[:2]), np.zeros(states.shape[:2])
    for i, state in enumerate(states):
        wide, there = state.astype(np.float64), np.isfinite(state)
        bounds = (
            np.where(there, wide, np.inf).min(axis=(1, 2)),
            np.where(there, wide, -np.inf).max(axis=(1, 2)),
        )
        low, high = (np.where(np.isfinite(b), b, 0.0) for b in bounds)
        offset[i], factor[i] = (low + high) / 2, (high - low) / STEPS
        steps = (wide - offset[i, :, None, None]) / np.where(factor[i] > 0, factor[i], 1.0)[
            :, None, None
        ]
        packed[i] = np.where(there, np.rint(np.where(there, steps, 0.0)), MISSING)
    return packed, offset, factor


def unpack(packed: np.ndarray, offset: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The states (n, C, H, W), or one (C, H, W), float32 again."""
    values = np.empty(packed.shape, np.float32)
    for place in np.ndindex(packed.shape[:-3]):  # (n,) or, for one state, ()
        wide = packed[place] * factor[place][:, None, None] + offset[place][:, None, None]
        values[place] = np.where(packed[place] == MISSING, np.nan, wide)
    return values


def _plain(index: int | np.integer | slice) -> int | slice:
    return index if isinstance(index, slice) else int(index)


def _array(group: zarr.Group, name: str) -> zarr.Array:
    found = group[name]
    if not isinstance(found, zarr.Array):
        raise KeyError(name)
    return found


def _arrays(group: zarr.Array | zarr.Group) -> dict[str, np.ndarray]:
    assert isinstance(group, zarr.Group)
    return {name: np.asarray(array[:]) for name, array in group.arrays()}
