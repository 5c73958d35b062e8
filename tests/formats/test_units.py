"""Spellings of units and their conversions."""

from __future__ import annotations

import numpy as np
import pytest

from phyda_cli.constants import GRAVITY
from phyda_cli.formats.units import conversion, looks_like, pressure_factor


@pytest.mark.parametrize(
    ("variable", "spellings", "scale", "offset"),
    [
        ("t", ("K", "kelvin", "", "degK"), 1, 0),
        ("t", ("degC", "celsius", "degrees_celsius", "C"), 1, 273.15),
        ("u", ("m s-1", "m/s", "m s**-1", "m s^-1", "M/S", "m.s-1"), 1, 0),
        ("u", ("knots", "kt"), 0.514444, 0),
        ("q", ("kg kg-1", "kg/kg", "kg kg**-1", "1"), 1, 0),
        ("q", ("g/kg", "g kg-1"), 1e-3, 0),
        ("z", ("m2 s-2", "m**2 s**-2", "m^2/s^2", "m2/s2", "J/kg", "J kg-1"), 1, 0),
        ("z", ("m", "gpm", "metres"), GRAVITY, 0),
        ("gh", ("", "gpm", "m"), GRAVITY, 0),
        ("orography", ("m", "gpm"), 1, 0),
        ("orography", ("m**2 s**-2",), 1 / GRAVITY, 0),
        ("msl", ("hPa", "mb", "millibars"), 100, 0),
        ("lsm", ("(0 - 1)", "1", ""), 1, 0),
    ],
)
def test_conversion(variable: str, spellings: tuple[str, ...], scale: float, offset: float) -> None:
    for units in spellings:
        assert conversion(variable, units) == pytest.approx((scale, offset), rel=1e-5), units


def test_units_of_another_quantity() -> None:
    assert conversion("t", "m s-1") is None
    assert conversion("w", "m s-1") is None
    assert conversion("t", "furlong") is None


def test_looks_like() -> None:
    assert looks_like("t", np.linspace(-60, 30, 50)) == "degrees Celsius"
    assert looks_like("msl", np.linspace(980, 1030, 50)) == "hPa"
    assert looks_like("t", np.full(50, 1e9)) is None


def test_pressure_factor() -> None:
    assert pressure_factor("", np.array([1000, 500])) == 100
    assert pressure_factor("", np.array([100000, 50000])) == 1
    assert pressure_factor("millibars", np.array([50])) == 100
    assert pressure_factor("Pa", np.array([500])) == 1
    assert pressure_factor("level", np.array([1, 2])) is None
