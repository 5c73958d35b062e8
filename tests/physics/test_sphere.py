"""Operators on the sphere: edges, poles, orientation, masks and faults."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flows import advection, vorticity

from phyda_cli.constants import EARTH_RADIUS, OMEGA
from phyda_cli.errors import InputError
from phyda_cli.physics.sphere import VECTOR, Sphere

LONGITUDE = np.arange(64) * 5.625
OFFSET = np.linspace(-87.1875, 87.1875, 32)
POLES = np.linspace(-90, 90, 33)
GAUSSIAN = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(32)[0]))


def mesh(
    latitude: np.ndarray, longitude: np.ndarray = LONGITUDE
) -> tuple[torch.Tensor, torch.Tensor]:
    lat, lon = np.meshgrid(np.deg2rad(latitude), np.deg2rad(longitude), indexing="ij")
    return torch.tensor(lat), torch.tensor(lon)


@pytest.mark.parametrize("latitude", [OFFSET, POLES, GAUSSIAN])
def test_uniform_flow_crosses_the_pole(latitude: np.ndarray) -> None:
    """Rotation about an axis in the equator's plane: no divergence, and rows at the pole as good as
    any other."""
    lat, lon = mesh(latitude)
    u, v = torch.cos(lon) * torch.sin(lat), -torch.sin(lon)
    sphere = Sphere(latitude, LONGITUDE)
    expected = -2 / EARTH_RADIUS * torch.cos(lon) * torch.cos(lat)
    off_pole = np.abs(latitude) < 89.9
    assert (sphere.divergence(u, v)[off_pole].abs() * EARTH_RADIUS).max() < 5e-3
    assert ((vorticity(sphere, u, v) - expected)[off_pole].abs() * EARTH_RADIUS).max() < 2e-2


@pytest.mark.parametrize("latitude", [OFFSET, POLES, GAUSSIAN])
@pytest.mark.parametrize("width", [64, 63])
def test_latitude_derivative_passes_the_pole(latitude: np.ndarray, width: int) -> None:
    """f = cos(phi) cos(lambda), the x coordinate, is smooth over the pole: f_y = -sin(phi)
    cos(lambda)/a there too."""
    longitude = np.arange(width) * 360 / width
    lat, lon = mesh(latitude, longitude)
    slope = Sphere(latitude, longitude).ddy(torch.cos(lat) * torch.cos(lon)) * EARTH_RADIUS
    torch.testing.assert_close(slope, -torch.sin(lat) * torch.cos(lon), rtol=0, atol=3e-3)
    wind = Sphere(latitude, longitude).ddy(torch.sin(lat) * torch.cos(lon), VECTOR) * EARTH_RADIUS
    torch.testing.assert_close(wind, torch.cos(lat) * torch.cos(lon), rtol=0, atol=3e-3)


def test_longitude_seam_is_no_edge() -> None:
    f = torch.randn(3, 32, 64, dtype=torch.float64)
    sphere = Sphere(OFFSET, LONGITUDE)
    for shift in (1, 17):
        torch.testing.assert_close(sphere.ddx(f.roll(shift, -1)), sphere.ddx(f).roll(shift, -1))
        torch.testing.assert_close(sphere.ddy(f.roll(shift, -1)), sphere.ddy(f).roll(shift, -1))


def test_limited_area_is_one_sided_and_second_order_at_its_edges() -> None:
    latitude, longitude = (
        np.array([61.5, 60.0, 57.0, 55.5, 52.0]),
        np.array([-10.0, -8.5, -6.0, -4.0]),
    )
    lat, lon = mesh(latitude, longitude)
    sphere = Sphere(latitude, longitude)
    assert sphere.interior_mask.all()
    f = 1 + lat**2 + 3 * lon - lon**2
    torch.testing.assert_close(sphere.ddx(f) * EARTH_RADIUS * torch.cos(lat), 3 - 2 * lon)
    torch.testing.assert_close(sphere.ddy(f) * EARTH_RADIUS, 2 * lat)


@pytest.mark.parametrize(
    "latitude", [OFFSET, POLES, GAUSSIAN, np.linspace(30, 60, 13), np.linspace(0, 87.1875, 16)]
)
def test_latitude_order_does_not_matter(latitude: np.ndarray) -> None:
    f, u, v = torch.randn(3, 2, latitude.size, 64, dtype=torch.float64)
    up, down = Sphere(latitude, LONGITUDE), Sphere(latitude[::-1].copy(), LONGITUDE)
    for of_up, of_down in (
        (up.ddy(f), down.ddy(f.flip(-2))),
        (up.ddy(u, VECTOR), down.ddy(u.flip(-2), VECTOR)),
        (up.divergence(u, v), down.divergence(u.flip(-2), v.flip(-2))),
        (vorticity(up, u, v), vorticity(down, u.flip(-2), v.flip(-2))),
        (advection(up, u, v, f), advection(down, u.flip(-2), v.flip(-2), f.flip(-2))),
    ):
        torch.testing.assert_close(of_up, of_down.flip(-2))
    assert np.array_equal(up.interior_mask, down.interior_mask[::-1])
    torch.testing.assert_close(up.coriolis(f), down.coriolis(f).flip(0))


def test_mask_leaves_out_the_rows_at_covered_poles() -> None:
    def masked(latitude: np.ndarray, longitude: np.ndarray = LONGITUDE) -> list[int]:
        return np.flatnonzero(~Sphere(latitude, longitude).interior_mask.all(axis=1)).tolist()

    assert masked(OFFSET) == [0, 31]
    assert masked(GAUSSIAN[::-1].copy()) == [0, 31]
    assert masked(POLES) == [0, 1, 31, 32]
    assert masked(np.linspace(0, 90, 17)) == [15, 16]
    assert masked(np.linspace(-60, 60, 33)) == []
    assert masked(OFFSET, np.linspace(0, 90, 19)) == []


def test_everything_is_finite_on_the_pole() -> None:
    sphere = Sphere(POLES, LONGITUDE)
    u, v, f = torch.randn(3, 33, 64)
    for field in (
        *sphere.gradient(f),
        sphere.divergence(u, v),
        vorticity(sphere, u, v),
        advection(sphere, u, v, f),
    ):
        assert field.isfinite().all()


def test_coriolis_and_curvature() -> None:
    sphere, like = (
        Sphere(np.array([-30.0, 0.0, 45.0]), LONGITUDE),
        torch.zeros(1, dtype=torch.float64),
    )
    torch.testing.assert_close(
        sphere.coriolis(like)[:, 0],
        torch.tensor([-OMEGA, 0.0, OMEGA * 2**0.5], dtype=torch.float64),
    )
    expected = torch.tensor([-(3**-0.5), 0.0, 1.0], dtype=torch.float64) / EARTH_RADIUS
    torch.testing.assert_close(sphere.curvature(like)[:, 0], expected)


def test_uneven_longitudes_on_the_circle_are_refused() -> None:
    longitude = LONGITUDE.copy()
    longitude[5] += 1
    with pytest.raises(
        InputError, match=r"evenly spaced longitudes, found steps of 4\.625 to 6\.625"
    ):
        Sphere(OFFSET, longitude)
