"""Exact atmospheres in the vertical: hydrostatic thickness, vertical velocity and adiabatic
ascent."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from phyda_cli.constants import EARTH_RADIUS, EPSILON, GRAVITY, KAPPA, R_D
from phyda_cli.fields.grid import Grid
from phyda_cli.physics.column import Column
from phyda_cli.physics.residuals import Residuals

GRID = Grid(np.linspace(-78.75, 78.75, 8), np.arange(16) * 22.5)
LEVELS = np.array([50.0, 100, 200, 300, 500, 700, 850, 925]) * 100


def on_grid(profile: np.ndarray) -> torch.Tensor:
    return torch.tensor(profile)[:, None, None].expand(-1, *GRID.shape)


def halvings(counts: tuple[int, ...], error) -> np.ndarray:  # type: ignore[no-untyped-def]
    errors = np.array([error(n) for n in counts])
    return np.log2(errors[:-1] / errors[1:])


@pytest.mark.parametrize("levels", [LEVELS, LEVELS[::-1].copy()])
@pytest.mark.parametrize("humidity", [None, 0.01])
def test_isothermal_atmosphere_is_hydrostatic_to_rounding(
    levels: np.ndarray, humidity: float | None
) -> None:
    """Phi = R_d T_v ln(p0/p), exactly the trapezoidal rule; moist air is lighter."""
    q = None if humidity is None else on_grid(np.full(levels.size, humidity))
    tv = 250 * (1 + (1 / EPSILON - 1) * (humidity or 0.0))
    z, t = on_grid(R_D * tv * np.log(1e5 / levels)), on_grid(np.full(levels.size, 250.0))
    residual = Residuals(levels, GRID)(z=z, t=t, q=q)["hydrostatic"]
    assert residual.abs().max() < 1e-9
    residual = Residuals(levels, GRID)(
        z=z.float(), t=t.float(), q=None if q is None else q.float()
    )["hydrostatic"]
    assert residual.abs().max() < 0.05  # m2 s-2: the rounding of z in float32


def test_constant_lapse_rate_converges_at_second_order() -> None:
    """T = T0 (p/p0)^(R Gamma/g), Phi = g (T0 - T)/Gamma; the residual of a whole column falls
    fourfold per halved layer."""
    lapse, surface = 6.5e-3, 288.15

    def error(n: int) -> float:
        levels = np.geomspace(5e3, 1e5, n + 1)
        t = surface * (levels / 1e5) ** (R_D * lapse / GRAVITY)
        z = GRAVITY * (surface - t) / lapse
        residual = Residuals(levels, GRID)(z=on_grid(z), t=on_grid(t))["hydrostatic"]
        return float(residual.sum(-3).abs().max())

    assert halvings((5, 10, 20), error) == pytest.approx(2, abs=0.05)
    assert error(20) < 60  # m2 s-2, 6 m in 20 km


def test_a_warm_layer_shows_as_missing_thickness() -> None:
    """One kelvin at one level changes each adjoining thickness by R_d ln(p2/p1)/2."""
    z, t = on_grid(R_D * 250 * np.log(1e5 / LEVELS)), on_grid(np.full(8, 250.0)).clone()
    t[4] += 1
    residual = Residuals(LEVELS, GRID)(z=z, t=t)["hydrostatic"][:, 3, 3]
    expected = np.zeros(7)
    expected[3:5] = -R_D * np.log(LEVELS[4:6] / LEVELS[3:5]) / 2
    assert residual.tolist() == pytest.approx(expected.tolist(), abs=1e-9)


def test_vertical_velocity_converges_at_second_order() -> None:
    """D = cos(pi p/p0) closes the column: omega = -(p0/pi) sin(pi p/p0)."""

    def error(n: int) -> float:
        p = (np.arange(n) + 0.5) / n  # layers of equal mass from p = 0
        omega = Column(p).omega(torch.tensor(np.cos(np.pi * p))[:, None, None]).ravel().numpy()
        return float(np.abs(omega + np.sin(np.pi * p) / np.pi).max())

    assert halvings((8, 16, 32), error) == pytest.approx(2, abs=0.1)


def test_isentropic_atmosphere_keeps_its_temperature_under_any_ascent() -> None:
    """T = theta (p/p0)^kappa: T_p = kappa T/p, so vertical motion changes nothing; without motion
    neither does anything else."""
    lat = torch.tensor(np.deg2rad(GRID.mesh[0]))

    def error(n: int) -> float:
        levels = np.geomspace(1e4, 1e5, n)
        v = (20 * torch.sin(2 * lat) * on_grid(np.linspace(-1, 1, n))).contiguous()
        residuals = Residuals(levels, GRID)
        tendency = residuals(t=on_grid(300 * (levels / 1e5) ** KAPPA), u=torch.zeros_like(v), v=v)[
            "thermodynamic"
        ]
        return float(tendency[1:-1].abs().max())

    assert halvings((9, 17, 33), error) == pytest.approx(2, abs=0.25)


def test_ascent_cools_an_isothermal_atmosphere() -> None:
    """T_t = kappa T omega/p with omega from the uniform divergence v = a D tan-like flow; omega =
    -D (p - p_top)."""
    residuals = Residuals(LEVELS, GRID)
    lat = torch.tensor(np.deg2rad(GRID.mesh[0]))
    v = (EARTH_RADIUS * 1e-6 * torch.sin(lat)).expand(8, -1, -1)
    u = torch.zeros_like(v)
    tendency = residuals(t=torch.full_like(v, 250.0), u=u, v=v)["thermodynamic"]
    p = on_grid(LEVELS)
    omega = -residuals.sphere.divergence(u, v) * (p - 2500)
    torch.testing.assert_close(tendency, KAPPA * 250 * omega / p)


def test_vertical_transport_of_moisture() -> None:
    """q linear in ln p: q_t = -omega q_p with the exact q_p."""
    residuals = Residuals(LEVELS, GRID)
    lat = torch.tensor(np.deg2rad(GRID.mesh[0]))
    v = (EARTH_RADIUS * 1e-6 * torch.sin(lat)).expand(8, -1, -1)
    p = on_grid(LEVELS)
    moisture = residuals(u=torch.zeros_like(v), v=v, q=0.004 + 1e-3 * torch.log(p / 5e4))[
        "moisture"
    ]
    omega = -residuals.sphere.divergence(torch.zeros_like(v), v) * (p - 2500)
    torch.testing.assert_close(moisture, -omega * 1e-3 / p)
