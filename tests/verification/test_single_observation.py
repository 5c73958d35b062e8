"""A single observation: the response of a known increment, and its half widths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.verification.analysis_file import AnalysisFile
from phyda_cli.verification.single_observation import single_observation

GRID = Grid(np.linspace(-88, 88, 89), np.arange(180) * 2.0)
LEVELS = np.array([20000.0, 50000.0, 85000.0])


def case() -> tuple[AnalysisFile, Fields, pd.DataFrame]:
    """An increment that falls by half in 10 degrees of either direction, and by half a level
    away."""
    latitude, longitude = GRID.mesh
    east = (longitude - 2 * 45 + 180) % 360 - 180
    shape = 0.5 ** ((np.abs(latitude) + np.abs(east)) / 10)
    increment = 2.0 * np.array([0.25, 1.0, 0.5])[:, None, None] * shape
    time = np.datetime64("2020-01-01", "ns")
    background = Fields(GRID, time, LEVELS, {"t": np.full_like(increment, 270.0)}, {})
    analysis = replace(background, upper={"t": 270 + increment})
    row = {
        "station_id": "A", "variable": "t", "latitude": 0.0, "longitude": 90.0, "pressure": 50000.0,
        "ombg": 2.5, "oman": 0.5, "EffectiveError": 1.0, "hofx0_error": 2.0, "EffectiveQC": 0,
    }  # fmt: skip
    return AnalysisFile(Path("a.nc"), analysis, background), background, pd.DataFrame([row])


def test_response_and_half_widths() -> None:
    found = single_observation(*case())
    assert (found.innovation, found.response) == (2.5, 2.0)
    assert found.expected == pytest.approx(4 / 5 * 2.5)
    for direction in ("east", "west", "north", "south"):
        assert found.half_width_km[direction] == pytest.approx(1112, rel=0.02), direction
    assert found.half_log_p["down"] == pytest.approx(np.log(85 / 50))
    assert found.half_log_p["up"] == pytest.approx(np.log(50 / 20) * (0.5 / 0.75))


def test_two_observations_are_none() -> None:
    file, background, rows = case()
    with pytest.raises(InputError, match="has 2"):
        single_observation(file, background, pd.concat([rows, rows]))
