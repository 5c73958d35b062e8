"""Damaged files, and decoders that crash or never end."""

import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from messages import ascent, synop
from test_obs_netcdf import madis, modern_ioda, odb_file, old_ioda
from test_obs_prepbufr import SOUNDING, prepbufr

from benchmarks.fuzz import fuzz, mutate_netcdf
from phyda_cli.errors import InputError, PhydaError
from phyda_cli.files.worker import Worker
from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.convert import write_csv
from phyda_cli.observations.read.bufr import read_bufr
from phyda_cli.observations.read.csv import parse_csv
from phyda_cli.observations.read.decode import decode, decode_apart
from phyda_cli.observations.read.read import decode_all, read_observations
from phyda_cli.observations.table import check, make

LONG = b"""station_id,time,latitude,longitude,variable,pressure,value
a,2020-10-01T06:00,50,10,t,85000,280
b,2020-10-01T06:00,51,11,msl,,101300
"""
WIDE = (
    b"station_id,time,latitude,longitude,t2m_degC,wind_speed_kt\n"
    b"a,2020-10-01T06:00,50,10,7.5,12\nb,2020-10-01T07:00,51,11,,3\n"
)


def sample(kind: str, folder: Path) -> bytes:
    if kind in ("long", "wide"):
        return LONG if kind == "long" else WIDE
    if kind in ("synop", "temp"):
        return synop() * 2 if kind == "synop" else ascent() + synop()
    if kind == "prepbufr":
        return prepbufr("ADPUPA", SOUNDING)
    written = {"ioda": modern_ioda, "old ioda": old_ioda, "madis": madis, "odb": odb_file}
    written[kind](folder / "obs")
    return (folder / "obs").read_bytes()


NETCDF = ["ioda", "old ioda", "madis"]
KINDS = ["long", "wide", "synop", "temp", "prepbufr", "odb", *NETCDF]


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_copies_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    found = fuzz(sample(kind, tmp_path), 60, tmp_path)
    assert found.pop("longest_s") < 30  # 6 s, and the start of a worker on a busy machine
    assert sum(found.values()) == 60
    assert found["read"] > 0, found


@pytest.mark.parametrize("kind", NETCDF)
def test_values_and_attributes_may_be_anything(tmp_path: Path, kind: str) -> None:
    found = fuzz(sample(kind, tmp_path), 60, tmp_path, damage=mutate_netcdf)
    assert found.pop("longest_s") < 30
    assert sum(found.values()) == 60
    assert found["read"] > 15, found


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETCDF)
def test_two_thousand_with_other_values_and_attributes(tmp_path: Path, kind: str) -> None:
    found = fuzz(sample(kind, tmp_path), 2000, tmp_path, seed=1, damage=mutate_netcdf)
    print(kind, found)
    assert found.pop("longest_s") < 60
    assert sum(found.values()) == 2000


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_damaged_copies(tmp_path: Path, kind: str) -> None:
    found = fuzz(sample(kind, tmp_path), 10000, tmp_path, seed=1)
    print(kind, found)
    assert found.pop("longest_s") < 60
    assert sum(found.values()) == 10000


def test_a_crash_and_a_hang_cost_their_file_only(tmp_path: Path) -> None:
    good = tmp_path / "good.bufr"
    good.write_bytes(synop())
    expected = decode_apart(good).table
    with pytest.raises(InputError, match=r"good.bufr: the decoder crashed \(SIGSEGV\)"):
        Worker().call(partial(os.kill, 0, signal.SIGSEGV), good, 60)
    pd.testing.assert_frame_equal(decode_apart(good).table, expected)


def test_decoding_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    (tmp_path / "long.bufr").write_bytes(synop() * 20000)
    with pytest.raises(InputError, match=r"took more than 0\.5 s"):
        Worker().call(partial(decode, tmp_path / "long.bufr"), tmp_path / "long.bufr", 0.5)


def test_the_first_file_that_is_wrong_is_named(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    paths[0].write_bytes(synop())
    paths[1].write_bytes(b"BUFR\0\0\0\3")
    paths[2].write_bytes(b"GRIB\0")
    with pytest.raises(InputError, match="b: the BUFR content"):
        decode_all(paths, [None] * 3, processes=3)
    assert len(decode_all([paths[0]] * 3, [None] * 3, processes=2)) == 3


PRESSURES = st.sampled_from([100000.0, 85000.0, 50000.0, 1000.0])
VALUES = st.floats(-1e6, 1e6, allow_nan=False)
ROWS = st.tuples(
    st.text("abcXYZ019-_", min_size=1, max_size=8).filter(
        lambda s: s.strip("-") and s not in ("NA", "NaN", "nan")
    ),
    st.integers(0, 4_000_000_000),
    st.floats(-90, 90),
    st.floats(0, 359.999),
    st.sampled_from(sorted(OBSERVABLES)),
    PRESSURES,
    VALUES,
    st.sampled_from([0, 1]),
)


@given(st.lists(ROWS, min_size=1, max_size=8))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_table_comes_back_from_csv(tmp_path: Path, rows: list[tuple]) -> None:
    station, seconds, latitude, longitude, variable, pressure, value, use = map(
        list, zip(*rows, strict=True)
    )
    leveled = [
        not OBSERVABLES[v].surface or v in ("wind_speed", "wind_direction") for v in variable
    ]
    table = make(
        station_id=station,
        time=np.array(seconds, "datetime64[s]"),
        latitude=latitude,
        longitude=longitude,
        variable=variable,
        pressure=np.where(leveled, pressure, np.nan),
        value=value,
        error=1.0,
        use=use,
    )
    write_csv(tmp_path / "t.csv", table, overwrite=True)
    result = parse_csv((tmp_path / "t.csv").read_text(), "t.csv")
    kept = [c for c in table.columns if c not in ("qc", "file", "row")]
    pd.testing.assert_frame_equal(result.table[kept], table[kept], check_exact=True)
    assert (result.rows_read, result.rows_with_values) == (len(rows), len(rows))


CELLS = st.sampled_from(
    ["", "280", "-3.5", "x", "1,5", "M", "nan", '"', "1e400", "2020-10-01", "99", "t", "a;b"]
)


@given(st.lists(st.lists(CELLS, min_size=0, max_size=8), max_size=8))
@settings(max_examples=60)
def test_every_line_of_any_text_is_counted(rows: list[list[str]]) -> None:
    lines = [",".join(cells) for cells in rows]
    for header in (LONG, WIDE):
        text = header.decode().splitlines()[0] + "\n" + "\n".join(lines)
        result = parse_csv(text, "t.csv")
        check(result.table)
        assert result.rows_read == sum(bool(line.strip()) for line in lines)
        assert result.table["row"].nunique() == result.rows_with_values


@given(st.lists(st.sampled_from(["good", "damaged", "junk", "no time"]), min_size=1, max_size=6))
@settings(max_examples=15)
def test_every_message_of_any_bufr_is_counted(kinds: list[str]) -> None:
    damaged = bytearray(synop())
    damaged[4:7] = (40).to_bytes(3, "big")
    parts = {
        "good": synop(),
        "damaged": bytes(damaged),
        "junk": b"\r\n",
        "no time": synop(month=13),
    }
    content = b"".join(parts[k] for k in kinds)
    readable = kinds.count("good") + kinds.count("no time")
    if not readable:
        with pytest.raises(PhydaError):
            read_bufr(content, "obs")
        return
    result = read_bufr(content, "obs")
    check(result.table)
    expected = (readable + kinds.count("damaged"), readable, kinds.count("damaged"))
    assert (result.rows_read, result.rows_with_values, result.rows_unreadable) == expected
    assert len(result.problems) == kinds.count("damaged") + kinds.count("no time")


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_error_of_the_disk_at_any_reading_is_one_of_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Also while it is found out what the file is."""
    path, calls, opened = tmp_path / "obs.csv", 0, Path.open
    path.write_bytes(LONG)

    def failing(self: Path, *args: object, **options: object) -> object:
        nonlocal calls
        calls += self == path
        if self == path and calls == number:
            raise OSError(5, os.strerror(5))
        return opened(self, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", failing)
    with pytest.raises(InputError):
        read_observations([path])
    assert calls == number
