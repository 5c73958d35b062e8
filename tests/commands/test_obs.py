"""``phyda obs``, and patterns of files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phyda_cli.observations.feedback import read_feedback
from phyda_cli.observations.read.read import read_observations

Run = Callable[..., Any]
HEADER = "station_id,time,latitude,longitude,elevation,variable,pressure,value,error\n"
ROWS = [
    "a,2020-10-01T06:00Z,50,8,100,t2m,,280,\n",
    "a,2020-10-01T06:00Z,50,8,100,msl,,101300,80\n",
    "a,2020-10-01T06:00Z,50,8,100,t2m,,281,\n",  # a duplicate
    "b,2020-10-01T07:00Z,-30,350,,t,85000,275,\n",
    "b,2020-10-01T07:00Z,-30,350,,t,70000,268,\n",
    "b,2020-10-01T07:00Z,-30,350,,t,50000,12,\n",  # out of range
    "c,2020-10-01T05:10Z,70,8,,u,25000,20,\n",
    "c,yesterday,70,8,,t2m,,260,\n",
]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text(HEADER + "".join(ROWS[:3]))
    two.write_text(HEADER + "".join(ROWS[3:]))
    return [one, two]


def test_inspect_counts_everything_once(phyda: Run, files: list[Path], tmp_path: Path) -> None:
    outcome = phyda("obs", "inspect", "--json", "--plot", tmp_path / "map.png", *files)
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert report["rows"] == {"read": 8, "with_values": 8, "without_values": 0, "unreadable": 0}
    assert (report["in"], report["used"], report["passive"]) == (8, 5, 0)
    assert report["rejected"] == {"unreadable": 1, "out of range": 1, "duplicate": 1}
    for groups in ("by_variable", "by_type", "by_level", "by_time", "by_region"):
        assert sum(c["in"] for c in report[groups].values()) == 8
        assert all(
            c["in"] == c["used"] + c["passive"] + sum(c["rejected"].values())
            for c in report[groups].values()
        )
    assert {k: c["in"] for k, c in report["by_type"].items()} == {
        "single level": 1,
        "sounding": 3,
        "surface": 4,
    }
    assert report["by_variable"]["t"] == {
        "in": 3,
        "used": 2,
        "passive": 0,
        "rejected": {"out of range": 1},
        "units": "K",
        "min": 268.0,
        "median": 271.5,
        "max": 275.0,
        "own_error": 0,
    }
    assert report["by_variable"]["msl"]["own_error"] == 1
    assert {k: c["in"] for k, c in report["by_level"].items()} == {
        "surface": 4,
        "850 to 500 hPa": 2,
        "500 to 250 hPa": 1,
        "250 to 100 hPa": 1,
    }
    assert list(report["by_time"]) == [
        "2020-10-01T05Z",
        "2020-10-01T06Z",
        "2020-10-01T07Z",
        "without time",
    ]
    assert report["by_region"]["north of 60N"]["in"] == 2
    assert any("yesterday" in p for p in report["problems"])
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_inspect_prints_tables_and_keeps_pictures(
    phyda: Run, files: list[Path], tmp_path: Path
) -> None:
    outcome = phyda("obs", "inspect", files[1])
    assert outcome.code == 0
    assert "850 to 500 hPa" in outcome.out
    assert "yesterday" in outcome.err
    (tmp_path / "map.png").write_text("mine")
    assert phyda("obs", "inspect", files[0], "--plot", tmp_path / "map.png").code == 2
    assert (tmp_path / "map.png").read_text() == "mine"


def test_a_file_twice_counts_once_and_patterns_are_expanded(
    phyda: Run, files: list[Path], tmp_path: Path
) -> None:
    outcome = phyda("obs", "inspect", "--json", tmp_path / "*.csv", files[0])
    assert json.loads(outcome.out)["in"] == 8
    assert "given twice" in outcome.err
    missing = phyda("obs", "inspect", tmp_path / "*.bufr")
    assert missing.code == 3
    assert "no file matches" in missing.err
    odd = tmp_path / "odd[1].csv"
    odd.write_text(HEADER + ROWS[0])
    assert json.loads(phyda("obs", "inspect", "--json", odd).out)["in"] == 1


@pytest.mark.parametrize("kind", ["long", "wide"])
def test_a_template_filled_in_is_read(phyda: Run, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "t.csv"
    assert phyda("obs", "template", "--kind", kind, "--out", path).code == 0
    assert phyda("obs", "template", "--kind", kind).out == path.read_text()
    row = "a,2020-10-01T06:00Z,50,8,100," + (
        "t2m,,,,280,1.5,1" if kind == "long" else "6.85,,,,,1013,,"
    )
    path.write_text(path.read_text() + row + "\n")
    read = read_observations([path], strict=True)
    found = dict(zip(read.table["variable"], read.table["value"], strict=True))
    assert found == pytest.approx(
        {"t2m": 280.0} if kind == "long" else {"t2m": 280.0, "msl": 101300.0}
    )
    assert not any(read.ignored_columns.values())
    assert phyda("obs", "template", "--kind", "tall").code == 2
    assert phyda("obs", "template", "--out", path).code == 2


def test_convert_to_csv_and_netcdf(phyda: Run, files: list[Path], tmp_path: Path) -> None:
    outcome = phyda("obs", "convert", *files, "--out", tmp_path / "all.csv")
    assert outcome.code == 0, outcome.err
    assert "7 observations, 1 unreadable ones left out" in outcome.err
    before, after = (
        read_observations(files).table,
        read_observations([tmp_path / "all.csv"], strict=True).table,
    )
    np.testing.assert_array_equal(after["value"], before["value"][before["qc"] == 0])
    assert phyda("obs", "convert", *files, "--to", "nc", "--out", tmp_path / "all.bin").code == 0
    rows = read_feedback(tmp_path / "all.bin")
    np.testing.assert_array_equal(rows["ObsValue"], before["value"])
    np.testing.assert_array_equal(rows["PreQC"], before["qc"])
    assert rows["source_file"].tolist() == before["file"].tolist()
    assert phyda("obs", "convert", *files, "--out", tmp_path / "all.grib").code == 2
    assert phyda("obs", "convert", *files, "--out", tmp_path / "all.csv").code == 2


def test_merge_holds_each_observation_once_in_order(
    phyda: Run, files: list[Path], tmp_path: Path
) -> None:
    outcome = phyda("obs", "merge", *files, "--out", tmp_path / "all.csv")
    assert outcome.code == 0, outcome.err
    assert "1 duplicates left out" in outcome.err
    merged = read_observations([tmp_path / "all.csv"], strict=True).table
    assert merged["station_id"].tolist() == ["c", "a", "a", "b", "b", "b"]
    assert merged["value"].tolist() == [20, 280, 101300, 275, 268, 12]


def test_the_keys_of_a_mapping_file_are_printed(phyda: Run) -> None:
    printed = {line.split()[0] for line in phyda("obs", "maps", "--keys").out.splitlines() if line}
    assert printed >= {"station_id", "latitude", "stations", "decimal", "column", "timezone"}
