"""Outputs against an independent checker of the CF conventions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from phyda_cli.formats.background import read_background
from phyda_cli.formats.write import write_analysis, write_fields
from phyda_cli.observations.feedback import Feedback, write_feedback
from phyda_cli.observations.table import make

from .samples import atmosphere
from .test_grib import field, message, saved, t
from .test_write import apply

runner = pytest.importorskip("compliance_checker.runner")


def errors(path: Path) -> list[str]:
    """What the checker finds wrong."""
    runner.CheckSuite.load_all_available_checkers()
    suite = runner.CheckSuite()
    results = suite.run_all(suite.load_dataset(str(path)), ["cf:1.11"], [])
    found, _ = results["cf:1.11"]
    wrong = [r for r in found if r.weight == 3 and r.value[0] != r.value[1]]
    return [message for r in wrong for message in _messages(r)]


def _messages(result: object) -> list[str]:
    own = list(getattr(result, "msgs", None) or [])
    return own + [m for child in getattr(result, "children", []) for m in _messages(child)]


def analysed(source: Path, folder: Path) -> Path:
    background = read_background(source)
    analysis, increment, spread = apply(background)
    kept = {n: v for n, v in increment.surface.items() if n in background.fields.surface}
    increment = increment.__class__(
        increment.grid, increment.time, increment.levels, increment.upper, kept
    )
    write_analysis(folder / "an.nc", background, analysis, increment, spread)
    return folder / "an.nc"


def test_cf_netcdf(tmp_path: Path) -> None:
    write_fields(tmp_path / "fc.nc", atmosphere())
    assert errors(analysed(tmp_path / "fc.nc", tmp_path)) == []


def test_bare_netcdf(tmp_path: Path) -> None:
    """Without an attribute but the units of time and pressure."""
    write_fields(tmp_path / "cf.nc", atmosphere())
    bare = xr.load_dataset(tmp_path / "cf.nc", engine="netcdf4", decode_times=False)
    bare.attrs = {}
    for name in bare.variables:
        kept = ("units", "calendar") if name in ("time", "plev") else ()
        bare[name].attrs = {k: v for k, v in bare[name].attrs.items() if k in kept}
    bare.to_netcdf(tmp_path / "fc.nc", engine="netcdf4")
    out = analysed(tmp_path / "fc.nc", tmp_path)
    assert errors(out) == []
    with xr.open_dataset(out, engine="netcdf4") as found:
        assert found["t"].attrs["units"] == found["t_increment"].attrs["units"] == "K"
        assert found["latitude"].attrs["axis"] == "Y"
        assert found["plev"].attrs["positive"] == "down"


def test_grib_with_units_of_its_own(tmp_path: Path) -> None:
    height = message(10 * field(), shortName="gh", typeOfLevel="isobaricInhPa", level=700)
    rain = message(field(), shortName="crain", typeOfLevel="surface", level=0)
    assert errors(analysed(saved(tmp_path, t(500), t(700), height, rain), tmp_path)) == []


def test_feedback(tmp_path: Path) -> None:
    table = make(
        station_id=["A", "Zürich"],
        time=np.datetime64("2020-01-01T06", "ns"),
        latitude=[10.0, 47.4],
        longitude=[20.0, 8.5],
        elevation=[5.0, np.nan],
        variable=["t2m", "t"],
        pressure=[np.nan, 50000.0],
        value=[285.0, 260.0],
        error=1.0,
    )
    found = Feedback.as_observed(table, *(np.full(2, x) for x in (284.0, 284.5, 1.0)))
    write_feedback(tmp_path / "fb.nc", found, {"phyda_status": "ok"})
    assert errors(tmp_path / "fb.nc") == []


@pytest.mark.real_data
def test_gfs(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "forecasts" / "gfs_2p5deg_20110110T12_f120.grib2"
    assert errors(analysed(source, tmp_path)) == []
