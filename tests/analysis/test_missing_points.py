"""Points that a forecast lacks: no model equivalent there, no harm next to them, and the same gaps
in the output."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
import xarray as xr

from phyda_cli.fields.remap import to_grid
from phyda_cli.formats.background import Background, read_background
from phyda_cli.formats.ensemble import member_labels
from phyda_cli.formats.write import write_analysis
from phyda_cli.names import Channel
from phyda_cli.observations.operators import build_operator
from phyda_cli.observations.table import QC, make

GAP = (slice(4, 8), slice(6, 12))  # rows 30 N to 15 S, columns 90 E to 165 E


@pytest.fixture
def background(case: Path, tmp_path: Path) -> Background:
    """The small case with t, z and u missing at 925 hPa in GAP, as below ground."""
    with xr.open_dataset(case / "fc.nc", engine="netcdf4") as data:
        data = data.load()
    lowest = int(np.argmax(data["level"].values))
    for name in ("t", "z", "u"):
        data[name].values[(0, lowest, *GAP)] = np.nan
    data.to_netcdf(tmp_path / "fc.nc", engine="netcdf4")
    return read_background(tmp_path / "fc.nc")


def rows(background: Background, latitude: float, longitude: float) -> pd.DataFrame:
    """t at 925 and 850 hPa, and at 900 m above sea level, at one point."""
    return make(
        station_id=["a", "b", "c"],
        time=[background.fields.time] * 3,
        latitude=[latitude] * 3,
        longitude=[longitude] * 3,
        variable=["t"] * 3,
        pressure=[92500.0, 85000.0, np.nan],
        height=[np.nan, np.nan, 2500.0],
        value=[280.0] * 3,
    )


@pytest.mark.parametrize(
    ("latitude", "longitude", "codes"),
    [
        (15.0, 120.0, [QC.H_FAILED, 0, 0]),  # within the gap
        (15.0, 80.0, [QC.H_FAILED, 0, 0]),  # needs one point of it
        (15.0, 75.0, [0, 0, 0]),  # on the last point beside it
        (-40.0, 200.0, [0, 0, 0]),
    ],
)
def test_what_needs_a_missing_point_has_no_model_equivalent(
    background: Background, latitude: float, longitude: float, codes: list[int]
) -> None:
    operator = build_operator(background.fields, rows(background, latitude, longitude), None)
    assert operator.qc.tolist() == codes
    found = operator.apply(np.nan_to_num(background.fields.vector()))
    usable = np.array(codes) == 0
    assert np.all((found[usable] > 240) & (found[usable] < 320))
    assert np.isnan(found[~usable]).all()


def test_the_model_grid_takes_the_points_that_are_there(case: Path, background: Background) -> None:
    channels = [Channel("t", 925), Channel("t", 850)]
    whole, _ = to_grid(read_background(case / "fc.nc").fields, channels, synthetic.GRID)
    found, available = to_grid(background.fields, channels, synthetic.GRID)
    assert available.all()
    gap = np.isnan(found[0])
    assert 0 < gap.sum() < gap.size / 4
    np.testing.assert_array_equal(found[1], whole[1])
    change = np.abs(found[0] - whole[0])[~gap]
    assert np.count_nonzero(change) < gap.size / 4
    assert change.max() < 10


def test_the_output_has_the_same_gaps(background: Background, tmp_path: Path) -> None:
    fields = background.fields
    increment = replace(fields, upper={"t": np.ones_like(fields.upper["t"])}, surface={})
    analysis = replace(fields, upper={**fields.upper, "t": fields.upper["t"] + 1})
    write_analysis(tmp_path / "an.nc", background, analysis, increment, members=[analysis] * 2)
    with (
        xr.open_dataset(tmp_path / "fc.nc", engine="netcdf4") as old,
        xr.open_dataset(tmp_path / "an.nc", engine="netcdf4") as new,
    ):
        gaps = np.isnan(old["t"].values)
        for name in ("t", "t_increment"):
            np.testing.assert_array_equal(np.isnan(new[name].values), gaps)
        np.testing.assert_array_equal(np.isnan(new["t_members"].values[1]), gaps)
        np.testing.assert_allclose((new["t"] - old["t"]).values[~gaps], 1, atol=1e-4)
        np.testing.assert_array_equal(np.isnan(new["z"].values), np.isnan(old["z"].values))


def test_values_that_are_left_out_stay_as_they_are(case: Path, tmp_path: Path) -> None:
    with xr.open_dataset(case / "fc.nc", engine="netcdf4") as data:
        data = data.load()
    data["t"].values[(0, 0, *GAP)] = -9999.0
    data.to_netcdf(tmp_path / "fc.nc", engine="netcdf4")
    background = read_background(tmp_path / "fc.nc")
    fields = background.fields
    increment = replace(fields, upper={"t": np.ones_like(fields.upper["t"])}, surface={})
    analysis = replace(fields, upper={**fields.upper, "t": fields.upper["t"] + 1})
    write_analysis(tmp_path / "an.nc", background, analysis, increment)
    with xr.open_dataset(tmp_path / "an.nc", engine="netcdf4") as new:
        assert np.all(new["t"].values[(0, 0, *GAP)] == -9999.0)
        assert np.all(new["t_increment"].values[(0, 0, *GAP)] == 0)
        assert np.all(new["t_increment"].values[0, 1] == 1)


@pytest.mark.parametrize("store", [False, True])
def test_a_forecast_without_a_time_is_valid_when_the_user_says(
    case: Path, tmp_path: Path, store: bool
) -> None:
    path = tmp_path / ("fc.zarr" if store else "timeless.nc")
    with xr.open_dataset(case / "fc.nc", engine="netcdf4") as data:
        data = data.load().drop_encoding().isel(time=0, drop=True)
    if store:
        data.to_zarr(path)
    else:
        data.to_netcdf(path, engine="netcdf4")
    told = np.datetime64("2011-01-20T12")
    assert member_labels(path, {}, told) == []
    assert read_background(path, assume=told).fields.time == told
