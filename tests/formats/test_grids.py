"""Lambert, polar stereographic, rotated and reduced grids and WRF's, from file to file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import pytest
import xarray as xr

from phyda_cli.fields.reduced import Reduced
from phyda_cli.formats.background import Background, read_background
from phyda_cli.formats.contents import describe_forecast
from phyda_cli.formats.write import write_analysis
from phyda_cli.observations.operators import build_operator
from phyda_cli.observations.table import make

from .grids import GRIDS, LEVELS, grib, wrf
from .test_compliance import errors
from .test_write import apply

EARTH = pyproj.CRS("+proj=longlat +R=6371229")
NAMES = [*GRIDS, "wrf"]


def forecast(folder: Path, name: str) -> Background:
    path = wrf(folder / "fc.nc") if name == "wrf" else grib(folder / "fc.grib2", GRIDS[name])
    return read_background(path)


def analysed(background: Background, path: Path) -> Path:
    analysis, increment, spread = apply(background)
    increment, spread = (replace(f, surface={}) for f in (increment, spread))
    write_analysis(path, background, analysis, increment, spread)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_observations_of_the_background_have_no_departure(tmp_path: Path, name: str) -> None:
    fields = forecast(tmp_path, name).fields
    (lat, lon), rng = (a.ravel() for a in fields.grid.mesh), np.random.default_rng(0)
    chosen = np.unique(np.concatenate([rng.integers(0, lat.size, 40), [lat.argmax()]]))
    level = int(np.argmin(abs(fields.levels - 100 * LEVELS[1])))
    for variable in ("t", "u", "v"):
        table = make(
            latitude=lat[chosen],
            longitude=(lon[chosen] + 720) % 360,
            variable=variable,
            pressure=100.0 * LEVELS[1],
            value=0.0,
            station_id="a",
            time=fields.time,
        )
        operator = build_operator(fields, table, None)
        assert operator.ok.all()
        own = fields.upper[variable][level].ravel()[chosen]
        np.testing.assert_allclose(operator.of(fields), own, atol=1e-3)  # of errors of 1 and more


@pytest.mark.parametrize("name", [n for n in NAMES if n != "reduced"])
def test_winds_are_turned_to_the_east(tmp_path: Path, name: str) -> None:
    """By the angle that the projection has at each point."""
    background = forecast(tmp_path, name)
    u, v = (background.source[n].values.squeeze() for n in ("u", "v"))
    lat, lon = background.fields.grid.mesh
    turn = np.deg2rad(_convergence(name, background, lat, lon))
    expected = u * np.cos(turn) - v * np.sin(turn)
    inside = lat < 89.5  # where there is an east
    order = np.argsort(background.source[background.sources[0].level_dim].values)
    found = background.fields.upper["u"][np.argsort(background.fields.levels)]
    np.testing.assert_allclose(found[:, inside], expected[order][:, inside], atol=2e-3)


def _convergence(name: str, background: Background, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Angle from the east to the x axis of the grid, counterclockwise [degrees]."""
    if name.startswith("polar"):
        return -((lon - 249 + 180) % 360 - 180)
    if name.startswith("lambert") or name == "wrf":
        return -((lon + 97.5 + 180) % 360 - 180) * np.sin(np.deg2rad(38.5))
    rotated = pyproj.CRS(
        "+proj=ob_tran +o_proj=longlat +o_lat_p=40 +o_lon_p=0 +lon_0=10 +R=6371229"
    )
    transform = pyproj.Transformer.from_crs(EARTH, rotated, always_xy=True).transform
    step = 1e-4
    (_, y), (_, y_east) = transform(lon, lat), transform(lon + step, lat)
    _, y_north = transform(lon, lat + step)
    return -np.rad2deg(np.arctan2((y_east - y) / np.cos(np.deg2rad(lat)), y_north - y))


def test_winds_between_points_are_refused_beside_a_pole_only(tmp_path: Path) -> None:
    """A flow that is uniform along the axes of a polar stereographic grid; east turns from point to
    point beside the pole, and one component there would be a mean over several easts."""
    background = forecast(tmp_path, "polar stereographic over the pole")
    fields, rng = background.fields, np.random.default_rng(1)
    turn = fields.grid.angle
    flow = {"u": 10 * np.cos(turn), "v": 10 * np.sin(turn)}
    upper = {n: np.broadcast_to(a, fields.upper["u"].shape) for n, a in flow.items()}
    lat, lon = rng.uniform(86, 90, 300), rng.uniform(0, 360, 300)
    angle = np.deg2rad(_convergence("polar", background, lat, lon))
    for name, expected in (("u", 10 * np.cos(angle)), ("v", 10 * np.sin(angle))):
        table = make(
            latitude=lat,
            longitude=lon,
            variable=name,
            pressure=100.0 * LEVELS[1],
            value=0.0,
            station_id="a",
            time=fields.time,
        )
        operator = build_operator(replace(fields, upper=upper), table, None)
        beside = 90 - lat < 3 * fields.grid.spacing
        assert not operator.ok[beside].any()
        inside = fields.grid.contains(lat, lon)
        assert operator.ok[~beside & inside].all()
        found = operator.of(replace(fields, upper=upper))
        np.testing.assert_allclose(found[operator.ok], expected[operator.ok], atol=0.3)


@pytest.mark.parametrize("suffix", ["nc", "grib2"])
@pytest.mark.parametrize("name", NAMES)
def test_analysis_less_increment_is_the_input(tmp_path: Path, name: str, suffix: str) -> None:
    if name == "wrf" and suffix == "grib2":
        pytest.skip("WRF's NetCDF has no messages to write into")
    background = forecast(tmp_path, name)
    expected, _, _ = apply(background)
    again = read_background(analysed(background, tmp_path / f"an.{suffix}"))
    assert again.fields.grid.same_as(background.fields.grid)
    assert type(again.fields.grid) is type(background.fields.grid)
    by_level = [np.argsort(b.levels) for b in (again.fields, background.fields)]
    for n in ("t", "u", "v"):
        found = again.fields.upper[n][by_level[0]]
        np.testing.assert_allclose(found, expected.upper[n][by_level[1]], atol=5e-5)
    if suffix == "nc":
        with xr.open_dataset(tmp_path / "an.nc", engine="netcdf4") as data:
            assert "u_increment" in data
            for n in [n for n in ("t", "u", "v") if f"{n}_increment" in data]:
                before = data[n].values - data[f"{n}_increment"].values
                own = background.source[n].values.reshape(before.shape)
                np.testing.assert_allclose(before, own, atol=5e-5)


@pytest.mark.parametrize("name", ["lambert", "polar stereographic over the pole", "rotated"])
def test_projection_is_stated(tmp_path: Path, name: str) -> None:
    out = analysed(forecast(tmp_path, name), tmp_path / "an.nc")
    with xr.open_dataset(out, engine="netcdf4") as data:
        mapping = data[data["u_spread"].attrs["grid_mapping"]].attrs
        crs = pyproj.CRS.from_cf(mapping)
        y, x = (data[d] for d in data["t"].dims[-2:])
        transform = pyproj.Transformer.from_crs(EARTH, crs, always_xy=True).transform
        found = transform(data["longitude"].values, data["latitude"].values)
        for here, axis, step in zip(found, np.meshgrid(x, y), (1e5, 1e5), strict=True):
            step = 1.0 if name == "rotated" else step
            np.testing.assert_allclose(here, axis, atol=1e-4 * step)
        if name == "rotated":
            assert (y.name, x.name) == ("rlat", "rlon")
            assert mapping["grid_mapping_name"] == "rotated_latitude_longitude"
            np.testing.assert_allclose(x, np.arange(-5, 6), atol=1e-4)
            np.testing.assert_allclose(y, np.arange(-4, 5), atol=1e-4)
    assert errors(out) == []


def test_a_reduced_grid_is_a_list_of_points(tmp_path: Path) -> None:
    background = forecast(tmp_path, "reduced")
    grid = background.fields.grid
    assert isinstance(grid, Reduced)
    assert (grid.size, grid.rows.size, grid.counts.max()) == (6114, 64, 128)
    linear = np.deg2rad(grid.latitude.ravel())
    lat, lon = np.array([0.3, 45.7, 89.9, -89.9]), np.array([359.9, 13.0, 100.0, 5.0])
    matrix = grid.bilinear(lat, lon)
    np.testing.assert_allclose(matrix.sum(axis=1).ravel(), 1)
    np.testing.assert_allclose((matrix @ linear)[:2], np.deg2rad(lat[:2]), atol=1e-5)
    out = analysed(background, tmp_path / "an.nc")
    with xr.open_dataset(out, engine="netcdf4") as data:
        assert data["t"].dims[-1] == "points"
        assert data["latitude"].dims == ("points",)
    assert errors(out) == []


def test_inspect_names_the_projection(tmp_path: Path) -> None:
    found = {
        name: describe_forecast(grib(tmp_path / "fc.grib2", GRIDS[name]), [])["grid"]["projection"]
        for name in ("lambert", "rotated", "reduced")
    }
    assert found == {
        "lambert": "lambert_conformal_conic",
        "rotated": "rotated_latitude_longitude",
        "reduced": "reduced",
    }
