"""``phyda verify`` on small files: what it prints, what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest
import synthetic
import typer
from typer.testing import CliRunner, Result

from phyda_cli.commands.verify import verify
from phyda_cli.errors import (
    EXIT_GATE,
    EXIT_INPUT,
    EXIT_USAGE,
    GateError,
    InputError,
    OutputError,
    PhydaError,
    UsageError,
)
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.formats.background import read_background
from phyda_cli.formats.write import write_analysis, write_fields
from phyda_cli.observations.feedback import Feedback, write_feedback
from phyda_cli.observations.pre_qc import prepare
from phyda_cli.observations.read.read import read_observations

TIME = np.datetime64("2020-01-01T06", "ns")
GRID = Grid(np.linspace(-80, 80, 9), np.arange(12) * 30.0)
app = typer.Typer()
app.command()(verify)


def fields(shift: float) -> Fields:
    """285 K at 850 hPa and 1015 hPa at sea level, ``shift`` K and 100 * ``shift`` Pa off."""
    return Fields(
        GRID,
        TIME,
        np.array([85000.0]),
        {"t": np.full((1, *GRID.shape), 285 + shift)},
        {"msl": np.full(GRID.shape, 101500 + 100 * shift)},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Truth, a background 2 off, an analysis 0.5 off with its increments, stations that report the
    truth, a feedback."""
    write_fields(tmp_path / "truth.nc", fields(0))
    write_fields(tmp_path / "bg.nc", fields(2))
    background = read_background(tmp_path / "bg.nc")
    analysis = fields(0.5)
    increment = synthetic.with_vector(analysis, analysis.vector() - background.fields.vector())
    spread = synthetic.with_vector(analysis, np.full(analysis.vector().size, 0.5))
    write_analysis(tmp_path / "an.nc", background, analysis, increment, spread)
    rows = [f"S{i},2020-01-01T06:10:00Z,{-60 + 10 * i},{20 * i},t,85000,285,1" for i in range(12)]
    rows += [
        "S99,2020-01-01T06:00:00Z,0,0,t,85000,330,1",
        "S98,2020-01-01T18:00:00Z,0,0,t,85000,285,1",
    ]
    (tmp_path / "obs.csv").write_text(
        "\n".join(["station_id,time,latitude,longitude,variable,pressure,value,error", *rows])
        + "\n"
    )
    table = prepare(read_observations([tmp_path / "obs.csv"]).table, background.fields)
    found = Feedback.as_observed(
        table, *(np.full(len(table), x) for x in (287.0, 285.5, np.sqrt(3.0)))
    )
    write_feedback(tmp_path / "fb.nc", found, {})
    return tmp_path


def run(folder: Path, *arguments: str) -> Result:
    paths = [str(folder / a) if a.endswith((".nc", ".csv", ".png")) else a for a in arguments]
    return CliRunner().invoke(app, paths)


def refused(result: Result, kind: type[PhydaError]) -> PhydaError:
    assert isinstance(result.exception, kind), result.exception
    return result.exception


def test_against_truth(folder: Path) -> None:
    result = json.loads(run(folder, "an.nc", "--truth", "truth.nc", "--json").stdout)
    scores = {s["channel"]: s for s in result["fields"]}
    assert scores["t850"]["rmse"] == pytest.approx(0.5, abs=1e-4)
    assert scores["t850"]["background_rmse"] == pytest.approx(
        2.0, abs=1e-4
    )  # from the analysis's own increments
    assert scores["t850"]["spread_skill"] == pytest.approx(1.0, abs=1e-3)
    assert scores["msl"]["bias"] == pytest.approx(50.0, abs=0.05)
    assert result["mean_ratio"] == pytest.approx(0.25, abs=1e-3)


def test_an_explicit_background_wins(folder: Path) -> None:
    write_fields(folder / "worse.nc", fields(5))
    result = json.loads(
        run(folder, "an.nc", "--truth", "truth.nc", "--background", "worse.nc", "--json").stdout
    )
    assert result["mean_ratio"] == pytest.approx(0.1, abs=1e-3)


def test_a_forecast_without_increments_has_no_ratio(folder: Path) -> None:
    result = json.loads(run(folder, "bg.nc", "--truth", "truth.nc", "--json").stdout)
    assert result["mean_ratio"] is None
    assert {s["channel"]: s["rmse"] for s in result["fields"]}["t850"] == pytest.approx(2.0)


def test_against_stations(folder: Path) -> None:
    report = json.loads(run(folder, "an.nc", "--obs", "obs.csv", "--json").stdout)["stations"]
    (t,) = report["scores"]
    assert (t["n"], t["ombg_rms"], t["oman_rms"]) == pytest.approx((12, 2.0, 0.5), abs=1e-4)
    assert report["account"]["rejected"] == {
        "too far from the background": 1,
        "outside the time window": 1,
    }


def test_a_wider_window(folder: Path) -> None:
    report = json.loads(
        run(folder, "an.nc", "--obs", "obs.csv", "--window", "12", "--json").stdout
    )["stations"]
    assert report["scores"][0]["n"] == 13


def test_feedback(folder: Path) -> None:
    (t,) = json.loads(run(folder, "an.nc", "--feedback", "fb.nc", "--json").stdout)["feedback"][
        "used"
    ]
    # all but the late one, among them the gross error of 43 K
    assert t["n"] == 13
    assert t["chi2"] == pytest.approx((12 * 2.0**2 + 43.0**2) / 13 / 4)
    assert t["sigma_o"] == pytest.approx(np.sqrt((12 * 2.0 * 0.5 + 43.0 * 44.5) / 13))


def test_the_screen_holds_what_was_asked_for_in_40_lines_of_80_columns(folder: Path) -> None:
    result = run(folder, "an.nc", "--truth", "truth.nc", "--obs", "obs.csv", "--feedback", "fb.nc")
    assert result.exit_code == 0, result.exception
    lines = result.stdout.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    words = " ".join(result.stdout.split())
    assert "an.nc against truth.nc" in words
    assert "msl hPa 2 0.5 0.250" in words
    assert "12 of 14 observations compared" in words
    assert "fb.nc: 13 used" in words


def test_feedback_by_type_level_and_region_is_in_the_json(folder: Path) -> None:
    found = json.loads(run(folder, "an.nc", "--feedback", "fb.nc", "--json").stdout)["feedback"]
    assert sum(d["n"] for rows in found["by_region"].values() for d in rows) == 13


def test_observations_by_pattern(folder: Path) -> None:
    result = run(folder, "an.nc", "--obs", "ob*.csv", "--obs", "obs.csv")
    assert "12 of 14 observations compared" in result.stdout
    assert "given twice" in result.stderr


def test_picture(folder: Path) -> None:
    result = run(folder, "an.nc", "--plot", "a.png", "--field", "msl", "--feedback", "fb.nc")
    assert result.exit_code == 0
    assert (folder / "a.png").read_bytes()[:4] == b"\x89PNG"
    refused(run(folder, "an.nc", "--plot", "a.png"), OutputError)
    assert run(folder, "an.nc", "--plot", "a.png", "--overwrite").exit_code == 0


def test_picture_of_an_unknown_field_lists_the_known(folder: Path) -> None:
    error = refused(run(folder, "an.nc", "--plot", "a.png", "--field", "z500"), UsageError)
    assert error.hint == "there are t850, msl"
    assert not (folder / "a.png").exists()


def test_picture_needs_increments(folder: Path) -> None:
    error = refused(run(folder, "truth.nc", "--plot", "a.png"), InputError)
    assert "no increments" in error.message


def test_nothing_in_common_lists_both(folder: Path) -> None:
    other = replace(fields(0), upper={"u": np.zeros((1, *GRID.shape))}, surface={})
    write_fields(folder / "other.nc", other)
    error = refused(run(folder, "an.nc", "--truth", "other.nc"), InputError)
    assert "t850, msl" in error.message
    assert "u850" in error.message
    assert error.exit_code == EXIT_INPUT


@pytest.mark.parametrize(
    "arguments",
    [
        ("none.nc", "--truth", "truth.nc"),
        ("an.nc", "--truth", "none.nc"),
        ("an.nc", "--obs", "none.csv"),
        ("an.nc", "--feedback", "none.nc"),
        ("an.nc", "--truth", "truth.nc", "--background", "none.nc"),
    ],
)
def test_a_missing_file_is_named(folder: Path, arguments: tuple[str, ...]) -> None:
    error = refused(run(folder, *arguments), InputError)
    assert "none." in error.message
    assert error.exit_code == EXIT_INPUT


def test_a_truth_of_another_time_says_both_times(folder: Path) -> None:
    write_fields(folder / "late.nc", replace(fields(0), time=TIME + np.timedelta64(6, "h")))
    error = refused(run(folder, "an.nc", "--truth", "late.nc"), UsageError)
    assert "2020-01-01T06:00" in error.message
    assert "2020-01-01T12:00" in error.message


def test_an_analysis_is_no_feedback(folder: Path) -> None:
    assert (
        "no feedback file"
        in refused(run(folder, "an.nc", "--feedback", "an.nc"), InputError).message
    )


def test_a_feedback_in_the_wrong_place_is_told_its_option(folder: Path) -> None:
    error = refused(run(folder, "an.nc", "--truth", "fb.nc"), UsageError)
    assert "--feedback" in error.hint


def test_influence_and_independence_of_given_observations(folder: Path) -> None:
    options = ("an.nc", "--obs", "obs.csv", "--feedback", "fb.nc", "--by", "type", "--json")
    rows = json.loads(run(folder, *options).stdout)["rows"]
    own = {
        r["score"]: r["value"]
        for r in rows
        if (r["source"], r["variable"], r["level"], r["region"], r["group"], r["state"])
        == ("observations", "t", "", "all", "", "analysis")
    }
    assert {r["independence"] for r in rows if r["state"] == "analysis"} == {"used"}
    # feedback: 12 with O-A -0.5 and A-B -1.5, one gross error 44.5 and -1.5; given: the 12 again
    expected = 2 * 12 * 0.5 * 1.5 - 44.5 * 1.5
    assert own["degrees_of_freedom"] == pytest.approx(expected, rel=1e-3)
    assert {r["group"] for r in rows} == {"", "single level"}


def test_one_station_without_spread_and_nothing_withheld(folder: Path) -> None:
    lines = (folder / "obs.csv").read_text().splitlines()[:2]
    (folder / "one.csv").write_text("\n".join(lines) + "\n")
    table = prepare(read_observations([folder / "one.csv"]).table, fields(2))
    columns = (np.full(1, x) for x in (287.0, 285.5, np.nan))
    write_feedback(folder / "one.nc", Feedback.as_observed(table, *columns), {})
    options = ("an.nc", "--feedback", "one.nc", "--stations", "--overwrite")
    found = json.loads(run(folder, *options, "--json").stdout)
    assert found["headline"]["withheld_ratio"] is None
    assert found["headline"]["chi2"] is None
    assert {r["independence"] for r in found["rows"]} == {"used", "next_background"}
    page = folder / "one.html"
    result = CliRunner().invoke(
        app, [str(folder / "an.nc"), "--feedback", str(folder / "one.nc"), "--report", str(page)]
    )
    assert result.exit_code == 0, result.exception
    assert "nothing independent says how good" in page.read_text()


def test_nothing_to_do_is_a_usage_error(folder: Path) -> None:
    assert refused(run(folder, "an.nc"), UsageError).exit_code == EXIT_USAGE


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """Twelve analyses 0.5 off, those of another run 1 off, and the truth in one file each."""
    for i in range(12):
        time = TIME + np.timedelta64(6 * i, "h")
        rng = np.random.default_rng(i)
        noise = rng.normal(size=fields(0).vector().size) * 0.1
        for name, shift in (("tr", 0.0), ("an", 0.5), ("other", 1.0)):
            state = replace(fields(shift), time=time)
            if name != "tr":
                state = synthetic.with_vector(state, state.vector() + noise)
            write_fields(tmp_path / f"{name}{i:02d}.nc", state)
    return tmp_path


def test_many_analyses_by_hour_as_csv_and_netcdf(days: Path) -> None:
    result = run(
        days, "an*.nc", "--truth", "tr*.nc", "--by", "hour", "--csv", "s.csv", "--netcdf", "s.nc"
    )
    assert result.exit_code == 0, result.exception
    table = pd.read_csv(days / "s.csv", keep_default_na=False)
    rmse = table[(table["score"] == "rmse") & (table["variable"] == "t")]
    rmse = rmse[rmse["region"] == "all"].set_index("group")
    assert set(rmse.index) == {"", "00Z", "06Z", "12Z", "18Z"}
    assert rmse["n"].astype(int)[""] == 12 * GRID.size
    assert rmse["value"].astype(float)[""] == pytest.approx(0.51, abs=0.01)
    low, high = (float(rmse[k][""]) for k in ("low", "high"))
    assert low < rmse["value"].astype(float)[""] < high
    with netCDF4.Dataset(days / "s.nc") as data:
        assert data.schema == 2
        assert data.dimensions["row"].size == len(table)


def test_sums_of_halves_are_those_of_the_whole(days: Path) -> None:
    run(days, "an0[0-5].nc", "--truth", "tr*.nc", "--sums", "a.nc")
    rest = ("an0[6-9].nc", "an1*.nc", "--truth", "tr*.nc", "--from-sums", "a.nc", "--json")
    whole = json.loads(run(days, "an*.nc", "--truth", "tr*.nc", "--json").stdout)["rows"]
    halves = json.loads(run(days, *rest).stdout)["rows"]
    assert [r["score"] for r in halves] == [r["score"] for r in whole]
    np.testing.assert_allclose(
        [r["value"] for r in halves], [r["value"] for r in whole], rtol=1e-10, atol=1e-12
    )


def test_against_another_run(days: Path) -> None:
    result = run(
        days, "an*.nc", "--truth", "tr*.nc", "--against", "other*.nc", "--scorecard", "card.png"
    )
    assert result.exit_code == 0, result.exception
    assert (days / "card.png").read_bytes()[:4] == b"\x89PNG"
    assert "12 common times" in result.stdout
    found = json.loads(
        run(days, "an*.nc", "--truth", "tr*.nc", "--against", "other*.nc", "--json").stdout
    )
    assert {c["verdict"] for c in found["scorecard"]["cells"]} == {"better"}


def test_a_broken_limit_is_exit_5_after_everything_is_written(folder: Path) -> None:
    (folder / "limits.toml").write_text('"truth.t850.rmse" = "< 0.4"\n"truth.msl.rmse" = "< 60"\n')
    limits = str(folder / "limits.toml")
    result = run(folder, "an.nc", "--truth", "truth.nc", "--limits", limits, "--csv", "s.csv")
    error = refused(result, GateError)
    assert error.exit_code == EXIT_GATE
    assert "truth.t850.rmse < 0.4: found 0.5" in error.message
    assert "msl" not in error.message
    assert (folder / "s.csv").exists()


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


def test_repeated_times_and_none_in_common(days: Path) -> None:
    write_fields(days / "an99.nc", fields(0.5))
    error = refused(run(days, "an*.nc", "--truth", "tr*.nc"), InputError)
    assert "an99.nc are both valid at 2020-01-01T06:00Z" in error.message
    (days / "an99.nc").unlink()
    late = [replace(fields(0), time=TIME + np.timedelta64(1000 + i, "h")) for i in range(2)]
    for i, state in enumerate(late):
        write_fields(days / f"late{i}.nc", state)
    error = refused(run(days, "an*.nc", "--truth", "late*.nc"), InputError)
    assert "2020-01-01T06:00Z to 2020-01-04T00:00Z" in error.message
    assert "2020-02-11T22:00Z" in error.message


def test_the_report_is_one_safe_page_and_always_the_same(folder: Path) -> None:
    text = (folder / "obs.csv").read_text().replace("S1,", "<script>alert(1)</script>,")
    (folder / "obs.csv").write_text(text)
    table = prepare(read_observations([folder / "obs.csv"]).table, fields(2))
    columns = (np.full(len(table), x) for x in (287.0, 285.5, np.sqrt(3.0)))
    write_feedback(folder / "fb.nc", Feedback.as_observed(table, *columns), {}, overwrite=True)
    options = ("an.nc", "--truth", "truth.nc", "--feedback", "fb.nc", "--report")
    for name in ("a.html", "b.html"):
        result = CliRunner().invoke(
            app,
            [*(str(folder / o) if o.endswith(".nc") else o for o in options), str(folder / name)],
        )
        assert result.exit_code == 0, result.exception
    page = (folder / "a.html").read_text()
    assert (folder / "b.html").read_text() == page
    assert len(page) < 5 << 20
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert str(folder) not in page
    assert "2020-01-01 06:00 UTC" in page
    assert page.count("<img ") == page.count(' alt="')
    for outside in ("http:", "https:", 'src="/', "@import", "url("):
        assert outside not in page


def test_the_modules_of_the_commands_import_nothing_heavy() -> None:
    code = "import sys, phyda_cli.commands.verify, phyda_cli.commands.demo; print(*sys.modules)"
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert not loaded & {
        "torch",
        "xarray",
        "eccodes",
        "pandas",
        "numpy",
        "scipy",
        "matplotlib",
        "netCDF4",
    }


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
