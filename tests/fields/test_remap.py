"""Fields to the model's grid and increments back to the background's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from phyda_cli.errors import GateError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.fields.remap import increments_to_fields, present, to_grid
from phyda_cli.names import Channel

TIME = np.datetime64("2020-01-01T00", "ns")
FINE = Grid(np.linspace(90, -90, 73), np.arange(144) * 2.5)
MODEL = Grid(np.linspace(-87.1875, 87.1875, 32), np.arange(64) * 5.625)
REGION = Grid(np.linspace(60, 30, 21), np.linspace(-20, 14.5, 24))
LEVELS = np.array([1000, 850, 500, 200, 50]) * 100.0


def smooth(grid: Grid, levels: np.ndarray) -> np.ndarray:
    """Linear in log p, long waves in the horizontal (L, H, W)."""
    lat, lon = (np.deg2rad(x) for x in grid.mesh)
    return 250 + 10 * np.log(levels / 1e5)[:, None, None] + 5 * np.cos(lat) * np.sin(lon)


def fields(grid: Grid, levels: np.ndarray = LEVELS) -> Fields:
    return Fields(
        grid,
        TIME,
        levels,
        {"t": smooth(grid, levels), "u": smooth(grid, levels) - 250},
        {"msl": smooth(grid, np.array([1e5]))[0]},
    )


def test_same_grid_and_level_is_the_identity() -> None:
    source = fields(FINE)
    values, available = to_grid(source, [Channel("t", 500), Channel("msl")], FINE)
    assert available.all()
    np.testing.assert_array_equal(values, [source.upper["t"][2], source.surface["msl"]])


@pytest.mark.parametrize("levels", [LEVELS, LEVELS[::-1]])
def test_a_gap_at_one_level_is_none_at_another(levels: np.ndarray) -> None:
    source = fields(FINE, levels)
    for k, level in enumerate(levels):
        t = source.upper["t"].copy()
        t[k, 40, 70] = np.nan
        holed = replace(source, upper={"t": t})
        values = to_grid(holed, [Channel("t", p / 100) for p in levels], FINE)[0]
        lacking = np.isnan(values[:, 40, 70])
        assert lacking.tolist() == [p == level for p in levels], level


def test_vertical_interpolation_is_linear_in_log_pressure() -> None:
    values, available = to_grid(fields(FINE), [Channel("t", 700), Channel("t", 500 * 1.0005)], FINE)
    assert available.all()
    np.testing.assert_allclose(values[0], smooth(FINE, np.array([7e4]))[0], atol=1e-9)
    np.testing.assert_allclose(values[1], smooth(FINE, np.array([5e4]))[0], atol=0.01)


def test_coarser_grid_gets_the_area_mean() -> None:
    source = fields(FINE)
    noisy = replace(source, surface={"msl": np.random.default_rng(0).normal(size=FINE.shape)})
    values, _ = to_grid(noisy, [Channel("msl")], MODEL)

    def mean(x: np.ndarray, grid: Grid) -> float:
        return float((x.mean(axis=1) * grid.area_weights).mean())

    assert mean(values[0], MODEL) == pytest.approx(mean(noisy.surface["msl"], FINE), abs=1e-10)
    smooth_values, _ = to_grid(source, [Channel("t", 850)], MODEL)
    np.testing.assert_allclose(smooth_values[0], smooth(MODEL, np.array([8.5e4]))[0], atol=0.1)


def test_finer_grid_gets_bilinear_values() -> None:
    values, _ = to_grid(fields(MODEL), [Channel("t", 500), Channel("u", 500)], FINE)
    np.testing.assert_allclose(values[0], smooth(FINE, np.array([5e4]))[0], atol=0.1)


def test_what_the_source_lacks_is_unavailable_not_guessed() -> None:
    source = fields(FINE)
    t = source.upper["t"].copy()
    t[0] = np.nan  # no 1000 hPa temperature
    source = replace(source, upper={**source.upper, "t": t})
    assert present(source)["t"].tolist() == [False, True, True, True, True]
    channels = [
        Channel("t", 1000),
        Channel("t", 925),
        Channel("t", 850),
        Channel("t", 20),
        Channel("q", 500),
        Channel("t2m"),
        Channel("msl"),
    ]
    values, available = to_grid(source, channels, MODEL)
    assert available.tolist() == [False, False, True, False, False, False, True]
    assert np.isnan(values[~available]).all()
    assert np.isfinite(values[available]).all()


def test_single_level_variables_serve_only_that_level() -> None:
    source = fields(REGION, np.array([5e4, 8.5e4]))
    t = source.upper["t"].copy()
    t[0] = np.nan
    _, available = to_grid(
        replace(source, upper={"t": t}),
        [Channel("t", 850), Channel("t", 700), Channel("t", 500)],
        REGION,
    )
    assert available.tolist() == [True, False, False]


def test_points_outside_a_limited_area_are_nan() -> None:
    values, available = to_grid(fields(REGION), [Channel("t", 500)], MODEL)
    inside = REGION.contains(*MODEL.mesh)
    assert available[0]
    assert 0 < inside.sum() < 60
    assert np.isfinite(values[0][inside]).all()
    assert np.isnan(values[0][~inside]).all()


def test_no_overlap_is_unavailable() -> None:
    elsewhere = Grid(np.linspace(-10, -20, 5), np.linspace(100, 110, 5))
    _, available = to_grid(fields(REGION), [Channel("t", 500)], elsewhere)
    assert not available[0]


CHANNELS = [
    Channel("t", 200),
    Channel("t", 500),
    Channel("t", 850),
    Channel("msl"),
    Channel("q", 500),
]


def test_increments_between_below_and_above_the_model_levels() -> None:
    levels = np.array([1000, 850, 650, 500, 200, 200 / np.sqrt(5), 40, 10]) * 100
    target = fields(MODEL, levels)
    increment = np.stack([np.full(MODEL.shape, x) for x in (4.0, 2.0, 1.0, 7.0, 9.0)])
    found = increments_to_fields(increment, CHANNELS, MODEL, target)
    between = 1 + np.log(850 / 650) / np.log(850 / 500)
    np.testing.assert_allclose(
        found.upper["t"][:, 3, 4], [1, 1, between, 2, 4, 2, 0, 0], atol=1e-12
    )
    np.testing.assert_array_equal(found.surface["msl"], increment[3])
    assert list(found.upper) == ["t"]
    assert list(found.surface) == ["msl"]
    assert found.levels is target.levels
    assert found.time == TIME


def test_increments_on_another_grid_and_at_the_poles() -> None:
    lon = np.deg2rad(MODEL.mesh[1])
    increment = np.stack([np.cos(lon), np.cos(lon)])
    found = increments_to_fields(
        increment, [Channel("u", 500), Channel("t", 500)], MODEL, fields(FINE)
    )
    along = np.cos(np.deg2rad(FINE.longitude))
    np.testing.assert_allclose(found.upper["u"][2, 0], along, atol=5e-3)  # a flow across the pole
    np.testing.assert_allclose(
        found.upper["t"][2, 0], 0, atol=1e-12
    )  # a scalar has one value there
    np.testing.assert_allclose(found.upper["t"][2, 36], along, atol=5e-3)


def test_increments_of_a_limited_area_end_at_its_edge() -> None:
    found = increments_to_fields(
        np.ones((1, *REGION.shape)), [Channel("t", 500)], REGION, fields(FINE)
    )
    inside = REGION.contains(*FINE.mesh)
    np.testing.assert_allclose(found.upper["t"][2], inside.astype(float), atol=1e-9)


def test_a_level_absent_from_the_target_stays_absent() -> None:
    target = fields(MODEL)
    t = target.upper["t"].copy()
    t[1] = np.nan
    target = replace(target, upper={"t": t})
    found = increments_to_fields(np.ones((1, *MODEL.shape)), [Channel("t", 500)], MODEL, target)
    assert np.isfinite(found.upper["t"]).all()
    assert present(replace(target, upper={"t": t + found.upper["t"]}))["t"].tolist() == [
        True,
        False,
        True,
        True,
        True,
    ]


def test_increments_that_are_not_finite_stop_here() -> None:
    increment = np.zeros((2, *MODEL.shape))
    increment[1, 3, 4] = np.nan
    with pytest.raises(GateError, match="t850"):
        increments_to_fields(increment, [Channel("t", 500), Channel("t", 850)], MODEL, fields(FINE))


def test_an_area_smaller_than_a_cell_still_gives_the_point_within() -> None:
    small = Grid(np.linspace(49, 46, 13), np.linspace(4, 7, 13))
    values, available = to_grid(fields(small), [Channel("msl")], MODEL)
    inside = small.contains(*MODEL.mesh)
    assert available[0]
    assert inside.sum() == 1
    np.testing.assert_allclose(values[0][inside], fields(small).surface["msl"].mean(), atol=0.05)


def test_spreads_of_the_wind_do_not_vanish_at_a_pole() -> None:
    target, spread = fields(FINE), np.full((1, *MODEL.shape), 2.0)
    found = increments_to_fields(spread, [Channel("u", 500)], MODEL, target, vectors=False)
    np.testing.assert_allclose(found.upper["u"][2], 2.0, rtol=1e-6)
