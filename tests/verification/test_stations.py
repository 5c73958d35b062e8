"""Scores against stations and the summary of a feedback file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.observations.pre_qc import prepare
from phyda_cli.observations.table import make
from phyda_cli.verification.stations import score_stations

TIME = np.datetime64("2020-01-01T00", "ns")
GRID = Grid(np.linspace(-75, 75, 11), np.arange(24) * 15.0)


def atmosphere(shift: float) -> Fields:
    t = np.stack([np.full(GRID.shape, 250.0), np.full(GRID.shape, 280.0)]) + shift
    return Fields(
        GRID,
        TIME,
        np.array([50000.0, 85000.0]),
        {"t": t},
        {"msl": np.full(GRID.shape, 1e5) + 100 * shift},
    )


def stations(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    place = {
        "station_id": [f"S{i}" for i in range(n)],
        "latitude": rng.uniform(-70, 70, n),
        "longitude": rng.uniform(0, 360, n),
    }
    upper = make(**place, time=TIME, variable="t", pressure=85000.0, value=280.0)
    return pd.concat(
        [upper, make(**place, time=TIME, variable="msl", value=1e5)], ignore_index=True
    )


def test_departures_of_exact_observations() -> None:
    analysis, background = atmosphere(0.5), atmosphere(2.0)
    report = score_stations(prepare(stations(), analysis), analysis, background)
    msl, t = report.scores
    assert (t.variable, t.n, t.units) == ("t", 40, "K")
    assert (t.ombg_mean, t.ombg_rms, t.oman_mean, t.oman_rms, t.ratio) == pytest.approx(
        (-2.0, 2.0, -0.5, 0.5, 0.25)
    )
    assert (msl.ombg_mean, msl.oman_rms) == pytest.approx((-200.0, 50.0))
    assert report.account["in"] == report.account["used"] == 80


def test_without_background() -> None:
    analysis = atmosphere(0.5)
    t = score_stations(prepare(stations(), analysis), analysis).scores[1]
    assert t.ombg_rms is None
    assert t.ratio is None
    assert t.oman_rms == pytest.approx(0.5)


def test_gross_errors_are_left_out_and_counted() -> None:
    table = stations()
    table.loc[3, "value"] = 320.0
    analysis = atmosphere(0.5)
    report = score_stations(prepare(table, analysis), analysis, atmosphere(2.0))
    assert report.scores[1].n == 39
    assert report.scores[1].oman_rms == pytest.approx(0.5)
    assert report.account["rejected"] == {"too far from the background": 1}


def test_a_variable_the_background_lacks_is_not_compared() -> None:
    background = replace(atmosphere(2.0), surface={})
    analysis = atmosphere(0.5)
    report = score_stations(prepare(stations(), analysis), analysis, background)
    assert [d.variable for d in report.scores] == ["t"]
    assert report.account["rejected"] == {"no model equivalent": 40}


def test_nothing_to_compare_says_why() -> None:
    analysis = atmosphere(0.0)
    table = stations().assign(time=TIME + np.timedelta64(30, "h"))
    with pytest.raises(
        InputError, match=r"no observation can be compared.*outside the time window"
    ):
        score_stations(prepare(table, analysis), analysis)
