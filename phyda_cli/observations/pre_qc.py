"""From what was read to what the analysis takes: checks, conversions and errors in their order."""

from __future__ import annotations

import numpy as np
import pandas as pd

from phyda_cli.fields.grid import Fields
from phyda_cli.fields.interpolate import bilinear
from phyda_cli.observations.bias import used_before
from phyda_cli.observations.convert_variables import derive_table
from phyda_cli.observations.errors import assign_errors
from phyda_cli.observations.qc import nearest_report, preliminary_qc, set_codes, wind_pairs
from phyda_cli.observations.stations import StationLists
from phyda_cli.observations.table import QC, check
from phyda_cli.settings.analysis import QualityControlSettings

__all__ = ["prepare"]

_DEFAULT = QualityControlSettings()
_NO_LISTS = StationLists()


def prepare(
    table: pd.DataFrame,
    background: Fields,
    valid_time: np.datetime64 | None = None,
    settings: QualityControlSettings = _DEFAULT,
    stations: StationLists = _NO_LISTS,
    previous: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """``table`` after the preliminary checks, with raw variables converted and an error on every
    row.

    ``valid_time`` replaces the background's own. Rows that the analysis of the feedback
    ``previous`` has used get QC 45.
    """
    time = background.time if valid_time is None else valid_time
    window = np.timedelta64(round(settings.window_hours * 3600), "s")
    stuck = None if settings.stuck_hours is None else (settings.stuck_reports, settings.stuck_hours)
    derived = derive_table(
        preliminary_qc(table, background.grid, time, window, stations, stuck), background
    )
    if previous is not None:
        derived = set_codes(derived, used_before(derived, previous), QC.USED_BEFORE)
    paired = wind_pairs(derived)
    chosen = nearest_report(paired, time) if settings.repeats == "nearest" else paired
    reduced, elevation = (chosen["variable"] == "msl").to_numpy(), chosen["elevation"].to_numpy()
    if settings.msl_height_limit_m is not None:
        chosen = set_codes(
            chosen, reduced & (np.abs(elevation) > settings.msl_height_limit_m), QC.DIFF_REF
        )
    rise = elevation - np.where(reduced, 0.0, _surface_height(background, chosen))
    prepared = assign_errors(
        chosen, settings.obs_error_scale, settings.errors, rise, settings.height_error_scale
    )
    check(prepared)
    return prepared


def _surface_height(background: Fields, table: pd.DataFrame) -> np.ndarray:
    """Height of the background's surface [m] at every row (P,), NaN where it is unknown."""
    height = np.full(len(table), np.nan)
    latitude, longitude = table["latitude"].to_numpy(), table["longitude"].to_numpy()
    inside = background.grid.contains(latitude, longitude)
    if "orography" in background.surface and inside.any():
        weights = bilinear(background.grid, latitude[inside], longitude[inside])
        height[inside] = weights @ np.asarray(background.surface["orography"], float).ravel()
    return height
