"""Exact solutions on the sphere: operators and residuals match them and converge at second
order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from flows import advection, vorticity

from phyda_cli.constants import EARTH_RADIUS, OMEGA
from phyda_cli.fields.grid import Grid
from phyda_cli.physics.residuals import Residuals
from phyda_cli.physics.sphere import Sphere

RESOLUTIONS = (16, 32, 64)  # latitude rows
Fields = dict[str, torch.Tensor]


def grid_of(kind: str, n: int) -> Grid:
    """A grid of ``n`` (or n + 1) latitude rows."""
    gaussian = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(n)[0]))
    latitude = {
        "equiangular": (np.arange(n) + 0.5) * 180 / n - 90,
        "with poles": np.linspace(90, -90, n + 1),
        "gaussian": gaussian,
        "area": np.linspace(30, 60, n + 1),
    }[kind]
    return Grid(
        latitude, np.linspace(-20, 20, n + 1) if kind == "area" else np.arange(2 * n) * 180 / n
    )


def mesh(grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    lat, lon = grid.mesh
    return torch.tensor(np.deg2rad(lat)), torch.tensor(np.deg2rad(lon))


def rms(sphere: Sphere, f: torch.Tensor) -> float:
    """Area-weighted root mean square away from the poles, also over leading dimensions."""
    weights = torch.tensor(sphere.area_weights[:, None] * sphere.interior_mask)
    return float(((f.square() * weights).sum((-2, -1)) / weights.sum()).mean().sqrt())


def assert_second_order(error: Callable[[int], float], finest: float) -> None:
    """``error`` falls by about four when the resolution doubles and ends below ``finest``."""
    errors = [error(n) for n in RESOLUTIONS]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all(orders > [1.6, 1.85]), (errors, orders)
    assert errors[-1] < finest


def harmonic(
    grid: Grid, order: int, odd: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """cos^m(phi) sin^e(phi) cos(m lambda), its gradient [times a], and l(l+1) for l = m + e."""
    lat, lon = mesh(grid)
    c, s = torch.cos(lat), torch.sin(lat)
    f = c**order * s**odd * torch.cos(order * lon)
    f_x = -order * c ** (order - 1) * s**odd * torch.sin(order * lon)
    f_y = (-order * c ** (order - 1) * s ** (odd + 1) + odd * c ** (order + 1)) * torch.cos(
        order * lon
    )
    degree = order + odd
    return f, f_x, f_y, degree * (degree + 1)


GRIDS = ["equiangular", "with poles", "gaussian", "area"]


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize(("order", "odd"), [(1, 1), (3, 1), (4, 0)])
def test_streamfunction_has_no_divergence_and_its_laplacian_as_vorticity(
    kind: str, order: int, odd: int
) -> None:
    def error(n: int) -> float:
        grid = grid_of(kind, n)
        sphere = Sphere(grid.latitude, grid.longitude)
        psi, psi_x, psi_y, eigenvalue = harmonic(grid, order, odd)
        u, v = -psi_y, psi_x
        expected = -eigenvalue * psi / EARTH_RADIUS
        wrong = torch.stack([sphere.divergence(u, v), vorticity(sphere, u, v) - expected])
        return rms(sphere, wrong) / rms(sphere, expected)

    assert_second_order(error, 4e-3)


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize(("order", "odd"), [(1, 1), (2, 1), (3, 0)])
def test_potential_has_no_vorticity_and_its_laplacian_as_divergence(
    kind: str, order: int, odd: int
) -> None:
    def error(n: int) -> float:
        grid = grid_of(kind, n)
        sphere = Sphere(grid.latitude, grid.longitude)
        chi, u, v, eigenvalue = harmonic(grid, order, odd)
        expected = -eigenvalue * chi / EARTH_RADIUS
        wrong = torch.stack([vorticity(sphere, u, v), sphere.divergence(u, v) - expected])
        return rms(sphere, wrong) / rms(sphere, expected)

    assert_second_order(error, 4e-3)


@pytest.mark.parametrize("kind", GRIDS)
def test_advection_of_a_tracer(kind: str) -> None:
    """Rotation about an axis tilted by 40 degrees carries a harmonic of degree 3."""

    def error(n: int) -> float:
        grid = grid_of(kind, n)
        sphere = Sphere(grid.latitude, grid.longitude)
        lat, lon = mesh(grid)
        tilt = np.deg2rad(40)
        u = 20 * (torch.cos(lat) * np.cos(tilt) + torch.sin(lat) * torch.cos(lon) * np.sin(tilt))
        v = -20 * torch.sin(lon) * np.sin(tilt)
        f, f_x, f_y, _ = harmonic(grid, 2, 1)
        expected = -(u * f_x + v * f_y) / EARTH_RADIUS
        return rms(sphere, advection(sphere, u, v, f) - expected) / rms(sphere, expected)

    assert_second_order(error, 4e-3)


def with_depth(grid: Grid, **fields: torch.Tensor) -> tuple[Residuals, Fields]:
    """A barotropic state: the same fields on three levels."""
    levels = np.array([30000.0, 50000.0, 85000.0])
    return Residuals(levels, grid), {n: f.expand(3, -1, -1) for n, f in fields.items()}


def solid_body(lat: torch.Tensor, speed: float) -> Fields:
    """Williamson et al. (1992) test 2: Phi = const - (a Omega U + U^2/2) sin^2(phi)."""
    phi = 3e4 - (EARTH_RADIUS * OMEGA * speed + speed**2 / 2) * torch.sin(lat) ** 2
    return {"z": phi, "u": speed * torch.cos(lat), "v": torch.zeros_like(lat)}


@pytest.mark.parametrize("kind", GRIDS)
def test_solid_body_rotation_in_gradient_balance_is_steady(kind: str) -> None:
    speed = 40.0

    def error(n: int) -> float:
        grid = grid_of(kind, n)
        lat, _ = mesh(grid)
        residuals, state = with_depth(grid, **solid_body(lat, speed))
        tendency = residuals(**state)
        assert tendency["momentum_u"].abs().max() < 1e-12
        assert tendency["mass"].abs().max() < 1e-10
        return rms(residuals.sphere, tendency["momentum_v"]) / (2 * OMEGA * speed)

    assert_second_order(error, 8e-4)


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("excess", [0.0, 5.0])
def test_gradient_departure_of_solid_body_rotation(kind: str, excess: float) -> None:
    """None in balance; a wind too strong by dV departs by dV (1 + kappa (2 V + dV)/f), kappa =
    tan(phi)/a on a latitude circle."""
    speed = 40.0

    def error(n: int) -> float:
        grid = grid_of(kind, n)
        lat, _ = mesh(grid)
        residuals, state = with_depth(grid, **solid_body(lat, speed))
        strong = state["u"] + excess * torch.cos(lat)
        departure = residuals.balance(state["z"], strong, state["v"])["gradient"]
        per_speed = 1 / (2 * OMEGA * EARTH_RADIUS * torch.cos(lat).clamp(min=1e-3))  # kappa/f
        expected = (strong - state["u"]) * (1 + per_speed * (strong + state["u"]))
        return float(residuals.mean_square({"gradient": departure - expected})["gradient"].sqrt())

    assert_second_order(error, 0.05)


def rossby_haurwitz(grid: Grid, w: float = 7.848e-6) -> tuple[Fields, Fields]:
    """Wave number 4 in nonlinear balance and its exact tendencies (Williamson et al. 1992, test 6;
    Haurwitz 1940).

    The wave moves without change of shape in the nondivergent model, and the balanced height makes
    the divergence tendency vanish, so (u, v)_t = -nu (u, v)_lambda. ``w`` [s-1] is the angular
    velocity of the zonal flow.
    """
    lat, lon = mesh(grid)
    k = 7.848e-6
    r, a = 4, EARTH_RADIUS
    c, s = torch.cos(lat), torch.sin(lat)
    u = a * w * c + a * k * c ** (r - 1) * (r * s**2 - c**2) * torch.cos(r * lon)
    v = -a * k * r * c ** (r - 1) * s * torch.sin(r * lon)
    mean = w / 2 * (2 * OMEGA + w) * c**2 + k**2 / 4 * (
        (r + 1) * c ** (2 * r + 2) + (2 * r**2 - r - 2) * c ** (2 * r) - 2 * r**2 * c ** (2 * r - 2)
    )
    first = (
        2
        * (OMEGA + w)
        * k
        / ((r + 1) * (r + 2))
        * c**r
        * ((r**2 + 2 * r + 2) - (r + 1) ** 2 * c**2)
    )
    second = k**2 / 4 * c ** (2 * r) * ((r + 1) * c**2 - (r + 2))
    z = 8e4 + a**2 * (mean + first * torch.cos(r * lon) + second * torch.cos(2 * r * lon))
    nu = (r * (3 + r) * w - 2 * OMEGA) / ((1 + r) * (2 + r))
    u_t = nu * r * a * k * c ** (r - 1) * (r * s**2 - c**2) * torch.sin(r * lon)
    v_t = nu * r * a * k * r * c ** (r - 1) * s * torch.cos(r * lon)
    return {"z": z, "u": u, "v": v}, {"u": u_t, "v": v_t}


@pytest.mark.parametrize("kind", ["equiangular", "with poles", "gaussian"])
def test_rossby_haurwitz_wave_has_its_exact_tendency(kind: str) -> None:
    def error(n: int) -> float:
        grid = grid_of(kind, n)
        fields, expected = rossby_haurwitz(grid)
        residuals, state = with_depth(grid, **fields)
        tendency = residuals(**state)
        wrong = torch.stack(
            [tendency["momentum_u"] - expected["u"], tendency["momentum_v"] - expected["v"]]
        )
        return rms(residuals.sphere, wrong) / rms(
            residuals.sphere, torch.stack([expected["u"], expected["v"]])
        )

    assert_second_order(error, 4.5e-2)


@pytest.mark.parametrize("kind", ["equiangular", "with poles", "gaussian"])
@pytest.mark.parametrize("equation", ["momentum", "gradient"])
def test_stationary_rossby_haurwitz_wave_in_gradient_balance_has_no_residual(
    kind: str, equation: str
) -> None:
    """With w = 2 Omega / (r (3 + r)) the wave stands still, so that its streamlines are
    trajectories."""

    def error(n: int) -> float:
        grid = grid_of(kind, n)
        residuals, state = with_depth(grid, **rossby_haurwitz(grid, 2 * OMEGA / 28)[0])
        f = residuals.sphere.coriolis(state["u"])
        scale = rms(residuals.sphere, f * torch.hypot(state["u"], state["v"]))
        if equation == "gradient":  # times f, which is small in the tropics
            return rms(residuals.sphere, f * residuals.balance(**state)["gradient"]) / scale
        tendency = residuals(**state)
        return (
            rms(residuals.sphere, torch.hypot(tendency["momentum_u"], tendency["momentum_v"]))
            / scale
        )

    assert_second_order(error, 5e-3)


def test_curved_flow_departs_from_geostrophic_balance_but_not_from_gradient_balance() -> None:
    grid = grid_of("equiangular", 64)
    residuals, state = with_depth(grid, **rossby_haurwitz(grid, 2 * OMEGA / 28)[0])
    departure = {
        n: float(m.sqrt()) for n, m in residuals.mean_square(residuals.balance(**state)).items()
    }
    assert departure["gradient"] < 0.05 * np.hypot(
        departure["geostrophic_u"], departure["geostrophic_v"]
    )


def test_calm_air_has_no_gradient_departure() -> None:
    grid = grid_of("area", 16)
    lat, _ = mesh(grid)
    residuals, state = with_depth(
        grid, z=1e4 * torch.sin(lat), u=torch.zeros_like(lat), v=torch.zeros_like(lat)
    )
    assert not residuals.balance(**state)["gradient"].any()


def test_geostrophic_wind_of_a_wave_has_no_departure() -> None:
    def error(n: int) -> float:
        grid = grid_of("equiangular", n)
        lat, _ = mesh(grid)
        z, z_x, z_y, _ = harmonic(grid, 2, 1)
        f = 2 * OMEGA * torch.sin(lat) * EARTH_RADIUS
        residuals = Residuals(np.array([50000.0]), grid)
        departure = residuals.balance(
            (2000 * z)[None], (-2000 * z_y / f)[None], (2000 * z_x / f)[None]
        )
        return (
            float(
                sum(
                    residuals.mean_square(departure)[name]
                    for name in ("geostrophic_u", "geostrophic_v")
                )
            )
            ** 0.5
        )

    assert_second_order(error, 0.05)
