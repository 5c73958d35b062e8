"""The first-guess check: every observation against the background."""

from __future__ import annotations

import numpy as np
import pandas as pd

from phyda_cli.errors import PhydaError
from phyda_cli.observations.qc.codes import set_codes
from phyda_cli.observations.table import QC

__all__ = ["first_guess_check"]


def first_guess_check(
    table: pd.DataFrame, innovation: np.ndarray, sigma_b: np.ndarray, factor: float = 5.0
) -> pd.DataFrame:
    """QC 19 where |innovation| > factor * sqrt(error**2 + sigma_b**2), all (P,) in the row's units.

    Rows whose innovation is not finite are left to the operator's own code.
    """
    limit = factor * np.hypot(table["error"].to_numpy(), sigma_b)
    if np.isnan(limit[table["qc"].to_numpy() <= QC.PASSIVE]).any():
        raise PhydaError(
            "first-guess check: an observation has no error, or the background none at its place"
        )
    return set_codes(table, np.abs(innovation) > limit, QC.FIRST_GUESS)
