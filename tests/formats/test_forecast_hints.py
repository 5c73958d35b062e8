"""What a message about a forecast tells the user to do works when it is done as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from phyda_cli.commands.arguments import parse_renames, parse_time
from phyda_cli.errors import PhydaError
from phyda_cli.formats.background import read_background
from phyda_cli.formats.checks import check_range
from phyda_cli.formats.ensemble import read_ensemble
from phyda_cli.formats.inputs import find_inputs

from .test_conventions import MSL, TIME, K, Read, T, Z, dataset, read, used

__all__ = ["read"]  # a fixture
PA = {"units": "Pa"}


def hint(path: Path | list[Path], pattern: str, **options: object) -> str:
    """The part of the hint that ``pattern`` shows when ``path`` is read."""
    reader: Any = read_ensemble if isinstance(path, list) else read_background
    with pytest.raises(PhydaError) as caught:
        reader(path, **options)
    found = re.search(pattern, str(caught.value.hint))
    assert found is not None, caught.value.hint
    return found[1]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fc.nc"


def test_renames_in_hints(file: Path) -> None:
    data = dataset(warmth=(T, K), msl=(MSL, PA))
    data.drop_vars("msl").to_netcdf(file, engine="netcdf4")
    pair = hint(file, r"--rename (NAME=t)").replace("NAME", "warmth")
    assert used(read_background(file, rename=parse_renames([pair]))) == {"warmth": "t"}
    odd = dataset(t=(T, K), msl=(MSL, PA)).rename(lat="rows", lon="columns")
    odd.to_netcdf(file, engine="netcdf4")
    pairs = [hint(file, r"--rename (NAME=latitude)").replace("NAME", "rows")]
    rest = hint(file, r"--rename (NAME=longitude)", rename=parse_renames(pairs))
    pairs.append(rest.replace("NAME", "columns"))
    assert len(used(read_background(file, rename=parse_renames(pairs)))) == 2


@pytest.mark.parametrize("fault", ["a unit of nothing", "impossible values"])
def test_a_variable_left_out(file: Path, fault: str) -> None:
    data = dataset(t=(T, K), msl=(MSL, PA))
    if fault == "a unit of nothing":
        data["t"].attrs["units"] = "furlong"
    else:
        data["t"] = data["t"] * np.linspace(-3, 3, 9)[:, None] ** 3
    data.to_netcdf(file, engine="netcdf4")
    pair = hint(file, r"--rename (\S+=ignore)")
    assert used(read_background(file, rename=parse_renames([pair]))) == {"msl": "msl"}


def test_units_attributes(read: Read, file: Path) -> None:
    data = dataset(t=(T, {"units": "C"}), z=(Z, {"units": "m"}), msl=(MSL / 100, PA))
    right = {"t": "K", "z": "m2 s-2", "msl": "hPa"}
    data.to_netcdf(file, engine="netcdf4")
    for _ in right:
        name = hint(file, r"correct the units attribute of (\w+)")
        data[name].attrs["units"] = right[name]
        data.to_netcdf(file, engine="netcdf4")
    np.testing.assert_allclose(read(data).fields.surface["msl"], MSL, rtol=1e-6)
    with pytest.raises(PhydaError) as caught:
        check_range("msl", MSL.ravel() / 100, "", file, "msl", None)
    assert caught.value.hint == "correct the units attribute of msl"
    check_range("msl", MSL.ravel(), "", file, "msl", None)


def test_times_in_hints(file: Path) -> None:
    data = dataset(t=(T, K))
    data.isel(time=0, drop=True).to_netcdf(file, engine="netcdf4")
    time = hint(file, r"--valid-time ([\dT:-]+)")
    found = read_background(file, time=parse_time(time, "--valid-time"))
    assert found.fields.time == np.datetime64(time)
    later = data.assign_coords(time=data["time"] + np.timedelta64(6, "h"))
    xr.concat([data, later], "time").to_netcdf(file, engine="netcdf4")
    assert hint(file, "(--time)") == hint(file, "(--time)", time=TIME + np.timedelta64(1, "h"))
    assert read_background(file, time=TIME).fields.time == TIME


def test_calendars_in_hints(file: Path) -> None:
    data = dataset(t=(T, K)).drop_vars("time")
    units = {"units": "days since 2024-01-01"}
    data["time"] = ("time", [59.0], units | {"calendar": "360_day"})  # 30 February
    data.to_netcdf(file, engine="netcdf4")
    hint(file, "(convert)")
    data["time"].attrs["calendar"] = "standard"
    data.to_netcdf(file, engine="netcdf4")
    assert read_background(file).fields.time == np.datetime64("2024-02-29")


def test_members_in_hints(file: Path, tmp_path: Path) -> None:
    data = dataset(t=(T, K))
    both = xr.concat([data, data + 1], "number").assign_coords(number=[3, 7])
    both.to_netcdf(file, engine="netcdf4")
    hint(file, "(--member)")
    assert used(read_background(file, member=7)) == {"t": "t"}
    for i in range(2):
        data.to_netcdf(tmp_path / f"{i}.nc", engine="netcdf4")
    hint([tmp_path / "0.nc"], "(--ensemble)")
    assert len(read_ensemble([tmp_path / "0.nc", tmp_path / "1.nc"])[1]) == 2


def test_levels_in_hints(file: Path) -> None:
    data = dataset(t=(T[::-1], K))
    data.to_netcdf(file, engine="netcdf4")
    hint(file, "(are the levels in the order)")
    data.assign_coords(level=data["level"].values[::-1]).assign(
        level=("level", data["level"].values[::-1], {"units": "hPa"})
    ).to_netcdf(file, engine="netcdf4")
    assert used(read_background(file)) == {"t": "t"}


def test_copies_that_are_whole(tmp_path: Path) -> None:
    data = dataset(t=(T, K))
    data.to_zarr(tmp_path / "fc.zarr")
    described = tmp_path / "fc.zarr" / "zarr.json"
    whole = described.read_bytes()
    described.write_bytes(whole[: len(whole) // 2])
    hint(tmp_path / "fc.zarr", "(copy complete)")
    described.write_bytes(whole)
    assert used(read_background(tmp_path / "fc.zarr")) == {"t": "t"}
    (tmp_path / "empty.nc").touch()
    hint(tmp_path / "empty.nc", "(interrupted)")


def test_folders_in_hints(tmp_path: Path) -> None:
    with pytest.raises(PhydaError) as caught:
        find_inputs([tmp_path / "nowhere"])
    assert "folders" in str(caught.value.hint)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(PhydaError) as caught:
        find_inputs([folder])
    endings = re.findall(r"\.\w+", str(caught.value.hint))
    for ending in endings:
        (folder / f"a{ending}").touch()
    assert len(find_inputs([folder])) == len(endings) > 3


def test_grids_in_hints(file: Path) -> None:
    data = dataset(t=(T, K))
    points = data.stack(points=("lat", "lon")).reset_index("points")
    points.to_netcdf(file, engine="netcdf4")
    assert used(read_background(file)) == {"t": "t"}  # rows, as those of a reduced grid
    order = np.random.default_rng(0).permutation(points.sizes["points"])
    points.isel(points=order).to_netcdf(file, engine="netcdf4")
    hint(file, "(rectilinear latitude-longitude)")
    points.set_index(points=("lat", "lon")).unstack("points").to_netcdf(file, engine="netcdf4")
    assert used(read_background(file)) == {"t": "t"}


def test_a_layer_below_the_ground_is_no_model_level(file: Path) -> None:
    layers = xr.DataArray([0.1, 0.4], dims="depthBelowLandLayer", attrs={"units": "m"})
    data = dataset(msl=(MSL, PA))
    data["soil"] = data["msl"].expand_dims(depthBelowLandLayer=layers)
    data["soil"] = data["soil"] * 0 + 280
    data["soil"].attrs = {"standard_name": "air_temperature", "units": "K"}
    data.to_netcdf(file, engine="netcdf4")
    told = " ".join(read_background(file).notes)
    assert "depthBelowLandLayer is a depth" in told
