"""Forecasts on the grids of regional and spectral models, as GRIB and as WRF's NetCDF."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import eccodes
import numpy as np
import pyproj
import xarray as xr

LEVELS = (850, 500)
MEANS = {"t": (285.0, 262.0), "u": (8.0, 20.0), "v": (-5.0, -12.0)}
WRF = pyproj.CRS("+proj=lcc +lat_1=38.5 +lat_2=38.5 +lat_0=38.5 +lon_0=-97.5 +R=6370000")

_PROJECTED = {
    "Ni": 11,
    "Nj": 9,
    "shapeOfTheEarth": 6,
    "resolutionAndComponentFlags": 8,
    "DxInMetres": 100_000,
    "DyInMetres": 100_000,
    "jScansPositively": 1,
}
_LAMBERT = {
    "gridType": "lambert",
    "LoVInDegrees": 262.5,
    "LaDInDegrees": 38.5,
    "Latin1InDegrees": 38.5,
    "Latin2InDegrees": 38.5,
    **_PROJECTED,
}
_POLAR = {
    "gridType": "polar_stereographic",
    "LaDInDegrees": 60,
    "orientationOfTheGridInDegrees": 249,
    **_PROJECTED,
}
_ROTATED = {
    "gridType": "rotated_ll",
    "Ni": 11,
    "Nj": 9,
    "resolutionAndComponentFlags": 56,
    "latitudeOfFirstGridPointInDegrees": -4,
    "longitudeOfFirstGridPointInDegrees": 355,
    "latitudeOfLastGridPointInDegrees": 4,
    "longitudeOfLastGridPointInDegrees": 5,
    "iDirectionIncrementInDegrees": 1,
    "jDirectionIncrementInDegrees": 1,
    "latitudeOfSouthernPoleInDegrees": -40,
    "longitudeOfSouthernPoleInDegrees": 10,
    "jScansPositively": 1,
    "shapeOfTheEarth": 6,
}
GRIDS: dict[str, dict[str, Any]] = {
    "lambert": _LAMBERT
    | {"latitudeOfFirstGridPointInDegrees": 30, "longitudeOfFirstGridPointInDegrees": 245},
    "lambert from the east": _LAMBERT
    | {"latitudeOfFirstGridPointInDegrees": 30, "longitudeOfFirstGridPointInDegrees": 280}
    | {"iScansNegatively": 1},
    "lambert from the north": _LAMBERT
    | {"latitudeOfFirstGridPointInDegrees": 45, "longitudeOfFirstGridPointInDegrees": 250}
    | {"jScansPositively": 0},
    "lambert in alternating rows": _LAMBERT
    | {"latitudeOfFirstGridPointInDegrees": 30, "longitudeOfFirstGridPointInDegrees": 245}
    | {"alternativeRowScanning": 1},
    "polar stereographic over the pole": _POLAR
    | {"latitudeOfFirstGridPointInDegrees": 84, "longitudeOfFirstGridPointInDegrees": 204},
    "polar stereographic over the date line": _POLAR
    | {"latitudeOfFirstGridPointInDegrees": 55, "longitudeOfFirstGridPointInDegrees": 176},
    "rotated": _ROTATED,
    "rotated from the east": _ROTATED
    | {"longitudeOfFirstGridPointInDegrees": 5, "longitudeOfLastGridPointInDegrees": 355}
    | {"iScansNegatively": 1},
    "reduced": {"sample": "reduced_gg_pl_32_grib2"},
}


def grib(path: Path, grid: Mapping[str, Any]) -> Path:
    """t, u and v on two levels; the winds are along the axes of a projected or rotated grid."""
    rng = np.random.default_rng(3)
    keys = dict(grid)
    sample = keys.pop("sample", "GRIB2")
    with open(path, "wb") as file:
        for name, means in MEANS.items():
            for level, mean in zip(LEVELS, means, strict=True):
                handle = eccodes.codes_grib_new_from_samples(sample)
                stated = {"shortName": name, "typeOfLevel": "isobaricInhPa", "level": level}
                when = {"dataDate": 20200615, "dataTime": 1200, "packingType": "grid_simple"}
                for key, value in (keys | when | stated | {"bitsPerValue": 24}).items():
                    eccodes.codes_set(handle, key, value)
                count = keys["Ni"] * keys["Nj"] if keys else 6114
                eccodes.codes_set_values(handle, mean + 3 * rng.normal(size=count))
                eccodes.codes_write(handle, file)
                eccodes.codes_release(handle)
    return path


def wrf(path: Path) -> Path:
    """WRF on pressure levels, with SINALPHA and COSALPHA as WPS makes them: the angle of the grid's
    y axis from the north."""
    x, y = 50_000.0 * np.arange(-6, 6), 50_000.0 * np.arange(-5, 6)
    to_earth = pyproj.Transformer.from_crs(WRF, WRF.geodetic_crs, always_xy=True)
    lon, lat = to_earth.transform(*np.meshgrid(x, y))
    alpha = np.deg2rad(lon + 97.5) * np.sin(np.deg2rad(38.5))
    rng, horizontal = np.random.default_rng(4), ("south_north", "west_east")
    data = {
        name: (
            ("Time", "pressure", *horizontal),
            (np.array(means)[:, None, None] + 3 * rng.normal(size=(2, *lat.shape))).astype("f4")[
                None
            ],
            {"units": "K" if name == "t" else "m s-1"},
        )
        for name, means in MEANS.items()
    }
    for name, values, units in (
        ("XLAT", lat, "degree_north"),
        ("XLONG", lon, "degree_east"),
        ("SINALPHA", -np.sin(alpha), ""),
        ("COSALPHA", np.cos(alpha), ""),
    ):
        data[name] = (("Time", *horizontal), values.astype("f4")[None], {"units": units})
    coords = {
        "pressure": ("pressure", np.array(LEVELS, float), {"units": "hPa"}),
        "Time": ("Time", [np.datetime64("2020-06-15T12:00", "ns")]),
    }
    xr.Dataset(data, coords).to_netcdf(path, engine="netcdf4")
    return path
