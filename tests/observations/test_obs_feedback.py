from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest

from phyda_cli.errors import InputError, OutputError
from phyda_cli.observations.feedback import Feedback, read_feedback, write_feedback
from phyda_cli.observations.table import QC, empty, make

CODES = [QC.PASS, QC.PASSIVE, QC.BOUNDS, QC.FIRST_GUESS, QC.H_FAILED, QC.PRE_QC]


def table() -> pd.DataFrame:
    return make(
        station_id=["Zürich", "b", "", "d", "e", "f"],
        time=np.array(
            ["2020-10-01T06:00:00.123456", *["2020-10-01T06:30"] * 4, "NaT"], "datetime64[ns]"
        ),
        latitude=[1.0, 2, 3, 4, 5, 95],
        longitude=[-10.0, 0, 0, 0, 0, 0],
        variable=["t", "t2m", "msl", "u", "q", "td"],
        pressure=[85000.0, np.nan, np.nan, 5e4, 5e4, 5e4],
        value=[280.123456789, 281, 1013, 9, 0.01, np.nan],
        error=1.5,
        qc=CODES,
        file="stations of today.csv",
        row=np.arange(2, 8),
    )


def write(path: Path, rows: pd.DataFrame, overwrite: bool = False) -> None:
    size = len(rows)
    found = Feedback.as_observed(rows, *(np.full(size, x) for x in (279.0, 280.0, 2.0)))
    write_feedback(path, found, {"seed": 3, "phyda_version": "x"}, overwrite)


def test_round_trip(tmp_path: Path) -> None:
    rows = table()
    write(tmp_path / "f.nc", rows)
    back = read_feedback(tmp_path / "f.nc")
    for name, column in {
        "station_id": "station_id",
        "variable": "variable",
        "file": "source_file",
        "row": "source_row",
    }.items():
        assert back[column].tolist() == rows[name].tolist()
    np.testing.assert_array_equal(back["ObsValue"], rows["value"])
    np.testing.assert_array_equal(back["time"].to_numpy(), rows["time"].to_numpy())
    np.testing.assert_array_equal(back["ombg"], rows["value"] - 279)
    np.testing.assert_array_equal(back["oman"], rows["value"] - 280)
    assert back["units"].tolist() == ["K", "K", "Pa", "m s-1", "kg kg-1", "K"]
    assert back["EffectiveQC"].tolist() == CODES
    assert back["PreQC"].tolist() == [0, 0, QC.BOUNDS, 0, 0, QC.PRE_QC]
    np.testing.assert_array_equal(back["EffectiveError"], [1.5, 1.5, *[np.nan] * 4])


def test_metadata_follow_cf(tmp_path: Path) -> None:
    write(tmp_path / "f.nc", table())
    with netCDF4.Dataset(tmp_path / "f.nc") as data:
        assert (data.Conventions, data.featureType, data.seed) == ("CF-1.11", "point", 3)
        assert data.dimensions["obs"].isunlimited()
        qc = data["EffectiveQC"]
        assert len(qc.flag_values) == len(qc.flag_meanings.split()) == len(QC)
        assert qc.flag_values.dtype == qc.dtype
        meanings = dict(zip(qc.flag_values.tolist(), qc.flag_meanings.split(), strict=True))
        assert (meanings[0], meanings[41]) == ("used", "outside_the_time_window")
        assert data["ObsValue"].coordinates.split()[:3] == ["time", "latitude", "longitude"]
        assert data["time"].units == "seconds since 1970-01-01 00:00:00"


def test_no_rows(tmp_path: Path) -> None:
    write(tmp_path / "f.nc", empty())
    assert len(read_feedback(tmp_path / "f.nc")) == 0


def test_an_existing_file_and_a_missing_folder(tmp_path: Path) -> None:
    write(tmp_path / "f.nc", table())
    with pytest.raises(OutputError, match="exists"):
        write(tmp_path / "f.nc", table())
    write(tmp_path / "f.nc", table().iloc[:2], overwrite=True)
    assert len(read_feedback(tmp_path / "f.nc")) == 2
    with pytest.raises(OutputError, match="does not exist"):
        write(tmp_path / "no" / "f.nc", table())
    assert [p.name for p in tmp_path.iterdir()] == ["f.nc"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_feedback(tmp_path / "f.nc")
    (tmp_path / "f.nc").write_text("no netcdf")
    with pytest.raises(InputError, match="cannot read"):
        read_feedback(tmp_path / "f.nc")
    with netCDF4.Dataset(tmp_path / "g.nc", "w") as data:
        data.createVariable("msl", "f4")
    with pytest.raises(InputError, match=r"no feedback file.*found: msl"):
        read_feedback(tmp_path / "g.nc")
