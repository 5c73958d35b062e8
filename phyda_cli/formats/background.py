"""The background: one time of a NetCDF or GRIB file under canonical names and units, with the way
back to the file's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from phyda_cli.fields.grid import Fields
from phyda_cli.formats.checks import check_fields
from phyda_cli.formats.grib import read_grib
from phyda_cli.formats.humidity import specific_humidity
from phyda_cli.formats.netcdf import file_kind, read_netcdf
from phyda_cli.formats.recognise import Axes, Source, find_axes, find_sources

__all__ = ["Background", "read_background"]


@dataclass(frozen=True, eq=False)
class Background:
    """``fields`` in canonical names and units; ``source`` is the file at that time, every variable
    kept, as the file has it.

    ``fields.levels`` is the union of the levels of all variables. A level that a variable does not
    have is a slice of NaN, and NaN appears nowhere else: ``phyda_cli.fields.remap.present`` tells
    which slices exist. ``sources`` says which variable of the file each field came from (several
    may share a field, such as ``z500`` and ``z850``, or ``gh`` and ``z``), ``axes`` how the columns
    map; ``time_name`` is the file's time coordinate, None when it has none; ``notes`` lists what
    was converted, chosen or left out.
    """

    path: Path
    fields: Fields
    source: xr.Dataset
    sources: tuple[Source, ...]
    axes: Axes
    time_name: str | None
    notes: list[str] = field(default_factory=list)


def read_background(
    path: Path | str,
    time: np.datetime64 | None = None,
    near: np.datetime64 | None = None,
    rename: Mapping[str, str] | None = None,
    member: int | None = None,
    assume: np.datetime64 | None = None,
) -> Background:
    """Read one time (and one ensemble member) of a GRIB or NetCDF file; the format is told by
    content.

    Of several times the one equal to ``time``, else the nearest to ``near``; a file that states no
    time is taken as valid at ``time``, else ``assume``. ``rename`` maps the file's variable names
    to canonical ones (or to ``latitude``, ``longitude``, ``level``). Raises InputError for files
    that are missing, damaged, on an unsupported grid, without known variables, with missing values
    or implausible ones; UsageError when a time or member must be chosen.
    """
    path, rename = Path(path), dict(rename or {})
    if file_kind(path) == "grib":
        dataset, valid, lead, time_name, notes = read_grib(path, time, near, member)
    else:
        dataset, valid, lead, time_name, notes = read_netcdf(path, time, near, member, assume)
    axes = find_axes(dataset, path, rename)
    found, doubts = find_sources(dataset, axes, path, rename)
    sources = _humidity(found)
    fields, filled = _fields(dataset, axes, sources, valid, lead)
    check_fields(fields, path, {s.variable: s.name for s in reversed(sources)})
    leftovers = [
        f"{s.name}{suffix}" for s in sources for suffix in ("_increment", "_spread", "_members")
    ]
    source = dataset.drop_vars(leftovers, errors="ignore")
    return Background(
        path,
        fields,
        source,
        tuple(sources),
        axes,
        time_name,
        [*notes, *doubts, *_conversions(sources), *filled],
    )


def _humidity(sources: list[Source]) -> list[Source]:
    """Relative humidity stands for specific humidity where there is a temperature to convert it
    with."""
    if not any(s.variable == "t" for s in sources):
        return sources
    converted = [
        Source("q", s.name, s.scale, s.offset, s.levels, s.level_dim, relative=True)
        if s.variable == "r"
        else s
        for s in sources
    ]
    return sorted(converted, key=lambda s: s.relative)  # specific humidity as such comes first


def _conversions(sources: list[Source]) -> list[str]:
    linear = [s for s in sources if (s.scale, s.offset) != (1, 0) and not s.relative]
    notes = [
        f"{s.name} → {s.variable}: × {s.scale:.6g}" + (f" + {s.offset:g}" if s.offset else "")
        for s in linear
    ]
    return notes + [
        f"{s.name} → q: relative humidity over the IFS mix of water and ice"
        for s in sources
        if s.relative
    ]


def values_of(dataset: xr.Dataset, axes: Axes, source: Source) -> np.ndarray:
    """The values of a variable as the file has them, on the columns of the grid: (L, H, W), or (H,
    W) without ``level_dim``."""
    variable = dataset[source.name]
    order = [*([source.level_dim] if source.level_dim else []), axes.latitude, axes.longitude]
    single = {d: 0 for d in variable.dims if d not in order}
    return np.asarray(variable.isel(single).transpose(*order).values)[..., axes.take]


def _canonical(dataset: xr.Dataset, axes: Axes, source: Source) -> np.ndarray:
    values = values_of(dataset, axes, source)
    if (source.scale, source.offset) == (1, 0) and values.dtype == np.float32:
        return values
    return source.scale * values.astype(np.float64) + source.offset


def merged_levels(sources: list[Source]) -> np.ndarray:
    """All levels [Pa]: in the file's order when every variable on levels has the same, else
    increasing; equal to within 0.1 %."""
    axes = [s.levels for s in sources if s.levels is not None]
    if not axes:
        return np.zeros(0)
    if all(np.array_equal(a, axes[0]) for a in axes):
        return axes[0]
    values = np.sort(np.concatenate(axes))
    return values[np.concatenate([[True], np.diff(values) > 1e-3 * values[:-1]])]


def level_index(levels: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Place of each of ``own`` among ``levels``."""
    return np.abs(np.log(levels[None, :] / own[:, None])).argmin(axis=1)


def _fields(
    dataset: xr.Dataset, axes: Axes, sources: list[Source], valid: np.datetime64, lead: float
) -> tuple[Fields, list[str]]:
    levels = merged_levels(sources)
    upper: dict[str, np.ndarray] = {}
    surface: dict[str, np.ndarray] = {}
    for s in sources:
        values = _canonical(dataset, axes, s)
        if s.levels is None:
            surface.setdefault(s.variable, values)
            continue
        index = level_index(levels, s.levels)
        values = values.reshape(index.size, *axes.grid.shape)
        if s.relative:
            values = specific_humidity(values, upper["t"][index], s.levels[:, None, None])
        if s.variable not in upper:
            upper[s.variable] = np.full((levels.size, *axes.grid.shape), np.nan, values.dtype)
        target = upper[s.variable] = upper[s.variable].astype(
            np.result_type(upper[s.variable], values), copy=False
        )
        absent = np.isnan(target[index]).all(axis=(1, 2))
        target[index[absent]] = values[absent]
    notes = []
    for name, values in upper.items():
        missing = levels[np.isnan(values).all(axis=(1, 2))]
        if missing.size and missing.size < levels.size:
            notes.append(f"{name} is absent at {', '.join(f'{p / 100:g}' for p in missing)} hPa")
    return Fields(axes.grid, valid, levels, upper, surface, lead), notes
