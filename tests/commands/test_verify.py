"""``phyda verify`` on small files: what it prints, what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic
import typer
from typer.testing import CliRunner, Result

from phyda_cli.commands.verify import verify
from phyda_cli.errors import EXIT_INPUT, EXIT_USAGE, InputError, OutputError, PhydaError, UsageError
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


def test_nothing_to_do_is_a_usage_error(folder: Path) -> None:
    assert refused(run(folder, "an.nc"), UsageError).exit_code == EXIT_USAGE


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
