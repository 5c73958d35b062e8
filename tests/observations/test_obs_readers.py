from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from phyda_cli.errors import InputError, PhydaError, UsageError
from phyda_cli.observations.read.read import TextTables, read_observations
from phyda_cli.observations.report import ReadResult
from phyda_cli.observations.table import QC, check, empty

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
GOOD = "id,time,lat,lon,t2m\na,2020-01-01,1,2,280\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"# only a comment\n", "no header"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is a PNG image"),
        (b"\x89HDF\r\n\x1a\n", "NetCDF content cannot be read"),
        (b"GRIB\0\0", "is a GRIB file"),
        (b"abc\0\1\2", "binary data"),
        (b"\x1f\x8b\x08\x00broken", "cannot read"),
        (b"BUFR\0\0\x1f\x03 nonsense 7777", "cannot be decoded"),
    ],
)
def test_files_that_hold_no_observations(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "obs"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_observations([path])
    assert str(path) in caught.value.message


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.csv does not exist"):
        read_observations([tmp_path / "nowhere.csv"])
    with pytest.raises(InputError, match="is a folder"):
        read_observations([tmp_path])


def test_a_header_without_rows_reads_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "obs.csv").write_text("id,time,lat,lon,t2m\n")
    result = read_observations([tmp_path / "obs.csv"])
    assert (len(result.table), result.rows_read) == (0, 0)
    check(result.table)


def test_strict_raises_for_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "obs.csv").write_text(GOOD + "a,2020-01-01,1,2,warm\n")
    assert len(read_observations([tmp_path / "obs.csv"]).problems) == 1
    with pytest.raises(InputError, match=r"obs.csv:3: t2m 'warm' is no number"):
        read_observations([tmp_path / "obs.csv"], strict=True)


def test_a_loss_of_rows_is_an_error() -> None:
    with pytest.raises(PhydaError, match="lost"):
        ReadResult(
            empty(), rows_read=3, rows_with_values=1, rows_without_values=1, rows_unreadable=0
        )


MAPPING = """
station_id = "who"
time = { column = ["day", "hour"], format = "%d.%m.%Y %H:%M" }
latitude = "y"
longitude = "x"
missing = ["?"]
[variables]
t2m = { column = "T", unit = "degC", scale = 0.1, missing = ["999"] }
"""


def test_mapping_file(tmp_path: Path) -> None:
    (tmp_path / "obs.csv").write_text(
        "who,day,hour,y,x,T\na,01.10.2020,06:30,50,-10,125\na,01.10.2020,06:30,50,-10,999\na,x,y,1,1,?\n"
    )
    (tmp_path / "map.toml").write_text(MAPPING)
    result = read_observations([tmp_path / "obs.csv"], TextTables((str(tmp_path / "map.toml"),)))
    assert result.table["value"].tolist() == pytest.approx([285.65])
    assert result.table["time"].iloc[0] == np.datetime64("2020-10-01T06:30")
    assert (
        result.rows_read,
        result.rows_with_values,
        result.rows_without_values,
        result.rows_unreadable,
    ) == (3, 1, 1, 1)


def test_mapping_of_a_long_table(tmp_path: Path) -> None:
    head = 'station_id = "s"\ntime = "t"\nlatitude = "y"\nlongitude = "x"\n'
    (tmp_path / "map.toml").write_text(
        head + 'pressure = { column = "p", unit = "hPa" }\nvariable = "name"\nvalue = { column = '
        '"val", unit = "degC" }\n'
    )
    (tmp_path / "obs.csv").write_text("s,t,y,x,p,name,val\na,2020-01-01,1,2,850,temperature,10\n")
    row = read_observations(
        [tmp_path / "obs.csv"], TextTables((str(tmp_path / "map.toml"),))
    ).table.iloc[0]
    assert row[["variable", "pressure", "value"]].tolist() == ["t", 85000.0, 283.15]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (('unit = "degC"', 'unit = "kt"'), UsageError, "'kt' does not convert to K"),
        (("t2m =", "snow ="), UsageError, "unknown variable 'snow'"),
        (('latitude = "y"', ""), InputError, "no column for latitude"),
        (("%H:%M", "%Q"), UsageError, "time.format: .*bad directive"),
        (("missing =", "absent ="), UsageError, "absent: Extra inputs"),
        (("[variables]", "variables]"), InputError, "is no TOML"),
        (
            ('latitude = "y"', 'latitude = "yy"'),
            InputError,
            "no column 'yy'; found columns: who, day",
        ),
    ],
)
def test_wrong_mapping_files(
    tmp_path: Path, change: tuple[str, str], error: type[Exception], message: str
) -> None:
    (tmp_path / "obs.csv").write_text("who,day,hour,y,x,T\na,01.10.2020,06:30,50,-10,125\n")
    (tmp_path / "map.toml").write_text(MAPPING.replace(*change))
    with pytest.raises(error, match=message):
        read_observations([tmp_path / "obs.csv"], TextTables((str(tmp_path / "map.toml"),)))


@pytest.mark.real_data
def test_every_metar_is_accounted_for(shared_data: Path) -> None:
    mapping = EXAMPLES / "metar.toml"
    assert len(mapping.read_text().splitlines()) <= 15
    result = read_observations(
        [shared_data / "observations" / "metar_20201001T06.csv"],
        TextTables((str(mapping),)),
        strict=True,
    )
    check(result.table)
    assert (
        result.rows_read,
        result.rows_with_values,
        result.rows_without_values,
        result.rows_unreadable,
    ) == (8361, 8352, 9, 0)
    assert Counter(result.table["variable"]) == {
        "t2m": 8304,
        "d2m": 8264,
        "wind_speed": 8254,
        "wind_direction": 6080,
        "qnh": 8052,
    }
    assert (result.table["qc"] == 0).all()
    assert result.table["value"].iloc[:5].tolist() == pytest.approx(
        [277.15, 276.15, 6.17333, 310, 99018.0], rel=1e-5
    )


@pytest.mark.real_data
def test_every_level_of_the_soundings_is_accounted_for(soundings: ReadResult) -> None:
    result = soundings
    check(result.table)
    assert (result.rows_read, result.rows_with_values, result.rows_without_values) == (
        26196,
        25975,
        221,
    )
    assert Counter(result.table["variable"]) == {
        "t": 18742,
        "z": 16453,
        "td": 16094,
        "wind_speed": 13758,
        "wind_direction": 13758,
    }
    assert result.table["row"].nunique() == 420
    assert Counter(result.table["qc"]) == {QC.PASS: 78582, QC.DOMAIN: 223}
    first = result.table.iloc[0]
    assert first[["station_id", "variable", "pressure", "value", "elevation"]].tolist() == [
        "71907",
        "z",
        100300.0,
        250.0,
        26.0,
    ]


@pytest.mark.real_data
def test_a_truncated_bufr_file_is_refused(shared_data: Path, tmp_path: Path) -> None:
    whole = (shared_data / "observations" / "temp_20081208T12.bufr").read_bytes()
    (tmp_path / "cut.bufr").write_bytes(whole[:20000])
    with pytest.raises(InputError, match=r"cut.bufr: the BUFR content cannot be decoded"):
        read_observations([tmp_path / "cut.bufr"])


@pytest.mark.real_data
def test_every_surface_report_is_accounted_for(shared_data: Path) -> None:
    result = read_observations(
        [shared_data / "observations" / "synop_20181102T12.bufr"], strict=True
    )
    check(result.table)
    # 7951 of them are the daily reports of extremes and sunshine, which have none of these
    # variables.
    assert (
        result.rows_read,
        result.rows_with_values,
        result.rows_without_values,
        result.rows_unreadable,
    ) == (15824, 7873, 7951, 0)
    wind = {"wind_speed": 7611, "wind_direction": 7611}
    assert Counter(result.table["variable"]) == {
        "t2m": 7803,
        "d2m": 7691,
        "sp": 6649,
        "msl": 6314,
        "rh2m": 15,
        **wind,
    }
    assert (result.table["qc"] == 0).all()
    assert (result.table["station_id"].str.len() >= 3).all()
    first = result.table.iloc[0]
    assert first[["station_id", "variable", "value", "elevation"]].tolist() == [
        "40340",
        "t2m",
        pytest.approx(304.4),
        51.0,
    ]
