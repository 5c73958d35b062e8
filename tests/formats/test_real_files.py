"""The real GRIB and NetCDF files: what they hold, and the way there and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from phyda_cli.errors import InputError, UsageError
from phyda_cli.fields.grid import Grid
from phyda_cli.fields.remap import increments_to_fields, present, to_grid
from phyda_cli.formats.background import Background, read_background
from phyda_cli.formats.humidity import relative_humidity
from phyda_cli.formats.write import write_analysis
from phyda_cli.names import Channel

pytestmark = pytest.mark.real_data

MODEL = Grid(np.linspace(-87.1875, 87.1875, 32), np.arange(64) * 5.625)
CHANNELS = [Channel(v, p) for v in "ztquv" for p in (50, 100, 200, 300, 500, 700, 850, 925)] + [
    Channel(v) for v in ("msl", "t2m", "u10", "v10")
]


@pytest.fixture(scope="module")
def gfs(shared_data: Path) -> Background:
    return read_background(shared_data / "forecasts" / "gfs_2p5deg_20110110T12_f120.grib2")


def test_gfs_forecast(gfs: Background) -> None:
    fields = gfs.fields
    assert fields.time == np.datetime64("2011-01-15T12")
    assert fields.lead_hours == 120
    assert fields.grid.shape == (73, 144)
    assert fields.grid.latitude[0] == 90
    assert fields.levels.size == 26
    assert {"z", "t", "u", "v", "w", "q"} == set(fields.upper)
    assert {"msl", "sp", "t2m", "u10", "v10", "q2m", "orography", "lsm"} <= set(fields.surface)
    assert 5e4 < np.median(fields.upper["z"][fields.levels == 5e4]) < 5.8e4
    exists = present(fields)
    assert exists["t"].all()
    assert exists["q"].sum() == 25
    assert exists["w"].sum() == 21
    r = gfs.source["r"].values[0]
    again = relative_humidity(fields.upper["q"], fields.upper["t"], fields.levels[:, None, None])
    np.testing.assert_allclose(again[:10], r[:10], rtol=1e-9)
    assert not np.array_equal(gfs.source["t_surface"].values[0], fields.surface["t2m"])


def test_gfs_to_the_model_and_back_to_all_26_levels(gfs: Background, tmp_path: Path) -> None:
    state, available = to_grid(gfs.fields, CHANNELS, MODEL)
    assert available.all()
    assert np.isfinite(state).all()
    increment = (
        np.random.default_rng(0).normal(size=state.shape)
        * state.std(axis=(1, 2), keepdims=True)
        * 0.01
    )
    found = increments_to_fields(increment, CHANNELS, MODEL, gfs.fields)
    assert all(v.shape == (26, 73, 144) and np.isfinite(v).all() for v in found.upper.values())
    analysis = replace(
        gfs.fields,
        upper={n: v + found.upper.get(n, 0.0) for n, v in gfs.fields.upper.items()},
        surface={n: v + found.surface.get(n, 0.0) for n, v in gfs.fields.surface.items()},
    )
    write_analysis(tmp_path / "an.nc", gfs, analysis, found)
    again = read_background(tmp_path / "an.nc")
    assert again.fields.time == gfs.fields.time
    assert again.fields.lead_hours == 0
    for name, values in analysis.upper.items():
        np.testing.assert_allclose(
            again.fields.upper[name],
            values,
            rtol=1e-5,
            atol=1e-5 * np.nanmax(np.abs(values)),
            err_msg=name,
        )
    with xr.open_dataset(tmp_path / "an.nc", engine="netcdf4") as new:
        assert new["gh"].attrs["units"] == "m"  # UDUNITS does not know GRIB's gpm
        assert "gh_increment" in new
        assert "r_increment" in new
        assert "q" not in new
        np.testing.assert_array_equal(new["absv"].values, gfs.source["absv"].values)
        assert set(gfs.source.data_vars) <= set(new.data_vars)


def test_ecmwf_several_base_times_and_steps(shared_data: Path) -> None:
    path = shared_data / "forecasts" / "ecmwf_10deg_pl.grib"
    with pytest.raises(UsageError, match=r"2024-06-03T06:00.*2024-06-04T18:00"):
        read_background(path)
    background = read_background(path, near=np.datetime64("2024-06-04T07:00"))
    assert background.fields.time == np.datetime64("2024-06-04T06")
    assert background.fields.lead_hours == 6
    assert read_background(path, time=np.datetime64("2024-06-04T00")).fields.lead_hours == 0
    assert (background.fields.levels / 100).tolist() == [1000, 850, 700, 500, 400, 300]


def test_era5_ensemble(shared_data: Path) -> None:
    path, time = (
        shared_data / "forecasts" / "era5_ensemble_10members_2levels.grib",
        np.datetime64("2017-01-02T12"),
    )
    with pytest.raises(UsageError, match="ensemble of 10 members"):
        read_background(path, time=time)
    one, two = (read_background(path, time=time, member=m).fields for m in (0, 7))
    assert one.grid.shape == (61, 120)
    assert sorted(one.upper) == ["t", "z"]
    difference = np.abs(one.upper["t"] - two.upper["t"])
    assert 0 < difference.max() < 10


@pytest.mark.parametrize("cut", [100, 200_000, 3_000_000])
def test_truncated_grib(shared_data: Path, tmp_path: Path, cut: int) -> None:
    whole = (shared_data / "forecasts" / "gfs_2p5deg_20110110T12_f120.grib2").read_bytes()
    (tmp_path / "cut.grib2").write_bytes(whole[:cut])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_background(tmp_path / "cut.grib2")


def test_regional_case(shared_data: Path, tmp_path: Path) -> None:
    background = read_background(shared_data / "cases" / "2008-12-08T12" / "background.nc")
    fields = background.fields
    assert fields.time == np.datetime64("2008-12-08T12")
    assert fields.grid.shape == (21, 24)
    assert not fields.grid.periodic
    assert fields.levels.tolist() == [5e4, 8.5e4]
    assert list(fields.surface) == ["msl"]
    assert {n: v.tolist() for n, v in present(fields).items()} == {
        "z": [True, False],
        "t": [False, True],
    }
    channels = [Channel("z", 500), Channel("t", 850), Channel("msl")]
    state, available = to_grid(fields, channels, fields.grid)
    assert available.all()
    assert np.isfinite(state).all()
    found = increments_to_fields(np.ones_like(state), channels, fields.grid, fields)
    analysis = replace(
        fields,
        upper={n: v + found.upper[n] for n, v in fields.upper.items()},
        surface={"msl": fields.surface["msl"] + found.surface["msl"]},
    )
    write_analysis(tmp_path / "an.nc", background, analysis, found)
    with xr.open_dataset(tmp_path / "an.nc", engine="netcdf4") as new:
        np.testing.assert_allclose(new["z500"].values[0], state[0] + 1, rtol=1e-6)
        np.testing.assert_allclose(new["t850"].values[0], state[1] + 1, rtol=1e-6)
        assert (new["msl_increment"] == 1).all()
        assert new["z500"].dims == ("time", "latitude", "longitude")


def test_ncep_reanalysis(shared_data: Path) -> None:
    fields = read_background(
        shared_data / "train" / "ncep_r1_iberia_daily_1961_2005.nc",
        time=np.datetime64("1990-01-01"),
    ).fields
    assert (fields.levels / 100).tolist() == [1000, 850, 500]
    assert sorted(fields.upper) == ["q", "t", "z"]
    assert sorted(fields.surface) == ["msl", "t2m"]
    assert fields.grid.shape == (6, 9)
