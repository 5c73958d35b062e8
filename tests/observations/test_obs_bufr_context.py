"""BUFR values in their context: what is a statistic, of a period or measured elsewhere is no
observation of this place and time."""

from __future__ import annotations

from typing import Any

import pytest
from messages import PLACE, TIME, encode, synop

from phyda_cli.errors import InputError
from phyda_cli.observations.read.bufr import read_bufr
from phyda_cli.observations.report import ReadResult
from phyda_cli.observations.table import QC

STATION = {"blockNumber": 10, "stationNumber": 637, "heightOfStationGroundAboveMeanSeaLevel": 111.0}
HEAD = [301001, 301011, 301012, 301021, 7030]
SENSOR = "heightOfSensorAboveLocalGroundOrDeckOfMarinePlatform"


def read(descriptors: list[int], values: dict[str, Any], category: int = 0) -> ReadResult:
    content = encode(HEAD + descriptors, category, STATION | TIME | PLACE | values)
    return read_bufr(content, "x")


def good(result: ReadResult) -> dict[str, float]:
    rows = result.table[result.table["qc"] == QC.PASS]
    return dict(zip(rows["variable"], rows["value"], strict=True))


def test_the_first_value_wins_and_5_cm_is_not_2_m() -> None:
    values = {"#1#airTemperature": 284.35, f"#1#{SENSOR}": 0.05, "#2#airTemperature": 290.15}
    result = read([12101, 7032, 12101], values)
    assert good(result) == {"t2m": 284.35}
    assert [n.count for n in result.notes] == [1]
    twice = read([12101, 12101], {"#1#airTemperature": 284.35, "#2#airTemperature": 290.15})
    assert good(twice) == {"t2m": 284.35}


@pytest.mark.parametrize(
    ("height", "variable"), [(2.0, "t2m"), (1.25, "t2m"), (0.05, None), (0.5, None), (32.0, "t")]
)
def test_heights_of_sensors(height: float, variable: str | None) -> None:
    values = {f"#1#{SENSOR}": height, "airTemperature": 284.35, "nonCoordinatePressure": 99650.0}
    result = read([10004, 7032, 12101], values)
    expected = {"sp": 99650.0} | ({variable: 284.35} if variable else {})
    assert good(result) == expected
    assert (result.rows_read, result.rows_with_values) == (1, 1)
    if variable == "t":
        row = result.table[result.table["variable"] == "t"].iloc[0]
        assert row["height"] == 111.0 + 32.0
        assert row["elevation"] == 111.0


def test_a_missing_height_ends_the_one_before() -> None:
    values = {f"#1#{SENSOR}": 0.05, "#1#airTemperature": 290.0, "#2#airTemperature": 284.35}
    assert good(read([7032, 12101, 7032, 12101], values)) == {"t2m": 284.35}


@pytest.mark.parametrize(("statistic", "kept"), [(4, False), (2, False), (10, False), (63, True)])
def test_statistics(statistic: int, kept: bool) -> None:
    given = {} if statistic == 63 else {"#1#firstOrderStatistics": statistic}
    values = given | {"airTemperature": 284.35, "nonCoordinatePressure": 99650.0}
    result = read([10004, 8023, 12101, 8023], values)
    assert ("t2m" in good(result)) == kept
    assert good(result)["sp"] == 99650.0


@pytest.mark.parametrize(
    ("descriptor", "period", "kept"),
    [(4025, -10, True), (4025, -60, False), (4024, -1, False), (4023, -1, False), (4024, 0, True)],
)
def test_periods_of_wind(descriptor: int, period: int, kept: bool) -> None:
    values = {"timePeriod": period, "windDirection": 200, "windSpeed": 5.0, "airTemperature": 280.0}
    result = read([12101, descriptor, 11001, 11002], values)
    assert good(result) == {"t2m": 280.0} | (
        {"wind_direction": 200.0, "wind_speed": 5.0} if kept else {}
    )


def test_a_monthly_mean_is_refused() -> None:
    values = {"timePeriod": 31, "firstOrderStatistics": 4, "airTemperature": 287.15}
    with pytest.raises(InputError, match="statistic"):
        read([4023, 8023, 12101], values)


def test_the_altimeter_setting_is_read() -> None:
    assert good(read([10052], {"altimeterSettingQnh": 101000.0})) == {"qnh": 101000.0}


def test_winds_at_geopotential_heights() -> None:
    values = {}
    levels = [(760, 200, 3.0), (1500, 220, 8.0)]
    for i, (height, direction, speed) in enumerate(levels, 1):
        values |= {
            f"#{i}#nonCoordinateGeopotentialHeight": height,
            f"#{i}#windDirection": direction,
            f"#{i}#windSpeed": speed,
        }
    result = read([103000, 31001, 10009, 11001, 11002], values, category=2)
    assert result.table["height"].tolist() == pytest.approx([760, 760, 1500, 1500])
    assert set(result.table["variable"]) == {"wind_speed", "wind_direction"}
    assert (result.table["qc"] == 0).all()


def test_a_profiler_by_height_above_the_station() -> None:
    values = {"#1#heightAboveStation": 100, "#1#windSpeed": 3.0, "#2#heightAboveStation": 300}
    result = read([7006, 11002, 7006, 11002], values | {"#2#windSpeed": 4.0}, category=2)
    assert result.table["height"].tolist() == [211.0, 411.0]


def test_stations_without_a_number_are_told_apart() -> None:
    def one(name: str, latitude: float) -> bytes:
        place = PLACE | {"latitude": latitude}
        named = {"shortStationName": name} if name else {}
        values = TIME | place | named | {"airTemperature": 281.0}
        return encode([1018, 301011, 301012, 301021, 12101], 0, values)

    content = one("B000", 50) + one("B001", 51) + one("", 52) + one("", 53)
    stations = read_bufr(content, "x").table["station_id"].tolist()
    assert stations == ["B000", "B001", "52.000,-10.000", "53.000,-10.000"]


def test_elements_that_are_not_read_are_listed_with_their_number() -> None:
    seen = {"horizontalVisibility": 9000.0}
    result = read_bufr(synop(**seen) + synop() + synop(**seen), "x")
    assert result.ignored_columns == {"x": ["horizontalVisibility"]}
    assert any("horizontalVisibility (2)" in note.text for note in result.notes)
    assert not read_bufr(synop(), "x").ignored_columns
