"""What ``phyda verify`` writes for other programs: WFRT/verif's layout, and errors that
``--config`` takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
from verify_cases import TIME, refused, run

from phyda_cli.errors import InputError
from phyda_cli.observations.errors import assign_errors
from phyda_cli.observations.feedback import Feedback, write_feedback
from phyda_cli.observations.table import QC, make
from phyda_cli.settings.analysis import QualityControlSettings


def write_rows(path: Path, before: np.ndarray, after: np.ndarray, qc: int, **rows: Any) -> None:
    """A feedback of rows (N,) with these O-B and O-A."""
    size = before.size
    base = {
        "station_id": [f"S{i}" for i in range(size)],
        "time": TIME,
        "latitude": np.linspace(-60, 60, size),
        "longitude": np.arange(size) % 360 * 1.0,
        "elevation": 100.0,
        "variable": "t2m",
        "value": 280 + before,
        "error": 1.0,
        "qc": qc,
    }
    table = make(**(base | rows))
    value = table["value"].to_numpy()
    own = Feedback.as_observed(table, value - before, value - after, np.ones(size))
    write_feedback(path, own, {}, overwrite=True)


def test_withheld_stations_in_the_layout_of_verif(tmp_path: Path) -> None:
    for i in range(3):
        when = TIME + np.timedelta64(6 * i, "h")
        before, after = np.full(4, 2.0 + i), np.full(4, 0.5 + i)
        names = ["B", "A", "C", "D"][: 4 - (i == 2)]
        write_rows(
            tmp_path / f"fb{i}.nc", before[: len(names)], after[: len(names)], QC.PASSIVE,
            time=when, station_id=names,
        )  # fmt: skip
    result = run(tmp_path, "--feedback", "fb*.nc", "--verif", "o.nc", "--field", "t2m")
    assert result.exit_code == 0, result.exception
    with netCDF4.Dataset(tmp_path / "o.nc") as data:
        assert data.verif_version == "verif_1.0.0"
        assert (data.standard_name, data.units) == ("t2m", "K")
        assert data["obs"].dimensions == ("time", "leadtime", "location")
        assert data["fcst"].shape == (3, 1, 4)
        assert data["leadtime"][:].tolist() == [0.0]
        np.testing.assert_array_equal(np.diff(data["time"][:]), [21600, 21600])
        assert data["time"][0] == TIME.astype("datetime64[s]").astype(int)
        np.testing.assert_allclose(data["altitude"][:], 100.0)
        error = np.ma.filled(data["obs"][:] - data["fcst"][:], np.nan)[:, 0]
        np.testing.assert_allclose(error[0], 0.5, atol=1e-4)
        # stations are in the order of their names: the last time has no D
        np.testing.assert_array_equal(np.isnan(error[2]), [False, False, False, True])


def test_verif_without_withheld_stations_says_how_to_have_some(tmp_path: Path) -> None:
    write_rows(tmp_path / "fb.nc", np.ones(30), np.zeros(30), QC.PASS)
    error = refused(run(tmp_path, "--feedback", "fb.nc", "--verif", "o.nc"), InputError)
    assert "--withhold" in error.hint


def test_suggested_errors_are_a_configuration(phyda: Callable[..., Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pressure = np.repeat([70000.0, 30000.0], 400)
    sigma_o = np.where(pressure > 5e4, 0.8, 1.6)
    before = rng.normal(size=800) * np.hypot(sigma_o, 1.0)
    after = before * sigma_o**2 / (sigma_o**2 + 1)
    write_rows(tmp_path / "a.nc", before, after, QC.PASS, variable="t", pressure=pressure)
    ground = rng.normal(size=500)
    write_rows(
        tmp_path / "b.nc", 5 * ground, 5 * ground, QC.PASS, time=TIME + np.timedelta64(6, "h")
    )
    options = ("--feedback", "a.nc", "--feedback", "b.nc", "--suggest", "errors.toml")
    result = run(tmp_path, *options)
    assert result.exit_code == 0, result.exception
    shown = phyda("config", "show", "assimilate", "--json", "--config", tmp_path / "errors.toml")
    assert shown.code == 0, shown.err
    (row,) = (r for r in json.loads(shown.out)["settings"] if r["name"] == "qc.errors")
    assert row["value"]["t2m"] == 2.0  # at most doubled
    qc = QualityControlSettings(errors=row["value"])
    table = make(
        station_id="A", time=TIME, latitude=0, longitude=0, variable="t",
        pressure=[90000.0, 67500.0, 37500.0, 20000.0], value=280.0,
    )  # fmt: skip
    found = assign_errors(table, errors=qc.errors)["error"].to_numpy()
    np.testing.assert_allclose(found, [0.8, 0.8, 1.6, 1.6], rtol=0.08)


def test_too_few_observations_suggest_nothing(tmp_path: Path) -> None:
    write_rows(tmp_path / "fb.nc", np.ones(50), np.full(50, 0.5), QC.PASS)
    run(tmp_path, "--feedback", "fb.nc", "--suggest", "errors.toml")
    assert "t2m =" not in (tmp_path / "errors.toml").read_text()
    assert "# t2m: 50 observations" in (tmp_path / "errors.toml").read_text()
