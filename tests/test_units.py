"""Spellings of units and their conversions: one table for observations and forecasts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phyda_cli.constants import GRAVITY
from phyda_cli.names import OBSERVABLES, VARIABLES
from phyda_cli.units import (
    COMMON,
    conversion,
    factors,
    factors_of_variable,
    is_unit,
    looks_like,
    pressure_factor,
)

_KNOT = 1852 / 3600


@pytest.mark.parametrize(
    ("canonical", "spellings", "scale", "offset"),
    [
        ("K", "K|kelvin|degK|degree_K|Kelvin", 1, 0),
        (
            "K",
            "degC|C|celsius|Celsius|°C|° C|deg C|degree_C|degrees_C|degree C|degree_Celsius|"
            "degrees_celsius|Degrees Celsius",
            1,
            273.15,
        ),
        ("K", "degF|F|°F|fahrenheit|degree_F|Degrees Fahrenheit", 5 / 9, 459.67 * 5 / 9),
        ("K", "0.1 degC|0.1 degree_Celsius", 0.1, 273.15),
        ("m s-1", "m s-1|m/s|m s**-1|m s^-1|m.s-1|M/S|ms-1|m sec-1|m/sec|m*s-1|m s⁻¹|m s_1", 1, 0),
        ("m s-1", "meter/sec|meter second-1|metres per second|meters s-1|mps|ms", 1, 0),
        ("m s-1", "kt|kts|kn|knot|knots|nmi/h", _KNOT, 0),
        ("m s-1", "km/h|km h-1|km hr-1|kmh|kph|kmh-1", 1 / 3.6, 0),
        ("m s-1", "mph|mi/h|miles/hour", 0.44704, 0),
        ("Pa", "Pa|pascal|Pascals|N/m2|N m-2", 1, 0),
        ("Pa", "hPa|mb|mbar|millibar|millibars|hectopascal", 100, 0),
        ("Pa", "kPa", 1000, 0),
        ("Pa", "inHg|in_hg|in Hg|inches Hg", 3386.389, 0),
        ("Pa", "mmHg", 133.3224, 0),
        ("kg kg-1", "kg kg-1|kg/kg|kg kg**-1|1|kgkg-1|g/g|g g-1|dimensionless", 1, 0),
        ("kg kg-1", "g/kg|g kg-1|gkg-1", 1e-3, 0),
        ("kg kg-1", "mg/kg", 1e-6, 0),
        ("m2 s-2", "m2 s-2|m**2 s**-2|m^2/s^2|m2/s2|m2s-2|J/kg|J kg-1", 1, 0),
        ("m2 s-2", "gpm|m|metres", GRAVITY, 0),
        ("m2 s-2", "gpdam|dam", 10 * GRAVITY, 0),
        ("m", "m|gpm|meters", 1, 0),
        ("m", "ft|feet", 0.3048, 0),
        ("m", "km", 1000, 0),
        ("m", "m**2 s**-2", 1 / GRAVITY, 0),
        ("%", "%|percent|pct", 1, 0),
        ("%", "1|fraction|(0 - 1)", 100, 0),
        ("1", "1|(0 - 1)|0-1|fraction", 1, 0),
        ("1", "%", 0.01, 0),
        (
            "degree",
            "degree|degrees|deg|°|degrees_true|degree true|degT|degrees_north",
            1,
            0,
        ),
        ("Pa s-1", "Pa s-1|Pa/s|Pa s**-1", 1, 0),
        ("Pa s-1", "hPa s-1", 100, 0),
        ("kg m-2", "kg m-2|kg/m2|mm", 1, 0),
    ],
)
def test_spellings(canonical: str, spellings: str, scale: float, offset: float) -> None:
    for unit in spellings.split("|"):
        assert factors(unit, canonical) == pytest.approx((scale, offset), rel=1e-12), unit


@pytest.mark.parametrize(
    ("unit", "canonical"),
    [
        ("kt", "K"),
        ("K", "m"),
        ("m", "Pa"),
        ("%", "kg kg-1"),
        ("furlong", "m"),
        ("m s-1", "Pa s-1"),
        ("hPa", "m s-1"),
        ("", "K"),
        ("/", "m"),
    ],
)
def test_a_unit_of_another_quantity_is_refused(unit: str, canonical: str) -> None:
    assert factors(unit, canonical) is None
    with pytest.raises(ValueError, match="does not convert"):
        conversion(unit, canonical)


def test_no_unit_means_the_canonical_one() -> None:
    assert conversion(None, "K") == (1.0, 0.0)


@given(
    st.sampled_from([(c, u) for c, units in COMMON.items() for u in units]),
    st.floats(-1e4, 1e4),
)
def test_round_trip(names: tuple[str, str], value: float) -> None:
    scale, offset = conversion(names[1], names[0])
    assert ((value * scale + offset) - offset) / scale == pytest.approx(value, rel=1e-9, abs=1e-6)


@given(st.text(max_size=12), st.sampled_from(sorted(COMMON)))
def test_any_text_is_a_unit_or_none(text: str, canonical: str) -> None:
    found = factors(text, canonical)
    assert found is None or np.isfinite(found).all()


def test_every_unit_of_the_table_of_variables_is_known() -> None:
    for variable in (VARIABLES | OBSERVABLES).values():
        assert factors(variable.units, variable.units) == (1.0, 0.0), variable.name


def test_is_unit() -> None:
    assert [is_unit(u) for u in ("degC", "m s-1", "m/s", "in_hg", "m s**-1")] == [True] * 5
    assert [is_unit(u) for u in ("speed", "", "1", "max", "UTC")] == [False] * 5


def test_units_of_a_forecast() -> None:
    assert factors_of_variable("t", "") == (1.0, 0.0)
    assert factors_of_variable("gh", "") == (GRAVITY, 0.0)
    assert factors_of_variable("gh", "gpm") == (GRAVITY, 0.0)
    assert factors_of_variable("w", "m s-1") is None


@pytest.mark.parametrize(
    ("variable", "values", "unit"),
    [
        ("t", np.linspace(-60, 30, 50), "degC"),
        ("t2m", np.linspace(70, 110, 50), "degF"),
        ("msl", np.linspace(980, 1030, 50), "hPa"),
        ("qnh", np.linspace(29, 31, 50), "inHg"),
        ("q", np.linspace(1, 15, 50), "g/kg"),
        ("t", np.full(50, 1e9), None),
    ],
)
def test_what_unlabelled_values_look_like(
    variable: str, values: np.ndarray, unit: str | None
) -> None:
    assert looks_like(variable, values) == unit
    assert unit is None or is_unit(unit)  # what a hint says is read back


def test_pressure_factor() -> None:
    assert pressure_factor("", np.array([1000, 500])) == 100
    assert pressure_factor("", np.array([100000, 50000])) == 1
    assert pressure_factor("millibars", np.array([50])) == 100
    assert pressure_factor("Pa", np.array([500])) == 1
    assert pressure_factor("level", np.array([1, 2])) is None
