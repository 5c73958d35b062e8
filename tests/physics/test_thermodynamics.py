"""Moist thermodynamics against published values and MetPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from phyda_cli.physics.thermodynamics import (
    potential_temperature,
    saturation_specific_humidity,
    saturation_vapour_pressure,
    saturation_vapour_pressure_ice,
    saturation_vapour_pressure_water,
    virtual_temperature,
)

metpy = pytest.importorskip("metpy.calc")
units = pytest.importorskip("metpy.units").units


def test_virtual_temperature_agrees_with_metpy() -> None:
    t, q = np.array([220.0, 260.0, 280.0, 303.0]), np.array([1e-5, 1e-3, 6e-3, 2.2e-2])
    expected = metpy.virtual_temperature(t * units.K, q / (1 - q) * units("kg/kg")).m
    assert virtual_temperature(torch.tensor(t), torch.tensor(q)).numpy() == pytest.approx(
        expected, rel=2e-5
    )


def test_potential_temperature_agrees_with_metpy() -> None:
    t, p = np.array([210.0, 250.0, 280.0, 300.0]), np.array([5e3, 5e4, 8.5e4, 1e5])
    expected = metpy.potential_temperature(p * units.Pa, t * units.K).to("K").m
    assert potential_temperature(torch.tensor(t), torch.tensor(p)).numpy() == pytest.approx(
        expected, rel=5e-5
    )  # its kappa is 0.28571


def test_saturation_agrees_with_metpy() -> None:
    """MetPy follows Ambaum (2020), whose ice curve is itself 2 % from Murphy & Koop at 200 K."""
    t = np.linspace(240, 320, 41)
    expected = metpy.saturation_vapor_pressure(t * units.K, phase="liquid").to("Pa").m
    assert saturation_vapour_pressure_water(torch.tensor(t)).numpy() == pytest.approx(
        expected, rel=8e-3
    )
    t = np.linspace(200, 273, 41)
    expected = metpy.saturation_vapor_pressure(t * units.K, phase="solid").to("Pa").m
    assert saturation_vapour_pressure_ice(torch.tensor(t)).numpy() == pytest.approx(
        expected, rel=2e-2
    )


def test_saturation_agrees_with_murphy_and_koop() -> None:
    """Murphy & Koop (2005), eqs. 10 and 7: the reference over supercooled water and ice."""
    t = np.linspace(240, 320, 41)
    low = 54.842763 - 6763.22 / t - 4.210 * np.log(t) + 0.000367 * t
    water = np.exp(
        low
        + np.tanh(0.0415 * (t - 218.8))
        * (53.878 - 1331.22 / t - 9.44523 * np.log(t) + 0.014025 * t)
    )
    assert saturation_vapour_pressure_water(torch.tensor(t)).numpy() == pytest.approx(
        water, rel=8e-3
    )
    t = np.linspace(190, 273, 41)
    ice = np.exp(9.550426 - 5723.265 / t + 3.53068 * np.log(t) - 0.00728332 * t)
    assert saturation_vapour_pressure_ice(torch.tensor(t)).numpy() == pytest.approx(ice, rel=5e-3)


def test_saturation_specific_humidity_agrees_with_metpy() -> None:
    t, p = np.array([275.0, 285.0, 300.0]), np.array([7e4, 8.5e4, 1e5])
    mixing_ratio = metpy.saturation_mixing_ratio(p * units.Pa, t * units.K).to("kg/kg").m
    actual = saturation_specific_humidity(torch.tensor(t), torch.tensor(p)).numpy()
    assert actual == pytest.approx(mixing_ratio / (1 + mixing_ratio), rel=6e-3)


def test_phases_meet_at_the_triple_point_and_mix_in_between() -> None:
    t = torch.tensor([240.0, 250.16, 261.66, 273.16, 290.0], dtype=torch.float64)
    water, ice, mixed = (
        saturation_vapour_pressure_water(t),
        saturation_vapour_pressure_ice(t),
        saturation_vapour_pressure(t),
    )
    torch.testing.assert_close(water[3], ice[3])
    assert water[3].item() == pytest.approx(611.21)
    torch.testing.assert_close(
        mixed[[0, 1, 3, 4]], torch.stack([ice[0], ice[1], water[3], water[4]])
    )
    torch.testing.assert_close(mixed[2], 0.25 * water[2] + 0.75 * ice[2])


def test_thin_hot_air_keeps_a_finite_saturation() -> None:
    t = torch.tensor([330.0], requires_grad=True)
    q = saturation_specific_humidity(t, torch.tensor([1000.0]))
    q.sum().backward()
    assert 0 < q.item() < 1
    assert t.grad is not None
    assert t.grad.isfinite().all()


def test_float32_and_gradient() -> None:
    t = torch.linspace(185, 320, 30, dtype=torch.float64, requires_grad=True)
    p = torch.tensor(9e4, dtype=torch.float64)
    torch.testing.assert_close(
        saturation_specific_humidity(t.float(), p.float()).double(),
        saturation_specific_humidity(t, p),
        rtol=2e-5,
        atol=0,
    )
    assert torch.autograd.gradcheck(lambda x: saturation_specific_humidity(x, p), t)
