"""Observations as users have them, through ``phyda obs convert`` and ``phyda obs inspect``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import pandas as pd
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "observations"))
from messages import PLACE, TIME, encode
from test_obs_bufr_context import HEAD, SENSOR, STATION
from test_obs_prepbufr import SEQUENCES, SOUNDING, bits, message, prepbufr, tables

Run = Callable[..., Any]
Values = dict[str, float]
SENSOR_VALUES = {"airTemperature": 284.35}


def bufr(descriptors: list[int], values: dict[str, Any], category: int = 0) -> bytes:
    return encode(HEAD + descriptors, category, STATION | TIME | PLACE | values)


def nameless(name: str, latitude: float) -> bytes:
    values = TIME | PLACE | {"latitude": latitude, "airTemperature": 281.0}
    values |= {"shortStationName": name} if name else {}
    return encode([1018, 301011, 301012, 301021, 12101], 0, values)


def surface_ioda(folder: Path) -> bytes:
    path = folder / "ioda"
    with netCDF4.Dataset(path, "w") as data:
        data.createDimension("Location", 1)
        places = {"latitude": 50.0, "longitude": 8.0, "stationElevation": 145.0, "height": 145.0}
        groups = {
            "MetaData": places | {"pressure": 99650.0},
            "ObsValue": {"airTemperature": 284.35, "windEastward": 2.0, "stationPressure": 99650.0},
        }
        for group, values in groups.items():
            for name, value in values.items():
                data.createGroup(group).createVariable(name, "f8", ("Location",))[:] = value
        stamp = data["MetaData"].createVariable("dateTime", "i8", ("Location",))
        stamp.units = "seconds since 1970-01-01T00:00:00Z"
        stamp[:] = 1601532000
    return path.read_bytes()


OVERWRITE = {"#1#airTemperature": 284.35, f"#1#{SENSOR}": 0.05, "#2#airTemperature": 290.15}
LEVELS = {
    key: value
    for i, (height, speed) in enumerate([(760, 3.0), (1500, 8.0)], 1)
    for key, value in {
        f"#{i}#nonCoordinateGeopotentialHeight": height,
        f"#{i}#windDirection": 200,
        f"#{i}#windSpeed": speed,
    }.items()
}
CF = (
    "station,longitude (degrees_east),latitude (degrees_north),time (UTC),wd (degrees_true),"
    "wspd (m s-1),msl (hPa),t2m (degree_C),d2m (degree_Celsius)\n"
    "41001,-72.2,34.7,2020-10-01T06:00:00Z,210,7.0,1012.3,24.1,20.3\n"
)
UNITS_ROW = (
    "station,longitude,latitude,time,wd,wspd,msl,t2m,d2m\n"
    ",degrees_east,degrees_north,UTC,degrees_true,knot,hPa,degree_C,degree_C\n"
    "41001,-72.2,34.7,2020-10-01T06:00:00Z,210,14.0,1012.3,24.1,20.3\n"
)
IEM = (
    "station,valid,lon,lat,elevation,tmpf,dwpf,relh,drct,sknt,p01i,alti,mslp,metar\n"
    'AAA,2020-10-01 05:53,-93.66,41.53,292.0,50.00,41.00,M,320.00,12.00,T,29.95,1014.20,"AAA, 1"\n'
)
ISD = (
    '"STATION","DATE","LATITUDE","LONGITUDE","ELEVATION","WND","TMP","DEW","SLP"\n'
    '"9","2020-10-01T05:51:00","41.9","-87.9","201.8","220,5,N,0046,5","+0117,5","+0067,5",'
    '"10112,5"\n'
    '"9","2020-10-01T06:51:00","41.9","-87.9","201.8","999,9,V,0015,5","+9999,9","+9999,9",'
    '"99999,9"\n'
)
AVIATION = (
    "station_id,time,latitude,longitude,temp_c,dewpoint_c,wind_dir_degrees,wind_speed_kt,"
    "wind_gust_kt,altim_in_hg,sea_level_pressure_mb,elevation_m\n"
    "XXXX,2020-10-01T06:00:00Z,41.9,-87.9,11.7,6.7,220,10,,29.86,1011.2,202.0\n"
)
COMMENTS = (
    "# STATION: AAA\n# LATITUDE: 40.77\n# LONGITUDE: -111.96\n# ELEVATION [ft]: 4226\n"
    "time,t2m_degC\n2020-10-01T06:00,24.1\n"
)
CF_WIND = {"wind_direction": 210.0, "wind_speed": 7.0}
AIR = {"msl": 101230.0, "t2m": 297.25, "d2m": 293.45}
CASES: dict[str, tuple[bytes | str, Values]] = {  # what a file holds, and what comes of it
    "bufr-metar-qnh": (bufr([10052], {"altimeterSettingQnh": 101000.0}), {"qnh": 101000.0}),
    "bufr-overwrite": (bufr([12101, 7032, 12101], OVERWRITE), {"t2m": 284.35}),
    "bufr-sensor-height": (bufr([7032, 12101], {SENSOR: 2.0} | SENSOR_VALUES), {"t2m": 284.35}),
    "bufr-sensor-height 5 cm": (
        bufr(
            [10004, 7032, 12101], {"nonCoordinatePressure": 99650.0, SENSOR: 0.05} | SENSOR_VALUES
        ),
        {"sp": 99650.0},
    ),
    "bufr-sensor-height 32 m": (
        bufr([7032, 12101], {SENSOR: 32.0} | SENSOR_VALUES),
        {"t": 284.35},
    ),
    "csv-cf-units": (CF, AIR | CF_WIND),
    "csv-units-row": (UNITS_ROW, AIR | CF_WIND | {"wind_speed": 14 * 0.514444}),
    "csv-iem-mslp": (
        IEM,
        {"t2m": 283.15, "d2m": 278.15, "msl": 101420.0, "qnh": 101422.35}
        | {"wind_direction": 320.0, "wind_speed": 12 * 0.514444},
    ),
    "ignored-columns-shown": (
        AVIATION,
        {"t2m": 284.85, "d2m": 279.85, "wind_direction": 220.0, "wind_speed": 5.14444}
        | {"qnh": 101117.6, "msl": 101120.0},
    ),
    "station-table comments": (COMMENTS, {"t2m": 297.25}),
}


@pytest.fixture
def rows(phyda: Run, tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """The observations of a file as ``obs convert`` writes them."""

    def convert(content: bytes | str, *options: object) -> pd.DataFrame:
        content = content.encode() if isinstance(content, str) else content
        (tmp_path / "obs").write_bytes(content)
        out = tmp_path / "out.csv"
        done = phyda("obs", "convert", tmp_path / "obs", "--out", out, "--overwrite", *options)
        assert done.code == 0, done.err
        return pd.read_csv(out, dtype={"station_id": str})

    return convert


@pytest.mark.parametrize("name", CASES)
def test_values(rows: Callable[..., pd.DataFrame], name: str) -> None:
    content, expected = CASES[name]
    found = rows(content)
    assert dict(zip(found["variable"], found["value"], strict=True)) == pytest.approx(
        expected, rel=2e-5
    )


def test_climate_messages_are_named(phyda: Run, tmp_path: Path) -> None:
    """bufr-climat"""
    values = {"timePeriod": 31, "firstOrderStatistics": 4, "airTemperature": 287.15}
    (tmp_path / "obs").write_bytes(bufr([4023, 8023, 12101], values))
    found = phyda("obs", "inspect", tmp_path / "obs")
    assert (found.code, "statistic" in found.err) == (3, True)


def test_stations_without_a_number(rows: Callable[..., pd.DataFrame]) -> None:
    """bufr-no-wmo-number"""
    content = b"".join(nameless(name, 50 + i) for i, name in enumerate(["B000", "B001", "", ""]))
    assert rows(content)["station_id"].nunique() == 4


def test_winds_at_geopotential_heights(rows: Callable[..., pd.DataFrame]) -> None:
    """bufr-pilot-geopotential"""
    found = rows(bufr([103000, 31001, 10009, 11001, 11002], LEVELS, category=2))
    speeds = found[found["variable"] == "wind_speed"]
    assert speeds["height"].tolist() == [760, 1500]
    assert set(found["variable"]) == {"wind_speed", "wind_direction"}


@pytest.mark.parametrize("clock", [("hour", "6", "12"), ("time", "0600", "1200")])
def test_dates_and_hours(rows: Callable[..., pd.DataFrame], clock: tuple[str, str, str]) -> None:
    """csv-date-and-hour"""
    name, *hours = clock
    text = f"station,date,{name},lat,lon,t2m_degC\n"
    text += "".join(f"260,2020-10-01,{h},52.1,5.18,11.2\n" for h in hours)
    assert [t[11:13] for t in rows(text)["time"]] == ["06", "12"]


def test_flags_beside_values(phyda: Run, rows: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    """csv-isd-flags"""
    found = rows(ISD)
    first = found[found["time"].str.contains("05:51")].set_index("variable")["value"].to_dict()
    expected = {"t2m": 284.85, "d2m": 279.85, "wind_direction": 220, "wind_speed": 4.6}
    assert first == pytest.approx(expected | {"msl": 101120})
    second = found[found["time"].str.contains("06:51")]
    assert second["variable"].tolist() == ["wind_speed"]


def test_surface_reports_in_ioda(rows: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    """ioda-surface-levels"""
    found = rows(surface_ioda(tmp_path)).set_index("variable")["value"].to_dict()
    assert found == {"t2m": 284.35, "u10": 2.0, "sp": 99650.0}


def test_prepbufr(phyda: Run, rows: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    """prepbufr-message"""
    assert {"t", "u", "v"} & set(rows(prepbufr("ADPUPA", SOUNDING))["variable"])
    report = b"\0\x0a" + int(bits("SID", "A"), 2).to_bytes(8, "big")
    dump = tables() + message(2, [63000, SEQUENCES["NC002001"][0]], 1, report)
    (tmp_path / "dump").write_bytes(dump)
    found = phyda("obs", "inspect", tmp_path / "dump")
    assert (found.code, "bufr2ioda" in found.err) == (3, True)


def test_a_table_of_stations(rows: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    """station-table"""
    (tmp_path / "stations.csv").write_text("station_id,latitude,longitude\nA,40.77,-111.96\n")
    (tmp_path / "map.toml").write_text('stations = "stations.csv"\n')
    table = "station_id,time,t2m_degC\nA,2020-10-01T06:00,24.1\n"
    found = rows(table, "--obs-map", tmp_path / "map.toml")
    assert found[["latitude", "value"]].iloc[0].tolist() == pytest.approx([40.77, 297.25])


def test_what_is_not_used_is_said_in_text_too(phyda: Run, tmp_path: Path) -> None:
    """ignored-columns-shown"""
    (tmp_path / "obs").write_text("id,time,lat,lon,t2m,gusts\na,2020-10-01T06:00,50,8,280,3\n")
    assert "gusts" in phyda("obs", "inspect", tmp_path / "obs").err
    found = phyda("obs", "inspect", tmp_path / "obs", "--json")
    assert list(json.loads(found.out)["ignored_columns"].values()) == [["gusts"]]
