"""Conversions between what instruments report and what models carry; all arrays broadcast.

The standard atmosphere is ICAO's (Doc 7488): 288.15 K and 1013.25 hPa at sea level, 6.5 K/km up to
11 km, isothermal above. Saturation is over water, as WMO reports humidity (No. 8, annex 4.B), in
the form of the IFS (Documentation CY47R3, part IV, eq. 7.5).
"""

from __future__ import annotations

import numpy as np

from phyda_cli.constants import (
    BAROMETRIC_EXPONENT,
    EPSILON,
    GRAVITY,
    LAPSE_RATE,
    OVER_WATER,
    R_D,
    SATURATION,
    STANDARD_PRESSURE,
    STANDARD_TEMPERATURE,
    TRIPLE_POINT,
    TROPOPAUSE,
)

__all__ = [
    "dew_point",
    "most_humidity",
    "pressure_at_height",
    "saturation",
    "specific_humidity",
    "specific_humidity_from_dew_point",
    "specific_humidity_from_relative",
    "standard_height",
    "standard_pressure",
    "station_pressure",
    "vapour_of",
    "vapour_pressure",
    "wind_components",
]


def wind_components(speed: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eastward and northward wind [units of ``speed``] from the direction the wind comes from
    [degrees]."""
    angle = np.deg2rad(direction)
    return -speed * np.sin(angle), -speed * np.cos(angle)


def vapour_pressure(dew_point: np.ndarray) -> np.ndarray:
    """Vapour pressure [Pa] at ``dew_point`` [K]; at the temperature it is the saturation vapour
    pressure."""
    slope, offset = OVER_WATER
    return np.asarray(
        SATURATION * np.exp(slope * (dew_point - TRIPLE_POINT) / (dew_point - offset))
    )


def dew_point(vapour: np.ndarray) -> np.ndarray:
    """Dew point [K] of the vapour pressure ``vapour`` [Pa]: the inverse of
    :func:`vapour_pressure`."""
    slope, offset = OVER_WATER
    share = np.log(vapour / SATURATION) / slope
    return np.asarray((TRIPLE_POINT - offset * share) / (1 - share))


def vapour_of(humidity: np.ndarray, pressure: np.ndarray) -> np.ndarray:
    """Vapour pressure [Pa] of the specific ``humidity`` [kg kg-1] in air of ``pressure`` [Pa]: the
    inverse of :func:`specific_humidity`."""
    return np.asarray(humidity * pressure / (EPSILON + (1 - EPSILON) * humidity))


def specific_humidity(vapour: np.ndarray, pressure: np.ndarray) -> np.ndarray:
    """Specific humidity [kg kg-1] of vapour pressure ``vapour`` in air of ``pressure`` [Pa]."""
    return EPSILON * vapour / (pressure - (1 - EPSILON) * vapour)


def saturation(temperature: np.ndarray, pressure: np.ndarray) -> np.ndarray:
    """Specific humidity [kg kg-1] of saturated air over water at ``temperature`` [K] and
    ``pressure`` [Pa]; infinite where it would boil."""
    vapour = vapour_pressure(temperature)
    below = np.minimum(vapour, 0.99 * pressure)
    return np.where(vapour <= below, specific_humidity(below, pressure), np.inf)


def most_humidity(
    before: np.ndarray, at: np.ndarray, now: np.ndarray, pressure: np.ndarray
) -> np.ndarray:
    """The specific humidity [kg kg-1] at the temperature ``now`` [K] that is saturated over water,
    or as far beyond as ``before`` is at its own temperature ``at`` [K]."""
    return saturation(now, pressure) * np.fmax(1.0, before / saturation(at, pressure))


def specific_humidity_from_dew_point(dew_point: np.ndarray, pressure: np.ndarray) -> np.ndarray:
    """Specific humidity [kg kg-1] from dew point [K] and pressure [Pa]."""
    return specific_humidity(vapour_pressure(dew_point), pressure)


def specific_humidity_from_relative(
    relative: np.ndarray, temperature: np.ndarray, pressure: np.ndarray
) -> np.ndarray:
    """Specific humidity [kg kg-1] from relative humidity over water [%], temperature [K] and
    pressure [Pa]."""
    return specific_humidity(relative / 100 * vapour_pressure(temperature), pressure)


def standard_pressure(height: np.ndarray) -> np.ndarray:
    """Pressure [Pa] of the standard atmosphere at ``height`` [m], below 20 km."""
    cooling = LAPSE_RATE * np.minimum(height, TROPOPAUSE) / STANDARD_TEMPERATURE
    troposphere = STANDARD_PRESSURE * (1 - cooling) ** BAROMETRIC_EXPONENT
    above = np.maximum(height, TROPOPAUSE) - TROPOPAUSE
    temperature = STANDARD_TEMPERATURE - LAPSE_RATE * TROPOPAUSE
    return np.asarray(troposphere * np.exp(-GRAVITY * above / (R_D * temperature)))


def standard_height(pressure: np.ndarray) -> np.ndarray:
    """Height [m] of ``pressure`` [Pa] in the standard atmosphere, below 11 km."""
    ratio = (pressure / STANDARD_PRESSURE) ** (1 / BAROMETRIC_EXPONENT)
    return np.asarray(STANDARD_TEMPERATURE / LAPSE_RATE * (1 - ratio))


def station_pressure(qnh: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    """Pressure [Pa] at ``elevation`` [m] that an altimeter set to ``qnh`` [Pa] reads as that
    elevation (ICAO Doc 7488)."""
    root = 1 / BAROMETRIC_EXPONENT
    base = qnh**root - STANDARD_PRESSURE**root * LAPSE_RATE * elevation / STANDARD_TEMPERATURE
    return np.asarray(np.maximum(base, 0.0) ** BAROMETRIC_EXPONENT)


def pressure_at_height(
    pressure: np.ndarray, temperature: np.ndarray, rise: np.ndarray
) -> np.ndarray:
    """Pressure [Pa] ``rise`` metres above the place where it is ``pressure`` and ``temperature``
    [K], at 6.5 K/km."""
    return np.asarray(pressure * (1 - LAPSE_RATE * rise / temperature) ** BAROMETRIC_EXPONENT)
