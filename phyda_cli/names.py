"""The one table of variables: names, units, aliases, plausible ranges and default observation
errors.

Every reader, operator and writer looks here and nowhere else. Canonical units are SI; pressure is
Pa.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "COORDINATES",
    "OBSERVABLES",
    "STATICS",
    "VARIABLES",
    "Channel",
    "Variable",
    "canonical_coordinate",
    "canonical_observable",
    "canonical_variable",
    "default_error",
    "interpolate_error",
    "parse_channel",
]

STATICS = ("orography", "lsm")  # fields that have no time
Errors = tuple[tuple[float, float], ...] | float


@dataclass(frozen=True)
class Variable:
    """One physical quantity.

    ``valid_range`` holds values no real report or field can leave [units]; ``errors`` is the
    default observation error standard deviation [units] as (pressure in hPa, error) knots,
    interpolated in log pressure, or one number.
    """

    name: str
    standard_name: str
    units: str
    long_name: str
    aliases: tuple[str, ...]
    valid_range: tuple[float, float]
    errors: Errors
    surface: bool = False
    vector: bool = False


def _upper(
    name: str,
    standard: str,
    units: str,
    long_name: str,
    aliases: str,
    valid: tuple[float, float],
    errors: Errors,
    vector: bool = False,
) -> Variable:
    return Variable(
        name, standard, units, long_name, tuple(aliases.split()), valid, errors, False, vector
    )


def _surface(
    name: str,
    standard: str,
    units: str,
    long_name: str,
    aliases: str,
    valid: tuple[float, float],
    error: float,
    vector: bool = False,
) -> Variable:
    return Variable(
        name, standard, units, long_name, tuple(aliases.split()), valid, error, True, vector
    )


_WIND_ERRORS = ((10.0, 3.0), (250.0, 2.8), (500.0, 2.1), (850.0, 1.6), (1000.0, 1.6))

_TABLE = (
    _upper(
        "z",
        "geopotential",
        "m2 s-2",
        "geopotential",
        "geopotential phi fi",
        (-8e3, 7e5),
        (
            (10.0, 450.0),
            (100.0, 220.0),
            (250.0, 150.0),
            (500.0, 100.0),
            (850.0, 60.0),
            (1000.0, 50.0),
        ),
    ),
    _upper(
        "gh",
        "geopotential_height",
        "m",
        "geopotential height",
        "geopotential_height hgt zg height_pl",
        (-800.0, 7e4),
        ((10.0, 45.0), (100.0, 22.0), (250.0, 15.0), (500.0, 10.0), (850.0, 6.0), (1000.0, 5.0)),
    ),
    _upper(
        "t",
        "air_temperature",
        "K",
        "temperature",
        "temperature ta air_temperature tmp temp air",
        (130.0, 345.0),
        ((10.0, 1.6), (100.0, 1.2), (300.0, 1.0), (850.0, 1.0), (1000.0, 1.3)),
    ),
    _upper(
        "u",
        "eastward_wind",
        "m s-1",
        "eastward wind",
        "u_component_of_wind ua uwnd ugrd eastward_wind",
        (-150.0, 150.0),
        _WIND_ERRORS,
        True,
    ),
    _upper(
        "v",
        "northward_wind",
        "m s-1",
        "northward wind",
        "v_component_of_wind va vwnd vgrd northward_wind",
        (-150.0, 150.0),
        _WIND_ERRORS,
        True,
    ),
    _upper(
        "q",
        "specific_humidity",
        "kg kg-1",
        "specific humidity",
        "specific_humidity hus shum spfh",
        (0.0, 0.04),
        (
            (100.0, 2e-6),
            (200.0, 1.5e-5),
            (300.0, 8e-5),
            (500.0, 4e-4),
            (700.0, 9e-4),
            (850.0, 1.2e-3),
            (1000.0, 1.5e-3),
        ),
    ),
    _upper(
        "r",
        "relative_humidity",
        "%",
        "relative humidity",
        "relative_humidity hur rhum rh",
        (0.0, 160.0),
        12.0,
    ),
    _upper(
        "w",
        "lagrangian_tendency_of_air_pressure",
        "Pa s-1",
        "vertical velocity",
        "vertical_velocity wap omega vvel",
        (-60.0, 60.0),
        0.5,
    ),
    _surface(
        "msl",
        "air_pressure_at_mean_sea_level",
        "Pa",
        "mean sea level pressure",
        "mean_sea_level_pressure prmsl mslp mslet psl slp mslma pmsl",
        (85000.0, 110000.0),
        100.0,
    ),
    _surface(
        "sp",
        "surface_air_pressure",
        "Pa",
        "surface pressure",
        "surface_pressure ps pres_sfc psfc",
        (45000.0, 110000.0),
        100.0,
    ),
    _surface(
        "t2m",
        "air_temperature",
        "K",
        "2 metre temperature",
        "2t 2m_temperature tas var_2t t2 t_2m tmp_2m",
        (180.0, 335.0),
        1.6,
    ),
    _surface(
        "d2m",
        "dew_point_temperature",
        "K",
        "2 metre dew point temperature",
        "2d 2m_dewpoint_temperature tdps td2m var_2d dpt_2m",
        (150.0, 315.0),
        2.0,
    ),
    _surface(
        "rh2m",
        "relative_humidity",
        "%",
        "2 metre relative humidity",
        "2r r2 hurs rh_2m",
        (0.0, 110.0),
        12.0,
    ),
    _surface(
        "q2m",
        "specific_humidity",
        "kg kg-1",
        "2 metre specific humidity",
        "2q 2sh sh2 huss q2 spfh_2m",
        (0.0, 0.04),
        1.5e-3,
    ),
    _surface(
        "u10",
        "eastward_wind",
        "m s-1",
        "10 metre eastward wind",
        "10u 10m_u_component_of_wind uas var_10u u10m",
        (-90.0, 90.0),
        2.0,
        True,
    ),
    _surface(
        "v10",
        "northward_wind",
        "m s-1",
        "10 metre northward wind",
        "10v 10m_v_component_of_wind vas var_10v v10m",
        (-90.0, 90.0),
        2.0,
        True,
    ),
    _surface(
        "wind_speed",
        "wind_speed",
        "m s-1",
        "wind speed",
        "ws ff sknt wspd 10si si10 windspeed",
        (0.0, 150.0),
        2.0,
    ),
    _surface(
        "wind_direction",
        "wind_from_direction",
        "degree",
        "wind from direction",
        "wd dd drct wdir winddir",
        (0.0, 360.0),
        15.0,
    ),
    _surface(
        "qnh",
        "barometric_altimeter_setting",
        "Pa",
        "altimeter setting",
        "alti altimeter altimeter_setting",
        (85000.0, 110000.0),
        100.0,
    ),
    _surface(
        "orography",
        "surface_altitude",
        "m",
        "surface altitude",
        "orog hgt_sfc topo elevation surface_altitude oro",
        (-600.0, 9000.0),
        1.0,
    ),
    _surface(
        "lsm",
        "land_area_fraction",
        "1",
        "land-sea mask",
        "land_sea_mask sftlf land_binary_mask",
        (0.0, 1.0),
        1.0,
    ),
)

VARIABLES: dict[str, Variable] = {v.name: v for v in _TABLE}

_OBSERVED = (
    _upper(
        "td",
        "dew_point_temperature",
        "K",
        "dew point temperature",
        "dewpoint dew_point dewpoint_temperature dew_point_temperature dewp dwpt",
        (150.0, 315.0),
        2.0,
    ),
    _upper(
        "tv",
        "virtual_temperature",
        "K",
        "virtual temperature",
        "virtual_temperature virtualtemperature",
        (130.0, 350.0),
        ((10.0, 1.6), (100.0, 1.2), (300.0, 1.0), (850.0, 1.0), (1000.0, 1.3)),
    ),
    _surface(
        "tv2m",
        "virtual_temperature",
        "K",
        "2 metre virtual temperature",
        "virtual_temperature_2m",
        (180.0, 340.0),
        1.6,
    ),
    _upper(
        "thickness",
        "atmosphere_layer_thickness_expressed_as_geopotential_height_difference",
        "m",
        "thickness of a layer",
        "layer_thickness",
        (0.0, 4e4),
        15.0,
    ),
    _surface(
        "tcwv",
        "atmosphere_mass_content_of_water_vapor",
        "kg m-2",
        "total column water vapour",
        "total_column_water_vapour pwat prw iwv precipitable_water",
        (0.0, 100.0),
        2.0,
    ),
)

OBSERVABLES: dict[str, Variable] = {k: v for k, v in VARIABLES.items() if k not in STATICS} | {
    v.name: v for v in _OBSERVED
}
"""Every quantity an observation may be of: a field's, or one that follows from several fields."""

COORDINATES: dict[str, tuple[str, ...]] = {
    "latitude": ("latitude", "lat", "nav_lat", "y_lat", "g0_lat_1"),
    "longitude": ("longitude", "lon", "long", "nav_lon", "x_lon", "g0_lon_2"),
    "level": (
        "level",
        "plev",
        "isobaricinhpa",
        "isobaricinpa",
        "pressure_level",
        "pressure",
        "lev",
        "air_pressure",
        "isobaric",
    ),
    "time": ("time", "valid_time", "date", "datetime"),
    "member": ("member", "realization", "number", "ensemble", "ens"),
    "step": ("step", "prediction_timedelta", "leadtime", "lead_time", "forecast_period"),
}

_ALIASES: dict[str, str] = {alias: v.name for v in _TABLE for alias in (v.name, *v.aliases)}
_OBSERVED_ALIASES: dict[str, str] = {
    alias: v.name for v in _OBSERVED for alias in (v.name, *v.aliases)
}
_COORDINATE_ALIASES: dict[str, str] = {
    alias: name for name, aliases in COORDINATES.items() for alias in aliases
}


def canonical_variable(name: str) -> str | None:
    """Canonical short name of ``name`` (any case), or None when the table does not know it."""
    return _ALIASES.get(name.strip().lower())


def canonical_observable(name: str) -> str | None:
    """Canonical name of an observed quantity (any case and alias), or None."""
    key = name.strip().lower()
    found = _OBSERVED_ALIASES.get(key) or _ALIASES.get(key)
    return found if found in OBSERVABLES else None


def canonical_coordinate(name: str) -> str | None:
    """``latitude``, ``longitude``, ``level``, ``time``, ``member`` or ``step``, or None."""
    return _COORDINATE_ALIASES.get(name.strip().lower())


def default_error(variable: str, pressure: np.ndarray) -> np.ndarray:
    """Default observation error standard deviation [canonical units] at ``pressure`` [Pa], same
    shape."""
    return interpolate_error(OBSERVABLES[variable].errors, pressure, variable == "q")


def interpolate_error(
    errors: Errors, pressure: np.ndarray, logarithmic: bool = False
) -> np.ndarray:
    """``errors`` at ``pressure`` [Pa], linear in its logarithm; ``logarithmic``: of values that
    span decades, so is the error's."""
    import numpy as np  # here: the settings and with them every --help read this table

    pressure = np.asarray(pressure, dtype=float)
    if isinstance(errors, (int, float)):
        return np.full(pressure.shape, float(errors))
    knots = np.array(errors)
    safe = np.where(np.isfinite(pressure) & (pressure > 0), pressure, 1e5)
    values = np.log(knots[:, 1]) if logarithmic else knots[:, 1]
    found = np.interp(np.log(safe), np.log(knots[:, 0] * 100), values)
    return np.exp(found) if logarithmic else found


@dataclass(frozen=True, order=True)
class Channel:
    """One two-dimensional field of the state: a variable, at ``level`` hPa or at the surface
    (None)."""

    variable: str
    level: float | None = None

    @property
    def key(self) -> str:
        """Short name such as ``z500`` or ``t2m``; the wind at 10 hPa is ``u10hPa``, because ``u10``
        is that at 10 m."""
        if self.level is None:
            return self.variable
        key = f"{self.variable}{self.level:g}"
        return f"{key}hPa" if key in VARIABLES else key

    @property
    def pressure(self) -> float | None:
        """Level in Pa."""
        return None if self.level is None else self.level * 100.0


def parse_channel(key: str) -> Channel:
    """``z500`` or ``z500hPa`` → Channel('z', 500.0), ``t2m`` → Channel('t2m'); ValueError when the
    variable is unknown."""
    if key in VARIABLES and VARIABLES[key].surface:
        return Channel(key)
    found = re.fullmatch(r"([a-z]+)(\d+(?:\.\d+)?)(?:hPa)?", key)
    if found and found[1] in VARIABLES and not VARIABLES[found[1]].surface:
        return Channel(found[1], float(found[2]))
    raise ValueError(
        f"{key!r} is no channel: expected a surface variable or a variable with a level in hPa, "
        "such as z500"
    )
