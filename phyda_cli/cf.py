"""CF attributes of coordinates and variables, the same in every file that phyda writes."""

from __future__ import annotations

from phyda_cli.names import VARIABLES

__all__ = [
    "CALENDAR",
    "CONVENTIONS",
    "LATITUDE",
    "LEAD",
    "LEVEL",
    "LONGITUDE",
    "PRESSURE",
    "START",
    "TIME",
    "of_variable",
]

CONVENTIONS = "CF-1.11"
CALENDAR = {"calendar": "standard"}
LATITUDE = {"units": "degrees_north", "standard_name": "latitude", "axis": "Y"}
LONGITUDE = {"units": "degrees_east", "standard_name": "longitude", "axis": "X"}
PRESSURE = {"units": "Pa", "standard_name": "air_pressure", "positive": "down", "axis": "Z"}
LEVEL = PRESSURE | {"units": "hPa"}
TIME = {"standard_name": "time", "axis": "T"}
START = {"standard_name": "forecast_reference_time", "long_name": "initial time of the forecast"}
LEAD = {"standard_name": "forecast_period"}


def of_variable(name: str) -> dict[str, str]:
    """Attributes of the variable with the canonical ``name``."""
    known = VARIABLES[name]
    return {
        "standard_name": known.standard_name,
        "long_name": known.long_name,
        "units": known.units,
    }
