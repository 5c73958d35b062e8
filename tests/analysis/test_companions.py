"""2 m humidity in whichever form a forecast has it, and what follows from the analysed fields."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import GRID, TIME

from phyda_cli.analysis.companions import companions, followers
from phyda_cli.fields.grid import Fields
from phyda_cli.observations.atmosphere import (
    dew_point,
    specific_humidity,
    specific_humidity_from_dew_point,
    vapour_of,
    vapour_pressure,
)
from phyda_cli.observations.surface_air import with_specific_humidity


def fields(**surface: float) -> Fields:
    values = {name: np.full(GRID.shape, value) for name, value in surface.items()}
    return Fields(GRID, TIME, np.zeros(0), {}, values)


@given(st.floats(190.0, 310.0), st.floats(4e4, 1.06e5))
def test_conversions_are_inverses(dew: float, pressure: float) -> None:
    vapour = vapour_pressure(np.array(dew))
    np.testing.assert_allclose(dew_point(vapour), dew, atol=1e-9)
    humidity = specific_humidity(vapour, np.array(pressure))
    np.testing.assert_allclose(vapour_of(humidity, np.array(pressure)), vapour, rtol=1e-12)


def test_a_dew_point_gives_specific_humidity() -> None:
    found = with_specific_humidity(fields(t2m=290.0, d2m=283.0, sp=98000.0)).surface["q2m"]
    np.testing.assert_allclose(found, specific_humidity_from_dew_point(283.0, 98000.0))
    assert 7e-3 < found[0, 0] < 8.5e-3


def test_relative_humidity_gives_it_where_there_is_no_dew_point() -> None:
    vapour = float(vapour_pressure(np.array(283.0)) / vapour_pressure(np.array(290.0)))
    found = with_specific_humidity(fields(t2m=290.0, rh2m=100 * vapour, sp=98000.0))
    np.testing.assert_allclose(
        found.surface["q2m"], specific_humidity_from_dew_point(283.0, 98000.0)
    )


def test_what_a_forecast_has_itself_is_kept_and_nothing_is_guessed() -> None:
    own = fields(q2m=5e-3, d2m=283.0, sp=98000.0)
    assert with_specific_humidity(own) is own
    unknown = fields(d2m=283.0)
    assert with_specific_humidity(unknown) is unknown


def test_dew_point_and_relative_humidity_follow_the_analysis() -> None:
    background = with_specific_humidity(fields(t2m=290.0, d2m=283.0, rh2m=63.0, sp=98000.0))
    moister = specific_humidity_from_dew_point(np.full(GRID.shape, 285.0), 98500.0)
    surface = background.surface | {"t2m": np.full(GRID.shape, 291.0), "q2m": moister}
    surface["sp"] = np.full(GRID.shape, 98500.0)
    found = companions(background, replace(background, surface=surface))
    np.testing.assert_allclose(found["d2m"], 285.0, atol=1e-9)
    es = vapour_pressure(np.array([283.0, 285.0, 290.0, 291.0]))
    np.testing.assert_allclose(found["rh2m"], 63.0 * (es[1] / es[0]) / (es[3] / es[2]))


def test_saturated_air_stays_at_a_hundred() -> None:
    background = with_specific_humidity(fields(t2m=283.0, rh2m=99.0, sp=98000.0))
    colder = background.surface | {"t2m": np.full(GRID.shape, 275.0)}
    assert companions(background, replace(background, surface=colder))["rh2m"].max() == 100.0


def test_nothing_changes_where_the_analysis_is_the_background() -> None:
    background = with_specific_humidity(fields(t2m=290.0, d2m=283.0, rh2m=63.0, sp=98000.0))
    found = companions(background, background)
    np.testing.assert_allclose(found["d2m"], 283.0, atol=1e-12)
    np.testing.assert_allclose(found["rh2m"], 63.0, rtol=1e-14)


@pytest.mark.parametrize("own", [{"orography": 4000.0}, {"sp": 61640.0}])
def test_humidity_at_2_m_follows_that_of_its_own_level(own: dict[str, float]) -> None:
    levels = np.array([50000.0, 61640.0, 85000.0, 92500.0])
    aloft = np.arange(4.0)[:, None, None] + np.zeros((4, *GRID.shape))
    background = fields(q2m=4e-3, **own)
    background = replace(background, levels=levels, upper={"q": aloft})
    part = replace(background, surface={})
    np.testing.assert_allclose(followers(background, part)["q2m"], 1.0, atol=0.01)
