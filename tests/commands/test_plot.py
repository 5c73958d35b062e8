"""``phyda plot``: each kind draws a picture, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from phyda_cli.commands.plot import plot
from phyda_cli.errors import InputError, UsageError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.formats.background import read_background
from phyda_cli.formats.write import write_analysis, write_fields
from phyda_cli.observations.feedback import Feedback, write_feedback
from phyda_cli.observations.table import make
from phyda_cli.verification.sections import great_circle

GRID = Grid(np.linspace(-80, 80, 17), np.arange(24) * 15.0)
app = typer.Typer()
app.command()(plot)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An analysis of temperature on three levels with increments, without spread."""
    path = tmp_path_factory.mktemp("plot")
    time = np.datetime64("2020-01-01T06", "ns")
    levels = np.array([30000.0, 50000.0, 85000.0])
    t = np.array([230.0, 255.0, 280.0])[:, None, None] * np.ones((3, *GRID.shape))
    background = Fields(GRID, time, levels, {"t": t}, {})
    write_fields(path / "bg.nc", background)
    change = 2 * np.exp(-((GRID.mesh[0] / 20) ** 2)) * np.ones((3, *GRID.shape))
    analysis = replace(background, upper={"t": t + change})
    increment = replace(background, upper={"t": change})
    write_analysis(path / "an.nc", read_background(path / "bg.nc"), analysis, increment, None)
    table = make(
        station_id="A", time=time, latitude=0, longitude=30, variable="t", pressure=50000.0,
        value=258.0, error=1.0, file="a.csv", row=1,
    )  # fmt: skip
    one = Feedback.as_observed(table, *(np.array([x]) for x in (255.0, 257.0, 1.5)))
    write_feedback(path / "fb.nc", one, {})
    return path


def run(folder: Path, kind: str, *arguments: str) -> Result:
    out = folder / f"{kind}.png"
    paths = [str(folder / a) if a.endswith(".nc") else a for a in arguments]
    return CliRunner().invoke(
        app, [kind, str(folder / "an.nc"), "--out", str(out), "--overwrite", *paths]
    )


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("field", ("--field", "t", "--level", "500")),
        ("increment", ("--field", "t850", "--area", "-10", "30", "30", "60")),
        ("section", ("--line", "-40", "10", "40", "60")),
        ("section", ()),
        ("single", ("--feedback", "fb.nc")),
    ],
)
def test_draws(folder: Path, kind: str, arguments: tuple[str, ...]) -> None:
    result = run(folder, kind, *arguments)
    assert result.exit_code == 0, result.exception
    assert (folder / f"{kind}.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("kind", "arguments", "error"),
    [
        ("spread", (), InputError),
        ("field", ("--level", "500"), UsageError),
        ("field", ("--field", "z500"), UsageError),
        ("section", ("--field", "q"), UsageError),
        ("section", ("--line", "10", "10", "10", "10"), InputError),
        ("station", (), UsageError),
        ("single", (), UsageError),
    ],
)
def test_refuses(
    folder: Path, kind: str, arguments: tuple[str, ...], error: type[Exception]
) -> None:
    assert isinstance(run(folder, kind, *arguments).exception, error)


def test_the_shortest_way_along_a_meridian_and_over_the_pole() -> None:
    latitude, longitude, distance = great_circle((0.0, 20.0, 60.0, 20.0), 7)
    np.testing.assert_allclose(latitude, np.arange(0, 61, 10), atol=1e-9)
    np.testing.assert_allclose(longitude, 20.0)
    np.testing.assert_allclose(distance[-1], np.pi / 3 * 6371, rtol=1e-6)
    assert great_circle((60.0, 0.0, 60.0, 180.0), 3)[0][1] == pytest.approx(90)


def test_a_station_over_time(tmp_path: Path) -> None:
    for i in range(8):
        when = np.datetime64("2020-01-01T00", "ns") + np.timedelta64(12 * i, "h")
        table = make(
            station_id="A", time=when, latitude=0, longitude=30, elevation=5.0, variable="t2m",
            value=280.0 + i, error=1.0, qc=19 if i == 3 else 0,
        )  # fmt: skip
        one = Feedback.as_observed(table, *(np.array([x]) for x in (280.0, 280.5, 1.5)))
        write_feedback(tmp_path / f"fb{i}.nc", one, {})
    options = ["--station", "A", "--out", str(tmp_path / "a.png")]
    result = CliRunner().invoke(app, ["station", str(tmp_path / "fb*.nc"), *options])
    assert result.exit_code == 0, result.exception
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
