"""Giving rows their codes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from phyda_cli.observations.table import QC

__all__ = ["passing", "set_codes"]


def set_codes(
    table: pd.DataFrame, mask: np.ndarray | pd.Series, code: int | np.ndarray
) -> pd.DataFrame:
    """``table`` with ``code`` (one, or one per row) where ``mask`` and the row passes so far."""
    qc = table["qc"].to_numpy()
    return table.assign(
        qc=np.where(np.asarray(mask, bool) & (qc <= QC.PASSIVE), code, qc).astype(np.int16)
    )


def passing(table: pd.DataFrame) -> np.ndarray:
    """Numbers of the rows that pass so far, used or passive."""
    return np.flatnonzero(table["qc"].to_numpy() <= QC.PASSIVE)
