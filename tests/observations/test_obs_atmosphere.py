"""Known values: those of MetPy 1.7 (Ambaum 2020 saturation), hence the tolerance of 0.6 % for
humidity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phyda_cli.observations import atmosphere as air


@pytest.mark.parametrize(
    ("speed", "direction", "u", "v"),
    [
        (10, 0, 0, -10),
        (10, 360, 0, -10),
        (10, 90, -10, 0),
        (10, 180, 0, 10),
        (10, 270, 10, 0),
        (0, 77, 0, 0),
        (10, 225, 7.0710678, 7.0710678),
    ],
)
def test_wind_components(speed: float, direction: float, u: float, v: float) -> None:
    assert air.wind_components(np.array(speed), np.array(direction)) == pytest.approx(
        (u, v), abs=1e-6
    )


@given(st.floats(0, 100), st.floats(0, 360))
def test_wind_components_keep_the_speed_and_reverse_the_direction(
    speed: float, direction: float
) -> None:
    u, v = air.wind_components(np.array(speed), np.array(direction))
    assert np.hypot(u, v) == pytest.approx(speed)
    toward = np.array([np.sin(np.deg2rad(direction)), np.cos(np.deg2rad(direction))])
    assert u * toward[0] + v * toward[1] == pytest.approx(-speed)


@pytest.mark.parametrize(
    ("dew_point", "pressure", "q"),
    [(283.15, 85000, 9.0248e-3), (293.15, 100000, 1.46504e-2), (243.15, 50000, 6.3419e-4)],
)
def test_specific_humidity_from_dew_point(dew_point: float, pressure: float, q: float) -> None:
    assert air.specific_humidity_from_dew_point(
        np.array(dew_point), np.array(pressure)
    ) == pytest.approx(q, rel=6e-3)


@pytest.mark.parametrize(
    ("relative", "t", "pressure", "q"),
    [
        (50, 293.15, 100000, 7.2927e-3),
        (80, 303.15, 101325, 2.10608e-2),
        (60, 263.15, 70000, 1.5280e-3),
    ],
)
def test_specific_humidity_from_relative_humidity(
    relative: float, t: float, pressure: float, q: float
) -> None:
    assert air.specific_humidity_from_relative(
        np.array(relative), np.array(t), np.array(pressure)
    ) == pytest.approx(q, rel=6e-3)


def test_saturated_air_has_its_temperature_as_dew_point() -> None:
    t, p = np.array([250.0, 280.0, 300.0]), np.array(9e4)
    np.testing.assert_allclose(
        air.specific_humidity_from_relative(np.array(100.0), t, p),
        air.specific_humidity_from_dew_point(t, p),
    )


@pytest.mark.parametrize(
    ("height", "pressure"), [(0, 101325.0), (1500, 84555.97), (5000, 54019.9), (11000, 22632.1)]
)
def test_standard_atmosphere(height: float, pressure: float) -> None:
    assert air.standard_pressure(np.array(height)) == pytest.approx(pressure, rel=2e-4)
    assert air.standard_height(np.array(air.standard_pressure(np.array(height)))) == pytest.approx(
        height, abs=1e-6
    )


def test_altimeter_of_the_standard_atmosphere_gives_its_pressure() -> None:
    height = np.array([-300.0, 0.0, 500.0, 3000.0])
    np.testing.assert_allclose(
        air.station_pressure(np.array(101325.0), height), air.standard_pressure(height)
    )


@pytest.mark.parametrize(
    ("inches", "height", "pressure"), [(29.92, 1616, 83376.7), (30.10, 300, 98388.7)]
)
def test_station_pressure_agrees_with_the_weather_services_formula(
    inches: float, height: float, pressure: float
) -> None:
    # The American formula adds 0.3 hPa; the rest differs in rounding of constants.
    assert air.station_pressure(np.array(inches * 3386.389), np.array(height)) == pytest.approx(
        pressure - 30, abs=30
    )


def test_pressure_at_height_reproduces_the_standard_atmosphere() -> None:
    height = np.array([-200.0, 100.0, 450.0])
    np.testing.assert_allclose(
        air.pressure_at_height(np.array(101325.0), np.array(288.15), height),
        air.standard_pressure(height),
    )
