"""A station's reports over time, and the two components of a wind."""

import numpy as np
import pandas as pd

from phyda_cli.fields.grid import Grid
from phyda_cli.observations.qc import nearest_report, preliminary_qc, wind_pairs
from phyda_cli.observations.qc.repeats import stuck_check
from phyda_cli.observations.table import QC, make

TIME = np.datetime64("2020-10-01T06:00")
GRID = Grid(np.arange(30.0, 61.0), np.arange(-20.0, 15.0))


def table(**changes: object) -> pd.DataFrame:
    columns = {
        "station_id": "a",
        "time": TIME,
        "latitude": 45.0,
        "longitude": 2.0,
        "variable": "t2m",
        "value": [280.0],
    }
    return make(**(columns | changes))


def hours(*values: float) -> np.ndarray:
    return TIME.astype("datetime64[ns]") + (np.array(values) * 3600).astype("timedelta64[s]")


def test_the_report_nearest_in_time_is_kept_for_each_variable() -> None:
    rows = table(
        time=hours(-1, 0.5, 0.25, 1),
        variable=["t2m", "t2m", "t2m", "msl"],
        value=[280.0, 281, 282, 1e5],
    )
    assert nearest_report(rows, TIME)["qc"].tolist() == [QC.REPEATED, QC.REPEATED, 0, 0]


def test_a_rejected_report_does_not_displace_a_good_one_and_moving_stations_keep_all() -> None:
    rejected = table(time=hours(0, 1), value=[280.0, 281]).assign(
        qc=np.array([QC.BOUNDS, 0], np.int16)
    )
    assert nearest_report(rejected, TIME)["qc"].tolist() == [QC.BOUNDS, 0]
    ship = table(time=hours(0, 1), value=[280.0, 281], latitude=[45.0, 45.2])
    assert nearest_report(ship, TIME)["qc"].tolist() == [0, 0]
    tie = table(time=hours(-1, 1), value=[280.0, 281])
    assert nearest_report(tie, TIME)["qc"].tolist() == [0, QC.REPEATED]


def test_a_stuck_value_is_found_across_the_window_and_calms_are_not() -> None:
    time = hours(*range(-12, 4))
    stuck = table(time=time, value=np.full(16, 280.0))
    assert (stuck_check(stuck, 6, 12)["qc"] == QC.STUCK).all()
    codes = preliminary_qc(stuck, GRID, TIME, stuck=(6, 12.0))["qc"]
    assert (codes == QC.STUCK).all()
    assert (
        stuck_check(table(time=time, value=np.zeros(16), variable="wind_speed"), 6, 12)["qc"] == 0
    ).all()
    assert (stuck_check(stuck, 6, 16)["qc"] == 0).all()
    assert (stuck_check(stuck, 17, 12)["qc"] == 0).all()


def test_a_calm_ends_a_run() -> None:
    value = np.array([*[3.0] * 5, 0.0, *[3.0] * 5])
    rows = table(time=hours(*range(-12, 10, 2)), value=value, variable="wind_speed")
    assert (stuck_check(rows, 6, 10)["qc"] == 0).all()
    assert (stuck_check(rows.drop(index=5), 6, 10)["qc"] == QC.STUCK).all()
    assert (
        stuck_check(rows.assign(variable="wind_direction").drop(index=5), 6, 10)["qc"] == 0
    ).all()


def test_only_the_run_of_equal_values_is_rejected_whatever_the_order() -> None:
    value = np.array([279.0, *[280.0] * 13, 281.0, 282.0])
    shuffled = np.random.default_rng(0).permutation(16)
    rows = table(time=hours(*range(-12, 4)), value=value).iloc[shuffled].reset_index(drop=True)
    codes = stuck_check(rows, 6, 12)["qc"].to_numpy()
    np.testing.assert_array_equal(codes == QC.STUCK, value[shuffled] == 280.0)


def test_a_wind_whose_other_component_is_rejected_is_lost() -> None:
    rows = table(
        variable=["u", "v", "u", "v", "u10", "t"],
        pressure=[85e3, 85e3, 70e3, 70e3, np.nan, 85e3],
        value=[1.0, 2, 3, 4, 5, 280],
    )
    rows = rows.assign(qc=np.array([QC.FIRST_GUESS, 0, 0, 1, 0, 0], np.int16))
    assert wind_pairs(rows)["qc"].tolist() == [QC.FIRST_GUESS, QC.PARTNER, 0, 1, 0, 0]


def test_a_duplicate_component_does_not_cost_the_good_pair() -> None:
    rows = table(variable=["u10", "v10", "v10"], value=[1.0, 2, 3]).assign(
        qc=np.array([0, 0, QC.DUPLICATE], np.int16)
    )
    assert wind_pairs(rows)["qc"].tolist() == [0, 0, QC.DUPLICATE]
