"""Every number of nature, once, in SI units (WMO, ICAO and IFS values)."""

from __future__ import annotations

import math

EARTH_RADIUS = 6.371e6  # m, of a sphere; GRIB files of NCEP say 6371.229 km, which changes nothing
DEGREE = math.radians(1) * EARTH_RADIUS  # m, one degree of latitude
OMEGA = 7.292115e-5  # s-1, rotation rate of the Earth
GRAVITY = 9.80665  # m s-2, WMO standard: the factor between geopotential and geopotential height

R_D = 287.05  # J kg-1 K-1, gas constant of dry air
R_V = 461.5  # J kg-1 K-1, gas constant of water vapour
CP_D = 1004.7  # J kg-1 K-1, heat capacity of dry air at constant pressure
EPSILON = R_D / R_V
KAPPA = R_D / CP_D

ZERO_CELSIUS = 273.15  # K
TRIPLE_POINT = 273.16  # K, of water
KNOT = 1852 / 3600  # m s-1

# The standard atmosphere of ICAO (Doc 7488).
STANDARD_TEMPERATURE = 288.15  # K, at sea level
STANDARD_PRESSURE = 101325.0  # Pa, at sea level
LAPSE_RATE = 6.5e-3  # K m-1, up to the tropopause
TROPOPAUSE = 11000.0  # m
BAROMETRIC_EXPONENT = GRAVITY / (R_D * LAPSE_RATE)

# Saturation vapour pressure of the IFS (Documentation CY47R3, part IV, eq. 7.5):
# SATURATION * exp(a * (T - TRIPLE_POINT) / (T - b)), with (a, b) over water and over ice.
SATURATION = 611.21  # Pa
OVER_WATER = (17.502, 32.19)  # 1, K
OVER_ICE = (22.587, -0.7)  # 1, K
