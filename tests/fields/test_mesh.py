"""Two-dimensional grids: places, interpolation and winds, also at a pole and the date line."""

from __future__ import annotations

import numpy as np
import pytest

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.fields.interpolate import bilinear
from phyda_cli.fields.mesh import Mesh, turned
from phyda_cli.fields.remap import method_between, regridder


def stereographic(size: int = 41, step: float = 0.02, turn: float = 0.0) -> Mesh:
    """A polar stereographic mesh around the north pole, so that the date line crosses it."""
    y, x = np.meshgrid(*(2 * [step * (np.arange(size) - size // 2 + 0.3)]), indexing="ij")
    latitude = 90 - np.rad2deg(2 * np.arctan(np.hypot(x, y) / 2))
    return Mesh(latitude, np.rad2deg(np.arctan2(x, -y)) + turn)


def rotated(pole: float = 40.0) -> Mesh:
    """Around 0 E, 90 - ``pole`` N: the x axis of each row is curved."""
    y, x = np.meshgrid(np.deg2rad(np.linspace(-8, 8, 33)), np.deg2rad(np.linspace(-9, 9, 37)))
    u = np.stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)], -1)
    a = np.deg2rad(90 - pole)
    u = u @ np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    latitude = np.rad2deg(np.arcsin(u[..., 2])).T
    return Mesh(latitude, np.rad2deg(np.arctan2(u[..., 1], u[..., 0])).T)


@pytest.mark.parametrize("mesh", [stereographic(), stereographic(turn=180), rotated()])
def test_points_of_the_mesh_are_themselves(mesh: Mesh) -> None:
    values = np.random.default_rng(0).normal(size=mesh.size)
    matrix = bilinear(mesh, *mesh.mesh)
    np.testing.assert_allclose(matrix @ values, values, atol=1e-6)
    assert mesh.contains(*mesh.mesh).all()


@pytest.mark.parametrize("mesh", [stereographic(), rotated()])
def test_between_points_in_index_space(mesh: Mesh) -> None:
    rng = np.random.default_rng(1)
    rows, columns = mesh.shape
    y, x = rng.uniform(0, rows - 1, 200), rng.uniform(0, columns - 1, 200)
    i, j = y.astype(int), x.astype(int)
    lat, lon = np.deg2rad(mesh.latitude), np.deg2rad(mesh.longitude)
    unit = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
    fy, fx = (y - i)[:, None], (x - j)[:, None]
    point = (1 - fy) * ((1 - fx) * unit[i, j] + fx * unit[i, j + 1])
    point += fy * ((1 - fx) * unit[i + 1, j] + fx * unit[i + 1, j + 1])
    latitude = np.rad2deg(np.arctan2(point[:, 2], np.hypot(point[:, 0], point[:, 1])))
    longitude = np.rad2deg(np.arctan2(point[:, 1], point[:, 0]))
    found_y, found_x, inside = mesh.locate(latitude, longitude)
    assert inside.all()
    np.testing.assert_allclose(found_y, y, atol=1e-5)
    np.testing.assert_allclose(found_x, x, atol=1e-5)


def test_outside() -> None:
    mesh = rotated()
    assert not mesh.contains(np.array([50.0, -50.0, 90]), np.array([40.0, 180.0, 0.0])).any()
    assert bilinear(mesh, np.array([-50.0]), np.array([180.0])).nnz == 0


def test_to_a_coarser_grid_by_means() -> None:
    mesh, target = rotated(), Grid(np.linspace(46, 54, 5), np.linspace(-6, 6, 5))
    remap = regridder(mesh, target)
    assert method_between(mesh, target) == "binned"
    constant, linear = remap(np.ones((1, *mesh.shape)))[0], remap(mesh.latitude[None])[0]
    np.testing.assert_allclose(constant, 1)
    np.testing.assert_allclose(linear, target.mesh[0], atol=0.3)
    assert method_between(mesh, Grid(target.latitude, np.linspace(-6, 6, 40))) == "bilinear"


def test_winds_turn_and_come_back() -> None:
    mesh = stereographic()
    rng = np.random.default_rng(2)
    wind = {n: rng.normal(size=mesh.shape) for n in ("u10", "v10")}
    fields = Fields(mesh, np.datetime64("2020-01-01"), np.zeros(0), {}, wind)
    back = turned(turned(fields, mesh.angle), -mesh.angle)
    np.testing.assert_allclose(back.surface["u10"], wind["u10"], atol=1e-12)
    # x grows to the east along the meridian of 0 E, where y = -r: columns run eastwards there
    row, column = 2, np.abs(mesh.longitude[2]).argmin()
    assert abs(mesh.longitude[row, column]) < 1
    np.testing.assert_allclose(mesh.angle[row, column], 0, atol=0.02)
    np.testing.assert_allclose(np.abs(mesh.angle[-3, column]), np.pi, atol=0.02)


def test_a_lone_component_is_not_used() -> None:
    mesh = rotated()
    fields = Fields(mesh, np.datetime64("2020"), np.zeros(0), {}, {"u10": np.ones(mesh.shape)})
    assert not turned(fields, mesh.angle).surface


def test_missing_coordinates_are_refused() -> None:
    mesh = rotated()
    holed = mesh.latitude.copy()
    holed[0, 0] = np.nan
    with pytest.raises(InputError):
        Mesh(holed, mesh.longitude)
