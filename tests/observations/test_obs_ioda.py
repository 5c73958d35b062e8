"""IODA files laid out as converters write them: which locations are of the surface, which aloft."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import pytest

from phyda_cli.errors import InputError
from phyda_cli.observations.convert_variables import derive_table
from phyda_cli.observations.read.decode import decode
from phyda_cli.observations.read.read import read_observations
from phyda_cli.observations.table import QC, check, make

START = 1601532000
OLD = {
    "dateTime": "datetime",
    "stationElevation": "station_elevation",
    "stationIdentification": "station_id",
    "pressure": "air_pressure",
    "airTemperature": "air_temperature",
    "windEastward": "eastward_wind",
    "windNorthward": "northward_wind",
    "Location": "nlocs",
}
UNITS = {
    "pressure": "Pa",
    "stationPressure": "Pa",
    "airTemperature": "K",
    "windEastward": "m s-1",
    "windNorthward": "m s-1",
    "stationElevation": "m",
    "height": "m",
}


def ioda(path: Path, groups: Mapping[str, Mapping[str, Any]], old: bool = False) -> pd.DataFrame:
    """Write a file of ``groups`` (values, or NaN for all missing), read it and return the table."""

    def named(name: str) -> str:
        return OLD.get(name, name) if old else name

    meta = {"latitude": 50.0, "longitude": 8.0, "dateTime": START, **groups["MetaData"]}
    size = max(
        np.size(v) for group in ({**groups, "MetaData": meta}).values() for v in group.values()
    )
    with netCDF4.Dataset(path, "w") as data:
        data.createDimension(named("Location"), size)
        for group, values in ({**groups, "MetaData": meta}).items():
            room = data.createGroup(group)
            for name, value in values.items():
                array = np.broadcast_to(np.asarray(value), size)
                if name == "dateTime" and old:
                    array = np.array(["2020-10-01T06:00:00Z"] * size, object)
                kind = str if array.dtype.kind in "UO" else "i8" if name == "dateTime" else "f8"
                variable = room.createVariable(named(name), kind, (named("Location"),))
                if kind is str:
                    for i, word in enumerate(array):
                        variable[i] = str(word)
                else:
                    variable[:] = array
                if name in UNITS:
                    variable.units = UNITS[name]
                if name == "dateTime" and not old:
                    variable.units = "seconds since 1970-01-01T00:00:00Z"
    table = decode(path).table
    check(table)
    return table


LEVELS = [97000.0, 85000.0, 50000.0]


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("where", ["MetaData", "ObsValue"])
def test_soundings_with_their_pressure_in_either_group(
    tmp_path: Path, where: str, old: bool
) -> None:
    groups: dict[str, dict[str, Any]] = {
        "MetaData": {"stationIdentification": "89664", "stationElevation": 24.0},
        "ObsValue": {"airTemperature": [260.0, 252.0, 230.0]},
    }
    groups[where]["pressure"] = LEVELS
    table = ioda(tmp_path / "x.nc", groups, old)
    assert table["variable"].tolist() == ["t"] * 3
    assert table["pressure"].tolist() == LEVELS


def test_a_drifting_balloon_is_one_sounding_to_its_lowest_level(tmp_path: Path) -> None:
    meta = {
        "stationIdentification": "89664",
        "stationElevation": 24.0,
        "pressure": [100500.0, 85000.0, 50000.0],
        "dateTime": [START, START + 300, START + 1500],
        "latitude": [50.0, 50.1, 50.6],
    }
    table = ioda(
        tmp_path / "x.nc", {"MetaData": meta, "ObsValue": {"airTemperature": [280.0, 270, 250]}}
    )
    assert table["variable"].tolist() == ["t"] * 3
    assert table["station_id"].nunique() == 1


def test_a_wind_of_a_sounding_without_its_pressure_is_no_wind_of_10_m(tmp_path: Path) -> None:
    meta = {
        "stationIdentification": "a",
        "stationElevation": 24.0,
        "pressure": [97000, 5e4, np.nan],
    }
    table = ioda(tmp_path / "x.nc", {"MetaData": meta, "ObsValue": {"windEastward": [1.0, 2, 3]}})
    assert table["variable"].tolist() == ["u"] * 3
    assert table["qc"].tolist() == [0, 0, QC.PRE_QC]


@pytest.mark.parametrize("old", [False, True])
def test_surface_reports_with_height_and_pressure(tmp_path: Path, old: bool) -> None:
    meta = {
        "stationIdentification": ["a", "b"],
        "stationElevation": [111.0, 1500.0],
        "height": [111.0, 1500.0],
        "pressure": [99650.0, 84800.0],
    }
    values = {
        "airTemperature": [284.35, 275.0],
        "windEastward": [2.0, 3],
        "windNorthward": [2.0, 3],
    }
    table = ioda(tmp_path / "x.nc", {"MetaData": meta, "ObsValue": values}, old)
    assert set(table["variable"]) == {"t2m", "u10", "v10"}
    assert table["pressure"].isna().all()


def test_ships_without_elevation(tmp_path: Path) -> None:
    meta = {"stationIdentification": ["A1", "B2"], "pressure": [100950.0, 101320.0]}
    values = {"airTemperature": [284.35, 275.0], "stationPressure": [100950.0, 101320.0]}
    table = ioda(tmp_path / "x.nc", {"MetaData": meta, "ObsValue": values})
    assert set(table["variable"]) == {"t2m", "sp"}


@pytest.mark.parametrize("pressure", [[25000.0, 30010.0, 90000.0], [20000.0, 20000.0, 21000.0]])
def test_aircraft_and_satellite_winds(tmp_path: Path, pressure: list[float]) -> None:
    meta = {"pressure": pressure, "latitude": [50.0, 51, 52], "longitude": [1.0, 2, 3]}
    table = ioda(tmp_path / "x.nc", {"MetaData": meta, "ObsValue": {"windEastward": [30.0, 31, 9]}})
    assert table["variable"].tolist() == ["u"] * 3
    assert table["pressure"].tolist() == pressure
    assert table["station_id"].nunique() == 3


def test_a_file_of_which_nothing_is_understood_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="brightnessTemperature"):
        ioda(tmp_path / "x.nc", {"MetaData": {}, "ObsValue": {"brightnessTemperature": [250.0]}})


def test_virtual_temperature_is_taken_to_temperature_with_the_humidity_of_its_report() -> None:
    place = {"station_id": "a", "time": np.datetime64("2020-10-01T06:00"), "latitude": 50.0}
    common = place | {"longitude": 8.0, "elevation": 0.0, "error": 1.0}
    table = make(
        **common, variable=np.array(["tv2m", "q2m"], object), value=np.array([285.0, 0.01])
    )
    derived = derive_table(table)
    assert derived["variable"].tolist() == ["t2m", "q2m"]
    assert derived["value"].iloc[0] == pytest.approx(285 / (1 + 0.6077 * 0.01), rel=1e-4)
    alone = derive_table(table.iloc[:1])
    assert alone["qc"].tolist() == [QC.H_FAILED]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("ioda_adpupa_20201101T12.nc", {"t": 50, "td": 50, "wind_speed": 79, "wind_direction": 79}),
        ("ioda_sfc_tv_2018041500.nc", {"tv2m": 36}),
        ("ioda_sfc_tv_2018041500_old_names.nc", {"tv2m": 36}),
    ],
)
def test_real_files(shared_data: Path, name: str, counts: dict[str, int]) -> None:
    table = read_observations([shared_data / "observations" / name]).table
    good = table[table["qc"] == 0]
    assert good["variable"].value_counts().to_dict() == counts
