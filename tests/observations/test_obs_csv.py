import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from phyda_cli.errors import InputError, OutputError
from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.convert import write_csv
from phyda_cli.observations.read.columns import ObservationMap
from phyda_cli.observations.read.csv import parse_csv
from phyda_cli.observations.read.read import read_observations
from phyda_cli.observations.report import ReadResult
from phyda_cli.observations.table import COLUMNS, QC, check, make

HEAD = "station_id,time,latitude,longitude,elevation"
LONG = f"{HEAD},variable,pressure,value,error\n"
PLACE = "a,2020-10-01T06:00:00Z,50,10,100"


def read(text: str) -> ReadResult:
    result = parse_csv(text, "obs.csv")
    check(result.table)
    return result


def only(text: str) -> pd.Series:
    table = read(text).table
    assert len(table) == 1
    return table.iloc[0]


def test_long_form() -> None:
    row = only(LONG + f"{PLACE},t,85000,280.5,1.5\n")
    assert row["time"] == np.datetime64("2020-10-01T06:00:00")
    assert row[["station_id", "variable", "file"]].tolist() == ["a", "t", "obs.csv"]
    assert row[["latitude", "longitude", "elevation", "pressure", "value", "error"]].tolist() == [
        50,
        10,
        100,
        85000,
        280.5,
        1.5,
    ]
    assert row[["use", "qc", "row"]].tolist() == [1, 0, 2]


def test_wide_form_in_input_order_with_units_in_the_names() -> None:
    text = (
        f"{HEAD}_ft,t2m_degC,wind_speed_kt,Temp2 [degC],msl "
        f"(hPa)\n{PLACE},20,10,9,1013\n{PLACE},,10,9,\n"
    )
    result = read(text)
    assert result.table["variable"].tolist() == ["t2m", "wind_speed", "msl", "wind_speed"]
    np.testing.assert_allclose(result.table["value"], [293.15, 5.14444, 101300, 5.14444], rtol=1e-5)
    np.testing.assert_allclose(result.table["elevation"], 30.48)
    assert result.table["row"].tolist() == [2, 2, 2, 3]
    assert result.ignored_columns == {"obs.csv": ["Temp2 [degC]"]}


def test_asos_export_needs_no_mapping() -> None:
    table = read(
        "station,valid,lon,lat,elevation,tmpf,sknt,drct,alti\nAMW,2020-10-01 "
        "05:53,-93.6,42.0,291,32.0,10,270,30.00\n"
    ).table
    assert table["variable"].tolist() == ["t2m", "wind_speed", "wind_direction", "qnh"]
    np.testing.assert_allclose(table["value"], [273.15, 5.14444, 270, 101591.67], rtol=1e-6)
    assert table["longitude"].tolist() == [266.4] * 4


def test_a_pressure_column_makes_a_wide_table_a_sounding() -> None:
    text = (
        "id,time,lat,lon,pressure_hPa,temperature_C,wind_speed,t2m\n"
        "a,2020-01-01,1,2,850,10,5,280\na,2020-01-01,1,2,,10,5,280\n"
    )
    result = read(text)
    assert result.table["variable"].tolist() == ["t", "wind_speed", "t2m"] * 2
    np.testing.assert_equal(
        result.table["pressure"].to_numpy(), [85000, 85000, np.nan, np.nan, np.nan, np.nan]
    )
    assert result.table["qc"].tolist() == [0, 0, 0, QC.PRE_QC, 0, 0]
    assert "has no pressure" in result.problems[0].reason


def test_upper_air_names_mean_the_surface_where_there_is_no_level() -> None:
    assert read(
        "id,time,lat,lon,temperature,dewpoint,u,v,rh\na,2020-01-01,1,2,280,275,1,2,50\n"
    ).table["variable"].tolist() == [
        "t2m",
        "d2m",
        "u10",
        "v10",
        "rh2m",
    ]


@pytest.mark.parametrize(
    ("row", "code", "reason"),
    [
        ("hello world, this is text", None, "time"),
        (f"{PLACE},t,85000,warm,1", QC.PRE_QC, "'warm' is no number"),
        (f"{PLACE},t,85000,12,5,1", QC.PRE_QC, "decimal comma"),
        (f'{PLACE},t,85000,"12,5",1', QC.PRE_QC, "decimal comma"),
        ("a,yesterday,50,10,100,t,85000,280,1", QC.PRE_QC, "'yesterday'.*ISO 8601"),
        ("a,,50,10,100,t,85000,280,1", QC.PRE_QC, "time"),
        ("a,3020-01-01,50,10,100,t,85000,280,1", QC.PRE_QC, "time '3020"),
        ("a,2020-10-01,95,10,100,t,85000,280,1", QC.DOMAIN, "latitude 95 is outside -90..90"),
        ("a,2020-10-01,,10,100,t,85000,280,1", QC.PRE_QC, "no latitude"),
        ("a,2020-10-01,north,10,100,t,85000,280,1", QC.PRE_QC, "'north' is no number"),
        ("a,2020-10-01,50,370,100,t,85000,280,1", QC.DOMAIN, "longitude 370 is outside -180..360"),
        ("a,2020-10-01,50,10,high,t,85000,280,1", QC.PRE_QC, "'high' is no number"),
        (f"{PLACE},t,,280,1", QC.PRE_QC, "t has no pressure"),
        (f"{PLACE},t,85000,280,-1", QC.PRE_QC, "error '-1'"),
        (f"{PLACE},t,85000,inf,1", QC.PRE_QC, "'inf' is no number"),
        (f"{PLACE},snow,,280,1", None, "unknown variable 'snow'"),
        (f'{PLACE},"t,85000,280,1', QC.PASS, ""),
    ],
)
def test_a_bad_row_gets_a_code_and_a_reason_and_spares_the_others(
    row: str, code: int | None, reason: str
) -> None:
    good = f"{PLACE},t,50000,250,1\n"
    result = read(LONG + good + row + "\n" + good)
    assert result.rows_read == 3
    assert result.table.loc[result.table["row"] != 3, "qc"].tolist() == [0, 0]
    assert result.table.loc[result.table["row"] == 3, "qc"].tolist() == (
        [] if code is None else [code]
    )
    assert result.rows_unreadable == (code is None)
    if code == QC.PASS:
        assert not result.problems
    else:
        assert [p.row for p in result.problems] == [3]
        assert pd.Series(result.problems[0].reason).str.contains(reason).all()


def test_decimal_commas_in_a_semicolon_file() -> None:
    result = read(
        f"{HEAD},t2m,msl\n{PLACE},12,5;101300\n".replace(",", ";").replace("12;5", "12,5")
    )
    assert result.table["value"].tolist() == [12.5, 101300.0]
    assert any("decimal commas" in note.text for note in result.notes)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_comments_blank_lines_and_missing_words(separator: str) -> None:
    text = f"# made by hand\n\n{HEAD},t2m,msl\n{PLACE},280,NA\n\n{PLACE},M,-9999\n".replace(
        ",", separator
    )
    result = read(text)
    assert result.table["row"].tolist() == [4]
    assert (result.rows_read, result.rows_with_values, result.rows_without_values) == (2, 1, 1)


def test_an_unknown_header_below_a_title_is_the_one_that_is_named() -> None:
    text = "Network of the Alps;;;\nAs of 1 October\nKürzel;Breite;Länge;Datum\nA;47,2;9,7;1.10.\n"
    with pytest.raises(InputError, match=r"found columns: Kürzel, Breite, Länge, Datum$"):
        parse_csv(text, "obs.csv")


@pytest.mark.parametrize(
    "encode",
    [
        str.encode,
        lambda t: t.encode("utf-8-sig"),
        lambda t: t.encode("latin-1"),
        lambda t: t.encode("utf-16"),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_line_ends_and_gzip(tmp_path: Path, encode: object, newline: str) -> None:
    content = encode(f"{HEAD},t2m{newline}Zürich,2020-01-01,1,2,3,280{newline}")  # type: ignore[operator]
    (tmp_path / "plain.csv").write_bytes(content)
    (tmp_path / "packed").write_bytes(gzip.compress(content))
    table = read_observations([tmp_path / "plain.csv", tmp_path / "packed"]).table
    assert table["station_id"].tolist() == ["Zürich", "Zürich"]
    assert table["file"].tolist() == [str(tmp_path / "plain.csv"), str(tmp_path / "packed")]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2020-10-01T06:00:00+02:00", "2020-10-01T04:00"),
        ("2020-10-01 06:00", "2020-10-01T06:00"),
        ("20201001T06", "2020-10-01T06:00"),
    ],
)
def test_times(time: str, expected: str) -> None:
    assert only(f"{HEAD},t2m\na,{time},1,2,3,280\n")["time"] == np.datetime64(expected)


def test_unix_time_column() -> None:
    assert only("id,unix_time,lat,lon,t2m\na,1601530260,1,2,280\n")["time"] == np.datetime64(
        "2020-10-01T05:31"
    )


def test_missing_latitude_lists_what_was_found_and_looked_for() -> None:
    with pytest.raises(
        InputError, match=r"no column for latitude; found columns: id, time, northing, lon, t2m"
    ) as caught:
        read("id,time,northing,lon,t2m\na,2020-01-01,1,2,280\n")
    assert "latitude may be called latitude, lat" in caught.value.hint


def test_no_values_or_two_columns_for_one_variable() -> None:
    with pytest.raises(InputError, match=r"no column of observed values; found columns: .*snow"):
        read(f"{HEAD},snow\n{PLACE},1\n")
    with pytest.raises(InputError, match="'temp' and 't2m_degC' are both t2m"):
        read(f"{HEAD},temp,t2m_degC\n{PLACE},1,2\n")


def test_use_column_and_blank_station_names() -> None:
    table = read(
        "id,time,lat,lon,use,t2m\n,2020-01-01,1,2,0,280\nb,2020-01-01,1,2,1,280\nc,2020-01-01,1,2,yes,280\n"
    ).table
    assert table["station_id"].tolist() == ["1.000,2.000", "b", "c"]
    assert table["use"].tolist() == [0, 1, 1]
    assert table["qc"].tolist() == [0, 0, QC.PRE_QC]


def test_many_long_rows_and_an_odd_quote_lose_nothing() -> None:
    body = [f"{PLACE},t,85000,280,1" for _ in range(200)]
    body[50] += ",1" * 500
    body[60] = '"' + body[60]
    result = read(LONG + "\n".join(body))
    assert result.rows_read == 200
    assert result.table["qc"].tolist() == [QC.PRE_QC if i == 50 else 0 for i in range(200)]


texts = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029"), max_size=300
)


@settings(max_examples=60)
@given(texts, st.sampled_from([LONG, f"{HEAD},t2m,wind_speed\n", ""]))
def test_any_text_is_accounted_for_or_refused(text: str, header: str) -> None:
    try:
        result = read(header + text)
    except InputError:
        assert not header
        return
    lines = [
        line
        for line in (header + text)
        .replace("\0", "")
        .replace("\r\n", "\n")
        .replace("\r", "\n")
        .split("\n")
        if line.strip()
    ]
    comments = (
        0
        if header
        else next(i for i, line in enumerate(lines) if not line.lstrip().startswith("#"))
    )
    assert result.rows_read == len(lines) - 1 - comments
    assert {p.row for p in result.problems} >= set(
        result.table.loc[result.table["qc"] == QC.PRE_QC, "row"]
    )


numbers = st.floats(-1e6, 1e6).filter(lambda x: f"{x}" not in ("-9999.0",))


@settings(max_examples=40, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    st.lists(
        st.tuples(
            st.text(alphabet="abcXYZ019_-ü ,;\"'#", min_size=1, max_size=8)
            .map(str.strip)
            .filter(lambda t: t.strip("-") and not t.startswith("#")),
            st.datetimes(
                min_value=pd.Timestamp("1700-01-01").to_pydatetime(),
                max_value=pd.Timestamp("2200-01-01").to_pydatetime(),
            ),
            st.floats(-90, 90),
            st.floats(-180, 360),
            st.sampled_from(sorted(OBSERVABLES)),
            st.floats(1, 110000),
            numbers,
            st.one_of(st.just(np.nan), st.floats(1e-9, 1e9)),
            st.sampled_from([0, 1]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_write_csv_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple]) -> None:
    names = [
        "station_id",
        "time",
        "latitude",
        "longitude",
        "variable",
        "pressure",
        "value",
        "error",
        "use",
    ]
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    columns["station_id"] = [s.replace('"', "").strip(" -") or "x" for s in columns["station_id"]]
    surface = np.array(
        [OBSERVABLES[v].surface and not v.startswith("wind") for v in columns["variable"]]
    )
    columns["pressure"] = np.where(surface, np.nan, columns["pressure"])
    table = make(**columns)
    path = tmp_path_factory.mktemp("csv") / "obs.csv"
    write_csv(path, table)
    back = read_observations([path], strict=True)
    compared = [c for c in COLUMNS if c not in ("qc", "file", "row")]
    pd.testing.assert_frame_equal(
        back.table[compared], table[compared].assign(station_id=back.table["station_id"])
    )
    assert back.table["station_id"].tolist() == [s.strip() for s in table["station_id"]]


def test_write_csv_refuses_to_overwrite(tmp_path: Path) -> None:
    table = make(
        station_id="a",
        time=np.datetime64("2020-01-01"),
        latitude=1.0,
        longitude=2.0,
        variable="t2m",
        value=280.0,
    )
    write_csv(tmp_path / "obs.csv", table)
    with pytest.raises(OutputError, match="exists"):
        write_csv(tmp_path / "obs.csv", table)
    with pytest.raises(OutputError, match="does not exist"):
        write_csv(tmp_path / "no" / "obs.csv", table)
    assert len(list(tmp_path.iterdir())) == 1


def test_braces_in_the_names_of_columns_are_shown_as_they_are() -> None:
    text = "station_id,time,latitude,{cell.__class__},variable,value\na,never,50,x,t2m,280\n"
    mapping = ObservationMap.model_validate(
        {
            "longitude": "{cell.__class__}",
            "time": {"column": "time", "format": "%Y {time.__class__}"},
        }
    )
    (problem,) = parse_csv(text, "t.csv", mapping).problems
    assert "'never' is not readable: expected %Y {time.__class__}" in str(problem)


def test_a_directive_that_stands_twice_is_no_pattern() -> None:
    with pytest.raises(ValueError, match="stands twice"):
        ObservationMap.model_validate({"time": {"column": "time", "format": "%Y-%m-%d %Y"}})
