"""A training store being built: a folder ``STORE.part`` beside it that any interruption leaves fit
to go on with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from phyda_cli.files.arrays import read_arrays, write_arrays
from phyda_cli.files.lock import locked
from phyda_cli.files.publish import move_folder
from phyda_cli.files.resume import claim
from phyda_cli.preprocessing.plan import Plan

__all__ = ["StoreBuilder"]


class StoreBuilder:
    """``STORE.part`` holds ``run.json`` (what is being made), ``progress`` (a file for each piece
    of work done) and ``store``.

    Work that was cut short leaves no file in ``progress`` and is done again; it gives the same
    bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.with_name(path.name + ".part")
        self.store = self.folder / "store"
        self._progress = self.folder / "progress"

    @contextmanager
    def locked(self, record: Mapping[str, object]) -> Iterator[None]:
        """The folder to ourselves, for the work that ``record`` describes.

        Raises BusyError when another process works there, UsageError when it holds other work.
        """
        with locked(self.folder / "lock", f"another phyda is making {self.path}"):
            claim(self.folder, record)
            self._progress.mkdir(exist_ok=True)
            yield

    def prepare(self, plan: Plan, packing: str) -> None:
        """Make the store with everything but the results of work, unless it is there."""
        if self.result("prepared") is not None:
            return
        shutil.rmtree(self.store, ignore_errors=True)
        group = zarr.open_group(str(self.store), mode="w")
        group.attrs["channels"] = list(plan.channels)
        state = (len(plan.channels), *plan.grid.shape)
        group.create_array(
            "states", shape=(plan.time.size, *state), chunks=(1, *state), dtype=packing
        )
        for name, values in {
            "latitude": plan.grid.latitude,
            "longitude": plan.grid.longitude,
            **plan.statics,
        }.items():
            group.create_array(name, data=np.asarray(values, np.float64))
        self.done("prepared", {})

    def done(self, name: str, result: Mapping[str, np.ndarray]) -> None:
        """Record a piece of work and what came of it."""
        write_arrays(self._progress / f"{name}.npz", **result)

    def result(self, name: str) -> dict[str, np.ndarray] | None:
        """What came of a piece of work; None when it has not been done."""
        path = self._progress / f"{name}.npz"
        return read_arrays(path) if path.exists() else None

    def write(self, arrays: Mapping[str, np.ndarray], within: str = "") -> None:
        """Write whole arrays into the store, or a group of it."""
        group = zarr.open_group(str(self.store / within), mode="a")
        for name, values in arrays.items():
            group.create_array(name, data=np.asarray(values), overwrite=True)

    def publish(self, attributes: Mapping[str, Any]) -> None:
        """Mark the store complete and give it its name; one that has the name makes way at the last
        moment."""
        for left in self.store.rglob(
            "*.partial"
        ):  # chunks that Zarr was writing when it was killed, and has written since
            left.unlink()
        zarr.open_group(str(self.store), mode="a").attrs.update({**attributes, "complete": True})
        move_folder(self.store, self.path)
        self.clear()

    def clear(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
