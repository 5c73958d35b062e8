"""Observing networks in files: lists of stations and files of observations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from phyda_cli.errors import InputError
from phyda_cli.observations.table import check
from phyda_cli.simulation.network_file import read_network

HEADER = "station_id,latitude,longitude,elevation,variables,pressure_hPa,error"


def listed(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "network.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_station_reports_every_variable_at_every_level(tmp_path: Path) -> None:
    path = listed(tmp_path, "S1,47.3,-11.4,581,t 10u msl,850 500,0.5 2 50", "S2,1,2,,t2m,,")
    rows = read_network(path).rows
    check(rows.assign(time=np.datetime64("2020-01-01", "ns")))
    found = rows[["station_id", "variable", "pressure", "error", "row"]].fillna(0)
    assert found.values.tolist() == [
        ["S1", "t", 85000.0, 0.5, 2],
        ["S1", "t", 50000.0, 0.5, 2],
        ["S1", "u10", 0.0, 2.0, 2],
        ["S1", "msl", 0.0, 50.0, 2],
        ["S2", "t2m", 0.0, 0.0, 3],
    ]
    assert rows["longitude"].tolist() == [348.6] * 4 + [2.0]
    assert np.isnan(rows["elevation"].to_numpy()[-1])


def test_levels_may_be_heights_and_wind_speed_is_aloft_with_them(tmp_path: Path) -> None:
    header = "id,lat,lon,variable,height"
    path = listed(tmp_path, "T1,50,4,wind_speed,100 200", "T1,50,4,wind_speed,", header=header)
    rows = read_network(path).rows
    assert rows["height"].tolist()[:2] == [100.0, 200.0]
    assert np.isnan(rows["height"].to_numpy()[2])


def test_one_error_is_that_of_all_variables(tmp_path: Path) -> None:
    rows = read_network(listed(tmp_path, "S1,1,2,3,u v,850,1.5")).rows
    assert rows["error"].tolist() == [1.5, 1.5]


def test_what_is_listed_twice_counts_once(tmp_path: Path) -> None:
    network = read_network(listed(tmp_path, "S1,1,2,3,t,850 500,", "S1,1,2,3,t,850,"))
    assert len(network.rows) == 2
    assert network.stations == 1
    assert "1 rows" in network.notes[0]


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("S1,47.3,,581,t2m,,", "no position"),
        ("S1,97.3,11,581,t2m,,", "no position"),
        (",47.3,11,581,t2m,,", "station_id"),
        ("S1,47.3,11,581,temprature,,", "like t"),
        ("S1,47.3,11,581,rh2m,,", "q2m"),
        ("S1,47.3,11,581,t,,", "level"),
        ("S1,47.3,11,581,,,", "no variable"),
        ("S1,47.3,11,high,t2m,,", "elevation"),
        ("S1,47.3,11,581,t2m msl u10,,1 2", "2 errors for 3 variables"),
        ("S1,47.3,11,581,t2m,,-1", "not positive"),
    ],
)
def test_a_row_that_is_wrong_is_named(tmp_path: Path, row: str, named: str) -> None:
    path = listed(tmp_path, "S0,1,2,3,t2m,,", row)
    with pytest.raises(InputError, match=named) as caught:
        read_network(path)
    assert f"{path}:3:" in caught.value.message


def test_pressures_without_a_unit_are_pascals(tmp_path: Path) -> None:
    header = "station_id,latitude,longitude,variables,pressure"
    path = listed(tmp_path, "S1,1,2,t,85000 50000", header=header)
    assert read_network(path).rows["pressure"].tolist() == [85000.0, 50000.0]
    with pytest.raises(InputError, match="pressure_hPa"):
        read_network(listed(tmp_path, "S1,1,2,t,850 500", header=header))


def test_a_list_needs_positions(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column for longitude"):
        read_network(listed(tmp_path, "S1,1,t2m", header="station_id,latitude,variables"))


def test_a_file_of_observations_is_a_network_without_times(tmp_path: Path) -> None:
    path = tmp_path / "metar.csv"
    path.write_text(
        "station_id,time,latitude,longitude,elevation,t2m_degC,d2m_degC,wind_speed,wind_direction\n"
        "EDDM,2020-01-01T06:00Z,48.35,11.79,453,3.0,1.0,4,200\n"
        "EDDM,2020-01-01T07:00Z,48.35,11.79,453,4.0,1.5,5,210\n"
        "EDDS,2020-01-01T06:00Z,48.69,9.22,392,98.0,,,\n"  # no value is wrong here
        "EDDF,2020-01-01T06:00Z,50.03,8.57,111,oops,,,\n",
        encoding="utf-8",
    )
    network = read_network(path)
    assert sorted(network.rows["variable"]) == ["q2m", "t2m", "t2m", "u10", "v10"]
    assert network.rows["time"].isna().all()
    assert network.stations == 2
    assert any("unreadable" in note for note in network.notes)
