import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phyda_cli.observations.units import _CONVERSIONS, conversion, is_unit


@pytest.mark.parametrize(
    ("unit", "canonical", "value", "expected"),
    [
        ("degC", "K", 20.0, 293.15),
        ("degF", "K", 32.0, 273.15),
        ("degF", "K", 212.0, 373.15),
        ("hPa", "Pa", 1013.25, 101325.0),
        ("inHg", "Pa", 29.92, 101320.76),
        ("mmHg", "Pa", 760.0, 101325.0),
        ("kt", "m s-1", 10.0, 5.144444),
        ("km/h", "m s-1", 36.0, 10.0),
        ("mph", "m s-1", 10.0, 4.4704),
        ("m/s", "m s-1", 7.0, 7.0),
        ("g/kg", "kg kg-1", 12.0, 0.012),
        ("ft", "m", 1000.0, 304.8),
        ("gpm", "m2 s-2", 100.0, 980.665),
        ("gpdam", "m2 s-2", 10.0, 980.665),
        ("fraction", "%", 0.5, 50.0),
        (None, "K", 280.0, 280.0),
    ],
)
def test_known_conversions(unit: str | None, canonical: str, value: float, expected: float) -> None:
    scale, offset = conversion(unit, canonical)
    assert value * scale + offset == pytest.approx(expected, rel=1e-6)


@given(
    st.sampled_from([(c, u) for c, table in _CONVERSIONS.items() for u in table]),
    st.floats(-1e4, 1e4),
)
def test_round_trip(names: tuple[str, str], value: float) -> None:
    scale, offset = conversion(names[1], names[0])
    assert ((value * scale + offset) - offset) / scale == pytest.approx(value, rel=1e-9, abs=1e-6)


def test_a_unit_of_another_quantity_is_refused_with_the_ones_expected() -> None:
    with pytest.raises(ValueError, match=r"'kt' does not convert to K.*degc"):
        conversion("kt", "K")


def test_is_unit() -> None:
    assert [is_unit(u) for u in ("degC", "m s-1", "m/s", "speed", "", "1")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    assert np.isfinite(conversion("m s**-1", "m s-1")).all()
