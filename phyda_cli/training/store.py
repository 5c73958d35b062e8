"""The training store: states on the model grid and the table of pairs drawn from them.

A pair is (background state, true state, scale): the truth used is background + scale * (true - background), so that
archived forecasts, twins and scaled lagged differences are one kind of data. On disk it is a Zarr group with
``states`` (state, channel, latitude, longitude) one chunk a state, ``pairs`` (pair, 2), ``scale`` and ``lead`` (pair,),
``time`` (state,), static fields, and channels and provenance as attributes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Grid

__all__ = ["PairStore", "StoreWriter"]

COORDINATES = ("latitude", "longitude", "time")
TABLE = ("pairs", "scale", "lead")
STATICS = ("orography", "lsm")


@dataclass(frozen=True, eq=False)
class PairStore:
    """An open store. ``states`` is lazy (a Zarr array); everything else is in memory."""

    path: Path
    channels: tuple[str, ...]
    grid: Grid
    states: zarr.Array
    time: np.ndarray
    pairs: np.ndarray
    scale: np.ndarray
    lead: np.ndarray
    statics: dict[str, np.ndarray]
    attributes: dict[str, object]

    @classmethod
    def open(cls, path: Path) -> PairStore:
        """Open a complete store. Raises InputError when it is missing, unfinished or without pairs."""
        try:
            group = zarr.open_group(str(path), mode="r")
            attributes: dict[str, Any] = dict(group.attrs)
            arrays = {name: np.asarray(_array(group, name)[:]) for name in (*COORDINATES, *TABLE, *STATICS)}
            states = _array(group, "states")
        except (FileNotFoundError, KeyError, ValueError) as error:
            raise InputError(f"{path} is not a training store ({error})", hint="make one with `phyda preprocess`") from error
        if not attributes.get("complete"):
            raise InputError(f"{path} is unfinished", hint="run the same `phyda preprocess` command again")
        if arrays["pairs"].size == 0:
            raise InputError(f"{path} holds no (background, truth) pairs", hint="see `phyda preprocess --pairs`")
        channels = tuple(attributes["channels"])
        return cls(
            path, channels, Grid(arrays["latitude"], arrays["longitude"]), states, arrays["time"].astype("datetime64[s]"),
            arrays["pairs"], arrays["scale"], arrays["lead"], {k: arrays[k] for k in STATICS}, attributes,
        )  # fmt: skip

    def load_states(self) -> np.ndarray:
        """Every state in memory, (state, C, H, W) float32."""
        return np.asarray(self.states[:], np.float32)


def _array(group: zarr.Group, name: str) -> zarr.Array:
    found = group[name]
    if not isinstance(found, zarr.Array):
        raise KeyError(name)
    return found


class StoreWriter:
    """Writes a store state by state; it becomes visible under its name only when :meth:`finish` is called."""

    def __init__(self, path: Path, channels: Sequence[str], grid: Grid, statics: dict[str, np.ndarray]) -> None:
        self.path = path
        self._partial = path.with_name(path.name + ".part")
        shutil.rmtree(self._partial, ignore_errors=True)
        self._group = zarr.open_group(str(self._partial), mode="w")
        self._group.attrs["channels"] = list(channels)
        shape = (len(channels), *grid.shape)
        self._states = self._group.create_array("states", shape=(0, *shape), chunks=(1, *shape), dtype="float32")
        self._times: list[np.ndarray] = []
        for name, values in {"latitude": grid.latitude, "longitude": grid.longitude, **statics}.items():
            self._group.create_array(name, data=np.asarray(values, np.float64))

    def append(self, states: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Add (n, C, H, W) states of (n,) valid times; returns their indices."""
        start = self._states.shape[0]
        self._states.append(np.asarray(states, np.float32))
        self._times.append(times.astype("datetime64[s]"))
        return start + np.arange(states.shape[0])

    def finish(self, pairs: np.ndarray, scale: np.ndarray, lead: np.ndarray, attributes: Mapping[str, Any]) -> None:
        """Write the pair table, mark the store complete and give it its name."""
        times = np.concatenate(self._times).astype("int64")
        for name, values in {"time": times, "pairs": pairs, "scale": scale, "lead": lead}.items():
            self._group.create_array(name, data=np.asarray(values))
        self._group.attrs.update({**attributes, "complete": True})
        shutil.rmtree(self.path, ignore_errors=True)
        self._partial.rename(self.path)
