"""Text tables as they are found: layouts, units, times, missing codes, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from phyda_cli.errors import InputError
from phyda_cli.observations.inventory import check_alone
from phyda_cli.observations.qc import unit_hints
from phyda_cli.observations.read.csv import parse_csv
from phyda_cli.observations.read.layouts import FOLDER
from phyda_cli.observations.read.read import TextTables, read_observations
from phyda_cli.observations.report import ReadResult
from phyda_cli.observations.table import QC, check

KNOT = 1852 / 3600


def read(text: str) -> ReadResult:
    result = parse_csv(text, "obs.csv")
    check(result.table)
    return result


def mapped(folder: Path, table: str, mapping: str) -> ReadResult:
    (folder / "obs.csv").write_text(table)
    (folder / "map.toml").write_text(mapping)
    return read_observations([folder / "obs.csv"], TextTables((str(folder / "map.toml"),)))


def good(result: ReadResult, row: int) -> dict[str, float]:
    table = check_alone(result.table)
    rows = table[(table["row"] == row) & (table["qc"] <= QC.PASSIVE)]
    return dict(zip(rows["variable"], rows["value"], strict=True))


def said(result: ReadResult) -> str:
    return "\n".join(note.text for note in result.notes)


def test_units_of_cf() -> None:
    result = read(
        "station,longitude (degrees_east),latitude (degrees_north),time (UTC),wd (degrees_true),"
        "wspd (m s-1),msl (hPa),t2m (degree_C),d2m (degree_Celsius)\n"
        "a,-72.2,34.7,2020-10-01T06:00:00Z,210,7.0,1012.3,24.1,20.3\n"
    )
    expected = {"wind_direction": 210, "wind_speed": 7, "msl": 101230, "t2m": 297.25, "d2m": 293.45}
    assert good(result, 2) == pytest.approx(expected)


def test_a_second_line_of_units() -> None:
    result = read(
        "station,longitude,latitude,time,wd,wspd,bar,msl,t2m\n"
        ",degrees_east,degrees_north,UTC,degrees_true,knot,hPa,hPa,degree_C\n"
        "a,-72.2,34.7,2020-10-01T06:00:00Z,210,14.0,1012,1012.3,24.1\n"
    )
    expected = {"wind_direction": 210, "wind_speed": 14 * KNOT, "msl": 101230, "t2m": 297.25}
    assert good(result, 3) == pytest.approx(expected)
    assert result.rows_read == 1
    assert "columns not used: bar" in said(result)


@pytest.mark.parametrize("bare", ["t2m,wind_speed", "air_temp,wspd", "temperature,u10"])
@pytest.mark.parametrize("value", ["24.1", "71"])
def test_wind_without_a_unit_beside_a_temperature_that_is_not_in_kelvin(
    bare: str, value: str
) -> None:
    text = f"id,time,lat,lon,{bare}\n" + f"a,2020-10-01T06:00,50,8,{value},14\n"
    result = read(text)
    assert good(result, 2) == {}
    assert "_kt" in said(result)
    named = bare.replace(bare.split(",")[0], "t2m_degC")
    named = named.replace(named.split(",")[1], "wind_speed_kt")  # as the hint says
    repaired = read(text.replace(bare, named).replace("71", "21"))
    assert good(repaired, 2)["wind_speed"] == pytest.approx(14 * KNOT)


def test_si_tables_without_units_are_read_and_it_is_said() -> None:
    result = read("id,time,lat,lon,t2m,wind_speed\na,2020-10-01T06:00,50,8,284.1,14\n")
    assert good(result, 2) == {"t2m": 284.1, "wind_speed": 14}
    assert "assumed: t2m in K, wind_speed in m s-1" in said(result)


def test_fractions_are_no_percent() -> None:
    head, rows = (
        "id,time,lat,lon,rh2m\n",
        "".join(f"{i},2020-10-01T06:00,5{i},8,0.{i + 5}\n" for i in range(4)),
    )
    assert good(read(head + rows), 2) == {}
    assert good(read(head.replace("rh2m", "rh2m_fraction") + rows), 2) == {"rh2m": 50}


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [("t2m", 11.2, 284.35), ("msl", 1012.3, 101230.0), ("q2m", 7.5, 7.5e-3), ("qnh", 29.92, 0)],
)
def test_every_hint_of_a_unit_works(column: str, value: float, expected: float) -> None:
    head = "id,time,lat,lon,"
    table = check_alone(read(f"{head}{column}\na,2020-10-01T06:00,50,8,{value}\n").table)
    (hint,) = unit_hints(table)
    name = hint.split("column ")[1].split()[0].rstrip(",;)")
    assert name.startswith(f"{column}_")
    repaired = good(read(f"{head}{name}\na,2020-10-01T06:00,50,8,{value}\n"), 2)
    assert repaired[column] == pytest.approx(expected or value * 3386.389)


def test_units_of_a_long_table() -> None:
    result = read(
        "id,time,lat,lon,variable,value,units\n"
        "a,2020-10-01T06:00,50,8,t2m,11.2,degC\na,2020-10-01T06:00,50,8,wind_speed,10,kt\n"
        "a,2020-10-01T06:00,50,8,msl,1012,furlong\n"
    )
    assert good(result, 2)["t2m"] == pytest.approx(284.35)
    assert good(result, 3)["wind_speed"] == pytest.approx(10 * KNOT)
    assert good(result, 4) == {}


ASOS = """station,valid,lon,lat,elevation,tmpf,dwpf,relh,drct,sknt,p01i,alti,mslp,metar
AAA,2020-10-01 05:53,-93.66,41.53,292.0,50.00,41.00,71.10,320.00,12.00,T,29.95,1014.20,"A, B"
BBB,2020-10-01 05:54,-95.90,41.30,299.0,M,M,M,M,3.00,0.00,29.98,M,x
"""
AVIATION = """No errors
No warnings
5 results
raw_text,station_id,observation_time,latitude,longitude,temp_c,dewpoint_c,wind_dir_degrees,\
wind_speed_kt,wind_gust_kt,altim_in_hg,sea_level_pressure_mb,elevation_m
XX,AAA,2020-10-01T06:00:00Z,41.9,-87.9,10,5,320,12,,29.95,1014.2,292.0
YY,BBB,2020-10-01T06:00:00Z,40.9,-86.9,,,VRB,3,,29.98,,200.0
"""
ISD = """"STATION","DATE","LATITUDE","LONGITUDE","ELEVATION","NAME","WND","TMP","DEW","SLP"
"AAA","2020-10-01T05:51:00","41.9","-87.9","201.8","S, US","320,5,N,0062,5","+0100,5","+0050,5",\
"10142,5"
"BBB","2020-10-01T06:51:00","41.9","-87.9","201.8","S, US","999,9,V,0015,5","+9999,9","+0050,3",\
"99999,9"
"""
GHCNH = """Station_ID|Year|Month|Day|Hour|Minute|Latitude|Longitude|Elevation|temperature|\
temperature_Quality_Code|dew_point_temperature|sea_level_pressure|wind_direction|wind_speed
AAA|2020|10|1|5|51|41.9|-87.9|201.8|10.0|5|5.0|1014.2|320|6.2
BBB|2020|10|1|6|51|41.9|-87.9|201.8|||||999|1.5
"""
SYNOPTIC = """# STATION: AAA
# LATITUDE: 40.77
# LONGITUDE: -111.96
# ELEVATION [ft]: 4226
Station_ID,Date_Time,air_temp_set_1,dew_point_temperature_set_1d,wind_speed_set_1,\
wind_direction_set_1,sea_level_pressure_set_1d,air_temp_set_2
,,Celsius,Celsius,m/s,Degrees,Pascals,Celsius
AAA,2020-10-01T05:54:00Z,10,5,6.2,320,101420,33
BBB,2020-10-01T06:54:00Z,,,1.5,,,
"""
NDBC = """#YY  MM DD hh mm WDIR WSPD GST  WVHT PRES  ATMP  WTMP  DEWP  VIS
#yr  mo dy hr mn degT m/s  m/s     m  hPa  degC  degC  degC  nmi
2020 10 01 06 00 320  6.2  9.0   1.3 1014.2 10.0 25.0  5.0   MM
2020 10 01 05 50 999 99.0 99.0    MM 9999.0 999.0 25.0 999.0 MM
"""
METEOSTAT = """time,temp,dwpt,rhum,prcp,wdir,wspd,pres,coco
2020-10-01 06:00:00,10.0,5.0,71,0.0,320,22.32,1014.2,3
2020-10-01 07:00:00,,,,,,5.4,,
"""


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("IEM ASOS", ASOS, (2, 3)),
        ("aviationweather METAR", AVIATION, (5, 6)),
        ("NOAA global-hourly (ISD)", ISD, (2, 3)),
        ("NOAA GHCN hourly", GHCNH, (2, 3)),
        ("Synoptic", SYNOPTIC, (7, 8)),
    ],
)
def test_well_known_exports(name: str, text: str, rows: tuple[int, int]) -> None:
    result = read(text)
    assert f"layout: {name}" in said(result)
    first = good(result, rows[0])
    expected = {"t2m": 283.15, "d2m": 278.15, "wind_direction": 320.0, "msl": 101420.0}
    assert {k: first[k] for k in expected} == pytest.approx(expected)
    assert first["wind_speed"] == pytest.approx(6.2, abs=0.03)
    second = good(result, rows[1])
    assert "wind_speed" in second
    assert not {"t2m", "d2m", "msl", "wind_direction"} & set(second)


@pytest.mark.parametrize(("name", "text", "row"), [("NDBC", NDBC, 3), ("Meteostat", METEOSTAT, 2)])
def test_exports_of_one_station(tmp_path: Path, name: str, text: str, row: int) -> None:
    with pytest.raises(InputError, match="latitude") as caught:
        read(text)
    assert "latitude = 40.77" in caught.value.hint
    result = mapped(tmp_path, text, "latitude = 40.77\nlongitude = -111.96\n")
    assert name in said(result)
    expected = {"t2m": 283.15, "d2m": 278.15, "wind_direction": 320.0, "msl": 101420.0}
    first = good(result, row)
    assert {k: first[k] for k in expected} == pytest.approx(expected)
    assert first["wind_speed"] == pytest.approx(6.2)
    assert set(result.table["latitude"]) == {40.77}
    assert result.table["longitude"].iloc[0] == pytest.approx(248.04)
    assert set(good(result, row + 1)) <= {"wind_speed"}


def test_a_table_of_stations(tmp_path: Path) -> None:
    (tmp_path / "where.csv").write_text("id,lat,lon,elev_ft\n0A,50,8,100\nB,51,9,\n")
    table = "id,time,t2m_degC\n0A,2020-10-01T06:00,1\nB,2020-10-01T06:00,2\nC,2020-10-01T06:00,3\n"
    result = mapped(tmp_path, table, 'stations = "where.csv"\n')
    assert result.table["latitude"].tolist()[:2] == [50, 51]
    assert result.table["elevation"].iloc[0] == pytest.approx(30.48)
    assert result.table["qc"].tolist() == [0, 0, QC.PRE_QC]
    assert "'C' is not in" in result.problems[0].reason


@pytest.mark.parametrize(
    ("columns", "cells", "hour"),
    [
        ("date,hour", "2020-10-01,6", 6),
        ("date,hour", "2020-10-01,24", 24),
        ("date,time", "20201001,0630", 6.5),
        ("date,time", "2020-10-01,06:30", 6.5),
        ("date,time", "2020/10/01,630", 6.5),
        ("year,month,day,hour", "2020,10,1,6", 6),
        ("time", "2020100106", 6),
        ("time", "202010010630", 6.5),
        ("time", "1601532000", 6),
        ("valid(America/Chicago)", "2020-10-01 01:00", 6),
        ("time (UTC)", "2020-10-01 06:00", 6),
        ("time", "2020-10-01T08:00+02:00", 6),
    ],
)
def test_times(columns: str, cells: str, hour: float) -> None:
    columns = columns.replace("valid(America/Chicago)", "time (America/Chicago)")
    result = read(f"id,{columns},lat,lon,t2m_degC\na,{cells},50,8,1\n")
    expected = pd.Timestamp("2020-10-01") + pd.Timedelta(hours=hour)
    assert result.table["time"].tolist() == [expected]


def test_a_date_without_a_time_of_day_is_said() -> None:
    assert "no time of day" in said(read("id,date,lat,lon,t2m\na,2020-10-01,50,8,281\n"))


def test_local_times(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="time zone") as caught:
        read("id,time (LST),lat,lon,t2m\na,2020-10-01 06:00,50,8,281\n")
    table = "id,time (LST),lat,lon,t2m\na,2020-10-01 06:00,50,8,281\n"
    hint = caught.value.hint.partition("): ")[2]
    result = mapped(tmp_path, table, hint + "\n")
    assert result.table["time"].tolist() == [pd.Timestamp("2020-10-01T04:00")]


def test_the_hint_of_an_unreadable_time_works(tmp_path: Path) -> None:
    table = "id,time,lat,lon,t2m\na,31/10/2020 06:00,50,8,281\n"
    reason = read(table).problems[0].reason
    hint = reason.partition("mapping file: ")[2]
    result = mapped(tmp_path, table, hint + "\n")
    assert result.table["time"].tolist() == [pd.Timestamp("2020-10-31T06:00")]


def test_decimal_commas() -> None:
    table = "id;time;lat;lon;t2m_degC\na;2020-10-01T06:00;50,5;8,25;11,2\n"
    result = read(table)
    assert good(result, 2) == pytest.approx({"t2m": 284.35})
    assert result.table["latitude"].tolist() == [50.5]
    quoted = 'id,time,lat,lon,t2m_degC\na,2020-10-01T06:00,50,8,"11,2"\n'
    assert "--decimal comma" in read(quoted).problems[0].reason
    assert good(parse_csv(quoted, "obs.csv", None, "comma"), 2) == pytest.approx({"t2m": 284.35})
    doubtful = "id;time;lat;lon;msl_hPa\na;2020-10-01T06:00;50;8;1,012\n"
    assert good(read(doubtful), 2) == {}


@pytest.mark.parametrize("code", ["9999", "9999.9", "MM", "M", "-9999", "99999", "-999", "", "NaN"])
def test_missing_codes(code: str) -> None:
    names = "t2m_degC,msl_hPa,wind_speed,wind_direction,rh2m"
    result = read(f"id,time,lat,lon,{names}\na,2020-10-01T06:00,50,8,1{f',{code}' * 4}\n")
    assert set(result.table["variable"]) == {"t2m"}
    assert not result.problems


def test_99_is_no_wind_but_may_be_a_humidity() -> None:
    names = "t2m_degC,wind_speed,rh2m"
    result = read(f"id,time,lat,lon,{names}\na,2020-10-01T06:00,50,8,1,99.0,99\n")
    assert good(result, 2) == pytest.approx({"t2m": 274.15, "rh2m": 99})


def test_ignored_columns_are_said_with_what_they_resemble() -> None:
    text = "id,time,lat,lon,t2m,windspeeed,cloud\na,2020-10-01T06:00,50,8,281,5,3\n"
    assert "columns not used: windspeeed (like wind_speed), cloud" in said(read(text))


def test_a_failed_quality_flag_rejects() -> None:
    result = read(ISD.replace("+0100,5", "+0100,3"))
    assert "t2m" not in good(result, 2)
    assert "failed" in result.problems[0].reason


@pytest.mark.parametrize("elevation", ["", ",elevation"])
def test_temperature_and_pressure_of_a_station_are_of_the_surface(elevation: str) -> None:
    cells = ",1500" if elevation else ""
    pressure = "850.2" if elevation else "1003.4"
    result = read(
        f"id,time,lat,lon{elevation},temperature_degC,pressure_hPa\n"
        f"a,2020-10-01T06:00,50,8{cells},11.2,{pressure}\n"
    )
    assert good(result, 2) == pytest.approx({"t2m": 284.35, "sp": float(pressure) * 100})


def test_an_ascent_in_a_wide_table_is_upper_air_with_its_lowest_level() -> None:
    result = read(
        "id,time,lat,lon,elevation,temperature,pressure\n"
        "a,2020-10-01T06:00,50,8,111,284.35,100000\na,2020-10-01T06:00,50,8,111,271.35,70000\n"
    )
    assert result.table["variable"].tolist() == ["t", "t"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda p: p.stem)
def test_layouts_of_the_wheel_are_valid(path: Path) -> None:
    import tomllib

    from phyda_cli.observations.read.layouts import Layout

    layout = Layout.model_validate(tomllib.loads(path.read_text("utf-8")))
    assert layout.fits([*layout.all, *layout.any[:1]])


@pytest.mark.real_data
def test_metars_without_a_mapping_have_no_wind_in_knots(shared_data: Path) -> None:
    path = shared_data / "observations" / "metar_20201001T06.csv"
    examples = Path(__file__).parents[2] / "examples"
    with_map = read_observations([path], TextTables((str(examples / "metar.toml"),))).table
    without = read_observations([path]).table
    pd.testing.assert_frame_equal(without, with_map)
    text = path.read_text().replace("Unix_time", "epoch")  # no known layout
    table = parse_csv(text, "x.csv").table
    wind = table[table["variable"] == "wind_speed"]
    assert len(wind)
    assert not (wind["qc"] == 0).any()
    assert np.isfinite(wind["value"]).all()


def test_a_table_of_stations_is_an_input(tmp_path: Path) -> None:
    """An output that was made with another table is not up to date."""
    from phyda_cli.analysis.publication import Request, provenance_of
    from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
    from phyda_cli.settings.analysis import AnalysisSettings

    stations, mapping = tmp_path / "st.csv", tmp_path / "map.toml"
    stations.write_text("station_id,latitude,longitude\nA,48,6\n")
    mapping.write_text('stations = "st.csv"\n')
    tables = TextTables((f"*.csv={mapping}",))
    assert tables.files == (mapping, stations)
    request = Request([mapping], None, tmp_path / "an.nc", tables=tables)
    checkpoint = Checkpoint.open(BUNDLED)

    def fingerprint() -> str:
        return str(provenance_of(request, AnalysisSettings(), checkpoint)["phyda_inputs"])

    before = fingerprint()
    stations.write_text("station_id,latitude,longitude\nA,49,6\n")
    assert fingerprint() != before
