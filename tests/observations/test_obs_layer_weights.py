"""Layer means, thickness, the water vapour column and wind speed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_obs_operators import LEVELS, fields, observations, only

from phyda_cli.constants import GRAVITY
from phyda_cli.fields.grid import Fields
from phyda_cli.observations.operator_rows import layer_weights
from phyda_cli.observations.operators import build_operator
from phyda_cli.observations.table import QC

PRESSURE = st.floats(30000, 92000)


@given(
    st.lists(st.tuples(PRESSURE, st.floats(1, 40000)), min_size=1, max_size=5),
    st.permutations(list(range(LEVELS.size))),
)
def test_layer_means_are_exact_for_profiles_linear_in_log_pressure(
    layers: list[tuple[float, float]], order: list[int]
) -> None:
    top, depth = np.array(layers).T
    bottom = np.minimum(top + depth, 92500.0)
    levels = LEVELS[order]
    weights = layer_weights(levels, bottom, top)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-9)
    expected = ((bottom * np.log(bottom) - bottom) - (top * np.log(top) - top)) / (bottom - top)
    np.testing.assert_allclose(weights @ np.log(levels), expected, rtol=1e-9)


def test_a_layer_is_the_sum_of_its_parts_and_keeps_the_outermost_values_beyond_the_levels() -> None:
    whole, lower, upper = (
        layer_weights(LEVELS, np.array([b]), np.array([t]))
        for b, t in ((1e5, 2e4), (1e5, 6e4), (6e4, 2e4))
    )
    np.testing.assert_allclose(8 * whole, 4 * lower + 4 * upper)
    np.testing.assert_allclose(
        layer_weights(LEVELS, np.array([1e5]), np.array([95000.0])), [[0, 0, 0, 1]], atol=1e-12
    )
    np.testing.assert_allclose(
        layer_weights(LEVELS, np.array([2e4]), np.array([1e4])), [[1, 0, 0, 0]], atol=1e-12
    )


def test_layer_mean_of_a_field() -> None:
    value, code = only(fields(), observations("t", pressure=9e4, pressure_top=4e4))
    mean = ((9e4 * np.log(9e4) - 9e4) - (4e4 * np.log(4e4) - 4e4)) / 5e4
    assert (value, code) == (pytest.approx(200 + 0.5 * 45.3 + 0.1 * 2.2 + 8 * mean), 0)
    for bottom, top in ((9e4, 2e4), (11e4, 4e4), (4e4, 9e4), (np.nan, 4e4)):
        assert (
            only(fields(), observations("t", pressure=bottom, pressure_top=top))[1] == QC.H_FAILED
        )


def test_thickness() -> None:
    assert only(fields(), observations("thickness", pressure=85000.0, pressure_top=50000.0)) == (
        pytest.approx(8e4 * np.log(85 / 50) / GRAVITY),
        0,
    )
    assert only(fields(), observations("thickness", pressure=85000.0))[1] == QC.H_FAILED
    assert (
        only(fields(), observations("thickness", pressure=1e5, pressure_top=50000.0))[1]
        == QC.H_FAILED
    )


def test_water_vapour_column() -> None:
    state = fields(q=np.array(5e-3), sp=np.array(98000.0))
    assert only(state, observations("tcwv")) == (pytest.approx(5e-3 * (98000 - 30000) / GRAVITY), 0)
    higher, code = only(state, observations("tcwv", elevation=300.0))
    assert code == 0
    assert only(state, observations("sp", elevation=300.0))[0] == pytest.approx(
        higher * GRAVITY / 5e-3 + 30000
    )
    assert only(state, observations("tcwv", elevation=800.0))[1] == QC.DIFF_REF
    dry = Fields(state.grid, state.time, LEVELS, {"t": state.upper["t"]}, state.surface)
    assert only(dry, observations("tcwv"))[1] == QC.H_FAILED


@pytest.mark.parametrize("pressure", [np.nan, 85000.0])
def test_wind_speed_and_its_derivative(pressure: float) -> None:
    state = fields()
    table = observations("wind_speed", pressure=pressure)
    operator = build_operator(state, table, None)
    x, h = state.vector(), 1e-4
    u, v = (
        only(state, observations(n, pressure=pressure))[0]
        for n in (("u10", "v10") if np.isnan(pressure) else ("u", "v"))
    )
    assert operator.apply(x)[0] == pytest.approx(np.hypot(u, v))

    def speed(of: np.ndarray) -> float:
        components = [
            build_operator(state, observations(n, pressure=pressure), None)
            for n in (("u10", "v10") if np.isnan(pressure) else ("u", "v"))
        ]
        return float(np.hypot(*(c.apply(of)[0] for c in components)))

    along = np.random.default_rng(0).normal(size=x.size)
    assert (operator.matrix @ along)[0] == pytest.approx(
        (speed(x + h * along) - speed(x - h * along)) / (2 * h), rel=1e-6
    )


def test_wind_speed_of_still_air_pulls_nowhere() -> None:
    operator = build_operator(
        fields(u10=np.array(0.0), v10=np.array(0.0)), observations("wind_speed"), None
    )
    assert operator.qc.tolist() == [0]
    assert operator.offset.tolist() == [0]
    assert operator.matrix.nnz == 0
