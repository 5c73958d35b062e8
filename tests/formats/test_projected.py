"""Fields on two-dimensional grids from file to file: GRIB Lambert and bare NetCDF."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import eccodes
import numpy as np
import pytest
import xarray as xr

from phyda_cli.fields.mesh import Mesh
from phyda_cli.formats.background import Background, read_background
from phyda_cli.formats.write import write_analysis
from phyda_cli.observations.operators import build_operator
from phyda_cli.observations.table import make

from .test_compliance import errors
from .test_write import apply

SHAPE = (9, 11)


def lambert(path: Path) -> Path:
    """u, v and t at 500 hPa, the winds along the axes of the grid."""
    rng = np.random.default_rng(3)
    with open(path, "wb") as file:
        for name, mean in (("u", 10.0), ("v", -5.0), ("t", 260.0)):
            handle = eccodes.codes_grib_new_from_samples("GRIB2")
            for key, value in {
                "gridType": "lambert",
                "Nx": SHAPE[1],
                "Ny": SHAPE[0],
                "shapeOfTheEarth": 6,
                "resolutionAndComponentFlags": 8,
                "latitudeOfFirstGridPointInDegrees": 40,
                "longitudeOfFirstGridPointInDegrees": 230,
                "LoVInDegrees": 262.5,
                "LaDInDegrees": 38.5,
                "Latin1InDegrees": 38.5,
                "Latin2InDegrees": 38.5,
                "DxInMetres": 100000,
                "DyInMetres": 100000,
                "jScansPositively": 1,
                "shortName": name,
                "typeOfLevel": "isobaricInhPa",
                "level": 500,
                "bitsPerValue": 24,
            }.items():
                eccodes.codes_set(handle, key, value)
            eccodes.codes_set_values(handle, mean + rng.normal(size=SHAPE).ravel())
            eccodes.codes_write(handle, file)
            eccodes.codes_release(handle)
    return path


def written(background: Background, path: Path) -> None:
    analysis, increment, spread = apply(background)
    kept = {n: v for n, v in increment.surface.items() if n in background.fields.surface}
    write_analysis(path, background, analysis, replace(increment, surface=kept), spread)


def test_winds_are_turned_and_come_back(tmp_path: Path) -> None:
    background = read_background(lambert(tmp_path / "fc.grib2"))
    mesh = background.fields.grid
    assert isinstance(mesh, Mesh)
    assert mesh.shape == SHAPE
    turn = np.deg2rad(mesh.longitude + 97.5) * np.sin(np.deg2rad(38.5))
    u, v = (background.source[n].values.squeeze() for n in ("u", "v"))
    expected = u * np.cos(turn) + v * np.sin(turn)
    np.testing.assert_allclose(background.fields.upper["u"][0], expected, atol=2e-3)
    zero = replace(background.fields, upper={n: 0 * a for n, a in background.fields.upper.items()})
    write_analysis(tmp_path / "same.nc", background, background.fields, zero)
    with xr.open_dataset(tmp_path / "same.nc", engine="netcdf4") as same:
        np.testing.assert_array_equal(same["u"].values.squeeze(), u)


@pytest.mark.parametrize("name", ["an.nc", "an.grib2"])
def test_analysis_less_increment_is_the_input(tmp_path: Path, name: str) -> None:
    background = read_background(lambert(tmp_path / "fc.grib2"))
    analysis, _, _ = apply(background)
    written(background, tmp_path / name)
    again = read_background(tmp_path / name)
    assert again.fields.grid.same_as(background.fields.grid)
    for variable in ("u", "v", "t"):
        np.testing.assert_allclose(
            again.fields.upper[variable], analysis.upper[variable], atol=5e-5
        )


def test_projection_is_stated(tmp_path: Path) -> None:
    written(read_background(lambert(tmp_path / "fc.grib2")), tmp_path / "an.nc")
    with xr.open_dataset(tmp_path / "an.nc", engine="netcdf4") as found:
        mapping = found[found["u_increment"].attrs["grid_mapping"]]
        assert mapping.attrs["grid_mapping_name"] == "lambert_conformal_conic"
        np.testing.assert_allclose(np.diff(found["x"]), 1e5, rtol=1e-6)
        assert found["u"].attrs["standard_name"] == "x_wind"
    assert errors(tmp_path / "an.nc") == []


@pytest.mark.real_data
def test_nam(shared_data: Path) -> None:
    """Observations equal to the background's own values have no departure."""
    path = shared_data / "forecasts" / "nam_lambert_20180917T00_an.grib2"
    fields = read_background(path).fields
    rng, (lat, lon) = np.random.default_rng(0), fields.grid.mesh
    row, column = rng.integers(0, 65, 50), rng.integers(0, 93, 50)
    level = int(np.argmin(np.abs(fields.levels - 50000)))
    for name in ("t", "u", "v"):
        table = make(
            latitude=lat[row, column],
            longitude=lon[row, column],
            variable=name,
            pressure=50000.0,
            value=0.0,
            station_id="a",
            time=fields.time,
        )
        operator = build_operator(fields, table, None)
        found = operator.apply(np.nan_to_num(fields.vector()))
        np.testing.assert_allclose(found, fields.upper[name][level, row, column], atol=1e-6)
