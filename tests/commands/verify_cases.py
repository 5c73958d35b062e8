"""Small files to verify: an analysis with its truth, background, stations and feedback, or twelve
of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import synthetic
import typer
from typer.testing import CliRunner, Result

from phyda_cli.commands.verify import verify
from phyda_cli.errors import PhydaError
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


def one_analysis(tmp_path: Path) -> Path:
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


_NAMES = (".nc", ".csv", ".png", ".toml", ".html", ".grib")


def run(folder: Path, *arguments: str) -> Result:
    paths = [str(folder / a) if a.endswith(_NAMES) else a for a in arguments]
    return CliRunner().invoke(app, paths)


def refused(result: Result, kind: type[PhydaError]) -> PhydaError:
    assert isinstance(result.exception, kind), result.exception
    return result.exception


def twelve_analyses(tmp_path: Path) -> Path:
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
