"""What an analysis file holds beside the analysis itself: increment, spread and members, as fields
in canonical units."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import xarray as xr

from phyda_cli.fields.grid import Fields
from phyda_cli.fields.mesh import turned, turned_spread
from phyda_cli.files.worker import apart
from phyda_cli.formats.axes import in_rows
from phyda_cli.formats.background import Background, level_index, read_background, values_of
from phyda_cli.formats.inputs import FieldInput, file_kind, name_of
from phyda_cli.formats.netcdf import open_netcdf
from phyda_cli.formats.recognise import Source
from phyda_cli.formats.zarr import open_zarr

__all__ = ["AnalysisFile", "read_analysis"]


@dataclass(frozen=True, eq=False)
class AnalysisFile:
    """``fields`` is the analysis, ``background`` the first guess that its increments imply (None in
    a file without any).

    ``spread`` holds the variables that have one; ``members`` is empty unless they were saved.
    """

    path: Path
    fields: Fields
    background: Fields | None = None
    spread: Fields | None = None
    members: tuple[Fields, ...] = ()

    @property
    def increment(self) -> Fields | None:
        """Analysis minus background, of the variables that were analysed."""
        if self.background is None:
            return None
        upper, surface = self.background.upper, self.background.surface
        return replace(
            self.fields,
            upper={k: v - upper[k] for k, v in self.fields.upper.items() if v is not upper[k]},
            surface={
                k: v - surface[k] for k, v in self.fields.surface.items() if v is not surface[k]
            },
        )


@apart()
def read_analysis(path: FieldInput, time: np.datetime64 | None = None) -> AnalysisFile:
    """Read any file of fields, or a data set in memory; one made by phyda brings its increments,
    spreads and members.

    Raises InputError and UsageError as :func:`read_background` does.
    """
    file = read_background(path, time)
    name = name_of(path)
    kind = file_kind(path) if isinstance(path, Path) else "memory"
    if kind == "grib":
        return AnalysisFile(name, file.fields)
    with _opened(path, kind) as dataset:
        pick = _Picker(file, in_rows(dataset, {}))
        background = pick.fields(
            lambda s: pick.values(s, "") - pick.values(s, "_increment"), "_increment"
        )
        spread = pick.fields(lambda s: pick.values(s, "_spread"), "_spread", relative=False)
        count = pick.dataset.sizes.get("realization", 0) if pick.has("_members") else 0

        def member(index: int) -> Fields | None:
            return pick.fields(lambda s: pick.values(s, "_members", index), "_members")

        members = [member(i) for i in range(count)]
    if file.angle is not None:  # companions are along the winds of the file, as it is
        angle = file.angle
        background = None if background is None else _in_memory(turned(background, angle))
        spread = None if spread is None else _in_memory(turned_spread(spread, angle))
        members = [None if m is None else _in_memory(turned(m, angle)) for m in members]
    return AnalysisFile(
        name,
        file.fields,
        None if background is None else _completed(background, file.fields),
        spread,
        tuple(m for m in members if m is not None),
    )


def _opened(path: FieldInput, kind: str) -> AbstractContextManager[xr.Dataset]:
    if not isinstance(path, Path):
        return nullcontext(path)
    return closing(open_zarr(path)) if kind == "zarr" else open_netcdf(path)


def _in_memory(fields: Fields) -> Fields:
    return replace(fields, upper=dict(fields.upper.items()))


def _completed(some: Fields, all_of: Fields) -> Fields:
    """``some`` with the variables that only ``all_of`` has, shared with it."""
    return replace(
        some, upper={**all_of.upper, **some.upper}, surface={**all_of.surface, **some.surface}
    )


@dataclass(frozen=True, eq=False)
class _Picker:
    """Reads companions (``t_increment`` …) of the variables that ``file`` was read from."""

    file: Background
    dataset: xr.Dataset
    loaded: dict[str, xr.Dataset] = field(default_factory=dict)

    def has(self, suffix: str) -> bool:
        return any(s.name + suffix in self.dataset for s in self.file.sources)

    def values(self, source: Source, suffix: str, member: int | None = None) -> np.ndarray:
        """Values in canonical units, without the offset of differences: (L, H, W), or (H, W) for a
        single level."""
        name = source.name + suffix
        dataset = self.dataset
        if member is not None:
            # One variable at a time, read once: a file has many, and each has many members.
            if name not in self.loaded:
                self.loaded[name] = self.dataset[[name]].load()
            dataset = self.loaded[name].isel(realization=member)
        raw = values_of(dataset, self.file.axes, replace(source, name=name)).astype(np.float64)
        return source.scale * raw + (source.offset if suffix in ("", "_members") else 0.0)

    def fields(
        self, read: Callable[[Source], np.ndarray], suffix: str, relative: bool = True
    ) -> Fields | None:
        """The fields of every variable with a companion ``suffix``, None when there is none.

        Relative humidity is converted with the temperature read before it, or left out unless
        ``relative``.
        """
        layout = self.file.fields
        upper: dict[str, np.ndarray] = {}
        surface: dict[str, np.ndarray] = {}
        for source in sorted(self.file.sources, key=lambda s: s.relative):
            if source.name + suffix not in self.dataset or (source.relative and not relative):
                continue
            values = read(source)
            if source.levels is None:
                surface.setdefault(source.variable, values)
                continue
            index = level_index(layout.levels, source.levels)
            values = values.reshape(index.size, *layout.grid.shape)
            if source.relative:
                from phyda_cli.formats.humidity import specific_humidity  # loads torch

                temperature = upper.get("t", layout.upper["t"])[index]
                values = specific_humidity(values, temperature, source.levels[:, None, None])
            target = upper.setdefault(
                source.variable, np.full((layout.levels.size, *layout.grid.shape), np.nan)
            )
            absent = np.isnan(target[index]).all(axis=(1, 2))
            target[index[absent]] = values[absent]
        if not upper and not surface:
            return None
        return replace(layout, upper=upper, surface=surface)
