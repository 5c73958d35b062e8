"""Inputs of ``phyda verify`` that are not as one would wish: each is refused with what to do, or
verified for what it has."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import eccodes
import numpy as np
import pytest
import synthetic
from typer.testing import CliRunner
from verify_cases import GRID, TIME, app, fields, one_analysis, refused, run, twelve_analyses

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Grid
from phyda_cli.formats.background import read_background
from phyda_cli.formats.write import write_analysis, write_fields
from phyda_cli.observations.feedback import Feedback, write_feedback
from phyda_cli.observations.pre_qc import prepare
from phyda_cli.observations.read.read import read_observations


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One analysis."""
    return one_analysis(tmp_path)


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """Twelve analyses."""
    return twelve_analyses(tmp_path)


def test_other_grids_need_regrid(folder: Path) -> None:
    other = Grid(np.linspace(-85, 85, 12), np.arange(16) * 22.5)
    shape = other.shape
    state = replace(
        fields(0),
        grid=other,
        upper={"t": np.full((1, *shape), 285.0)},
        surface={"msl": np.full(shape, 101500.0)},
    )
    write_fields(folder / "fine.nc", state)
    error = refused(run(folder, "an.nc", "--truth", "fine.nc"), InputError)
    assert "--regrid" in error.hint
    result = run(folder, "an.nc", "--truth", "fine.nc", "--regrid", "--json")
    assert json.loads(result.stdout)["fields"][0]["rmse"] == pytest.approx(0.5, abs=1e-3)
    assert "12x9" in result.stderr


def test_a_time_that_comes_twice(days: Path) -> None:
    write_fields(days / "an99.nc", fields(0.5))
    error = refused(run(days, "an*.nc", "--truth", "tr*.nc"), InputError)
    assert "an99.nc are both valid at 2020-01-01T06:00Z" in error.message


def test_no_common_time_names_both_ranges(days: Path) -> None:
    for i in range(2):
        late = replace(fields(0), time=TIME + np.timedelta64(1000 + i, "h"))
        write_fields(days / f"late{i}.nc", late)
    error = refused(run(days, "an*.nc", "--truth", "late*.nc"), InputError)
    assert "2020-01-01T06:00Z to 2020-01-04T00:00Z" in error.message
    assert "2020-02-11T22:00Z to 2020-02-11T23:00Z" in error.message


def test_members_that_come_and_go(folder: Path) -> None:
    """Eight, five and no members: ranks are brought to eight members, times without are left out of
    the calibration."""
    background = read_background(folder / "bg.nc")
    rng = np.random.default_rng(0)
    for i, count in enumerate((8, 5, 0)):
        when = TIME + np.timedelta64(6 * i, "h")
        analysis = replace(fields(0.5), time=when)
        members = [
            synthetic.with_vector(analysis, analysis.vector() + rng.normal(size=2 * GRID.size))
            for _ in range(count)
        ]
        change = synthetic.with_vector(analysis, np.full(2 * GRID.size, -1.5))
        first = replace(background, fields=replace(background.fields, time=when))
        write_analysis(folder / f"m{i}.nc", first, analysis, change, None, members or None)
        write_fields(folder / f"exact{i}.nc", replace(fields(0), time=when))
    result = run(folder, "m*.nc", "--truth", "exact*.nc", "--json")
    assert result.exit_code == 0, result.exception
    rows = [r for r in json.loads(result.stdout)["rows"] if r["region"] == "all"]
    t = {r["score"]: r for r in rows if (r["variable"], r["state"]) == ("t", "analysis")}
    assert t["rmse"]["n"] == 3 * GRID.size
    assert t["spread"]["value"] == pytest.approx(1.0, abs=0.15)
    assert 0 <= t["rank_p"]["value"] <= 1


def test_gaps_in_the_truth_are_left_out(folder: Path) -> None:
    values = np.full((1, *GRID.shape), 285.0)
    values[0, 0] = np.nan
    write_fields(folder / "gaps.nc", replace(fields(0), upper={"t": values}))
    found = json.loads(run(folder, "an.nc", "--truth", "gaps.nc", "--json").stdout)["fields"]
    t = next(s for s in found if s["channel"] == "t850")
    assert t["n"] == GRID.size - GRID.shape[1]
    assert t["rmse"] == pytest.approx(0.5, abs=1e-4)


def test_a_truth_in_grib(folder: Path) -> None:
    handle = eccodes.codes_grib_new_from_samples("regular_ll_pl_grib2")
    keys = {
        "Ni": 12, "Nj": 9, "latitudeOfFirstGridPointInDegrees": 80,
        "latitudeOfLastGridPointInDegrees": -80, "longitudeOfFirstGridPointInDegrees": 0,
        "longitudeOfLastGridPointInDegrees": 330, "iDirectionIncrementInDegrees": 30,
        "jDirectionIncrementInDegrees": 20, "dataDate": 20200101, "dataTime": 600,
        "bitsPerValue": 24, "shortName": "t", "typeOfLevel": "isobaricInhPa", "level": 850,
    }  # fmt: skip
    for key, value in keys.items():
        eccodes.codes_set(handle, key, value)
    eccodes.codes_set_values(handle, np.full(GRID.size, 285.0) + GRID.mesh[0].ravel()[::-1] / 80)
    (folder / "truth.grib").write_bytes(eccodes.codes_get_message(handle))
    eccodes.codes_release(handle)
    found = json.loads(run(folder, "an.nc", "--truth", "truth.grib", "--json").stdout)["fields"]
    (t,) = found  # msl is not in the truth
    weights = np.broadcast_to(GRID.area_weights[:, None], GRID.shape)
    error = 0.5 - GRID.mesh[0] / 80
    expected = np.sqrt((weights * error**2).sum() / weights.sum())
    assert (t["channel"], t["rmse"]) == ("t850", pytest.approx(expected, abs=1e-3))


def test_constant_fields_give_no_infinity(folder: Path) -> None:
    def no(constant: str) -> None:
        raise AssertionError(f"{constant} in the JSON")

    options = ("--background", "truth.nc", "--spectra", "--json")
    result = run(folder, "truth.nc", "--truth", "truth.nc", *options)
    assert result.exit_code == 0, result.exception
    found = json.loads(result.stdout, parse_constant=no)
    assert {s["rmse"] for s in found["fields"]} == {0.0}
    assert {s["ratio"] for s in found["fields"]} == {None}


def one_station(folder: Path, sigma_b: float = 1.0) -> None:
    """The first station alone, used."""
    lines = (folder / "obs.csv").read_text().splitlines()[:2]
    (folder / "one.csv").write_text("\n".join(lines) + "\n")
    table = prepare(read_observations([folder / "one.csv"]).table, fields(2))
    columns = (np.full(1, x) for x in (287.0, 285.5, sigma_b))
    write_feedback(folder / "one.nc", Feedback.as_observed(table, *columns), {})


def test_one_station(folder: Path) -> None:
    one_station(folder)
    found = json.loads(run(folder, "an.nc", "--feedback", "one.nc", "--stations", "--json").stdout)
    assert found["headline"]["used"] == 1
    assert found["headline"]["chi2"] == pytest.approx(4 / 2)
    (station,) = found["stations_judged"]
    assert (station["station"], station["mean"], station["std"]) == ("S0", -2.0, None)
    assert station["reasons"] == []


def test_nothing_withheld(folder: Path) -> None:
    one_station(folder)
    result = run(folder, "an.nc", "--feedback", "one.nc", "--report", "one.html", "--json")
    assert result.exit_code == 0, result.exception
    found = json.loads(result.stdout)
    assert found["headline"]["withheld_ratio"] is None
    assert {r["independence"] for r in found["rows"]} == {"used", "next_background"}
    assert "nothing independent says how good" in (folder / "one.html").read_text()


def test_a_feedback_without_spread(folder: Path) -> None:
    one_station(folder, np.nan)
    found = json.loads(run(folder, "an.nc", "--feedback", "one.nc", "--json").stdout)
    assert found["headline"]["chi2"] is None
    assert {r["score"] for r in found["rows"]} >= {"rmse", "bias", "jo_change"}


@pytest.mark.parametrize("option", ["--truth", "--background", "--feedback"])
def test_errors_name_the_option_of_the_file(folder: Path, option: str) -> None:
    arguments = [str(folder / "an.nc"), "--truth", str(folder / "truth.nc")]
    error = CliRunner().invoke(app, [*arguments, option, str(folder / "none.nc")]).exception
    assert isinstance(error, InputError)
    others = {"--truth", "--background", "--feedback", "--member", "--valid-time"} - {option}
    assert option in error.hint
    assert not any(other in error.hint for other in others)


def test_an_error_of_the_file_itself_hints_at_no_option(folder: Path) -> None:
    arguments = [str(folder / "none.nc"), "--truth", str(folder / "truth.nc")]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, InputError)
    assert "--" not in error.hint
