"""Thinning and superobservations: exact means, errors, and which report is kept."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phyda_cli.observations.qc.boxes import box_numbers, level_numbers, superob, superob_error, thin
from phyda_cli.observations.table import QC, make

TIME = np.datetime64("2020-10-01T06:00")


def minutes(*values: int) -> np.ndarray:
    return (TIME + np.array(values, "timedelta64[m]")).astype("datetime64[ns]")


def table(latitude: list[float], longitude: list[float], **changes: object) -> pd.DataFrame:
    columns = {
        "station_id": "a",
        "time": TIME,
        "variable": "t2m",
        "value": np.full(len(latitude), 280.0),
        "error": 1.0,
    }
    return make(latitude=latitude, longitude=longitude, **(columns | changes))


def test_error_of_a_mean() -> None:
    assert superob_error(np.full(4, 2.0), 0.0) == pytest.approx(1.0)
    assert superob_error(np.full(4, 2.0), 1.0) == pytest.approx(2.0)
    assert superob_error(np.full(4, 2.0), 0.25) == pytest.approx(2.0 * np.sqrt((1 + 3 * 0.25) / 4))
    assert superob_error(np.array([1.0, 2.0]), 0.0) == pytest.approx((1 + 1 / 4) ** -0.5)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=8), st.floats(0, 1))
def test_error_of_a_mean_is_that_of_its_covariance(errors: list[float], correlation: float) -> None:
    sigma = np.array(errors)
    weight = sigma**-2 / (sigma**-2).sum()
    covariance = np.outer(sigma, sigma) * (correlation + (1 - correlation) * np.eye(sigma.size))
    assert superob_error(sigma, correlation) == pytest.approx(np.sqrt(weight @ covariance @ weight))


def test_superob_is_the_weighted_mean_at_the_middle_row() -> None:
    rows = table([50.0, 50.1, 50.2, 10.0], [8.0] * 4, error=[1.0, 1.0, 0.5, 1.0])
    found = superob(rows, np.array([1.0, 2.0, 5.0, 9.0]), 200.0, 0.1, 0.0)
    assert found.table["qc"].tolist() == [QC.SUPEROBBED, 0, QC.SUPEROBBED, 0]
    assert found.innovation.tolist() == pytest.approx([1.0, (1 + 2 + 4 * 5) / 6, 5.0, 9.0])
    assert found.error.tolist() == pytest.approx([1.0, 6**-0.5, 0.5, 1.0])
    assert found.size.tolist() == [1, 3, 1, 1]


def test_superob_leaves_passive_and_rejected_rows_alone() -> None:
    rows = table([50.0, 50.0, 50.0], [8.0] * 3).assign(
        qc=np.array([0, QC.PASSIVE, QC.FIRST_GUESS], np.int16)
    )
    found = superob(rows, np.array([1.0, 50.0, 99.0]), 200.0, 0.1, 0.3)
    assert found.table["qc"].tolist() == [0, 1, 19]
    assert found.innovation[0] == 1.0


def test_variables_and_levels_are_not_mixed() -> None:
    rows = table(
        [50.0] * 4,
        [8.0] * 4,
        variable=["t", "t", "u", "t"],
        pressure=[85000.0, 50000.0, 85000.0, np.nan],
        height=[np.nan] * 3 + [9000.0],
    )
    assert len(set(box_numbers(rows, 200.0, 0.1)[0])) == 4


def test_thinning_keeps_the_report_nearest_in_time_then_to_the_centre_then_the_first() -> None:
    rows = table([50.0, 50.3, 50.0, 50.0], [8.0] * 4, time=minutes(20, -10, 10, 10))
    centre = box_numbers(rows, 300.0, 0.1)[1]
    assert centre[1] != centre[2]
    nearer = 1 if centre[1] < centre[2] else 2
    expected = [QC.THINNED] * 4
    expected[nearer] = QC.PASS
    assert thin(rows, TIME, 300.0, 0.1)["qc"].tolist() == expected
    assert thin(rows.iloc[[0, 2, 3]], TIME, 300.0, 0.1)["qc"].tolist() == [
        QC.THINNED,
        QC.PASS,
        QC.THINNED,
    ]


@given(
    st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 359.99)), min_size=1, max_size=40),
    st.sampled_from([50.0, 500.0, 3000.0]),
)
def test_places_of_one_box_are_close_and_one_of_each_stays(
    places: list[tuple[float, float]], size: float
) -> None:
    rows = table([p[0] for p in places], [p[1] for p in places])
    box, distance = box_numbers(rows, size, 0.1)
    assert (thin(rows, TIME, size, 0.1)["qc"] == QC.PASS).sum() == np.unique(box).size
    polar = np.abs(rows["latitude"].to_numpy()) > 90 - size / 111
    assert (distance[~polar] < 1.3 * size).all()


def test_levels() -> None:
    rows = table(
        [50.0] * 7,
        [8.0] * 7,
        pressure=[np.nan, 85e3, 84e3, 5e4, np.nan, 85e3, 85e3],
        height=[np.nan] * 4 + [1457.0] + [np.nan] * 2,
    )
    numbers = level_numbers(rows.assign(pressure_top=[np.nan] * 5 + [5e4, 7e4]), 0.2)
    assert numbers[0] == -1
    assert numbers[1] == numbers[2] == numbers[4] > numbers[3]
    assert len(set(numbers[[1, 5, 6]])) == 3
