"""Observation errors: the standard deviation that the analysis believes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from phyda_cli.errors import UsageError
from phyda_cli.names import VARIABLES, default_error

__all__ = ["assign_errors"]


def assign_errors(table: pd.DataFrame, scale: float = 1.0) -> pd.DataFrame:
    """``table`` with the default error of each variable and level where none is given, and all of them times ``scale``.

    Raises UsageError when ``scale`` is not positive.
    """
    if not (np.isfinite(scale) and scale > 0):
        raise UsageError(f"the observation error scale must be positive, got {scale:g}")
    error = table["error"].to_numpy().copy()
    variable, pressure = table["variable"].to_numpy(), table["pressure"].to_numpy()
    for name in np.unique(variable.astype(str)):
        lacking = (variable == name) & np.isnan(error)
        error[lacking] = default_error(name if name in VARIABLES else "d2m", pressure[lacking])
    return table.assign(error=error * scale)
