"""Text tables that say something that is easily read as something else; what a message tells the
user to do works."""

from __future__ import annotations

import re
import tomllib

import numpy as np
import pandas as pd
import pytest

from phyda_cli.errors import InputError
from phyda_cli.observations.read.columns import ObservationMap
from phyda_cli.observations.read.csv import parse_csv
from phyda_cli.observations.report import ReadResult

PLACE = "id,time,lat,lon,"
AT = "A,2024-01-15T06:00,50,8,"


def read(text: str, mapping: str = "") -> ReadResult:
    chosen = ObservationMap.model_validate(tomllib.loads(mapping)) if mapping else None
    return parse_csv(text, "x.csv", chosen)


def refused(text: str, pattern: str) -> str:
    """The part of the hint that ``pattern`` shows."""
    with pytest.raises(InputError) as caught:
        read(text)
    found = re.search(pattern, str(caught.value.hint))
    assert found is not None, caught.value.hint
    return found[1]


def rows(result: ReadResult) -> pd.DataFrame:
    return result.table[result.table["qc"] == 0]


@pytest.mark.parametrize(
    ("column", "cells", "kind", "levels"),
    [
        ("level", ("850", "500"), "pressure", [85000, 50000]),
        ("press", ("850", "500"), "pressure", [85000, 50000]),
        ("HGHT", ("1450", "5520"), "height", [1450, 5520]),
        ("height_agl_m", ("500", "1000"), "height", [600, 1100]),
        ("flight_level", ("100", "350"), "height", [3048, 10668]),
    ],
)
def test_levels_that_nothing_names_as_such(
    column: str, cells: tuple[str, str], kind: str, levels: list[float]
) -> None:
    text = f"{PLACE}{column},temperature_K,u_ms\n" + "".join(f"{AT}{c},270,10\n" for c in cells)
    advice = refused(text, rf"({kind} = \{{.*?\}})")
    found = rows(read(text, advice))
    assert found["variable"].tolist() == ["t", "u"] * 2
    assert found[kind].tolist() == pytest.approx(np.repeat(levels, 2).tolist())
    ignored = refused(text, r"(ignore = \[.*?\])")
    assert set(rows(read(text, ignored))["variable"]) == {"t2m", "u10"}


@pytest.mark.parametrize(
    "table",
    [
        f"{PLACE}pres,t2m_degC\n{AT}1001,4\nB,2024-01-15T06:00,51,8,1002,5\n",
        f"{PLACE}height,t2m_degC\n{AT}120,4\nB,2024-01-15T06:00,51,8,300,5\n",
        f"{PLACE}level,t2m_degC\n{AT}surface,4\n",
    ],
)
def test_stations_are_no_levels(table: str) -> None:
    assert set(rows(read(table))["variable"]) == {"t2m"}


def test_soundings_of_the_university_of_wyoming() -> None:
    old = (
        "PRES,HGHT,TEMP,DWPT,RELH,MIXR,DRCT,SKNT,THTA,id,time,lat,lon\n"
        "850.0,1450,3.2,1.0,85,4.8,240,30,288,10637,2024-01-15T12:00,50,8\n"
    )
    new = (
        "time,longitude,latitude,pressure_hPa,geopotential height_m,temperature_C,"
        "dew point temperature_C,relative humidity_%,wind direction_degree,wind speed_m/s\n"
        "2024-01-15 11:05:30,8.05,50.02,850.0,1450,3.2,1.0,85,240,15.4333\n"
        "2024-01-15 11:15:30,8.15,50.12,700.0,3000,-5,-9,75,240,19\n"
    )
    for text in (old, new):
        found = rows(read(text)).query("pressure == 85000").set_index("variable")["value"]
        expected = {"gh": 1450, "t": 276.35, "td": 274.15, "wind_speed": 15.4333}
        assert found[list(expected)].to_dict() == pytest.approx(expected, rel=1e-5)


def test_a_table_about_the_station_comes_first() -> None:
    text = (
        "latitude,longitude,elevation,utc_offset_seconds,timezone\n52.5,13.4,38.0,0,GMT\n\n"
        "time,temperature_2m (°C),wind_speed_10m (km/h)\n2024-01-15T06:00,3.1,18.0\n"
    )
    found = rows(read(text)).set_index("variable")
    assert found["value"].to_dict() == pytest.approx({"t2m": 276.25, "wind_speed": 5.0})
    assert found[["latitude", "longitude", "elevation"]].iloc[0].tolist() == [52.5, 13.4, 38.0]
    local = text.replace(",0,GMT", ",3600,Europe/Berlin")
    advice = refused(local, r"(time = \{.*?\})")
    assert set(rows(read(local, advice))["time"]) == {pd.Timestamp("2024-01-15T05:00")}


def test_statistics_of_a_day_are_no_observations() -> None:
    daily = f"{PLACE}tmax,tmin,tavg,wspd\nA,2024-01-15,50,8,9,1,5,12\n"
    refused(daily, "(hourly)")
    hourly = daily.replace("2024-01-15", "2024-01-15T06:00")
    assert set(rows(read(hourly))["variable"]) == {"wind_speed"}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_fractions_are_no_percentages(count: int) -> None:
    text = f"{PLACE}rh\n" + "".join(f"{AT.replace('A', f'S{i}', 1)}0.8{i}\n" for i in range(count))
    result = read(text)
    assert rows(result).empty
    name = re.search(r"name it (\w+)", " ".join(n.text for n in result.notes))
    assert name is not None
    assert rows(read(text.replace("rh", name[1])))["value"].iloc[0] == pytest.approx(80)


def test_dates_of_two_columns() -> None:
    text = "site,date,time,lat,lon,t2m_degC\nA,15/01/2024,06:00,50,8,4.2\n"
    said = " ".join(p.reason for p in read(text).problems)
    advice = re.search(r"(time = \{.*?\})", said)
    assert advice is not None
    assert set(rows(read(text, advice[1]))["time"]) == {pd.Timestamp("2024-01-15T06:00")}


def test_standard_names_of_cf() -> None:
    names = "wind_speed,wind_from_direction,air_pressure_at_sea_level,surface_air_pressure"
    found = rows(read(f"{PLACE}{names}\n{AT}5,220,101230,99000\n"))
    assert found["variable"].tolist() == ["wind_speed", "wind_direction", "msl", "sp"]
    winds = rows(read(f"{PLACE}u_wind,v_wind\n{AT}5,-2\n"))
    assert dict(zip(winds["variable"], winds["value"], strict=True)) == {"u10": 5, "v10": -2}


def test_directions_named_as_their_speeds() -> None:
    found = rows(read(f"{PLACE}ws10_ms,wd10\n{AT}8,215\n"))
    assert found["variable"].tolist() == ["wind_speed", "wind_direction"]
