"""Interpolation matrices against functions they must reproduce exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phyda_cli.fields.grid import Grid
from phyda_cli.fields.interpolate import bilinear, grid_to_grid, log_pressure_weights, regrid

POLES = Grid(np.linspace(90, -90, 37), np.arange(72) * 5.0)
CENTRED = Grid(np.linspace(-87.1875, 87.1875, 32), np.arange(64) * 5.625)
REGION = Grid(np.linspace(60, 30, 21), np.linspace(-20, 14.5, 24))
GRIDS = (POLES, CENTRED, Grid(CENTRED.latitude[::-1], CENTRED.longitude - 180), REGION)


@given(latitude=st.floats(30, 60), longitude=st.floats(-20, 14.5), shift=st.integers(-2, 2))
def test_exact_for_functions_linear_in_latitude_and_longitude(
    latitude: float, longitude: float, shift: int
) -> None:
    lat, lon = REGION.mesh
    field = 3 + 2 * lat - 0.5 * lon + 0.01 * lat * lon
    found = (
        bilinear(REGION, np.array([latitude]), np.array([longitude + 360.0 * shift]))
        @ field.ravel()
    )
    assert found[0] == pytest.approx(
        3 + 2 * latitude - 0.5 * longitude + 0.01 * latitude * longitude, abs=1e-4
    )


@given(
    latitude=st.floats(-90, 90),
    longitude=st.floats(-360, 720),
    which=st.integers(0, 2),
    vector=st.booleans(),
)
def test_weights_of_scalars_sum_to_one_everywhere_on_a_global_grid(
    latitude: float, longitude: float, which: int, vector: bool
) -> None:
    row = bilinear(GRIDS[which], np.array([latitude]), np.array([longitude]), vector=False)
    assert row.sum() == pytest.approx(1)
    assert row.data.min() >= -1e-9
    assert np.isfinite(
        (bilinear(GRIDS[which], np.array([latitude]), np.array([longitude]), vector=vector)).data
    ).all()


@pytest.mark.parametrize("grid", GRIDS)
def test_reproduces_the_nodes(grid: Grid) -> None:
    field = np.random.default_rng(0).normal(size=grid.shape)
    np.testing.assert_allclose(
        (grid_to_grid(grid, grid) @ field.ravel()).reshape(grid.shape), field, atol=1e-6
    )


@pytest.mark.parametrize("source", GRIDS)
@pytest.mark.parametrize("target", [*GRIDS, Grid(np.linspace(90, 40, 91), np.arange(-60, 99.0))])
@pytest.mark.parametrize("vector", [False, True])
def test_by_rows_and_columns_as_by_the_matrix(source: Grid, target: Grid, vector: bool) -> None:
    field = np.random.default_rng(0).standard_normal(source.shape)
    wanted = (grid_to_grid(source, target, vector) @ field.ravel()).reshape(target.shape)
    np.testing.assert_allclose(regrid(source, target, field, vector), wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("source", "target"),
    [(POLES, CENTRED), (REGION, Grid(np.linspace(58, 32, 53), np.arange(-18, 14.0)))],
)
def test_a_missing_value_is_missing_next_to_it_only(source: Grid, target: Grid) -> None:
    field = np.zeros(source.shape)
    field[10, 10] = np.nan
    found = np.isnan(regrid(source, target, field))
    assert 0 < found.mean() < 0.02
    lat, lon = (a[found] for a in target.mesh)
    assert (abs(lat - source.latitude[10]) <= abs(np.diff(source.latitude[:2]))).all()
    assert (abs((lon - source.longitude[10] + 180) % 360 - 180) <= source.spacing).all()


def test_wraps_between_the_last_and_the_first_column() -> None:
    field = np.zeros(CENTRED.shape)
    field[:, 0], field[:, -1] = 4.0, 2.0
    half_way = 360 - 5.625 / 2
    for longitude in (half_way, half_way - 360, half_way + 360):
        assert bilinear(
            CENTRED, np.array([0.0]), np.array([longitude])
        ) @ field.ravel() == pytest.approx(3.0)


@pytest.mark.parametrize("grid", GRIDS[:3])
@pytest.mark.parametrize("pole", [90.0, -90.0])
def test_pole_of_a_scalar_is_the_mean_of_its_row(grid: Grid, pole: float) -> None:
    field = np.random.default_rng(2).normal(size=grid.shape)
    row = np.abs(grid.latitude - pole).argmin()
    found = bilinear(grid, np.full(5, pole), np.arange(5) * 70.0) @ field.ravel()
    if abs(grid.latitude[row]) < 90:
        np.testing.assert_allclose(found, field[row].mean(), atol=1e-12)
    else:
        np.testing.assert_allclose(found[0], field[row, 0], atol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("grid", GRIDS[1:3])
def test_uniform_flow_crosses_the_pole_unchanged(grid: Grid, sign: int) -> None:
    """A horizontal flow of constant direction in space: u = cos(lon - a), v = -sign sin(lat)
    sin(lon - a) near the pole."""
    lon = grid.mesh[1]
    u, v = np.cos(np.deg2rad(lon - 40)), -sign * np.sin(np.deg2rad(lon - 40))
    target_lon = np.array([3.0, 97.0, 211.0, 300.0])
    for target_lat in (88.5, 90.0):
        matrix = bilinear(grid, np.full(4, sign * target_lat), target_lon, vector=True)
        np.testing.assert_allclose(
            matrix @ u.ravel(), np.cos(np.deg2rad(target_lon - 40)), atol=2e-3
        )
        np.testing.assert_allclose(
            matrix @ v.ravel(), -sign * np.sin(np.deg2rad(target_lon - 40)), atol=2e-3
        )


def test_points_outside_a_limited_area_get_no_weight() -> None:
    matrix = bilinear(REGION, np.array([45.0, 65.0, 45.0]), np.array([0.0, 0.0, 40.0]))
    np.testing.assert_allclose(np.asarray(matrix.sum(axis=1)).ravel(), [1, 0, 0])


@given(
    st.permutations([1e3, 1e4, 3e4, 5e4, 8.5e4, 1e5]),
    st.lists(st.floats(1e3, 1e5), min_size=1, max_size=5),
)
def test_log_pressure_is_exact_for_linear_in_log_p(
    levels: list[float], wanted: list[float]
) -> None:
    knots, pressure = np.array(levels), np.array(wanted)
    index, weight, within = log_pressure_weights(knots, pressure)
    values = 250 + 8 * np.log(knots)
    np.testing.assert_allclose(
        (values[index] * weight).sum(axis=1), 250 + 8 * np.log(pressure), rtol=1e-12
    )
    assert within.all()


def test_log_pressure_does_not_extrapolate() -> None:
    index, weight, within = log_pressure_weights(
        np.array([5e4, 8.5e4]), np.array([4.9e4, 5e4 * 0.9995, 8.5e4 * 1.0005, 9e4])
    )
    assert within.tolist() == [False, True, True, False]
    np.testing.assert_allclose((np.array([1.0, 2.0])[index] * weight).sum(axis=1), [1, 1, 2, 2])
    _, weight, within = log_pressure_weights(np.array([5e4]), np.array([5e4, 6e4]))
    assert within.tolist() == [True, False]
    assert weight[:, 0].tolist() == [1, 1]
