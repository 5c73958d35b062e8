"""What an analysis makes of the variables of the background's file, in the file's own units, names,
winds and layout; computed variable by variable and level by level, when it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from phyda_cli.fields.grid import Fields
from phyda_cli.fields.layered import Layered, plane
from phyda_cli.fields.mesh import WINDS, turned, turned_spread
from phyda_cli.formats.background import Background, level_index
from phyda_cli.formats.humidity import relative_humidity, saturation
from phyda_cli.formats.recognise import Source
from phyda_cli.names import VARIABLES

__all__ = ["Computed", "Outcome", "with_analysis"]

_INCREMENT_BITS, _SPREAD_BITS = 17, 10  # five and three digits
_PACKING = (
    "valid_range",
    "valid_min",
    "valid_max",
    "actual_range",
    "missing_value",
    "scale_factor",
    "add_offset",
)


class Computed(BackendArray):
    """An array of float32 that ``make`` gives each time it is looked at."""

    def __init__(self, shape: tuple[int, ...], make: Callable[[], np.ndarray]) -> None:
        self.shape, self.dtype, self._make = shape, np.dtype(np.float32), make

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, lambda k: self._make()[k]
        )

    @property
    def lazy(self) -> indexing.LazilyIndexedArray:
        """As the data of a variable."""
        return indexing.LazilyIndexedArray(self)


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcome:
    """An analysis of ``background``; all of it along the winds of the file."""

    background: Background
    analysis: Fields
    increment: Fields
    spread: Fields | None
    members: Sequence[Fields]
    _changes: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)
    """Of a relative humidity, which costs most, between its analysis and its increment."""

    @classmethod
    def of(
        cls,
        background: Background,
        analysis: Fields,
        increment: Fields,
        spread: Fields | None,
        members: Sequence[Fields] | None,
    ) -> Outcome:
        """From winds to the east and north."""
        if background.angle is not None:  # back to the file's own winds
            along = -background.angle
            increment = turned(_with_both_winds(increment, background.fields), along)
            background = replace(background, fields=turned(background.fields, along))
            analysis = turned(analysis, along)
            spread = None if spread is None else turned_spread(spread, along)
            members = [turned(m, along) for m in members or ()]
        return cls(
            background=background,
            analysis=analysis,
            increment=increment,
            spread=spread,
            members=members or (),
        )

    @property
    def sources(self) -> list[Source]:
        """The variables of the file that are analysed."""
        upper, surface = self.increment.upper, self.increment.surface
        return [
            s
            for s in self.background.sources
            if s.variable in upper or s.variable in surface or (s.relative and "t" in upper)
        ]

    def old(self, source: Source, i: int) -> np.ndarray:
        """Level ``i`` of a variable of the file (H, W), as stored."""
        axes, variable = self.background.axes, self.background.source[source.name]
        at = {d: 0 for d in variable.dims if d not in (axes.latitude, axes.longitude)}
        if source.level_dim is not None:
            at[source.level_dim] = i
        values = variable.isel(at).transpose(axes.latitude, axes.longitude).values
        return axes.on_grid(values)

    def change(self, source: Source, i: int, fields: Fields) -> np.ndarray:
        """``fields`` minus background; NaN where the latter is missing or not to be believed."""
        first = self.background.fields
        if source.relative:
            return np.subtract(self._relative(source, fields, i), self._relative(source, first, i))
        both = self._pick(source, fields, i), self._pick(source, first, i)
        return np.subtract(*both) / source.scale

    def value(self, source: Source, i: int, fields: Fields) -> np.ndarray:
        """The values of ``fields``, those of the file where there is nothing to change."""
        change = self.change(source, i, fields)
        if source.relative and fields is self.analysis:
            self._changes[source.name, i] = change
        return np.where(np.isnan(change), 0.0, change) + self.old(source, i)

    def increment_of(self, source: Source, i: int) -> np.ndarray:
        known = self._changes.pop((source.name, i), None)
        left_out = change = self.change(source, i, self.analysis) if known is None else known
        if not source.relative:
            change = self._pick(source, self.increment, i) / source.scale
        change = np.where(np.isnan(left_out), 0.0, change)
        return np.where(np.isnan(self.old(source, i)), np.nan, change)

    def has_spread(self, source: Source) -> bool:
        if source.relative and len(self.members) > 1:
            return True
        if self.spread is None:
            return False
        if source.relative:
            return {"q", "t"} <= set(self.spread.upper)
        known = self.spread.surface if source.levels is None else self.spread.upper
        return source.variable in known

    def spread_of(self, source: Source, i: int) -> np.ndarray:
        return np.where(np.isnan(self.old(source, i)), np.nan, self._spread(source, i))

    def _spread(self, source: Source, i: int) -> np.ndarray:
        if source.relative and len(self.members) > 1:
            stack = np.stack([self.value(source, i, m) for m in self.members])
            return stack.std(axis=0, ddof=1)
        assert self.spread is not None
        if not source.relative:
            return self._pick(source, self.spread, i) / source.scale
        assert source.levels is not None
        p = source.levels[i]
        (q, t), (dq, dt) = (
            [self._plane(f.upper, n, source, i) for n in ("q", "t")]
            for f in (self._whole(self.analysis), self.spread)
        )
        saturated = saturation(t)
        here = relative_humidity(q, t, p, saturated)
        by_q = relative_humidity(q + dq, t, p, saturated) - here
        by_t = relative_humidity(q, t + dt, p) - here
        return np.hypot(by_q, by_t) / source.scale

    def _whole(self, fields: Fields) -> Fields:
        """``fields`` with the background's humidity and temperature where they have none."""
        first = self.background.fields.upper
        known = {n: f for f in (first, fields.upper) for n in f}
        upper = Layered(known, fields.levels.size, lambda n, k: plane(known[n], n, k))
        return replace(fields, upper=upper)

    def _plane(
        self, upper: Mapping[str, np.ndarray], name: str, source: Source, i: int
    ) -> np.ndarray:
        assert source.levels is not None
        level = level_index(self.background.fields.levels, source.levels[i : i + 1])[0]
        return np.asarray(plane(upper, name, int(level)), np.float64)

    def _pick(self, source: Source, fields: Fields, i: int) -> np.ndarray:
        if source.levels is None:
            return np.asarray(fields.surface[source.variable], np.float64)
        return self._plane(fields.upper, source.variable, source, i)

    def _relative(self, source: Source, fields: Fields, i: int) -> np.ndarray:
        assert source.levels is not None
        upper = self._whole(fields).upper
        q, t = (self._plane(upper, n, source, i) for n in ("q", "t"))
        return relative_humidity(q, t, source.levels[i]) / source.scale


def with_analysis(outcome: Outcome, beside: bool = True) -> xr.Dataset:
    """The file's data set with the analysis in the place of the background, and with ``beside``
    increment, spread and members (first dimension ``realization``) of each variable."""
    dataset = outcome.background.source.copy()
    for source in outcome.sources:
        _add(dataset, outcome, source, beside)
    if beside and outcome.members:
        numbers = np.arange(len(outcome.members), dtype=np.int32)
        dataset = dataset.assign_coords(
            realization=("realization", numbers, {"standard_name": "realization"})
        )
    return dataset


def _add(dataset: xr.Dataset, outcome: Outcome, source: Source, beside: bool) -> None:
    variable = outcome.background.source[source.name]
    units = str(variable.attrs.get("units", "")) or VARIABLES[source.variable].units
    difference_units = "K" if source.offset and source.scale == 1 else units
    name = str(variable.attrs.get("long_name", source.name))
    own = {k: v for k, v in variable.attrs.items() if k not in _PACKING}

    def put(
        suffix: str, level: Callable[[int], np.ndarray], attrs: Mapping[str, Any], bits: int = 23
    ) -> None:
        make = _assembled(variable, outcome.background, source, level, bits)
        data = Computed(variable.shape, make).lazy
        dataset[source.name + suffix] = (variable.dims, data, dict(attrs))

    put("", lambda i: outcome.value(source, i, outcome.analysis), own)
    if not beside:
        return
    put(
        "_increment",
        lambda i: outcome.increment_of(source, i),
        {"long_name": f"analysis increment of {name}", "units": difference_units},
        _INCREMENT_BITS,
    )
    if outcome.members:
        levels = [partial(outcome.value, source, fields=member) for member in outcome.members]
        makes = [_assembled(variable, outcome.background, source, level) for level in levels]
        several = Computed((len(makes), *variable.shape), lambda: np.stack([m() for m in makes]))
        dataset[source.name + "_members"] = (("realization", *variable.dims), several.lazy, own)
    if outcome.has_spread(source):
        described = {
            "long_name": f"analysis standard deviation of {name}",
            "units": difference_units,
            "cell_methods": "realization: standard_deviation",
        }
        put("_spread", lambda i: outcome.spread_of(source, i), described, _SPREAD_BITS)


def _assembled(
    variable: xr.DataArray,
    background: Background,
    source: Source,
    level: Callable[[int], np.ndarray],
    bits: int = 23,
) -> Callable[[], np.ndarray]:
    """All levels (H, W) on the grid's columns, with the dimensions and columns of the file's
    variable, float32 with ``bits`` of mantissa."""
    axes = background.axes
    order = [
        *([] if source.level_dim is None else [source.level_dim]),
        axes.latitude,
        axes.longitude,
    ]
    transposed = [order.index(str(d)) for d in variable.dims if d in order]

    def make() -> np.ndarray:
        count = 1 if source.level_dim is None else variable.sizes[source.level_dim]
        values = np.empty((count, axes.grid.shape[0], axes.back.size), np.float32)
        for i in range(count):
            values[i] = axes.in_file(level(i))
            if bits < 23:
                values[i] = _rounded(values[i], bits)
        whole = values[0] if source.level_dim is None else values
        return np.transpose(whole, transposed).reshape(variable.shape)

    return make


def _rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """Float32 rounded to ``bits`` of mantissa: what is beyond them is noise that compresses
    badly."""
    whole = values.view(np.int32)
    rounded = (whole + (1 << (22 - bits))) & -(1 << (23 - bits))
    return np.where(np.isfinite(values), rounded.astype(np.int32).view(np.float32), values)


def _with_both_winds(increment: Fields, fields: Fields) -> Fields:
    """``increment`` with zeros for a component of the wind whose other one it has."""
    groups = []
    for own, known in ((increment.upper, fields.upper), (increment.surface, fields.surface)):
        new = dict(own)
        for pair in WINDS:
            if any(n in own for n in pair):
                new |= {n: np.zeros(np.shape(known[n])) for n in pair if n not in own}
        groups.append(new)
    return replace(increment, upper=groups[0], surface=groups[1])
