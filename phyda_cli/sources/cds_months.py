"""ERA5 from the Climate Data Store a month at a time: two GRIB requests, and the NetCDF file made
of their fields."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from phyda_cli.constants import GRAVITY
from phyda_cli.errors import InputError, UsageError
from phyda_cli.formats.grib_messages import GribField, grib_fields
from phyda_cli.names import STATICS, VARIABLES, canonical_variable
from phyda_cli.settings.data import DownloadSettings
from phyda_cli.sources.cds import Cds
from phyda_cli.sources.field_file import Layout, write
from phyda_cli.sources.pieces import Advance, Cost, Piece
from phyda_cli.sources.selection import Area, columns_of, month_times, months_of, rows_of

__all__ = ["cds_cost", "cds_pieces"]

_AHEAD = 4  # months whose requests wait in the queue at the same time
_GRIB_BYTES = 2  # a value in GRIB, packed into 16 bits
_NAMES = {
    "z": "geopotential",
    "t": "temperature",
    "q": "specific_humidity",
    "u": "u_component_of_wind",
    "v": "v_component_of_wind",
    "r": "relative_humidity",
    "w": "vertical_velocity",
    "msl": "mean_sea_level_pressure",
    "sp": "surface_pressure",
    "t2m": "2m_temperature",
    "d2m": "2m_dewpoint_temperature",
    "u10": "10m_u_component_of_wind",
    "v10": "10m_v_component_of_wind",
    "orography": "geopotential",
    "lsm": "land_sea_mask",
}


def cds_pieces(
    cds: Cds, settings: DownloadSettings, step: float, attributes: dict[str, str]
) -> list[Piece]:
    """A file for every month, on the grid of ``step`` degrees. Raises UsageError for variables ERA5
    has not."""
    unknown = [v for v in settings.variables if v not in _NAMES]
    if unknown:
        raise UsageError(
            f"--variables {','.join(unknown)}: the Climate Data Store has {', '.join(_NAMES)}"
        )
    months = months_of(settings.years)
    layouts = [_layout(settings, month_times(*m, settings.hours), step, attributes) for m in months]
    requests = [
        _requests(layout, m, settings, step) for layout, m in zip(layouts, months, strict=True)
    ]
    names = [f"analysis_{year}-{month:02d}.nc" for year, month in months]
    queue = list(zip(names, requests, strict=True))

    def piece(i: int) -> Piece:
        def make(path: Path, advance: Advance) -> None:
            for name, each in queue[i : i + _AHEAD]:
                if name == path.name or not path.with_name(name).exists():
                    for dataset, request in each.items():
                        cds.submit(dataset, request, _beside(path.with_name(name), dataset, "job"))
            _month(cds, path, requests[i], layouts[i], settings.area is None, advance)

        return Piece(names[i], layouts[i], make)

    return [piece(i) for i in range(len(months))]


def cds_cost(pieces: Sequence[Piece]) -> Cost:
    """Two requests a month; GRIB over the network; NetCDF, and a month of GRIB, on disk."""
    sizes = [p.layout.nbytes for p in pieces]
    packed = _GRIB_BYTES / 4
    return Cost(
        2 * len(pieces),
        round(packed * sum(sizes)),
        sum(sizes) + round(packed * max(sizes, default=0)),
    )


def _layout(
    settings: DownloadSettings, times: np.ndarray, step: float, attributes: dict[str, str]
) -> Layout:
    lat, lon = np.arange(90, -90 - step / 2, -step), np.arange(0, 360 - step / 2, step)
    upper, surface = (
        tuple(v for v in settings.variables if VARIABLES[v].surface is flag and v not in STATICS)
        for flag in (False, True)
    )
    levels = np.array(settings.levels if upper else (), float)
    rows, (_, chosen) = lat[rows_of(lat, settings.area)], columns_of(lon, settings.area)
    return Layout(times, levels, rows, chosen, upper, surface, STATICS, attributes, expver=True)


def _requests(
    layout: Layout, month: tuple[int, int], settings: DownloadSettings, step: float
) -> dict[str, dict[str, Any]]:
    """The inputs of the requests of a month by data set. The area's edges are grid points, so that
    the store has nothing to round."""
    days = sorted({str(t)[8:10] for t in layout.times})
    common: dict[str, Any] = {
        "product_type": ["reanalysis"],
        "year": [f"{month[0]}"],
        "month": [f"{month[1]:02d}"],
        "day": days,
        "time": [f"{h:02d}:00" for h in settings.hours],
        "data_format": "grib",
        "download_format": "unarchived",
        "grid": [step, step],
    }
    if settings.area is not None:
        edges = (layout.latitude[0], layout.longitude[0], layout.latitude[-1], layout.longitude[-1])
        common["area"] = [round(float(e), 4) for e in edges]
    single = {**common, "variable": [_NAMES[v] for v in (*layout.surface, *layout.statics)]}
    requests = {"reanalysis-era5-single-levels": single}
    if layout.upper:
        upper = {
            **common,
            "variable": [_NAMES[v] for v in layout.upper],
            "pressure_level": [f"{p:g}" for p in layout.levels],
        }
        requests["reanalysis-era5-pressure-levels"] = upper
    return requests


def _beside(path: Path, dataset: str, suffix: str) -> Path:
    return path.with_name(f".{path.stem}.{dataset}.{suffix}")


def _month(
    cds: Cds,
    path: Path,
    requests: dict[str, dict[str, Any]],
    layout: Layout,
    everywhere: bool,
    advance: Advance,
) -> None:
    gribs = [_beside(path, dataset, "grib") for dataset in requests]
    records = [_beside(path, dataset, "job") for dataset in requests]
    for (dataset, request), grib, record in zip(requests.items(), gribs, records, strict=True):
        cds.retrieve(dataset, request, grib, record)
    area = None if everywhere else _edges(layout)
    try:
        write(path, layout, partial(_fill, gribs=gribs, layout=layout, area=area, advance=advance))
    except InputError:
        for (
            grib
        ) in gribs:  # damaged, or not what was asked for: the next attempt is not to find them
            grib.unlink()
        raise
    for used in (*gribs, *records):
        used.unlink()


def _fill(
    file: netCDF4.Dataset,
    gribs: Sequence[Path],
    layout: Layout,
    area: Area | None,
    advance: Advance,
) -> None:
    """Put every field in its place; fields that were not asked for are left out."""
    times = {t: i for i, t in enumerate(layout.times)}
    levels = {p: i for i, p in enumerate(layout.levels)}
    versions = np.zeros(layout.length, np.int16)
    for grib in gribs:
        for field in grib_fields(grib):
            name, scale = _variable(field)
            i = times.get(field.valid)
            place: tuple[Any, ...] | None = None
            if name in layout.upper and field.level in levels:
                place = (i, levels[field.level])
            elif name in (*layout.surface, *layout.statics) and field.level is None:
                place = (i,) if name in layout.surface else (...,)
            if name is None or i is None or place is None:
                continue
            rows, (columns, _) = rows_of(field.latitude, area), columns_of(field.longitude, area)
            values = scale * field.values[np.ix_(rows, columns)]
            if values.shape != (layout.latitude.size, layout.longitude.size):
                raise InputError(
                    f"{grib}: {name} has {values.shape} points, asked for "
                    f"{(layout.latitude.size, layout.longitude.size)}"
                )
            file[name][place] = values
            versions[i] = max(versions[i], field.version)
            advance(values.nbytes)
    file["expver"][:] = versions


def _edges(layout: Layout) -> Area:
    lat, lon = layout.latitude, layout.longitude
    return float(lat[0]), float(lon[0]), float(lat[-1]), float(lon[-1])


def _variable(field: GribField) -> tuple[str | None, float]:
    """Canonical name of a field and the factor to canonical units."""
    if field.level is None and field.name == "z":
        return "orography", 1 / GRAVITY
    return canonical_variable(field.name), 1.0
