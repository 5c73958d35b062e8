"""What ``phyda assimilate`` writes: areas, levels, stations, Zarr and GRIB."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

Run = Callable[..., Any]


def test_an_area_and_some_levels(assimilate: Run, tmp_path: Path) -> None:
    assert assimilate(out=tmp_path / "all.nc").code == 0
    outcome = assimilate("--area", "60,-40,-20,35", "--levels", "500")
    assert outcome.code == 0, outcome.err
    with xr.open_dataset(tmp_path / "all.nc") as whole, xr.open_dataset(tmp_path / "an.nc") as part:
        lat, lon = part["latitude"].values, part["longitude"].values
        assert lat.min() >= -20
        assert lat.max() <= 60
        assert np.all(np.diff(lon) > 0)
        assert lon[0] >= -40
        assert lon[-1] <= 35
        level = next(d for d in part["t"].dims if d in ("level", "plev"))
        assert part.sizes[level] == 1
        same = whole["t_increment"].sel(latitude=lat, longitude=lon % 360)
        same = same.sel({level: part[level].values})
        np.testing.assert_array_equal(part["t_increment"].values, same.values)
    assert assimilate("--levels", "333", out=tmp_path / "no.nc").code == 2
    assert assimilate("--area", "-20,0,60,5", out=tmp_path / "no.nc").code == 2


def test_what_hints_about_outputs_say_works(assimilate: Run, tmp_path: Path) -> None:
    refused = assimilate("--levels", "333")
    listed = re.search(r"it has ([\d, ]+\d)", refused.err)
    assert listed is not None, refused.err
    assert assimilate("--levels", listed[1].replace(" ", "")).code == 0
    refused = assimilate("--area", "-20,0,60,5", out=tmp_path / "area.nc")
    assert "north,west,south,east" in refused.err
    assert assimilate("--area", "60,0,-20,30", out=tmp_path / "area.nc").code == 0
    refused = assimilate("--format", "zarr", out=tmp_path / "store")
    ending = re.search(r"end in (\.\w+)", refused.err)
    assert ending is not None, refused.err
    assert assimilate("--format", "zarr", out=tmp_path / f"store{ending[1]}").code == 0


def test_stations_get_the_analysis(assimilate: Run, tmp_path: Path) -> None:
    """As H has it: the departures of the feedback are those of the table."""
    places = tmp_path / "places.csv"
    places.write_text("id,lat,lon,elev\nA,10.0,20.0,5\nB,-33.5,359.5,\n")
    outcome = assimilate("--points", places)
    assert outcome.code == 0, outcome.err
    found = pd.read_csv(tmp_path / "an_points.csv").set_index(["station_id", "variable"])
    with xr.open_dataset(tmp_path / "an.nc") as data:
        for station, lat, lon in (("A", 10.0, 20.0), ("B", -33.5, -0.5)):
            row = found.loc[(station, "msl")]
            assert row["longitude"] == pytest.approx(lon)
            field = data["msl"].isel(time=0)
            wrapped = field.pad(longitude=(1, 1), mode="wrap")
            edges = field["longitude"].values
            wrapped["longitude"] = np.concatenate([[edges[-1] - 360], edges, [edges[0] + 360]])
            here = wrapped.interp(latitude=lat, longitude=lon).item()
            assert row["analysis"] == pytest.approx(here, abs=0.05)
            assert row["spread"] > 0


def test_zarr(assimilate: Run, tmp_path: Path) -> None:
    assert assimilate().code == 0
    assert assimilate(out=tmp_path / "an.zarr").code == 0
    with (
        xr.open_dataset(tmp_path / "an.nc") as netcdf,
        xr.open_dataset(tmp_path / "an.zarr", engine="zarr", consolidated=False) as store,
    ):
        assert set(store.variables) == set(netcdf.variables)
        for name in ("t", "t_increment", "msl_spread"):
            np.testing.assert_array_equal(store[name].values, netcdf[name].values)
    assert "up to date" in assimilate(out=tmp_path / "an.zarr").err
    again = assimilate(background=tmp_path / "an.zarr", out=tmp_path / "next.nc")
    assert again.code == 0, again.err


@pytest.mark.real_data
def test_grib_in_and_out(phyda: Run, shared_data: Path, tmp_path: Path) -> None:
    """Only what is analysed differs, and every tool that is here opens it."""
    source = shared_data / "forecasts" / "gfs_2p5deg_20110110T12_f120.grib2"
    stations = tmp_path / "stations.csv"
    rows = [f"S{i},2011-01-15T12:00:00Z,{lat},{10 * i},285.0" for i, lat in enumerate((10, 40, 55))]
    stations.write_text("\n".join(["station_id,time,latitude,longitude,t2m_K", *rows]) + "\n")
    common = ("assimilate", "--obs", stations, "--background", source, "--method", "oi")
    page = ("--feedback", tmp_path / "fb.nc", "--report", tmp_path / "an.html")
    for out, extra in (("an.nc", ()), ("an.bin", ("--format", "grib", *page))):
        outcome = phyda(*common, "--out", tmp_path / out, *extra)
        assert outcome.code == 0, outcome.err
    shown = (tmp_path / "an.html").read_text()
    assert "no verdict in the file" not in shown
    assert "The file has no increments." not in shown
    out = tmp_path / "an.bin"
    if shutil.which("cdo"):
        listed = [
            subprocess.run(["cdo", "-s", "infon", f], capture_output=True, text=True, check=True)
            for f in (source, out)
        ]
        assert len(listed[0].stdout.splitlines()) == len(listed[1].stdout.splitlines())
    if shutil.which("grib_compare"):
        keys = "shortName,typeOfLevel,level,dataDate,dataTime,stepRange,gridType,md5GridSection"
        subprocess.run(["grib_compare", "-c", f"{keys},packingType", source, out], check=True)
    cfgrib = xr.open_dataset(  # one variable: levels that do not change are of the analysis too
        out,
        engine="cfgrib",
        backend_kwargs={
            "filter_by_keys": {"typeOfLevel": "isobaricInhPa", "shortName": "t"},
            "indexpath": "",
        },
    )
    with xr.open_dataset(tmp_path / "an.nc") as netcdf:
        level = netcdf["t"].dims[1]
        ours = netcdf["t"].isel(time=0).sel({level: cfgrib["isobaricInhPa"].values})
        np.testing.assert_allclose(cfgrib["t"].values, ours.values, atol=0.1)
