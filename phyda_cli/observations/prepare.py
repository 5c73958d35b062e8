"""From what was read to what the analysis takes: checks, conversions and errors in their order."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from phyda_cli.fields.grid import Fields
from phyda_cli.observations.derive import derive_table
from phyda_cli.observations.errors import assign_errors
from phyda_cli.observations.qc import WINDOW, preliminary_qc
from phyda_cli.observations.table import check

__all__ = ["prepare"]


def prepare(
    table: pd.DataFrame,
    background: Fields,
    valid_time: np.datetime64 | None = None,
    window: np.timedelta64 = WINDOW,
    error_scale: float = 1.0,
    blacklist: Collection[str] = (),
    withheld: Collection[str] = (),
) -> pd.DataFrame:
    """``table`` after the preliminary checks, with raw variables converted and an error on every row.

    ``valid_time`` replaces the background's own. Arguments as in :func:`preliminary_qc` and :func:`assign_errors`.
    """
    time = background.time if valid_time is None else valid_time
    checked = preliminary_qc(table, background.grid, time, window, blacklist, withheld)
    prepared = assign_errors(derive_table(checked, background), error_scale)
    check(prepared)
    return prepared
