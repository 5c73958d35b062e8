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
from typer.testing import CliRunner
from verify_cases import GRID, TIME, app, fields, one_analysis, refused, run, twelve_analyses

from phyda_cli.errors import (
    EXIT_GATE,
    EXIT_INPUT,
    EXIT_USAGE,
    GateError,
    InputError,
    OutputError,
    UsageError,
)
from phyda_cli.formats.write import write_fields
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


def test_nothing_to_do_is_a_usage_error(folder: Path) -> None:
    assert refused(run(folder, "an.nc"), UsageError).exit_code == EXIT_USAGE


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


def test_series_have_control_limits(days: Path) -> None:
    for i in range(11):
        when = TIME + np.timedelta64(6 * i, "h")
        state = replace(fields(2), time=when)
        write_fields(days / f"bg{i:02d}.nc", state)
    options = ("--background", "bg*.nc", "--json")
    found = json.loads(run(days, "an*.nc", "--truth", "tr*.nc", *options).stdout)
    series = [m["increment"] for m in found["history"] if m["increment"] is not None]
    assert len(series) == 11
    limits = found["control_limits"]["increment"]
    assert limits["median"] == pytest.approx(np.median(series))
    assert limits["low"] < limits["median"] < limits["high"]


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
