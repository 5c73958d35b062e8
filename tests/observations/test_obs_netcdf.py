import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pyodc
import pytest

from phyda_cli.errors import InputError
from phyda_cli.observations.feedback import Feedback, write_feedback
from phyda_cli.observations.read.odb import from_odb, read_odb
from phyda_cli.observations.read.read import read_observations
from phyda_cli.observations.report import ReadResult
from phyda_cli.observations.table import QC, check, make

SECONDS = 1601533800  # 2020-10-01 06:30 UTC
TIME = np.datetime64("2020-10-01T06:30", "ns")


def read(path: Path) -> ReadResult:
    result = read_observations([path])
    check(result.table)
    return result


def write_characters(
    parent: netCDF4.Dataset, name: str, dimension: str, words: list[str], width: int = 8
) -> None:
    if f"width{width}" not in parent.dimensions:
        parent.createDimension(f"width{width}", width)
    variable = parent.createVariable(name, "S1", (dimension, f"width{width}"))
    variable[:] = np.array([list(w.ljust(width, "\0")) for w in words], "S1")


def modern_ioda(path: Path) -> None:
    with netCDF4.Dataset(path, "w") as data:
        data.createDimension("Location", 4)
        meta, observed, errors, marks = (
            data.createGroup(g) for g in ("MetaData", "ObsValue", "ObsError", "PreQC")
        )
        for name, values in {
            "latitude": [50, 51, 52, 52],
            "longitude": [-10, 0, 10, 10],
            "pressure": [85000, 50000, 30000, 20000],
        }.items():
            meta.createVariable(name, "f4", "Location")[:] = values
        time = meta.createVariable("dateTime", "i8", "Location")
        time.units = "seconds since 1970-01-01T00:00:00Z"
        time[:] = SECONDS
        names = meta.createVariable("stationIdentification", str, "Location")
        names[:] = np.array(["03953", "EU12", "", "x"], object)
        for group, values in (
            (observed, [280, 250, np.nan, 220]),
            (errors, [1.0, 1.5, 1.0, np.nan]),
        ):
            variable = group.createVariable(
                "airTemperature", "f4", "Location", fill_value=-3.3687953e38
            )
            variable.units = "K"
            variable[:] = np.ma.masked_invalid(values)
        marks.createVariable("airTemperature", "i4", "Location")[:] = [2, 9, 2, 2]
        observed.createVariable("relativeHumidity", "f4", "Location", fill_value=np.nan)[:] = [
            0.5,
            np.nan,
            np.nan,
            np.nan,
        ]
        observed.createVariable("soilMoisture", "f4", "Location")[:] = 1


def old_ioda(path: Path) -> None:
    with netCDF4.Dataset(path, "w") as data:
        data.createDimension("nlocs", 2)
        for name, values in {
            "latitude@MetaData": [50, 51],
            "longitude@MetaData": [350, 1],
            "station_elevation@MetaData": [100, 200],
            "surface_pressure@ObsValue": [1e5, 9.9e4],
            "surface_pressure@ObsError": [120, 130],
            "air_temperature@ObsValue": [280, 281],
        }.items():
            data.createVariable(name, "f4", "nlocs")[:] = values
        data.createVariable("surface_pressure@PreQC", "i4", "nlocs")[:] = [0, 12]
        write_characters(data, "datetime@MetaData", "nlocs", ["2020-10-01T06:30:00Z"] * 2, 20)
        write_characters(data, "station_id@MetaData", "nlocs", ["a", "bc"])


def madis(path: Path) -> None:
    with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as data:
        data.createDimension("recNum", 2)
        for name, units, values in (
            ("latitude", "degree_north", [50, 51]),
            ("longitude", "degree_east", [-10, 1]),
            ("elevation", "meter", [100, 3.4e38]),
            ("temperature", "kelvin", [280, 281]),
            ("windSpeed", "meter/sec", [5, 3.4e38]),
            ("windDir", "degree", [270, 3.4e38]),
            ("altimeter", "pascal", [101300, 101000]),
        ):
            variable = data.createVariable(name, "f4", "recNum", fill_value=3.4e38)
            variable.units = units
            variable[:] = values
        data.createVariable("timeObs", "f8", "recNum")[:] = SECONDS
        data.createVariable("temperatureDD", "S1", "recNum")[:] = np.array(["V", "X"], "S1")
        write_characters(data, "stationId", "recNum", ["KDEN", "KJFK"])


def test_ioda_of_today(tmp_path: Path) -> None:
    modern_ioda(tmp_path / "obs.nc4")
    result = read(tmp_path / "obs.nc4")
    table = result.table
    assert table["variable"].tolist() == ["t", "r", "t", "t"]
    assert table["value"].tolist() == pytest.approx([280, 50, 250, 220])
    assert table["station_id"].tolist() == ["03953", "03953", "EU12", "x"]
    assert table["qc"].tolist() == [0, 0, QC.PRE_QC, 0]
    np.testing.assert_array_equal(table["error"], [1.0, np.nan, 1.5, np.nan])
    assert table["pressure"].tolist() == [85000, 85000, 50000, 20000]
    assert table["longitude"].tolist() == [350, 350, 0, 10]
    assert set(table["time"]) == {pd.Timestamp(TIME)}
    assert (result.rows_read, result.rows_with_values, result.rows_without_values) == (4, 3, 1)
    assert result.ignored_columns == {str(tmp_path / "obs.nc4"): ["soilMoisture"]}


def test_ioda_of_the_older_names_at_the_surface(tmp_path: Path) -> None:
    old_ioda(tmp_path / "obs.nc4")
    table = read(tmp_path / "obs.nc4").table
    assert table[["station_id", "variable", "value", "qc", "elevation"]].to_numpy().tolist() == [
        ["a", "sp", 1e5, 0, 100.0],
        ["a", "t2m", 280.0, 0, 100.0],
        ["bc", "sp", 9.9e4, QC.PRE_QC, 200.0],
        ["bc", "t2m", 281.0, 0, 200.0],
    ]
    assert set(table["time"]) == {pd.Timestamp(TIME)}


def test_ioda_without_a_time_names_what_it_looked_for(tmp_path: Path) -> None:
    with netCDF4.Dataset(tmp_path / "obs.nc4", "w") as data:
        data.createDimension("nlocs", 1)
        for name in ("latitude@MetaData", "longitude@MetaData", "air_temperature@ObsValue"):
            data.createVariable(name, "f4", "nlocs")[:] = 1
    with pytest.raises(InputError, match="no time: expected MetaData dateTime, datetime, or time"):
        read(tmp_path / "obs.nc4")


def test_old_ioda_times_may_be_hours_from_the_file_s_date(tmp_path: Path) -> None:
    with netCDF4.Dataset(tmp_path / "obs.nc4", "w") as data:
        data.createDimension("nlocs", 1)
        data.date_time = 2020100106
        for name in ("latitude@MetaData", "longitude@MetaData", "air_temperature@ObsValue"):
            data.createVariable(name, "f4", "nlocs")[:] = 1
        data.createVariable("time@MetaData", "f4", "nlocs")[:] = 0.5
    assert read(tmp_path / "obs.nc4").table["time"].tolist() == [pd.Timestamp(TIME)]


def test_madis_packed_with_gzip(tmp_path: Path) -> None:
    madis(tmp_path / "metar.nc")
    (tmp_path / "20201001_0600.gz").write_bytes(gzip.compress((tmp_path / "metar.nc").read_bytes()))
    table = read(tmp_path / "20201001_0600.gz").table
    assert table[["station_id", "variable", "value", "qc"]].to_numpy().tolist() == [
        ["KDEN", "t2m", 280.0, 0],
        ["KDEN", "wind_speed", 5.0, 0],
        ["KDEN", "wind_direction", 270.0, 0],
        ["KDEN", "qnh", 101300.0, 0],
        ["KJFK", "t2m", 281.0, QC.PRE_QC],
        ["KJFK", "qnh", 101000.0, 0],
    ]
    np.testing.assert_array_equal(table["elevation"], [100] * 4 + [np.nan] * 2)
    assert set(table["time"]) == {pd.Timestamp(TIME)}


def test_a_unit_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    madis(tmp_path / "metar.nc")
    with netCDF4.Dataset(tmp_path / "metar.nc", "a") as data:
        data["temperature"].units = "pascal"
    with pytest.raises(InputError, match="temperature: unit 'Pa' does not convert to K"):
        read(tmp_path / "metar.nc")


def test_feedback_comes_back_with_values_errors_and_flags(tmp_path: Path) -> None:
    codes = [QC.PASS, QC.PASSIVE, QC.BOUNDS, QC.FIRST_GUESS, QC.TIME_WINDOW, QC.PRE_QC]
    rows = make(
        station_id=list("abcdef"),
        time=[TIME] * 5 + [np.datetime64("NaT", "ns")],
        latitude=50.0,
        longitude=10.0,
        variable="t",
        pressure=85000.0,
        value=np.arange(280.0, 286),
        error=1.5,
        use=[1, 0, 1, 1, 1, 1],
        qc=codes,
        file="stations.csv",
        row=np.arange(2, 8),
    )
    found = Feedback.as_observed(rows, *(np.full(6, x) for x in (279.0, 280.0, 2.0)))
    write_feedback(tmp_path / "f.nc", found, {})
    back = read(tmp_path / "f.nc").table
    kept = [c for c in rows.columns if c != "qc"]
    pd.testing.assert_frame_equal(back[kept], rows[kept])
    # What the model or the run's window decided is open again; passive observations are kept so by
    # use.
    assert back["qc"].tolist() == [0, 0, QC.BOUNDS, 0, 0, QC.PRE_QC]
    assert back["use"].tolist() == [1, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("write", [modern_ioda, madis])
def test_cut_off_files_are_refused(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "obs.nc")
    content = (tmp_path / "obs.nc").read_bytes()
    (tmp_path / "cut.nc").write_bytes(content[: len(content) // 3])
    with pytest.raises(InputError, match=r"cut.nc(:| is truncated)"):
        read(tmp_path / "cut.nc")


def test_other_netcdf_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    with netCDF4.Dataset(tmp_path / "f.nc", "w") as data:
        data.createVariable("msl", "f4")
    with pytest.raises(InputError, match="no known kind of observations; it holds: msl"):
        read(tmp_path / "f.nc")


def test_odb_rows(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {
            "statid@hdr": ["   03953", "   03953", "EU12    "],
            "lat@hdr": [50.0, 50.0, 51.0],
            "lon@hdr": [-10.0, -10.0, 1.0],
            "date@hdr": [20201001] * 3,
            "time@hdr": [63000] * 3,
            "stalt@hdr": [14.0, 14.0, np.nan],
            "varno@body": [39, 91, 2],
            "vertco_type@body": [1, 1, 1],
            "vertco_reference_1@body": [np.nan, np.nan, 25000.0],
            "obsvalue@body": [280.0, 8.0, 225.0],
            "obs_error@errstat": [1.4, np.nan, -1.0],
        }
    )
    result = from_odb(rows, "x.odb")
    check(result.table)
    assert result.table[["station_id", "variable", "value", "row"]].to_numpy().tolist() == [
        ["03953", "t2m", 280, 1],
        ["EU12", "t", 225, 3],
    ]
    np.testing.assert_array_equal(result.table["error"], [1.4, np.nan])
    np.testing.assert_array_equal(result.table["pressure"], [np.nan, 25000])
    assert set(result.table["time"]) == {pd.Timestamp(TIME)}
    assert (result.rows_read, result.rows_without_values) == (3, 1)
    assert result.ignored_columns == {"x.odb": ["varno 91"]}
    with pytest.raises(InputError, match="no column varno"):
        from_odb(rows.drop(columns="varno@body"), "x.odb")


def odb_file(path: Path) -> None:
    rows = pd.DataFrame(
        {
            "statid@hdr": ["03953", "EU12"],
            "lat@hdr": [50.0, 51.0],
            "lon@hdr": [-10.0, 1.0],
            "date@hdr": [20201001] * 2,
            "time@hdr": [63000] * 2,
            "varno@body": [39, 2],
            "vertco_type@body": [1, 1],
            "vertco_reference_1@body": [np.nan, 25000.0],
            "obsvalue@body": [280.0, 225.0],
        }
    )
    pyodc.encode_odb(rows, str(path))


def test_an_odb_file_written_by_its_library(tmp_path: Path) -> None:
    odb_file(tmp_path / "named_as_anything")
    result = read(tmp_path / "named_as_anything")
    assert result.table[["station_id", "variable", "value"]].to_numpy().tolist() == [
        ["03953", "t2m", 280],
        ["EU12", "t", 225],
    ]
    assert set(result.table["time"]) == {pd.Timestamp(TIME)}
    content = (tmp_path / "named_as_anything").read_bytes()
    (tmp_path / "cut.odb").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"cut\.odb"):
        read(tmp_path / "cut.odb")


def test_odb_without_its_library_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyodc", None)  # as if it were not installed
    (tmp_path / "x.odb").write_bytes(b"\xff\xffODA" + b"\0" * 40)
    with pytest.raises(InputError, match="needs pyodc") as caught:
        read_odb(tmp_path / "x.odb", "x.odb")
    assert caught.value.hint is not None
    assert "phyda[odb]" in caught.value.hint
