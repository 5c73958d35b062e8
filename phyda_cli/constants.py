"""Physical constants of the dry and moist atmosphere, SI units (WMO and IFS values)."""

from __future__ import annotations

from phyda_cli.fields.grid import EARTH_RADIUS
from phyda_cli.names import GRAVITY as G

__all__ = ["CP_D", "EARTH_RADIUS", "EPSILON", "KAPPA", "OMEGA", "R_D", "R_V", "G"]

R_D = 287.05  # J kg-1 K-1, gas constant of dry air
R_V = 461.5  # J kg-1 K-1, gas constant of water vapour
CP_D = 1004.7  # J kg-1 K-1, heat capacity of dry air at constant pressure
OMEGA = 7.292115e-5  # s-1, rotation rate of the Earth
EPSILON = R_D / R_V
KAPPA = R_D / CP_D
