"""The projection of a GRIB field as CF states it: a grid mapping and coordinates along its axes."""

from __future__ import annotations

from typing import Any

from phyda_cli import libproj  # noqa: F401  before ecCodes

# isort: split
import numpy as np
from cfgrib.messages import Message

__all__ = ["GRID_MAPPING", "Projection", "projection_of", "scanned_backwards"]

GRID_MAPPING = "projection"

Projection = tuple[dict[str, Any], dict[str, tuple[np.ndarray, dict[str, str]]]]


def projection_of(message: Message, latitude: np.ndarray, longitude: np.ndarray) -> Projection:
    """Attributes of the grid mapping, and values and attributes of ``y`` and ``x``, of a rotated
    grid ``rlat`` and ``rlon``; both empty for a grid that ecCodes has no projection string of."""
    if str(message.message_get("gridType")).startswith("rotated"):
        return _rotated(message, latitude, longitude)
    import pyproj

    text = message.message_get("projString", default=None)
    if text is None:
        return {}, {}
    crs = pyproj.CRS(text)
    mapping = {k: v for k, v in crs.to_cf().items() if k not in ("crs_wkt", "geographic_crs_name")}
    if mapping.get("grid_mapping_name") == "polar_stereographic":
        pole = float(np.copysign(90.0, mapping.get("standard_parallel", 90.0)))
        mapping.setdefault("latitude_of_projection_origin", pole)
    transform = pyproj.Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True).transform
    x, _ = transform(longitude[0], latitude[0])
    _, y = transform(longitude[:, 0], latitude[:, 0])
    return mapping, {
        name: (
            np.asarray(values),
            {"standard_name": f"projection_{name}_coordinate", "units": "m", "axis": name.upper()},
        )
        for name, values in (("y", y), ("x", x))
    }


def scanned_backwards(message: Message) -> tuple[np.ndarray, np.ndarray] | None:
    """Latitude and longitude (H, W) of a projected grid whose points lie west of or below the first
    one, columns along the x axis; None for any other.

    ecCodes lays such a grid to the east and upwards of its first point.
    """
    import pyproj

    west = bool(message.message_get("iScansNegatively", default=0))
    down = not message.message_get("jScansPositively", default=1)
    text = message.message_get("projString", default=None)
    if text is None or not (west or down):
        return None
    names = ("DiInMetres", "DjInMetres") if "merc" in text else ("DxInMetres", "DyInMetres")
    dx, dy = (float(message.message_get(name)) for name in names)
    lon, lat = (
        float(message.message_get(f"{name}OfFirstGridPointInDegrees"))
        for name in ("longitude", "latitude")
    )
    crs = pyproj.CRS(text)
    transformer = pyproj.Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True)
    x0, y0 = transformer.transform(lon, lat)
    columns = np.arange(int(message.message_get("Ni")))
    x = x0 + dx * (columns - columns[-1] if west else columns)
    y = y0 + (-dy if down else dy) * np.arange(int(message.message_get("Nj")))
    across, along = np.meshgrid(x, y)
    longitude, latitude = transformer.transform(across, along, direction="INVERSE")
    return np.asarray(latitude), np.asarray(longitude)


def _rotated(message: Message, latitude: np.ndarray, longitude: np.ndarray) -> Projection:
    """With the terms of CF: the pole of the rotated grid that is the north one there."""
    if message.message_get("angleOfRotation", default=0):
        return {}, {}
    pole = -float(message.message_get("latitudeOfSouthernPoleInDegrees"))
    meridian = float(message.message_get("longitudeOfSouthernPoleInDegrees")) % 360 - 180
    mapping = {
        "grid_mapping_name": "rotated_latitude_longitude",
        "grid_north_pole_latitude": pole,
        "grid_north_pole_longitude": meridian,
        "north_pole_grid_longitude": 0.0,
    }
    lat, lon, top = (np.deg2rad(a) for a in (latitude, longitude - meridian, pole))
    up = np.sin(lat) * np.sin(top) + np.cos(lat) * np.cos(top) * np.cos(lon)
    along = np.sin(lat) * np.cos(top) - np.cos(lat) * np.sin(top) * np.cos(lon)
    rows = np.rad2deg(np.arcsin(np.clip(up[:, 0], -1, 1)))
    columns = np.unwrap(np.rad2deg(np.arctan2(-np.cos(lat) * np.sin(lon), along)[0]), period=360)
    return mapping, {
        "rlat": (rows, {"standard_name": "grid_latitude", "units": "degrees", "axis": "Y"}),
        "rlon": (columns, {"standard_name": "grid_longitude", "units": "degrees", "axis": "X"}),
    }
