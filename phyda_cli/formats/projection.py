"""The projection of a GRIB field as CF states it: a grid mapping and coordinates along its axes."""

from __future__ import annotations

from typing import Any

from phyda_cli import libproj  # noqa: F401  before ecCodes

# isort: split
import numpy as np
from cfgrib.messages import Message

__all__ = ["GRID_MAPPING", "Projection", "projection_of"]

GRID_MAPPING = "projection"

Projection = tuple[dict[str, Any], dict[str, tuple[np.ndarray, dict[str, str]]]]


def projection_of(message: Message, latitude: np.ndarray, longitude: np.ndarray) -> Projection:
    """Attributes of the grid mapping, and values and attributes of ``x`` and ``y``; both empty for
    a grid that has no projection string in ecCodes, such as a rotated one."""
    import pyproj

    text = message.message_get("projString", default=None)
    if text is None:
        return {}, {}
    crs = pyproj.CRS(text)
    mapping = {k: v for k, v in crs.to_cf().items() if k not in ("crs_wkt", "geographic_crs_name")}
    transform = pyproj.Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True).transform
    x, _ = transform(longitude[0], latitude[0])
    _, y = transform(longitude[:, 0], latitude[:, 0])
    return mapping, {
        name: (
            np.asarray(values),
            {"standard_name": f"projection_{name}_coordinate", "units": "m", "axis": name.upper()},
        )
        for name, values in (("x", x), ("y", y))
    }
