"""Observation errors: the standard deviation that the analysis believes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from phyda_cli.errors import UsageError
from phyda_cli.names import default_error, interpolate_error
from phyda_cli.observations.atmosphere import standard_pressure

__all__ = ["REPRESENTATIVENESS", "ErrorTable", "assign_errors", "height_error"]

ErrorTable = Mapping[str, float | tuple[tuple[float, float], ...]]
"""Error of each variable in its units: one number, or (pressure in hPa, error) knots."""

REPRESENTATIVENESS: Mapping[str, float] = {
    "t2m": 2e-3,
    "q2m": 1.5e-6,
    "u10": 2e-3,
    "v10": 2e-3,
    "sp": 0.12,
    "msl": 0.12,
}
"""Error per metre between station and model surface, for msl the sea [units m-1].

A lapse rate is uncertain by 2 K/km, the decrease of specific humidity by 1.5 g/kg per km, wind by
2 m/s per km, and pressure is reduced with a temperature uncertain by 1 %. Assumed, not tuned.
"""


def assign_errors(
    table: pd.DataFrame,
    scale: float = 1.0,
    errors: ErrorTable | None = None,
    rise: np.ndarray | None = None,
    height_scale: float = 1.0,
) -> pd.DataFrame:
    """``table`` with an error on every row: its own where it has one, else ``scale`` times that of
    ``errors`` or of the table of variables at its pressure or that of the standard atmosphere at
    its height, and ``height_scale`` times :func:`height_error` for
    ``rise`` (P,) [m] on top.

    Raises UsageError when ``scale`` is not positive.
    """
    if not (np.isfinite(scale) and scale > 0):
        raise UsageError(f"the observation error scale must be positive, got {scale:g}")
    error = table["error"].to_numpy().copy()
    variable, pressure = table["variable"].to_numpy(), table["pressure"].to_numpy()
    height = table["height"].to_numpy()
    pressure = np.where(np.isnan(pressure), standard_pressure(height), pressure)
    own = ~np.isnan(error)
    for name in np.unique(variable[~own].astype(str)):
        rows = (variable == name) & ~own
        given = (errors or {}).get(name)
        default = (
            default_error(name, pressure[rows])
            if given is None
            else interpolate_error(given, pressure[rows])
        )
        error[rows] = scale * default
    if rise is not None:
        error = np.where(own, error, np.hypot(error, height_scale * height_error(variable, rise)))
    return table.assign(error=error)


def height_error(variable: np.ndarray, rise: np.ndarray) -> np.ndarray:
    """Representativeness error (P,) [canonical units] of ``variable`` (P,) at stations ``rise``
    (P,) [m] above the model's surface (for msl: the sea); zero where that is unknown."""
    rate = np.array([REPRESENTATIVENESS.get(str(v), 0.0) for v in variable])
    return rate * np.abs(np.nan_to_num(rise))
