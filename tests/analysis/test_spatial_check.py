"""The spatial check: leave-one-out by hand, planted outliers, and good stations that stay."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from phyda_cli.analysis.fine_covariance import Points, SmallScale, covariance, separation
from phyda_cli.analysis.spatial_check import Neighbourhoods, spatial_check
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.observations.table import QC, make
from phyda_cli.settings.fine import FineSettings

GRID = Grid(np.arange(30.0, 61.0, 1.0), np.arange(0.0, 31.0, 1.0))
TIME = np.datetime64("2020-01-01T00", "ns")
SMALL = SmallScale(1.0, 0.5, 150.0, 600.0, 800.0, 2000.0, 0.5, 0.2)
SETTINGS, RADIUS = FineSettings(), 3000.0
STATIONS = 120


def surface(names: tuple[str, ...] = ("t2m",)) -> Fields:
    values = dict.fromkeys((*names, "orography"), np.zeros(GRID.shape))
    return Fields(GRID, TIME, np.zeros(0), {}, values)


def positions(count: int = STATIONS) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.uniform(43.0, 48.0, count), rng.uniform(8.0, 16.0, count)


def close_together() -> Points:
    """Ten, of which each can tell of the others."""
    rng = np.random.default_rng(0)
    return Points.at(rng.uniform(45.0, 46.0, 10), rng.uniform(9.0, 10.0, 10))


def dense(places: Points) -> np.ndarray:
    return covariance(SMALL, separation(places, places), RADIUS).numpy()


def innovations(seed: int = 1) -> np.ndarray:
    """A draw of the small scales and of the stations' noise."""
    matrix = dense(Points.at(*positions())) + SMALL.noise * np.eye(STATIONS)
    return np.linalg.cholesky(matrix) @ np.random.default_rng(seed).standard_normal(STATIONS)


def rows(variable: str, value: np.ndarray, **changes: object) -> pd.DataFrame:
    latitude, longitude = positions(len(value))
    names = np.array([f"s{i}" for i in range(len(value))], object)
    columns = {"station_id": names, "time": TIME, "latitude": latitude, "longitude": longitude}
    columns |= {"elevation": 0.0, "variable": variable, "value": value, "error": 1.0}
    return make(**(columns | changes))


def codes(table: pd.DataFrame, innovation: np.ndarray, fields: Fields | None = None) -> np.ndarray:
    fields = surface() if fields is None else fields
    return spatial_check(table, fields, innovation, 5.0, SETTINGS)["qc"].to_numpy()


def test_the_misfit_is_that_of_leave_one_out_with_the_whole_matrix() -> None:
    places, noise = close_together(), np.linspace(0.1, 0.5, 10)
    values = np.random.default_rng(3).standard_normal((10, 1))
    hoods = Neighbourhoods.of(SMALL, places, values, noise, np.arange(10), RADIUS)
    inverse = np.linalg.inv(dense(places) + np.diag(noise))
    expected = np.abs(inverse @ values[:, 0]) / np.sqrt(np.diag(inverse))
    found = hoods.misfit(np.arange(10), np.zeros(10, bool))
    assert found == pytest.approx(expected, rel=1e-5)


def test_without_the_bad_ones_is_without_their_rows_and_columns() -> None:
    places, noise = close_together(), np.full(10, 0.2)
    values, kept = np.random.default_rng(3).standard_normal((10, 1)), np.arange(10) != 4
    hoods = Neighbourhoods.of(SMALL, places, values, noise, np.arange(10), RADIUS)
    inverse = np.linalg.inv((dense(places) + np.diag(noise))[np.ix_(kept, kept)])
    expected = np.abs(inverse @ values[kept, 0]) / np.sqrt(np.diag(inverse))
    assert hoods.misfit(np.flatnonzero(kept), ~kept) == pytest.approx(expected, rel=1e-4)


def test_outliers_are_found_and_nothing_else() -> None:
    innovation = innovations()
    bad = [5, 40, 77]
    innovation[bad] += [8.0, -8.0, 9.0]
    found = codes(rows("t2m", innovation), innovation)
    assert (found[bad] == QC.SPATIAL).all()
    assert (np.delete(found, bad) == QC.PASS).all()


def test_stations_that_agree_against_the_background_are_kept() -> None:
    innovation = innovations() + 15.0
    assert (codes(rows("t2m", innovation), innovation) == QC.PASS).all()


def test_a_station_without_others_around_it_is_kept() -> None:
    innovation = innovations()
    table = rows("t2m", innovation + 50.0 * (np.arange(STATIONS) == 5))
    alone = table.assign(latitude=np.where(np.arange(STATIONS) == 5, 31.0, table["latitude"]))
    assert (codes(alone, alone["value"].to_numpy()) == QC.PASS).all()


def test_both_reports_of_a_station_cannot_support_each_other() -> None:
    innovation = innovations()
    innovation[5] += 8.0
    table = rows("t2m", innovation)
    again = table.iloc[[5]].assign(time=TIME + np.timedelta64(1, "h"))
    both = pd.concat([table, again], ignore_index=True)
    found = codes(both, np.append(innovation, innovation[5]))
    assert found[[5, STATIONS]].tolist() == [QC.SPATIAL, QC.SPATIAL]


def test_a_wind_goes_with_both_components() -> None:
    u, v = innovations(1), innovations(2)
    u[7] += 9.0
    table = pd.concat([rows("u10", u), rows("v10", v)], ignore_index=True)
    found = codes(table, np.append(u, v), surface(("u10", "v10")))
    assert np.flatnonzero(found == QC.SPATIAL).tolist() == [7, STATIONS + 7]


def test_passive_rows_are_neither_checked_nor_consulted() -> None:
    innovation = innovations()
    innovation[5] += 8.0
    table = rows("t2m", innovation, use=np.where(np.arange(STATIONS) == 5, 0, 1))
    table = table.assign(qc=np.where(table["use"] == 0, QC.PASSIVE, QC.PASS).astype(np.int16))
    assert codes(table, innovation)[5] == QC.PASSIVE


def test_few_stations_are_not_checked() -> None:
    innovation = innovations()[: SETTINGS.min_stations - 1]
    innovation[5] += 50.0
    assert (codes(rows("t2m", innovation), innovation) == QC.PASS).all()


def test_noise_alone_is_not_checked() -> None:
    innovation = np.random.default_rng(0).standard_normal(STATIONS)
    assert (codes(rows("t2m", innovation), innovation) == QC.PASS).all()
