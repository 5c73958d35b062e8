from collections import Counter
from pathlib import Path
from typing import Any

import messages
import numpy as np
import pandas as pd
import pytest
from messages import PLACE, TIME, ascent, encode, synop

from phyda_cli.constants import GRAVITY
from phyda_cli.errors import InputError
from phyda_cli.observations.read.bufr import read_bufr
from phyda_cli.observations.read.read import read_observations
from phyda_cli.observations.report import ReadResult
from phyda_cli.observations.table import QC, check

WIND = {"windSpeed": 5.0, "windDirection": 270}


def read(*content: bytes) -> ReadResult:
    result = read_bufr(b"".join(content), "obs.bufr")
    check(result.table)
    return result


def values(table: pd.DataFrame) -> dict[str, float]:
    return dict(zip(table["variable"], table["value"], strict=True))


def test_a_land_station() -> None:
    result = read(synop())
    table = result.table
    expected = {
        "t2m": 280.0,
        "d2m": 275.0,
        "wind_speed": 5.0,
        "wind_direction": 270.0,
        "sp": 100000.0,
        "msl": 101300.0,
    }
    assert values(table) == pytest.approx(expected)
    assert set(table["station_id"]) == {"03953"}
    assert set(table["time"]) == {pd.Timestamp("2020-10-01T06:30")}
    assert table[["latitude", "longitude"]].drop_duplicates().to_numpy().tolist() == [[50.0, 350.0]]
    assert table["pressure"].isna().all()
    assert dict(zip(table["variable"], table["elevation"], strict=True)) == {
        **dict.fromkeys(expected, 100.0),
        "sp": 105.0,
    }
    assert (result.rows_read, result.rows_with_values) == (1, 1)


@pytest.mark.parametrize("compressed", [0, 1])
def test_several_reports_in_a_message(compressed: int) -> None:
    heights = [10.0, 20.0, 30.0]
    one = {
        "latitude": [1.0, 2.0, 3.0],
        "longitude": [4.0, 5.0, 6.0],
        "heightOfStationGroundAboveMeanSeaLevel": heights,
    }
    if compressed:
        content = {
            **one,
            "#1#airTemperature": [281.0, 282.0, 283.0],
            "blockNumber": [1, 2, 3],
            "stationNumber": [7, 8, 9],
        }
    else:
        several = {
            **one,
            "airTemperature": [281.0, 282.0, 283.0],
            "blockNumber": [1, 2, 3],
            "stationNumber": [7, 8, 9],
        }
        content = {f"#{i + 1}#{key}": value[i] for key, value in several.items() for i in range(3)}
        content |= {f"#{i}#{key}": value for i in (1, 2, 3) for key, value in TIME.items()}
    result = read(
        encode(
            messages.SYNOP,
            0,
            (TIME if compressed else {}) | content,
            subsets=3,
            compressed=compressed,
            levels=1,
        )
    )
    rows = result.table[result.table["variable"] == "t2m"]
    assert rows[["station_id", "latitude", "elevation", "value"]].to_numpy().tolist() == [
        ["01007", 1.0, 10.0, 281.0],
        ["02008", 2.0, 20.0, 282.0],
        ["03009", 3.0, 30.0, 283.0],
    ]
    assert result.rows_read == 3


def test_ships_and_buoys_stand_at_sea_level_and_are_named_as_they_say() -> None:
    ship = encode(
        messages.SHIP,
        1,
        TIME | PLACE | {"shipOrMobileLandStationIdentifier": "ABCD", "#1#airTemperature": 285.0},
        levels=1,
    )
    buoy = encode(
        messages.BUOY,
        1,
        TIME | PLACE | {"buoyOrPlatformIdentifier": 62001, "airTemperatureAt2M": 286.0},
    )
    nameless = encode(
        messages.BUOY, 1, TIME | PLACE | {"windSpeedAt10M": 7.0, "windDirectionAt10M": 90}
    )
    table = read(ship, buoy, nameless).table
    rows = table[["station_id", "variable", "value", "elevation", "row"]].to_numpy().tolist()
    assert rows[:2] == [["ABCD", "t2m", 285.0, 0.0, 1], ["62001", "t2m", 286.0, 0.0, 2]]
    where = "50.000,-10.000"
    assert rows[2:] == [[where, "wind_speed", 7.0, 0.0, 3], [where, "wind_direction", 90.0, 0.0, 3]]


def test_a_wigos_identifier_serves_where_there_is_no_wmo_number() -> None:
    series = {
        "wigosIdentifierSeries": 0,
        "wigosIssuerOfIdentifier": 40,
        "wigosIssueNumber": 1,
        "wigosLocalIdentifierCharacter": "XYZ",
    }
    descriptors = (301150, 301011, 301012, 301021, 12101)
    table = read(encode(descriptors, 0, series | TIME | PLACE | {"airTemperature": 280.0})).table
    assert table["station_id"].tolist() == ["0-40-1-XYZ"]


def test_an_ascent_follows_the_balloon() -> None:
    result = read(ascent())
    low, high = (result.table[result.table["pressure"] == p] for p in (100000.0, 50000.0))
    assert values(low) == pytest.approx({"z": 100 * GRAVITY, "t": 283.0, "td": 280.0})
    assert values(high) == pytest.approx({"t": 253.0, "wind_speed": 20.0, "wind_direction": 250.0})
    assert set(low["time"]) == {pd.Timestamp("2020-10-01T06:30")}
    assert set(high["time"]) == {pd.Timestamp("2020-10-01T06:50")}
    assert high[["latitude", "longitude"]].iloc[0].tolist() == [50.25, 350.5]
    assert set(result.table["elevation"]) == {14.0}
    # The two rows without values are the wind shear's.
    assert (result.rows_with_values, result.rows_read - result.rows_without_values) == (2, 2)


def test_a_level_without_pressure_is_rejected_not_put_at_the_release_height() -> None:
    result = read(ascent(**{"#2#pressure": messages.MISSING}))
    assert Counter(result.table["qc"]) == {QC.PASS: 3, QC.PRE_QC: 3}
    assert [p.reason for p in result.problems] == ["a level without pressure or height"]


def test_pilots_and_profilers_have_heights() -> None:
    level = {"#1#geopotentialHeight": 1500, "#1#windSpeed": 9.0, "#1#windDirection": 180}
    pilot = encode(
        messages.PILOT, 2, {"blockNumber": 3, "stationNumber": 953} | TIME | PLACE | level, levels=1
    )
    components = {"#1#geopotential": 9806.65, "#1#u": 3.0, "#1#v": -4.0}
    profiler = encode(
        messages.PROFILER,
        2,
        {"blockNumber": 10, "stationNumber": 1} | TIME | PLACE | components,
        levels=1,
    )
    table = read(pilot, profiler).table
    assert table[["variable", "value", "height"]].to_numpy().tolist() == [
        ["wind_speed", 9.0, 1500.0],
        ["wind_direction", 180.0, 1500.0],
        ["u", 3.0, pytest.approx(1000, abs=1)],
        ["v", -4.0, pytest.approx(1000, abs=1)],
    ]
    assert (table["qc"] == 0).all()


def test_aircraft_levels_are_altitudes_of_the_standard_atmosphere() -> None:
    name = {"aircraftRegistrationNumberOrOtherIdentification": "EU1234"}
    report = TIME | PLACE | {"flightLevel": 11887, "airTemperature": 220.0} | WIND
    amdar = encode(
        messages.AMDAR, 4, name | {f"#1#{key}": value for key, value in report.items()}, levels=1
    )
    airep = encode(
        messages.AIREP,
        4,
        {"aircraftFlightNumber": "XY12"} | TIME | PLACE | {"height": 3048, "airTemperature": 270.0},
    )
    table = read(amdar, airep).table
    assert table["station_id"].tolist() == ["EU1234"] * 3 + ["XY12"]
    assert table["variable"].tolist() == ["t", "wind_speed", "wind_direction", "t"]
    assert table["pressure"].to_numpy() == pytest.approx(
        [19677, 19677, 19677, 69682], rel=2e-3
    )  # ICAO: FL390, FL100


def test_a_damaged_message_costs_itself_only() -> None:
    shortened = bytearray(synop())
    shortened[4:7] = (30).to_bytes(3, "big")
    radiance = encode(301021, 21, PLACE)
    result = read(synop(), bytes(shortened), b"\r\r\n", radiance, synop(blockNumber=4))
    assert set(result.table["row"]) == {1, 4}
    assert (result.rows_read, result.rows_with_values, result.rows_unreadable) == (4, 2, 2)
    assert [p.row for p in result.problems] == [2, 3]
    assert "data category 21 (radiances)" in result.problems[1].reason


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"month": 13}, QC.PRE_QC, "no readable time"),
        ({"latitude": messages.MISSING}, QC.PRE_QC, "no position"),
    ],
)
def test_reports_without_time_or_position_are_named(
    change: dict[str, Any], code: QC, reason: str
) -> None:
    result = read(synop(**change))
    assert set(result.table["qc"]) == {code}
    assert [p.reason for p in result.problems] == [reason]


def test_a_file_without_anything_readable_is_refused() -> None:
    with pytest.raises(
        InputError,
        match=r"data category 21 \(radiances\).*found 1 of category 21",
    ):
        read(encode(301021, 21, PLACE))


def test_a_file_that_ends_within_a_message_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.bufr").write_bytes((synop() + synop())[:-20])
    with pytest.raises(
        InputError, match=r"cut.bufr: the BUFR content cannot be decoded: message 2 is cut off"
    ):
        read_observations([tmp_path / "cut.bufr"])


def test_several_files_come_in_their_order_whatever_is_ready_first(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.bufr" for i in range(4)]
    for i, path in enumerate(paths):
        path.write_bytes(synop(stationNumber=i) * (40 if i == 0 else 1))
    table = read_observations(paths).table
    assert list(dict.fromkeys(table["file"])) == [str(p) for p in paths]
    assert list(dict.fromkeys(table["station_id"])) == ["03000", "03001", "03002", "03003"]
    pd.testing.assert_frame_equal(table, read_observations(paths).table)
    assert np.array_equal(table["value"].iloc[-6:], read_observations(paths[-1:]).table["value"])
