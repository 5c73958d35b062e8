from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.observations.atmosphere import (
    specific_humidity_from_dew_point,
    specific_humidity_from_relative,
    standard_pressure,
    station_pressure,
)
from phyda_cli.observations.convert_variables import derive_table
from phyda_cli.observations.pre_qc import prepare
from phyda_cli.observations.read.csv import parse_csv
from phyda_cli.observations.read.read import TextTables, read_observations
from phyda_cli.observations.report import ReadResult
from phyda_cli.observations.table import QC, RAW, check, make
from phyda_cli.settings.analysis import QualityControlSettings

HEAD = "id,time,lat,lon,elevation"
PLACE = "a,2020-10-01T06:00,50,10,100"
GLOBE = Grid(np.arange(-90, 90.1, 2.5), np.arange(0, 360, 2.5))


def background(time: str = "2020-10-01T06:00") -> Fields:
    levels = np.array([20000.0, 50000.0, 85000.0, 100000.0])
    upper = {
        k: np.full((4, *GLOBE.shape), v)
        for k, v in {"t": 270.0, "u": 5.0, "v": 1.0, "q": 5e-3}.items()
    }
    surface = {
        k: np.full(GLOBE.shape, v)
        for k, v in {
            "t2m": 283.15,
            "msl": 101325.0,
            "u10": 1.0,
            "v10": 1.0,
            "orography": 100.0,
        }.items()
    }
    return Fields(GLOBE, np.datetime64(time), levels, upper, surface)


def derived(
    columns: str, *rows: str, fields: Fields | None = None, head: str = HEAD, place: str = PLACE
) -> pd.DataFrame:
    table = derive_table(
        parse_csv("\n".join([f"{head},{columns}", *(f"{place},{row}" for row in rows)]), "f").table,
        fields,
    )
    check(table)
    assert not set(table.loc[table["qc"] <= QC.PASSIVE, "variable"]) & RAW
    return table


def test_wind_pair_becomes_components_in_place() -> None:
    table = derived("wind_speed,t2m,wind_direction", "10,280,270")
    assert table["variable"].tolist() == ["u10", "t2m", "v10"]
    assert table["value"].tolist() == pytest.approx([10, 280, 0], abs=1e-12)
    assert table["row"].tolist() == [2, 2, 2]


def test_wind_at_a_level_becomes_u_and_v() -> None:
    table = derived("pressure,wind_speed,wind_direction", "85000,10,180")
    assert table["variable"].tolist() == ["u", "v"]
    assert table["value"].tolist() == pytest.approx([0, 10], abs=1e-12)
    assert table["pressure"].tolist() == [85000, 85000]


def test_wind_pairs_across_lines_of_a_long_table_but_not_across_levels() -> None:
    rows = [f"wind_speed,{p},10" for p in (85000, 70000)] + [
        f"wind_direction,{p},{d}" for p, d in ((70000, 90), (50000, 0))
    ]
    table = derived("variable,pressure,value", *rows)
    assert table["variable"].tolist() == ["wind_speed", "u", "v", "wind_direction"]
    assert table["qc"].tolist() == [QC.H_FAILED, 0, 0, QC.H_FAILED]


def test_speed_without_direction() -> None:
    rows = ("10,", ",90", "10,north", "0,north")
    text = [
        f"{HEAD},wind_speed,wind_direction",
        *(f"{name}{PLACE[1:]},{row}" for name, row in zip("abcd", rows, strict=True)),
    ]
    table = derive_table(parse_csv("\n".join(text), "f").table)
    assert table["variable"].tolist() == [
        "wind_speed",
        "wind_direction",
        "wind_speed",
        "wind_direction",
        "wind_speed",
        "wind_direction",
    ]
    assert table["qc"].tolist() == [
        QC.H_FAILED,
        QC.H_FAILED,
        QC.H_FAILED,
        QC.PRE_QC,
        QC.H_FAILED,
        QC.PRE_QC,
    ]


def test_speeds_of_a_file_without_directions_are_used_as_they_are() -> None:
    table = derived("wind_speed,t2m", "10,280", "12,")
    assert table["variable"].tolist() == ["wind_speed", "t2m", "wind_speed"]
    assert table["qc"].tolist() == [0, 0, 0]


def test_a_calm_needs_no_direction_and_adds_its_v() -> None:
    table = derived("wind_speed,t2m", "0,280")
    assert table["variable"].tolist() == ["u10", "v10", "t2m"]
    assert table["value"].tolist() == [0, 0, 280]
    assert table["row"].tolist() == [2, 2, 2]


def test_dew_point_uses_the_reported_pressure_else_the_standard_one() -> None:
    table = derived("d2m,sp", "280,98000", "280,")
    expected = [
        float(specific_humidity_from_dew_point(np.array(280.0), p))
        for p in (np.array(98000.0), standard_pressure(np.array(100.0)))
    ]
    # The station's own pressure stands in a report of the same station and time as well.
    assert table.loc[table["variable"] == "q2m", "value"].tolist() == pytest.approx(
        [expected[0], expected[0]]
    )
    alone = derived("d2m", "280")
    assert alone["value"].tolist() == pytest.approx([expected[1]])


def test_dew_point_without_a_pressure_uses_the_backgrounds() -> None:
    grid = Grid(np.arange(40.0, 61.0, 5.0), np.arange(0.0, 31.0, 5.0))
    surface = {"sp": np.full(grid.shape, 96000.0), "orography": np.full(grid.shape, 100.0)}
    background = Fields(grid, np.datetime64("2020-10-01", "ns"), np.zeros(0), {}, surface)
    rows = make(
        station_id=["a", "b"],
        time=np.datetime64("2020-10-01"),
        latitude=50.0,
        longitude=10.0,
        elevation=[100.0, 2000.0],  # too far from the background's ground
        variable="d2m",
        value=280.0,
        pressure=np.nan,
    )
    pressure = np.array([96000.0, float(standard_pressure(np.array(2000.0)))])
    expected = specific_humidity_from_dew_point(np.full(2, 280.0), pressure)
    np.testing.assert_allclose(derive_table(rows, background)["value"], expected, rtol=1e-6)


def test_dew_point_at_a_level() -> None:
    table = derived("pressure,td,gh", "50000,250,5500")
    assert table["variable"].tolist() == ["q", "z"]
    assert table["value"].tolist() == pytest.approx(
        [float(specific_humidity_from_dew_point(np.array(250.0), np.array(5e4))), 5500 * 9.80665]
    )


def test_relative_humidity_with_its_own_or_the_backgrounds_temperature() -> None:
    pressure = np.array(97000.0)
    fields = background()
    fields = replace(fields, surface=fields.surface | {"sp": np.full(GLOBE.shape, 97000.0)})
    own = float(specific_humidity_from_relative(np.array(50.0), np.array(290.0), pressure))
    models = float(specific_humidity_from_relative(np.array(50.0), np.array(283.15), pressure))
    both = derived("rh2m,t2m", "50,290", fields=fields)["value"].tolist()
    assert both == pytest.approx([own, 290])
    assert derived("rh2m", "50", fields=fields)["value"].tolist() == pytest.approx([models])
    without = derived("rh2m", "50")
    assert (without["variable"].tolist(), without["qc"].tolist()) == (["rh2m"], [QC.H_FAILED])
    upper = derived("pressure,r", "60000,50", fields=fields)
    assert upper["value"].tolist() == pytest.approx(
        [float(specific_humidity_from_relative(np.array(50.0), np.array(270.0), np.array(6e4)))]
    )


def test_altimeter() -> None:
    table = derived("qnh", "101000")
    assert (table["variable"].tolist(), table["value"].tolist()) == (
        ["sp"],
        pytest.approx([float(station_pressure(np.array(101e3), np.array(100.0)))]),
    )
    unknown = derived("qnh", "101000", head="id,time,lat,lon", place="a,2020-10-01T06:00,50,10")
    assert (unknown["variable"].tolist(), unknown["qc"].tolist()) == (["qnh"], [QC.H_FAILED])


def test_what_a_report_holds_already_is_redundant() -> None:
    table = derived(
        "d2m,rh2m,t2m,sp,qnh,u10,v10,wind_speed,wind_direction",
        "280,50,290,99000,101000,1,2,10,270",
    )
    codes = dict(zip(table["variable"], table["qc"], strict=True))
    redundant = {"rh2m", "qnh", "wind_speed", "wind_direction"}
    assert codes == {
        name: QC.THINNED if name in redundant else 0
        for name in [
            "q2m",
            "rh2m",
            "t2m",
            "sp",
            "qnh",
            "u10",
            "v10",
            "wind_speed",
            "wind_direction",
        ]
    }


def test_errors_follow_the_derivative() -> None:
    rows = ["qnh,101000,100", "d2m,280,1", "wind_speed,5,2", "wind_direction,90,10"]
    table = derived("variable,value,error", *rows)
    errors = dict(zip(table["variable"], table["error"], strict=True))
    assert errors["u10"] == errors["v10"] == 2
    assert errors["sp"] == pytest.approx(100, rel=0.02)
    assert errors["q2m"] == pytest.approx(4.4e-4, rel=0.05)


def test_passive_and_rejected_rows_keep_their_codes() -> None:
    table = parse_csv(f"{HEAD},wind_speed,wind_direction,d2m\n{PLACE},10,270,warm\n", "f").table
    table["qc"] = np.array([QC.PASSIVE, QC.PASSIVE, QC.PRE_QC], np.int16)
    result = derive_table(table)
    assert (result["variable"].tolist(), result["qc"].tolist()) == (
        ["u10", "v10", "d2m"],
        [1, 1, 11],
    )


def test_a_derived_value_out_of_range_is_rejected() -> None:
    table = derived("pressure,td", "5000,280")
    assert (table["variable"].tolist(), table["qc"].tolist()) == (["q"], [QC.BOUNDS])


@pytest.mark.real_data
def test_soundings_are_prepared_without_a_loss(soundings: ReadResult) -> None:
    table = prepare(soundings.table, background("2008-12-08T12:00"))
    assert len(table) == 78805
    assert table.groupby("qc").size().to_dict() == {
        QC.PASS: 78575,
        QC.BOUNDS: 6,
        QC.DOMAIN: 223,
        QC.H_FAILED: 1,
    }
    assert table[table["qc"] == 0].groupby("variable").size().to_dict() == {
        "q": 16089,
        "t": 18742,
        "u": 13754,
        "v": 13754,
        "z": 16236,
    }


@pytest.mark.real_data
def test_metars_are_prepared_without_a_loss(shared_data: Path) -> None:
    mapping = Path(__file__).resolve().parents[2] / "examples" / "metar.toml"
    raw = read_observations(
        [shared_data / "observations" / "metar_20201001T06.csv"], TextTables((str(mapping),))
    ).table
    table = prepare(raw, background(), settings=QualityControlSettings(repeats="all"))
    calms = len(table) - len(raw)
    assert calms == 1817
    counts = table[table["qc"] == 0].groupby("variable").size().to_dict()
    assert counts == {"q2m": 8264, "sp": 8052, "t2m": 8304, "u10": 7897, "v10": 7897}
    assert (
        table.loc[table["qc"] == QC.H_FAILED, "variable"].tolist() == ["wind_speed"] * 357
    )  # variable direction
    assert (table["error"] > 0).all()
    nearest = prepare(raw, background())
    used, repeated = nearest[nearest["qc"] == 0], nearest["qc"] == QC.REPEATED
    assert not used.duplicated(["station_id", "variable"]).any()
    assert set(used["station_id"]) == set(table["station_id"][table["qc"] == 0])
    assert len(used) + repeated.sum() == sum(counts.values())
