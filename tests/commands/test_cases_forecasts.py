"""Forecasts as users have them, through ``phyda inspect`` and ``phyda assimilate``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import eccodes
import numpy as np
import pytest
import xarray as xr

from tests.formats.test_conventions import LEVELS, MSL, SINGLE, TIME, K, Q, T, U, Z, dataset
from tests.formats.test_grib import N_LAT, field, message, saved
from tests.formats.test_grib_kinds import mars, u

Run = Callable[..., Any]
MS, PA, M2 = {"units": "m s-1"}, {"units": "Pa"}, {"units": "m2 s-2"}
SCREEN = T[0] - 1


def written(data: xr.Dataset) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        data.to_netcdf(folder / "fc.nc", engine="netcdf4")
        return folder / "fc.nc"

    return write


def below_ground() -> xr.Dataset:
    masked = T.copy()
    masked[0, 3:5, 2:6] = np.nan
    return dataset(T=(masked, K), H=(Z / 9.80665, {"units": "m"}), QV=(Q, {"units": "kg kg-1"}))


def merra2() -> xr.Dataset:
    return dataset(
        T=(T, K),
        H=(Z / 9.80665, {"units": "m"}),
        QV=(Q, {"units": "kg kg-1"}),
        PHIS=(MSL * 0 + 2000, {"units": "m+2 s-2", "long_name": "surface geopotential height"}),
    )


def iris(upper: bool) -> xr.Dataset:
    standard = {"standard_name": "air_temperature", "units": "K"}
    data = dataset(air_temperature=(SCREEN, standard), x_wind=(U, {"standard_name": "x_wind"} | MS))
    if upper:
        data["air_temperature_0"] = (("time", "level", "lat", "lon"), T[None], standard)
    else:
        data["air_temperature_0"] = (SINGLE, SCREEN[None] - 3, standard)
    data["air_temperature"].attrs["coordinates"] = "height"
    return data.assign_coords(height=((), 1.5, {"units": "m", "standard_name": "height"}))


def second_axis() -> xr.Dataset:
    data = dataset("level", "millibar", air=(T, {"units": "degK"}))
    data["level_2"] = ("level_2", LEVELS[:3], {"units": "millibar", "positive": "down"})
    data["shum"] = (("time", "level_2", "lat", "lon"), Q[None, :3], {"units": "kg/kg"})
    return data


def expver() -> xr.Dataset:
    data = dataset("level", "millibars", t=(T, K), z=(Z, M2))
    earlier = data.assign_coords(time=data["time"] - np.timedelta64(6, "h"))
    both = xr.concat([earlier, data], "time")
    final, preliminary = both.where(both.time < TIME), both.where(both.time == TIME)
    return xr.concat([final, preliminary], "expver").assign_coords(expver=[1, 5])


def wrf() -> xr.Dataset:
    dims = ("Time", "bottom_top", "south_north", "west_east")
    lat, lon = np.meshgrid(np.linspace(40, 50, 6), np.linspace(0, 12, 7), indexing="ij")
    coords = {"XLAT": (dims[:1] + dims[2:], lat[None]), "XLONG": (dims[:1] + dims[2:], lon[None])}
    return xr.Dataset({"T": (dims, np.zeros((1, 4, 6, 7)), K)}, coords)


def wrong_n(folder: Path) -> Path:
    handle = eccodes.codes_grib_new_from_samples("regular_gg_pl_grib2")
    size = eccodes.codes_get(handle, "Ni") * eccodes.codes_get(handle, "Nj")
    eccodes.codes_set_values(handle, 280.0 + np.arange(size) % 7)
    eccodes.codes_set(handle, "N", eccodes.codes_get(handle, "N") + 16)
    content = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    return saved(folder, content)


def last_minus_one(folder: Path) -> Path:
    keys = {"shortName": "t", "typeOfLevel": "isobaricInhPa", "level": 500}
    east = {"longitudeOfFirstGridPoint": 0, "longitudeOfLastGridPoint": -30000}
    return saved(folder, message(field(-30), edition=1, **keys, **east))


def spread_first(folder: Path) -> Path:
    return saved(folder, u(3.0, **mars("es")), u(0.0, **mars("em")))


CASES: dict[str, tuple[Callable[[Path], Path], dict[str, str], int]] = {
    # name: (what writes it, what becomes of its fields, exit code of an analysis)
    "cdo_suffix": (
        written(dataset(t=(T, K), u=(U, MS), t_2=(T[0], K), t_3=(T[1], K), u_2=(U[0], MS))),
        {"t": "t", "u": "u"},
        0,
    ),
    "declared_celsius": (written(dataset(T=(T, {"units": "C"}))), {"T": "t"}, 3),
    "era5_expver": (written(expver()), {"t": "t", "z": "z"}, 0),
    "gaussian_wrong_n": (wrong_n, {}, 3),
    "graphcast_terrain": (
        written(dataset(temperature=(T, {}), geopotential_at_surface=(MSL * 0 + 3924, {}))),
        {"temperature": "t", "geopotential_at_surface": "orography"},
        0,
    ),
    "iris_names": (
        written(iris(upper=True)),
        {"air_temperature": "t2m", "air_temperature_0": "t", "x_wind": "u"},
        0,
    ),
    "longitude_order": (last_minus_one, {"t": "t"}, 0),
    "merra2": (written(merra2()), {"T": "t", "H": "z", "QV": "q", "PHIS": "orography"}, 0),
    "merra2 below the ground": (written(below_ground()), {"T": "t", "H": "z", "QV": "q"}, 0),
    "second_level_axis": (written(second_axis()), {"air": "t", "shum": "q"}, 0),
    "spread_first": (spread_first, {"u": "u"}, 0),
    "wrf_out": (written(wrf()), {}, 3),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_used_as_what(phyda: Run, tmp_path: Path, name: str) -> None:
    write, used, _ = CASES[name]
    outcome = phyda("inspect", write(tmp_path), "--json")
    if not used:
        assert (outcome.code, outcome.out) == (3, "")
        assert "Traceback" not in outcome.err
        return
    (report,) = json.loads(outcome.out)["files"]
    assert {f["name"]: f["used_as"] for f in report["fields"] if f["used_as"]} == used


@pytest.mark.parametrize("name", CASES)
def test_an_analysis(assimilate: Run, tmp_path: Path, name: str) -> None:
    write, _, code = CASES[name]
    background = write(tmp_path)
    time = "2020-02-29T00:00" if background.suffix == ".grib" else str(TIME)[:16]
    rows = "".join(
        f"s,{time}:00Z,10,{lon},{var},{p},{value}\n"
        for lon in (40, 100, 200)
        for var, p, value in (("t", 85000, 281), ("u", 85000, 5), ("t", 50000, 253))
    )
    head = "station_id,time,latitude,longitude,variable,pressure,value\n"
    (tmp_path / "obs.csv").write_text(head + rows)
    outcome = assimilate("--dry-run", "--json", background=background, obs=tmp_path / "obs.csv")
    assert outcome.code == code, outcome.err
    if code == 0:
        assert json.loads(outcome.out)["observations"]["used"] > 0
    else:
        assert outcome.out == ""


def test_the_values_are_those_of_the_file(phyda: Run, tmp_path: Path) -> None:
    """The mean, not the spread before it; increasing longitudes."""
    from phyda_cli.formats.background import read_background

    found = read_background(spread_first(tmp_path)).fields.upper["u"][0]
    np.testing.assert_allclose(found, field() - 280, atol=1e-3)
    assert np.all(np.diff(read_background(last_minus_one(tmp_path)).source["longitude"]) > 0)
    assert found.shape[0] == N_LAT


def test_the_process_ends_well_where_pyproj_comes_later(tmp_path: Path) -> None:
    """exit_after_pyproj: a forecast in GRIB read beside a second libproj."""
    import subprocess
    import sys

    pytest.importorskip("pyproj")
    words = ["inspect", str(last_minus_one(tmp_path))]
    code = f"import sys; sys.argv[1:] = {words}; from phyda_cli.app import main\n"
    code += "try:\n    main()\nfinally:\n    import pyproj; pyproj.CRS(4326)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
