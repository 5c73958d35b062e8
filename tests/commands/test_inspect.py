"""``phyda inspect``: what is in a forecast and what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from phyda_cli.formats.write import write_fields
from tests.formats.samples import atmosphere


@pytest.fixture
def forecast(tmp_path: Path) -> Path:
    write_fields(tmp_path / "good.nc", atmosphere())
    with xr.open_dataset(tmp_path / "good.nc", engine="netcdf4") as data:
        data = data.load()
    skin = data["t2m"].copy(data=data["t2m"].values + 1)
    skin.attrs = {"units": "K"}
    data["t_2"] = skin
    data["soil_moisture_of_the_uppermost_layer_with_a_long_name"] = skin
    data.to_netcdf(tmp_path / "fc.nc", engine="netcdf4")
    return tmp_path / "fc.nc"


def test_json_says_all(phyda: Callable[..., Any], forecast: Path) -> None:
    found = phyda("inspect", forecast, "--json")
    assert found.code == 0
    (report,) = json.loads(found.out)["files"]
    fields = {f["name"]: f for f in report["fields"]}
    assert fields["t"]["used_as"] == "t"
    assert fields["t"]["levels_hpa"] == [1000, 850, 500, 200]
    assert fields["t_2"]["used_as"] is None
    assert fields["t_2"]["looks_like"] == "t"
    assert fields["t_2"]["reason"]
    assert "t_2=" in fields["t_2"]["hint"]
    assert report["grid"]["rows"] == 9
    assert report["times"] == [{"valid": "2020-02-29T06:00", "lead_hours": 0}]
    assert "t500" in report["for_the_model"]["available"]
    assert {"t50", "u10"} <= set(report["for_the_model"]["missing"])
    assert report["problem"] == ""


def test_tables_fit_in_80_columns_and_nothing_is_cut(
    phyda: Callable[..., Any], forecast: Path
) -> None:
    found = phyda("inspect", forecast)
    assert found.code == 0
    assert max(map(len, found.out.splitlines())) <= 80
    assert "t_2" in found.out
    assert "1000 850 500 200" in found.out
    assert "…" not in found.out


def test_rename_and_problems(phyda: Callable[..., Any], forecast: Path) -> None:
    told = phyda("inspect", forecast, "--json", "--rename", "t_2=ignore")
    fields = {f["name"]: f for f in json.loads(told.out)["files"][0]["fields"]}
    assert fields["t_2"]["looks_like"] is None
    with xr.open_dataset(forecast, engine="netcdf4") as data:
        data = data.load()
    data["t"].attrs["units"] = "C"
    data["u"].attrs["units"] = "furlong"
    data.to_netcdf(forecast.with_name("bad.nc"), engine="netcdf4")
    bad = phyda("inspect", forecast.with_name("bad.nc"), "--json")
    assert bad.code == 0
    (report,) = json.loads(bad.out)["files"]
    assert report["problem"]
    assert next(f for f in report["fields"] if f["name"] == "u")["reason"]


def test_stores_and_several_files(
    phyda: Callable[..., Any], forecast: Path, tmp_path: Path
) -> None:
    with xr.open_dataset(forecast, engine="netcdf4") as data:
        data.load().drop_encoding().to_zarr(tmp_path / "fc.zarr")
    found = phyda("inspect", forecast, tmp_path / "fc.zarr", "--json")
    reports = json.loads(found.out)["files"]
    assert [r["format"] for r in reports] == ["NetCDF", "Zarr"]
    assert reports[0]["for_the_model"] == reports[1]["for_the_model"]
    assert phyda("inspect", tmp_path / "nothing.nc").code == 3
    assert np.isfinite(reports[0]["grid"]["latitude"]).all()
