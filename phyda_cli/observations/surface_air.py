"""The air at the surface of a forecast as observations of humidity need it.

They are compared with specific humidity at 2 m. A forecast that brings a dew point or a relative
humidity instead, as those of ECMWF do, gets it from these.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from phyda_cli.fields.grid import Fields
from phyda_cli.observations.atmosphere import (
    specific_humidity_from_dew_point,
    specific_humidity_from_relative,
    standard_pressure,
)

__all__ = ["surface_pressure", "with_specific_humidity"]


def with_specific_humidity(fields: Fields) -> Fields:
    """``fields`` with q2m, where they have only the dew point or the relative humidity at 2 m and
    the pressure of the surface, or its height."""
    surface, pressure = fields.surface, surface_pressure(fields)
    if "q2m" in surface or pressure is None:
        return fields
    if "d2m" in surface:
        q2m = specific_humidity_from_dew_point(surface["d2m"], pressure)
    elif {"rh2m", "t2m"} <= {*surface}:
        q2m = specific_humidity_from_relative(surface["rh2m"], surface["t2m"], pressure)
    else:
        return fields
    return replace(fields, surface={**surface, "q2m": q2m})


def surface_pressure(fields: Fields) -> np.ndarray | None:
    """Of the air at the surface (H, W) [Pa]."""
    if "sp" in fields.surface:
        return fields.surface["sp"]
    if "orography" in fields.surface:
        return standard_pressure(fields.surface["orography"])
    return None
