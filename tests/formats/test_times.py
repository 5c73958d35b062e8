"""Valid and lead times in the ways files state them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from phyda_cli.errors import InputError, UsageError
from phyda_cli.formats.times import choose, time_axis

HOURS = {"units": "hours since 2020-01-01"}


def when(text: str) -> np.datetime64:
    return np.datetime64(text, "ns")


def axis_of(**coords: object) -> tuple[list[str], list[float]]:
    axis = time_axis(xr.Dataset(coords=coords), "fc.nc")  # type: ignore[arg-type]
    return [str(t)[:16] for t in axis.valid.ravel()], axis.lead.ravel().tolist()


def test_time_alone_is_valid_time() -> None:
    assert axis_of(time=("time", [0, 6], HOURS)) == (
        ["2020-01-01T00:00", "2020-01-01T06:00"],
        [0, 0],
    )
    assert axis_of(valid_time=("valid_time", [6], {"units": "seconds since 1970-01-01 18:00"}))[
        0
    ] == ["1970-01-01T18:00"]
    assert axis_of(time=((), 30, HOURS)) == (["2020-01-02T06:00"], [0])


def test_time_and_step_across_it_is_a_forecast() -> None:
    found = axis_of(
        time=("time", [0, 12], HOURS),
        prediction_timedelta=("prediction_timedelta", [0, 24], {"units": "hours"}),
    )
    assert found == (
        ["2020-01-01T00:00", "2020-01-02T00:00", "2020-01-01T12:00", "2020-01-02T12:00"],
        [0, 24, 0, 24],
    )
    assert axis_of(time=((), 0, HOURS), step=((), 6 * 3600 * 10**9, {"units": "nanoseconds"})) == (
        ["2020-01-01T06:00"],
        [6],
    )


def test_as_cfgrib_writes_it() -> None:
    found = axis_of(
        time=((), 0, {**HOURS, "standard_name": "forecast_reference_time"}),
        step=("step", [6, 12], {"units": "hours", "standard_name": "forecast_period"}),
        valid_time=("step", [6, 12], {**HOURS, "standard_name": "time"}),
    )
    assert found == (["2020-01-01T06:00", "2020-01-01T12:00"], [6, 12])


def test_as_cf_recommends_it() -> None:
    reference = ((), 0, {**HOURS, "standard_name": "forecast_reference_time"})
    assert axis_of(time=("time", [6, 12], HOURS), forecast_reference_time=reference) == (
        ["2020-01-01T06:00", "2020-01-01T12:00"],
        [6, 12],
    )
    period = ("time", [6, 12], {"units": "hours", "standard_name": "forecast_period"})
    assert axis_of(time=("time", [6, 12], HOURS), forecast_period=period) == (
        ["2020-01-01T06:00", "2020-01-01T12:00"],
        [6, 12],
    )


def test_calendars() -> None:
    assert axis_of(time=("time", [59], {"units": "days since 2020-01-01", "calendar": "noleap"}))[
        0
    ] == ["2020-03-01T00:00"]
    assert axis_of(time=("time", [15], {"units": "days since 2020-01-01", "calendar": "360_day"}))[
        0
    ] == ["2020-01-16T00:00"]
    with pytest.raises(InputError, match=r"360_day.*does not exist in the real calendar"):
        axis_of(time=("time", [59], {"units": "days since 2020-01-01", "calendar": "360_day"}))
    with pytest.raises(InputError, match="unreadable"):
        axis_of(time=("time", [59], {"units": "days since yesterday"}))


def test_no_time() -> None:
    empty = xr.Dataset({"t": 1.0})
    with pytest.raises(InputError, match="states no valid time") as caught:
        time_axis(empty, "fc.nc")
    assert "--valid-time" in caught.value.hint
    assert time_axis(empty, "fc.nc", when("2020-01-01")).valid == when("2020-01-01")
    assert time_axis(empty.assign_attrs(valid_time="2020-01-01 06:00:00"), "fc.nc").valid == when(
        "2020-01-01T06"
    )


VALID = np.array(
    ["2020-01-01T00", "2020-01-01T12", "2020-01-01T12", "2020-01-02T00"], "datetime64[ns]"
)
LEAD = np.array([0.0, 12.0, 0.0, 12.0])


def test_choose() -> None:
    assert choose(VALID, LEAD, when("2020-01-01T12"), None, "f") == 2  # the shorter forecast
    assert choose(VALID, LEAD, None, when("2020-01-01T06"), "f") == 0  # the earlier of two
    assert choose(VALID, LEAD, None, when("2031-01-01"), "f") == 3
    assert choose(VALID[1:3], LEAD[1:3], None, None, "f") == 1
    with pytest.raises(
        UsageError, match="several times: 2020-01-01T00:00, 2020-01-01T12:00, 2020-01-02T00:00"
    ):
        choose(VALID, LEAD, None, None, "f")
    many = VALID[0] + np.arange(100) * np.timedelta64(1, "h")
    with pytest.raises(UsageError, match="100 times"):
        choose(many, np.zeros(100), None, None, "f")
