import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phyda_cli.errors import NoObservationsError, PhydaError, UsageError
from phyda_cli.fields.grid import Grid
from phyda_cli.names import OBSERVABLES, default_error
from phyda_cli.observations.errors import assign_errors
from phyda_cli.observations.qc import (
    first_guess_check,
    preliminary_qc,
    require_usable,
    summary,
    unit_hints,
)
from phyda_cli.observations.stations import StationLists
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
        "file": "obs.csv",
    }
    return make(**(columns | changes))


def code(**changes: object) -> int:
    return int(preliminary_qc(table(**changes), GRID, TIME)["qc"].iloc[0])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, QC.PASS),
        ({"use": 0}, QC.PASSIVE),
        ({"value": [np.nan]}, QC.MISSING),
        ({"value": [12.0]}, QC.BOUNDS),
        ({"variable": "msl", "value": [1013.0]}, QC.BOUNDS),
        ({"variable": "t", "pressure": 500.0}, QC.BOUNDS),
        ({"variable": "t", "pressure": 120000.0}, QC.BOUNDS),
        ({"variable": "t", "pressure": 50000.0}, QC.PASS),
        ({"elevation": 99999.0}, QC.BOUNDS),
        ({"latitude": 65.0}, QC.DOMAIN),
        ({"longitude": 16.0}, QC.DOMAIN),
        ({"longitude": -19.0}, QC.PASS),
        ({"time": TIME + np.timedelta64(3, "h")}, QC.PASS),
        ({"time": TIME - np.timedelta64(181, "m")}, QC.TIME_WINDOW),
        ({"qc": QC.PRE_QC, "value": [np.nan]}, QC.PRE_QC),
    ],
)
def test_codes(changes: dict[str, object], expected: QC) -> None:
    assert code(**changes) == expected


def test_hpa_is_told_from_a_sounding_that_reaches_ten_hpa() -> None:
    sounding = table(variable="t", value=[280.0, 230.0], pressure=[85000.0, 1000.0])
    assert preliminary_qc(sounding, GRID, TIME)["qc"].tolist() == [0, 0]


def test_blacklist_and_withheld_stations() -> None:
    checked = preliminary_qc(
        table(station_id=["a", "b", "c"], value=[280.0] * 3),
        GRID,
        TIME,
        stations=StationLists(blacklist={"b": frozenset()}, withheld=frozenset("c")),
    )
    assert checked["qc"].tolist() == [QC.PASS, QC.BLACKLIST, QC.PASSIVE]
    assert checked["use"].tolist() == [1, 1, 0]


def test_of_duplicates_the_first_that_passes_is_kept_whether_they_agree_or_not() -> None:
    rows = table(value=[999.0, 280.0, 280.0, 281.0, 280.0], station_id=["a"] * 4 + ["b"])
    assert preliminary_qc(rows, GRID, TIME)["qc"].tolist() == [
        QC.BOUNDS,
        0,
        QC.DUPLICATE,
        QC.DUPLICATE,
        0,
    ]
    passive = table(value=[281.0, 280.0], station_id="a", use=[0, 1])
    assert preliminary_qc(passive, GRID, TIME)["qc"].tolist() == [QC.DUPLICATE, 0]
    levels = table(variable="t", value=[280.0] * 3, pressure=[85000.0, 70000.0, 85000.0])
    assert preliminary_qc(levels, GRID, TIME)["qc"].tolist() == [0, 0, QC.DUPLICATE]


def test_checks_change_neither_the_values_nor_the_table_given() -> None:
    rows = table(value=[12.0, 280.0])
    before = rows.copy()
    checked = preliminary_qc(rows, GRID, TIME)
    pd.testing.assert_frame_equal(rows, before)
    pd.testing.assert_frame_equal(checked.drop(columns="qc"), before.drop(columns="qc"))


def test_first_guess_check_uses_both_errors() -> None:
    rows = table(value=[280.0] * 5, error=3.0).assign(qc=np.array([0, 0, 1, 12, 0], np.int16))
    checked = first_guess_check(rows, np.array([24.9, -25.1, 26.0, 99.0, np.nan]), np.full(5, 4.0))
    assert checked["qc"].tolist() == [0, QC.FIRST_GUESS, QC.FIRST_GUESS, 12, 0]
    assert (
        first_guess_check(rows, np.array([24.9, 0, 0, 0, 0]), np.full(5, 4.0), factor=4)["qc"].iloc[
            0
        ]
        == QC.FIRST_GUESS
    )


def test_first_guess_check_without_an_error_is_refused() -> None:
    with pytest.raises(PhydaError, match="no error"):
        first_guess_check(table(), np.zeros(1), np.zeros(1))


@given(st.lists(st.sampled_from(list(QC)), max_size=30))
def test_summary_adds_up(codes: list[QC]) -> None:
    rows = (
        table(value=[280.0] * max(len(codes), 1))
        .iloc[: len(codes)]
        .assign(qc=np.array(codes, np.int16))
    )
    counts = summary(rows)
    assert (
        counts["in"]
        == len(codes)
        == counts["used"] + counts["passive"] + sum(counts["rejected"].values())
    )
    assert counts["rejected"].get("duplicate", 0) == codes.count(QC.DUPLICATE)
    assert sum(v["in"] for v in counts["variables"].values()) == len(codes)


def message(rows: pd.DataFrame) -> NoObservationsError:
    with pytest.raises(NoObservationsError) as caught:
        require_usable(preliminary_qc(rows, GRID, TIME), TIME)
    return caught.value


def test_all_outside_the_time_window_names_both_times_and_the_option() -> None:
    error = message(
        table(
            value=[280.0, 281.0],
            time=np.array(["2020-10-02T00:00", "2020-10-02T03:30"], "datetime64[ns]"),
        )
    )
    assert "valid time 2020-10-01T06:00Z" in error.message
    assert "from 2020-10-02T00:00Z to 2020-10-02T03:30Z" in error.message
    assert "--valid-time" in error.hint
    assert error.exit_code == 4


def test_hpa_in_a_pa_column_is_said() -> None:
    error = message(table(variable="t", pressure=500.0))
    assert "1 out of range" in error.message
    assert "pressure such as 500" in error.hint
    assert "looks like hPa" in error.hint


def test_degrees_celsius_are_recognised() -> None:
    error = message(table(value=[12.0, 14.0]))
    assert "2 values of t2m are outside 180..335 K, such as 12" in error.hint
    assert "degC" in error.hint


def test_other_reasons() -> None:
    assert "latitudes 65..65" in message(table(latitude=65.0)).message
    assert "withheld" in message(table(use=0)).hint
    with pytest.raises(NoObservationsError, match="no observations"):
        require_usable(table().iloc[:0], TIME)
    require_usable(preliminary_qc(table(), GRID, TIME), TIME)


def test_no_hints_for_sound_observations() -> None:
    assert unit_hints(preliminary_qc(table(), GRID, TIME)) == []


@pytest.mark.parametrize("variable", sorted(OBSERVABLES))
def test_every_observable_has_a_default_error(variable: str) -> None:
    assert (assign_errors(table(variable=variable, pressure=85000.0))["error"] > 0).all()


def test_given_errors_stay_and_defaults_are_scaled() -> None:
    rows = table(
        variable=["t", "t", "q"],
        value=[280.0, 280.0, 0.01],
        error=[np.nan, 3.0, np.nan],
        pressure=[50000.0, 50000.0, 85000.0],
    )
    expected = [default_error("t", np.array(5e4)), 3.0, default_error("q", np.array(85e3))]
    np.testing.assert_allclose(assign_errors(rows)["error"], np.array(expected, float))
    np.testing.assert_allclose(
        assign_errors(rows, 1.5)["error"], np.array(expected, float) * [1.5, 1.0, 1.5]
    )
    assert rows["error"].isna().sum() == 2


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan])
def test_error_scale_must_be_positive(scale: float) -> None:
    with pytest.raises(UsageError, match="positive"):
        assign_errors(table(), scale)
