"""What a forecast holds and what phyda makes of it, for people to look at before they use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.fields.mesh import Mesh
from phyda_cli.fields.reduced import Reduced
from phyda_cli.fields.remap import present
from phyda_cli.files.worker import apart
from phyda_cli.formats.background import background_of
from phyda_cli.formats.inputs import file_kind, open_forecast
from phyda_cli.formats.recognise import Finding, find_axes, inspect_variables
from phyda_cli.formats.series import Series
from phyda_cli.names import parse_channel

__all__ = ["describe_forecast"]

_TOLERANCE = 1e-3  # of a pressure


@apart()
def describe_forecast(
    path: Path,
    channels: Sequence[str],
    time: np.datetime64 | None = None,
    member: int | str | None = None,
    rename: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """One JSON object: format, grid, times, members, what each field is used as or why it is not,
    and which of a model's ``channels`` are there; of the first time and member unless others are
    given. ``problem`` says why the forecast would be refused.

    Raises InputError where nothing can be said: a damaged file, or a grid phyda cannot read.
    """
    series = open_forecast(path, rename, time)
    with closing(series.frames):
        if not series.valid.size:
            raise InputError(f"{path} holds no frame: no time with a field")
        first = time if time is not None or not series.valid.size else series.valid.min()
        at = np.flatnonzero(series.valid == first)
        label = member if member is not None or not at.size else series.label[at[0]].item()
        index = series.find(first, None, label)
        dataset, _ = series.frames.frame(index)
        axes = find_axes(dataset, path, rename or {})
        findings = inspect_variables(dataset, axes, path, rename or {}, strict=False)
        problem, notes, fields = "", [], None
        try:
            background = background_of(series, index, rename)
            notes, fields = background.notes, background.fields
        except InputError as error:
            problem = f"{error.message}; {error.hint}" if error.hint else error.message
    usable = [] if fields is None else [c for c in channels if _has(fields, c)]
    return {
        "path": str(path),
        "format": {"grib": "GRIB", "netcdf": "NetCDF", "zarr": "Zarr"}[file_kind(path)],
        "grid": _grid(axes.grid) | {"projection": _projection(dataset, axes.grid)},
        "times": _times(series),
        "members": series.labels,
        "shown": str(series.valid[index]),
        "fields": [_field(f, dataset[f.name].attrs) for f in findings],
        "for_the_model": {
            "available": usable,
            "missing": [c for c in channels if c not in usable],
        },
        "notes": [n for n in notes if not n.startswith(("not used:", "time ", "member "))],
        "problem": problem,
    }


def _grid(grid: Grid) -> dict[str, Any]:
    if isinstance(grid, Mesh):
        lat, lon = grid.mesh
        return {
            "rows": grid.shape[0],
            "columns": grid.shape[1],
            "latitude": [float(lat.min()), float(lat.max())],
            "longitude": [float(lon.min()), float(lon.max())],
            "spacing": [round(grid.spacing, 4)] * 2,
            "global": isinstance(grid, Reduced),
        }
    return {
        "rows": grid.shape[0],
        "columns": grid.shape[1],
        "latitude": [float(grid.latitude[0]), float(grid.latitude[-1])],
        "longitude": [float(grid.longitude[0]), float(grid.longitude[-1])],
        "spacing": [
            round(abs(float(np.median(np.diff(x)))), 4) for x in (grid.latitude, grid.longitude)
        ],
        "global": bool(grid.periodic and all(grid.covers_poles)),
    }


def _projection(dataset: xr.Dataset, grid: Grid) -> str:
    """As CF names it, where the file says it."""
    if isinstance(grid, Reduced):
        return "reduced"
    if not isinstance(grid, Mesh):
        return "latitude_longitude"
    stated = (v.attrs.get("grid_mapping_name") for v in dataset.variables.values())
    return next((str(name) for name in stated if name is not None), "two-dimensional")


def _times(series: Series) -> list[dict[str, Any]]:
    pairs = sorted(set(zip(series.valid.tolist(), series.lead.tolist(), strict=True)))
    return [{"valid": f"{valid:%Y-%m-%dT%H:%M}", "lead_hours": lead} for valid, lead in pairs]


def _field(finding: Finding, attributes: Mapping[str, Any]) -> dict[str, Any]:
    source = finding.source
    levels = [] if source is None or source.levels is None else (source.levels / 100).tolist()
    return {
        "name": finding.name,
        "long_name": str(attributes.get("long_name", "")),
        "units": str(attributes.get("units", "")),
        "used_as": None if source is None else source.variable,
        "levels_hpa": [round(p, 4) for p in levels],
        "looks_like": finding.looks_like,
        "reason": finding.reason or None,
        "hint": finding.hint or None,
    }


def _has(fields: Fields, key: str) -> bool:
    """Whether a channel can be had: at a level of the variable or between two."""
    channel = parse_channel(key)
    if channel.pressure is None:
        return channel.variable in fields.surface
    if channel.variable not in fields.upper:
        return False
    levels = fields.levels[present(fields)[channel.variable]]
    low, high = levels.min() * (1 - _TOLERANCE), levels.max() * (1 + _TOLERANCE)
    return bool(low <= channel.pressure <= high)
