"""Commands on the grids of regional models."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import eccodes
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from formats.grids import GRIDS, grib

import phyda_cli
from phyda_cli.errors import EXIT_INPUT
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.fields.mesh import Mesh
from phyda_cli.formats.background import read_background
from phyda_cli.formats.write import write_analysis, write_fields

Run = Callable[..., Any]
TIME = np.datetime64("2020-01-01T06", "ns")


def lambert(shift: float = 0.0) -> Fields:
    """A mesh of 9 x 11 points 100 km apart with a flow from the west, t ``shift`` K off."""
    y, x = np.meshgrid(np.arange(9.0), np.arange(11.0), indexing="ij")
    mesh = Mesh(40 + 0.9 * y - 0.02 * (x - 5) ** 2, 250 + 1.2 * x + 0.02 * (x - 5) * y)
    shape = (1, *mesh.shape)
    upper = {"t": np.full(shape, 285 + shift), "u": np.full(shape, 10.0), "v": np.zeros(shape)}
    return Fields(mesh, TIME, np.array([85000.0]), upper, {})


def globe() -> Fields:
    """The same flow and 285 K everywhere."""
    grid = Grid(np.linspace(-90, 90, 37), np.arange(0, 360, 5.0))
    shape = (1, *grid.shape)
    upper = {"t": np.full(shape, 285.0), "u": np.full(shape, 10.0), "v": np.zeros(shape)}
    return Fields(grid, TIME, np.array([85000.0]), upper, {})


def saved(path: Path, fields: Fields) -> None:
    if not isinstance(fields.grid, Mesh):
        return write_fields(path, fields)
    names = {"t": ("air_temperature", "K")}
    names |= {"u": ("eastward_wind", "m s-1"), "v": ("northward_wind", "m s-1")}
    variables = {
        name: (
            ("time", "level", "y", "x"),
            fields.upper[name][None],
            {"standard_name": standard, "units": units, "coordinates": "lat lon"},
        )
        for name, (standard, units) in names.items()
    }
    coords = {
        "time": [TIME],
        "level": ("level", [850.0], {"units": "hPa", "positive": "down"}),
        "lat": (("y", "x"), fields.grid.latitude, {"units": "degrees_north"}),
        "lon": (("y", "x"), fields.grid.longitude, {"units": "degrees_east"}),
    }
    return xr.Dataset(variables, coords).to_netcdf(path)


@pytest.mark.parametrize("truth", [lambert(), globe()])
def test_verify(phyda: Run, tmp_path: Path, truth: Fields) -> None:
    """Against a truth on the same mesh, and on the globe: 0.5 K off, winds without an error."""
    saved(tmp_path / "truth.nc", truth)
    saved(tmp_path / "bg.nc", lambert(2.0))
    background = read_background(tmp_path / "bg.nc")
    analysis = lambert(0.5)
    both = analysis.upper, background.fields.upper
    increment = replace(analysis, upper={n: both[0][n] - both[1][n] for n in analysis.upper})
    write_analysis(tmp_path / "an.nc", background, analysis, increment)
    extra = [] if isinstance(truth.grid, Mesh) else ["--regrid"]
    names = [tmp_path / n for n in ("an.nc", "truth.nc", "bg.nc")]
    outcome = phyda(
        "verify", names[0], "--truth", names[1], "--background", names[2], "--json", *extra
    )
    assert outcome.code == 0, outcome.err
    if extra:  # not without a word
        refused = phyda("verify", names[0], "--truth", names[1])
        assert refused.code == EXIT_INPUT
    scores = {s["channel"]: s for s in json.loads(outcome.out)["fields"]}
    assert scores["t850"]["rmse"] == pytest.approx(0.5, abs=1e-4)
    assert scores["t850"]["background_rmse"] == pytest.approx(2.0, abs=1e-4)
    for wind in ("u850", "v850"):
        assert scores[wind]["rmse"] == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize(
    "name",
    [
        "lambert",
        "polar stereographic over the pole",
        "polar stereographic over the date line",
        "rotated",
        "reduced",
    ],
)
def test_pictures_and_report(phyda: Run, tmp_path: Path, name: str) -> None:
    """Of an analysis of one observation: it comes back from its file, and every page is drawn."""
    forecast = grib(tmp_path / "fc.grib2", GRIDS[name])
    fields = read_background(forecast).fields
    place = [a.ravel()[a.size // 2] for a in fields.grid.mesh]
    warm = fields.upper["t"][fields.levels.argmax()].ravel()[fields.grid.size // 2] + 1
    (tmp_path / "one.csv").write_text(
        "station_id,time,latitude,longitude,variable,pressure,value,error\n"
        f"A,2020-06-15T12:00:00Z,{place[0]},{place[1]},t,85000,{warm},1\n"
    )
    an, feedback = tmp_path / "an.nc", tmp_path / "fb.nc"
    made = phyda(
        *("assimilate", "--obs", tmp_path / "one.csv", "--background", forecast, "--out", an),
        *("--feedback", feedback, "--method", "oi"),
    )
    assert made.code == 0, made.err
    report, picture, single = (tmp_path / n for n in ("r.html", "t.png", "one.png"))
    for command in (
        ("verify", an, "--feedback", feedback, "--single-observation", "--report", report),
        ("plot", "increment", an, "--field", "t850", "--feedback", feedback, "--out", picture),
        ("plot", "single", an, "--feedback", feedback, "--out", single),
    ):
        outcome = phyda(*command)
        assert outcome.code == 0, outcome.err
    assert all(path.stat().st_size > 10_000 for path in (report, picture, single))


def test_points_go_to_the_height_of_the_station(phyda: Run, tmp_path: Path) -> None:
    """6.5 K per kilometre between two stations in one place; pressure follows the height too."""
    folder = Path(phyda_cli.__file__).parent / "demo"
    places = tmp_path / "places.csv"
    places.write_text("station_id,latitude,longitude,elevation\nlow,47,8,300\nhigh,47,8,800\n")
    outcome = phyda(
        *("assimilate", "--obs", folder / "stations.csv", "--background", folder / "background.nc"),
        *("--out", tmp_path / "an.nc", "--method", "oi", "--points", places),
    )
    assert outcome.code == 0, outcome.err
    found = pd.read_csv(tmp_path / "an_points.csv").set_index(["station_id", "variable"])
    for kind in ("background", "analysis"):
        warmth = found.loc[("low", "t2m"), kind] - found.loc[("high", "t2m"), kind]
        assert warmth == pytest.approx(0.0065 * 500, abs=1e-3)
        assert found.loc[("low", "msl"), kind] == found.loc[("high", "msl"), kind]


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["an.grib2", "an.nc"])
def test_nam(phyda: Run, shared_data: Path, tmp_path: Path, name: str) -> None:
    """Observations of the forecast's own values have no departure; its analysis is the forecast,
    with all its messages."""
    path = shared_data / "forecasts" / "nam_lambert_20180917T00_an.grib2"
    fields = read_background(path).fields
    lat, lon = fields.grid.mesh
    rng = np.random.default_rng(0)
    row, column = rng.integers(0, lat.shape[0], 40), rng.integers(0, lat.shape[1], 40)
    level = int(np.argmin(np.abs(fields.levels - 50000)))
    parts = [
        pd.DataFrame(
            {
                "station_id": [f"S{k}" for k in range(40)],
                "time": f"{fields.time}Z",
                "latitude": lat[row, column],
                "longitude": (lon[row, column] + 180) % 360 - 180,
                "variable": variable,
                "pressure": 50000.0,
                "value": fields.upper[variable][level, row, column],
                "error": 1.0,
            }
        )
        for variable in ("t", "u", "v")
    ]
    pd.concat(parts).to_csv(tmp_path / "obs.csv", index=False)
    outcome = phyda(
        *("assimilate", "--obs", tmp_path / "obs.csv", "--background", path, "--method", "oi"),
        *("--out", tmp_path / name, "--feedback", tmp_path / "fb.csv"),
    )
    assert outcome.code == 0, outcome.err
    feedback = pd.read_csv(tmp_path / "fb.csv", comment="#")
    first = next(c for c in feedback.columns if "hofx0" in c or c == "hofx")
    value = next(c for c in feedback.columns if c in ("value", "ObsValue"))
    assert len(feedback) == 120
    assert (feedback[first] - feedback[value]).abs().max() < 1e-3
    again = read_background(tmp_path / name).fields
    for variable in ("t", "u", "v"):
        np.testing.assert_allclose(again.upper[variable], fields.upper[variable], atol=0.02)
    if name.endswith("grib2"):
        assert _messages(tmp_path / name) == _messages(path)
        if shutil.which("cdo"):
            subprocess.run(["cdo", "-s", "sinfon", tmp_path / name], check=True, timeout=60)
    else:
        with xr.open_dataset(tmp_path / name) as data:
            mapping = data[data["t"].attrs["grid_mapping"]]
            assert mapping.attrs["grid_mapping_name"] == "lambert_conformal_conic"


def _messages(path: Path) -> int:
    with open(path, "rb") as file:
        return int(eccodes.codes_count_in_file(file))
