"""The two components of a wind are used together or not at all."""

from __future__ import annotations

import numpy as np
import pandas as pd

from phyda_cli.observations.qc.codes import set_codes
from phyda_cli.observations.table import LEVEL, QC

__all__ = ["wind_pairs"]

_PAIRS = (("u", "v"), ("u10", "v10"))
_REPORT = ["station_id", "time", "latitude", "longitude", *LEVEL]


def wind_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """QC 44 for passing wind components whose report holds the other one, but rejected. A lone
    component is left alone."""
    partner_lost = np.zeros(len(table), bool)
    variable = table["variable"].to_numpy(object)
    for pair in _PAIRS:
        rows = np.flatnonzero(np.isin(variable, pair))
        if not rows.size:
            continue
        part = table.iloc[rows]
        report = part.groupby(_REPORT, dropna=False, sort=False).ngroup().to_numpy()
        eastward, passes = variable[rows] == pair[0], part["qc"].to_numpy() <= QC.PASSIVE
        for own in (eastward, ~eastward):
            given, good = (
                np.bincount(report[m], minlength=report.max() + 1) for m in (~own, ~own & passes)
            )
            partner_lost[rows[own]] = ((given > 0) & (good == 0))[report[own]]
    return set_codes(table, partner_lost, QC.PARTNER)
