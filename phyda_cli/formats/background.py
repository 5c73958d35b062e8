"""The background: one frame of a forecast of any format under canonical names and units, with the
way back to the file's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.layered import is_absent
from phyda_cli.fields.mesh import Mesh, turned
from phyda_cli.files.worker import apart
from phyda_cli.formats.checks import check_fields
from phyda_cli.formats.columns import check_columns
from phyda_cli.formats.inputs import FieldInput, open_forecast
from phyda_cli.formats.recognise import Axes, Source, as_relative, find_axes, find_sources
from phyda_cli.formats.series import Series, canonical, values_of

__all__ = ["Background", "background_of", "level_index", "read_background", "values_of"]


_ALONG_GRID = ("x_wind", "y_wind", "grid_eastward_wind", "grid_northward_wind")


@dataclass(frozen=True, eq=False)
class Background:
    """``fields`` in canonical names and units; ``source`` is the file at that time, every variable
    kept, as the file has it.

    ``fields.levels`` is the union of the levels of all variables. A level that a variable does not
    have is a slice of NaN: ``phyda_cli.fields.remap.present`` tells which slices exist. Single
    points are NaN where the file has none or an impossible value; ``notes`` say how many and where.
    ``sources`` says which variable of the file each field came from (several may share a field,
    such as ``z500`` and ``z850``, or ``gh`` and ``z``), ``axes`` how the columns map; ``time_name``
    is the file's time coordinate, None when it has none; ``notes`` lists what was converted, chosen
    or left out; ``frame`` is the index of the frame in the file, None for a mean of several.
    ``times`` (T,) are all times of the file, sorted; ``empty`` are the variables that it has
    without a value anywhere.
    ``angle`` (H, W) [radians] is that of the file's winds, where they are along the axes of its
    mesh: the winds of ``fields`` are eastward and northward. ``starts`` counts the forecasts of the
    file that are valid at the time, which started at different times.
    """

    path: Path
    fields: Fields
    source: xr.Dataset
    sources: tuple[Source, ...]
    axes: Axes
    time_name: str | None
    notes: list[str] = field(default_factory=list)
    times: tuple[np.datetime64, ...] = ()
    empty: tuple[str, ...] = ()
    frame: int | None = None
    angle: np.ndarray | None = None
    starts: int = 1

    def __getstate__(self) -> dict[str, Any]:
        """Values that ``source`` and ``fields`` have in common go to another process once, and are
        one array there."""
        twice = {
            s.name: s.variable for s in self.sources if _is_stored(self.source, self.fields, s)
        }
        left = self.source.drop_vars(twice)
        layout = {
            n: (self.source[n].dims, self.source[n].shape, self.source[n].attrs) for n in twice
        }
        order = [n for n in self.source.variables if n not in self.source.coords]
        return self.__dict__ | {"source": (left, twice, layout, order)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        left, twice, layout, order = state["source"]
        fields = {**state["fields"].upper, **state["fields"].surface}
        for name, variable in twice.items():
            dims, shape, attrs = layout[name]
            left[name] = (dims, fields[variable].reshape(shape), attrs)
        self.__dict__.update(state | {"source": left[order] if twice else left})


def _sharing(dataset: xr.Dataset, fields: Fields, sources: Sequence[Source]) -> Fields:
    """``fields`` without a second copy of what ``dataset`` has as it is."""
    upper, surface = dict(fields.upper), dict(fields.surface)
    for source in sources:
        if _is_stored(dataset, fields, source):
            group = upper if source.variable in upper else surface
            shape = group[source.variable].shape
            group[source.variable] = dataset[source.name].values.reshape(shape)
    return replace(fields, upper=upper, surface=surface)


def _is_stored(dataset: xr.Dataset, fields: Fields, source: Source) -> bool:
    """Whether the field that ``source`` stands for is the variable of the file as it is."""
    field = fields.surface.get(source.variable, fields.upper.get(source.variable))
    variable = dataset[source.name]
    if field is None or (source.scale, source.offset) != (1, 0) or source.relative:
        return False
    if variable.dtype != field.dtype or variable.size != field.size:
        return False
    if variable.squeeze().shape != field.squeeze().shape:
        return False
    return np.array_equal(variable.values.reshape(field.shape), field, equal_nan=True)


@apart()
def read_background(
    path: FieldInput | str,
    time: np.datetime64 | None = None,
    near: np.datetime64 | None = None,
    rename: Mapping[str, str] | None = None,
    member: int | str | None = None,
    assume: np.datetime64 | None = None,
    start: np.datetime64 | None = None,
) -> Background:
    """Read one time (and one ensemble member) of a GRIB or NetCDF file, a Zarr store or a data set
    in memory; the format is told by content.

    Of several times the one equal to ``time``, else the nearest to ``near``, of several forecasts
    valid then that of ``start``, else the one with the shortest lead; a file that states no
    time is taken as valid at ``time``, else ``assume``. ``rename`` maps the file's variable names
    to canonical ones (or to ``latitude``, ``longitude``, ``level``, ``ignore``). Raises InputError
    for files that are missing, damaged, on an unsupported grid, without known variables or with
    implausible values; UsageError when a time or member must be chosen.
    """
    source = Path(path) if isinstance(path, str) else path
    series = open_forecast(source, rename, assume if time is None else time)
    with closing(series.frames):
        return background_of(series, series.find(time, near, member, start), rename)


def background_of(
    series: Series, index: int, rename: Mapping[str, str] | None = None
) -> Background:
    """Frame ``index`` of ``series`` as a background. Raises as :func:`read_background`."""
    path, rename = series.path, dict(rename or {})
    dataset, left_out = series.frames.frame(index)
    axes = find_axes(dataset, path, rename)
    dataset, shifted = _eastwards(dataset, axes)
    found, doubts = find_sources(dataset, axes, path, rename)
    sources = _humidity(found)
    valid, lead = series.valid[index].astype("datetime64[ns]"), float(series.lead[index])
    fields, absent = _fields(dataset, axes, sources, valid, lead)
    angle = _angle(dataset, axes, sources)
    if angle is not None:
        fields = turned(fields, angle)
        absent = [*absent, "winds along the axes of the grid are turned to the east and north"]
    fields, suspects = check_fields(fields, path, _stated(dataset, sources))
    if not fields.upper and not fields.surface:
        raise InputError(f"{path} has no usable value: {'; '.join(suspects)}")
    check_columns(fields, path)
    fields = _sharing(dataset, fields, sources)
    leftovers = [
        f"{s.name}{suffix}" for s in sources for suffix in ("_increment", "_spread", "_members")
    ]
    return Background(
        path=path,
        fields=fields,
        source=dataset.drop_vars(leftovers, errors="ignore").drop_encoding(),
        sources=tuple(s for s in sources if s.variable in {**fields.upper, **fields.surface}),
        axes=axes,
        time_name=series.time_name,
        notes=[
            *series.notes,
            *_chosen(series, index),
            *left_out,
            *shifted,
            *doubts,
            *_conversions(sources),
            *absent,
            *suspects,
        ],
        times=tuple(np.unique(series.valid).astype("datetime64[ns]")),
        empty=tuple(sorted({s.variable for s in sources} - {*fields.upper, *fields.surface})),
        frame=index,
        angle=angle,
        starts=int(np.unique(series.lead[series.valid == series.valid[index]]).size),
    )


def _eastwards(dataset: xr.Dataset, axes: Axes) -> tuple[xr.Dataset, list[str]]:
    """``dataset`` with longitudes that increase, where those of the file only jump by a circle."""
    name = axes.longitude
    if isinstance(axes.grid, Mesh):
        return dataset, []
    if name not in dataset.variables or not axes.in_order:
        return dataset, []
    values = np.asarray(dataset[name].values, np.float64)
    if np.all(np.diff(values) > 0):
        return dataset, []
    column = dataset[name].copy(data=axes.grid.longitude.astype(dataset[name].dtype))
    note = f"{name} is written from {axes.grid.longitude[0]:g} to {axes.grid.longitude[-1]:g}"
    return dataset.assign_coords({name: column}), [f"{note}, increasing"]


def _angle(dataset: xr.Dataset, axes: Axes, sources: Sequence[Source]) -> np.ndarray | None:
    """The angle of the winds where the file says that they are along the axes of its mesh."""
    if not isinstance(axes.grid, Mesh):
        return None
    winds = [dataset[s.name] for s in sources if s.variable in ("u", "v", "u10", "v10")]
    if "SINALPHA" in dataset and "COSALPHA" in dataset:  # WRF
        sine, cosine = (
            np.asarray(dataset[n].values).reshape(-1, *axes.grid.shape)[0]
            for n in ("SINALPHA", "COSALPHA")
        )
        alpha = np.arctan2(sine, cosine)
        return alpha if winds else None
    along = [str(w.attrs.get("standard_name")) in _ALONG_GRID for w in winds]
    if any(along) and not all(along):
        raise InputError("some winds are along the axes of the grid and others are not")
    return axes.grid.angle if any(along) else None


def _chosen(series: Series, index: int) -> list[str]:
    """Which time and member of several."""
    frames = set(zip(series.valid.tolist(), series.lead.tolist(), strict=True))
    notes = []
    if len(frames) > 1:
        notes.append(f"time {str(series.valid[index])[:16]} of {len(frames)} in the file")
    same = (series.valid == series.valid[index]) & (series.lead == series.lead[index])
    if same.sum() > 1:
        notes.append(f"member {series.label[index]} of {same.sum()}")
    return notes


def _stated(dataset: xr.Dataset, sources: list[Source]) -> dict[str, tuple[Source, str]]:
    """The source of each field, and the units that the file states for it."""
    return {s.variable: (s, str(dataset[s.name].attrs.get("units", ""))) for s in reversed(sources)}


def _humidity(sources: list[Source]) -> list[Source]:
    """Relative humidity stands for specific humidity where there is a temperature to convert it
    with."""
    if not any(s.variable == "t" for s in sources):
        return sources
    converted = [as_relative(s) if s.variable == "r" else s for s in sources]
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


def _canonical(dataset: xr.Dataset, axes: Axes, source: Source, level: int) -> np.ndarray:
    """One level of a variable (H, W)."""
    if source.level_dim is not None:
        dataset = dataset[[source.name]].isel({source.level_dim: level})
    values = values_of(dataset, axes, replace(source, level_dim=None))
    if (source.scale, source.offset) == (1, 0) and values.dtype != np.float32:
        return values.astype(np.float64)
    return canonical(source, values)


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
    """Index of each of ``own`` among ``levels``."""
    return np.abs(np.log(levels[None, :] / own[:, None])).argmin(axis=1)


def _fields(
    dataset: xr.Dataset, axes: Axes, sources: list[Source], valid: np.datetime64, lead: float
) -> tuple[Fields, list[str]]:
    levels = merged_levels(sources)
    upper: dict[str, np.ndarray] = {}
    surface: dict[str, np.ndarray] = {}
    for s in sources:
        if s.levels is None:
            surface.setdefault(s.variable, _canonical(dataset, axes, s, 0))
            continue
        for i, k in enumerate(level_index(levels, s.levels)):
            target = upper.get(s.variable)
            if target is not None and not is_absent(target[k]):
                continue
            values = _canonical(dataset, axes, s, i)
            if s.relative:
                from phyda_cli.formats.humidity import specific_humidity  # loads torch

                values = specific_humidity(values, upper["t"][k], s.levels[i])
            if target is None:
                target = np.full((levels.size, *axes.grid.shape), np.nan, values.dtype)
            kind = np.result_type(target, values)
            upper[s.variable] = target.astype(kind, copy=False)
            upper[s.variable][k] = values
    notes = []
    for name, values in upper.items():
        missing = levels[[is_absent(plane) for plane in values]]
        if missing.size and missing.size < levels.size:
            notes.append(f"{name} is absent at {', '.join(f'{p / 100:g}' for p in missing)} hPa")
    return Fields(axes.grid, valid, levels, upper, surface, lead), notes
