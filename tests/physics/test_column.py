"""Pressure derivatives and integrals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from phyda_cli.errors import InputError
from phyda_cli.physics.column import Column

LEVELS = np.array([50.0, 100, 200, 300, 500, 700, 850, 925]) * 100


def column_of(values: np.ndarray) -> torch.Tensor:
    return torch.tensor(values)[:, None, None].expand(-1, 2, 3)


@pytest.mark.parametrize("levels", [LEVELS, LEVELS[::-1].copy()])
def test_constant_and_linear_divergence(levels: np.ndarray) -> None:
    """The top layer reaches up to 25 hPa; below, the trapezoidal rule is exact for linear
    divergence."""
    column, p = Column(levels), column_of(levels)
    torch.testing.assert_close(column.omega(torch.full_like(p, 2e-5)), -2e-5 * (p - 2500))
    top_layer = 1e-9 * 5000 * 2500
    torch.testing.assert_close(column.omega(1e-9 * p), -(top_layer + 0.5e-9 * (p**2 - 5000**2)))


def test_mass_divergence_is_minus_omega_below_the_lowest_layer() -> None:
    divergence = torch.randn(4, 8, 2, 3, dtype=torch.float64) * 1e-5
    column = Column(LEVELS)
    bottom = (
        column.omega(divergence)[..., -1:, :, :] - divergence[..., -1:, :, :] * (92500 - 85000) / 2
    )
    torch.testing.assert_close(column.integral(divergence), -bottom)
    assert column.integral(torch.ones(8, 1, 1)).item() == pytest.approx(96250 - 2500)


def test_top_layer_stops_at_zero_pressure() -> None:
    column = Column(np.array([10000.0, 50000.0]))
    assert column.omega(torch.ones(2, 1, 1, dtype=torch.float64)).ravel().tolist() == [
        -10000.0,
        -50000.0,
    ]


def test_pressure_derivative_is_exact_for_quadratics_in_log_pressure() -> None:
    column, p = Column(LEVELS), column_of(LEVELS)
    torch.testing.assert_close(column.ddp(3 + torch.log(p) ** 2), 2 * torch.log(p) / p)


def test_single_level_is_horizontal() -> None:
    column, f = Column(np.array([50000.0])), torch.randn(1, 2, 3)
    assert not column.omega(f).any()
    assert not column.ddp(f).any()


def test_level_order_does_not_matter() -> None:
    f = torch.randn(8, 2, 3, dtype=torch.float64)
    down, up = Column(LEVELS), Column(LEVELS[::-1].copy())
    for name in ("omega", "ddp", "integral", "thickness", "log_pressure_integral"):
        torch.testing.assert_close(getattr(up, name)(f.flip(0)), getattr(down, name)(f).flip(0))


@pytest.mark.parametrize(
    "levels", [[50000.0, 50000.0], [30000.0, 85000.0, 50000.0], [0.0, 50000.0], [-1.0]]
)
def test_bad_levels_are_refused(levels: list[float]) -> None:
    with pytest.raises(InputError, match="strictly monotone pressures in Pa, found"):
        Column(np.array(levels))
