"""Simulated reports are those of the analysis's own operators, with errors of a known kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import kstest

from phyda_cli.analysis.analyse import pose
from phyda_cli.errors import NoObservationsError, UsageError
from phyda_cli.fields.grid import Fields
from phyda_cli.formats.background import read_background
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.observations.pre_qc import prepare
from phyda_cli.observations.table import QC, make
from phyda_cli.settings.analysis import AnalysisSettings, QualityControlSettings
from phyda_cli.simulation.network_file import ObservingNetwork
from phyda_cli.simulation.simulated_reports import (
    simulate_files,
    simulate_reports,
    standard_errors,
)

CONTROLS = QualityControlSettings()
LEVELS = (30000.0, 45000.0, 60000.0, 85000.0)


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return Checkpoint.open(tiny_checkpoint)


@pytest.fixture(scope="module")
def fields(case: Path) -> Fields:
    return read_background(case / "fc.nc").fields


def network(stations: int = 12, **columns: object) -> ObservingNetwork:
    """Soundings of all kinds anywhere; ``columns`` replace those of the table."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(stations):
        place = {
            "station_id": f"S{i}",
            "latitude": float(rng.uniform(-80, 80)),
            "longitude": float(rng.uniform(0, 360)),
            "elevation": float(rng.uniform(0, 300)),
        }
        rows += [
            place | {"variable": v, "pressure": p, "pressure_top": np.nan, "height": np.nan}
            for v in ("t", "u", "v", "q", "z")
            for p in LEVELS
        ]
        rows.append(rows[-1] | {"variable": "wind_speed", "pressure": 70000.0})
        surface = {"pressure": np.nan, "pressure_top": np.nan, "height": np.nan}
        rows += [place | {"variable": v} | surface for v in ("msl", "sp", "tcwv")]
        rows.append(place | {"variable": "t"} | surface | {"height": 3000.0})
        layer = {"pressure": 85000.0, "pressure_top": 50000.0, "height": np.nan}
        rows.append(place | {"variable": "thickness"} | layer)
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]} | columns
    return ObservingNetwork(
        Path("network.csv"), make(**table, time=np.datetime64("NaT", "ns"), value=0.0)
    )


def test_exact_reports_have_no_departure(fields: Fields, checkpoint: Checkpoint) -> None:
    found = simulate_reports(fields, network(), checkpoint, CONTROLS, None)
    settings = AnalysisSettings(method="oi")
    problem = pose(fields, prepare(found.table, fields), checkpoint, settings)
    table = problem.departures.table
    assert set(table["variable"]) == set(network().rows["variable"])
    passed = (table["qc"] == QC.PASS).to_numpy()
    assert passed.mean() > 0.9
    size = np.abs(table["value"].to_numpy())
    assert np.all(np.abs(problem.departures.innovation)[passed] <= 1e-12 * size[passed])


def test_the_ground_is_that_of_the_fields(fields: Fields, checkpoint: Checkpoint) -> None:
    """Not the checkpoint's, where the fields bring their own."""
    shape = fields.grid.shape
    own = {"t2m": np.full(shape, 280.0), "orography": np.full(shape, 1200.0)}
    high = replace(fields, surface=dict(fields.surface) | own)
    rows = network(5).rows[lambda t: t["variable"] == "msl"].reset_index(drop=True)
    stations = rows.assign(variable="t2m", elevation=1200.0)
    found = simulate_reports(
        high, ObservingNetwork(Path("n.csv"), stations), checkpoint, CONTROLS, None
    )
    np.testing.assert_allclose(found.table["value"], np.full(5, 280.0), atol=1e-6)
    assert found.left_out.empty


def test_nothing_is_lost(fields: Fields, checkpoint: Checkpoint) -> None:
    asked = network()
    found = simulate_reports(fields, asked, checkpoint, CONTROLS, 3)
    assert len(found.table) + len(found.left_out) == len(asked.rows)
    account = found.account()
    assert account["in"] == account["simulated"] + sum(account["reasons"].values())
    assert sum(g["observations"] for g in account["left_out"]) == len(found.left_out)


def test_errors_are_normal_with_the_stated_deviation(
    fields: Fields, checkpoint: Checkpoint
) -> None:
    asked = network(400)
    asked.rows["error"] = np.where(asked.rows["variable"] == "t", 0.7, np.nan)
    exact, noisy = (simulate_reports(fields, asked, checkpoint, CONTROLS, s) for s in (None, 5))
    pd.testing.assert_series_equal(exact.table["error"], noisy.table["error"])
    assert set(noisy.table.loc[noisy.table["variable"] == "t", "error"]) == {0.7}
    dry = ~noisy.table["variable"].isin(["q", "wind_speed"]).to_numpy()  # cut at zero
    drawn = ((noisy.table["value"] - exact.table["value"]) / exact.table["error"])[dry].to_numpy()
    assert drawn.size > 5000
    assert kstest(drawn, "norm").pvalue > 1e-3
    assert abs(drawn.mean()) < 4 / drawn.size**0.5
    assert abs(drawn.std() - 1) < 4 / (2 * drawn.size) ** 0.5
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 4 / drawn.size**0.5


def test_the_error_without_a_stated_one_is_that_of_the_analysis(
    fields: Fields, checkpoint: Checkpoint
) -> None:
    found = simulate_reports(fields, network(), checkpoint, CONTROLS, None)
    without = prepare(found.table.assign(error=np.nan), fields)
    np.testing.assert_array_equal(found.table["error"], without["error"])


def test_no_humidity_is_below_zero(fields: Fields, checkpoint: Checkpoint) -> None:
    asked = network()
    asked.rows["error"] = np.where(asked.rows["variable"] == "q", 0.01, np.nan)
    found = simulate_reports(fields, asked, checkpoint, CONTROLS, 1)
    value = found.table["value"]
    assert value[found.table["variable"] == "q"].min() == 0.0
    assert found.clipped == (value == 0).sum()


def test_draws_belong_to_stations(fields: Fields, checkpoint: Checkpoint) -> None:
    one, again, other = (
        simulate_reports(fields, network(n), checkpoint, CONTROLS, s).table
        for n, s in ((12, 4), (20, 4), (12, 5))
    )
    pd.testing.assert_frame_equal(one, again.iloc[: len(one)])  # more stations, the same errors
    assert not np.isclose(one["value"], other["value"], rtol=1e-9).all()


def test_draws_differ_from_time_to_time() -> None:
    rows = network(3).rows
    first, second = (
        standard_errors(rows.assign(time=np.datetime64(t, "ns")), 0)
        for t in ("2011-01-20T00", "2011-01-21T00")
    )
    assert not np.isclose(first, second).any()


def test_what_cannot_be_observed_is_left_out_with_a_reason(
    fields: Fields, checkpoint: Checkpoint
) -> None:
    rows = [
        ("t", 50000.0, np.nan, ""),
        ("t2m", np.nan, 0.0, "no such variable in the fields"),
        ("t", 100.0, np.nan, "beyond the levels of the fields"),
        ("sp", np.nan, np.nan, "the elevation of the station is unknown"),
        ("sp", np.nan, 8000.0, QC.DIFF_REF.meaning),
    ]
    variable, pressure, elevation, reason = zip(*rows, strict=True)
    asked = make(
        station_id=np.array([f"S{i}" for i in range(len(rows))]),
        time=np.datetime64("NaT", "ns"),
        latitude=10.0,
        longitude=20.0,
        value=0.0,
        variable=np.array(variable),
        pressure=np.array(pressure),
        elevation=np.array(elevation),
    )
    found = simulate_reports(
        fields, ObservingNetwork(Path("n.csv"), asked), checkpoint, CONTROLS, None
    )
    assert found.table["station_id"].tolist() == ["S0"]
    assert dict(zip(found.left_out["station_id"], found.left_out["reason"], strict=True)) == {
        f"S{i}": r for i, r in enumerate(reason) if r
    }


def test_a_network_elsewhere_observes_nothing(
    case: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    area = xr.open_dataset(case / "fc.nc").sel(latitude=slice(60, 30), longitude=slice(0, 45))
    area.to_netcdf(tmp_path / "area.nc")
    fields = read_background(tmp_path / "area.nc").fields
    far = network(3, latitude=-50.0)
    with pytest.raises(NoObservationsError, match="outside the area"):
        simulate_reports(fields, far, checkpoint, CONTROLS, None)


def test_every_time_of_the_files_or_the_chosen_ones(nature: Path, checkpoint: Checkpoint) -> None:
    files, few = [nature / "analysis_0.nc"], network(1)
    times = [np.datetime64("2010-12-01T06", "ns"), np.datetime64("2010-12-02T00", "ns")]
    found = simulate_files(files, few, checkpoint, CONTROLS, 0, times)
    assert sorted(set(found.table["time"].to_numpy())) == times
    with pytest.raises(UsageError, match="2020"):
        simulate_files(files, few, checkpoint, CONTROLS, 0, [np.datetime64("2020-01-01", "ns")])


def test_a_file_without_a_time_is_valid_at_the_only_one(
    case: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    xr.open_dataset(case / "fc.nc").isel(time=0, drop=True).to_netcdf(tmp_path / "bare.nc")
    time = np.datetime64("2020-05-01T12", "ns")
    found = simulate_files([tmp_path / "bare.nc"], network(1), checkpoint, CONTROLS, 0, [time])
    assert set(found.table["time"].to_numpy()) == {time}


def test_a_member_is_observed(case: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    one = xr.open_dataset(case / "fc.nc")
    warm = one.assign(t=one["t"] + 5)
    xr.concat([one, warm], "number").assign_coords(number=[0, 1]).to_netcdf(tmp_path / "ens.nc")
    values = [
        simulate_files([tmp_path / "ens.nc"], network(2), checkpoint, CONTROLS, None, (), member)
        .table.query("variable == 't'")["value"]
        .to_numpy()
        for member in (0, 1)
    ]
    np.testing.assert_allclose(values[1] - values[0], 5, atol=1e-3)
