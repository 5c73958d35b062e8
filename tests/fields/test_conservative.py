"""Conservative remapping: constants, integrals, identities and means that must come out exactly;
which method is taken when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phyda_cli.errors import UsageError
from phyda_cli.fields.conservative import cell_bounds, conservative
from phyda_cli.fields.grid import Grid
from phyda_cli.fields.remap import Regridder, method_between, regridder
from phyda_cli.fields.state import equiangular

POLES = Grid(np.linspace(90, -90, 37), np.arange(72) * 5.0)
CENTRED = equiangular(64, 32)
GAUSSIAN = Grid(np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(48)[0])), 3.75 * np.arange(96))
SHIFTED = Grid(CENTRED.latitude[::-1], CENTRED.longitude - 180)
REGION = Grid(np.linspace(60, 30, 21), np.linspace(-20, 14.5, 24))
GLOBES = (POLES, CENTRED, GAUSSIAN, SHIFTED)


def areas(grid: Grid) -> np.ndarray:
    """(H, W), the whole globe 4 pi."""
    rows, columns = cell_bounds(grid)
    return np.abs(np.diff(rows))[:, None] * np.deg2rad(np.diff(columns))[None]


def remapped(field: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    return (conservative(source, target) @ field.ravel()).reshape(target.shape)


@pytest.mark.parametrize("grid", GLOBES)
def test_cells_cover_the_globe(grid: Grid) -> None:
    assert areas(grid).sum() == pytest.approx(4 * np.pi, rel=1e-14)


@pytest.mark.parametrize("source", GLOBES)
@pytest.mark.parametrize("target", [*GLOBES, equiangular(7, 4)])
def test_constants_stay_and_the_integral_is_conserved(source: Grid, target: Grid) -> None:
    matrix = conservative(source, target)
    np.testing.assert_allclose(matrix @ np.ones(source.size), 1, rtol=1e-13)
    field = np.random.default_rng(3).normal(size=source.shape)
    before, after = (
        (field * areas(source)).sum(),
        (remapped(field, source, target) * areas(target)).sum(),
    )
    assert after == pytest.approx(before, abs=1e-12)
    assert matrix.data.min() > 0


@pytest.mark.parametrize("grid", [*GLOBES, REGION])
def test_the_same_grid_in_another_order_keeps_every_value(grid: Grid) -> None:
    field = np.random.default_rng(0).normal(size=grid.shape)
    np.testing.assert_array_equal(remapped(field, grid, grid), field)
    turned = Grid(grid.latitude[::-1], grid.longitude)
    np.testing.assert_array_equal(remapped(field, grid, turned), field[::-1])


def test_longitudes_of_the_other_convention() -> None:
    field = np.random.default_rng(1).normal(size=CENTRED.shape)
    np.testing.assert_array_equal(
        remapped(field, CENTRED, SHIFTED), np.roll(field, 32, axis=1)[::-1]
    )


@given(factor=st.tuples(st.integers(1, 5), st.integers(1, 4)), seed=st.integers(0, 9))
def test_coarse_cells_are_the_means_of_the_fine_ones_within(
    factor: tuple[int, int], seed: int
) -> None:
    """Rows of equal edges: cell centres of both grids half-way, so that each coarse cell is a block
    of fine ones."""
    coarse = Grid(np.array([-67.5, -22.5, 22.5, 67.5]), 45.0 + 90 * np.arange(4))
    n_lon, n_lat = 4 * factor[0], 4 * factor[1]
    fine = Grid(
        -90 + 180 / n_lat * (0.5 + np.arange(n_lat)), 360 / n_lon * (0.5 + np.arange(n_lon))
    )
    field = np.random.default_rng(seed).normal(size=fine.shape)
    weight, shape = areas(fine), (4, factor[1], 4, factor[0])
    blocks = (field * weight).reshape(shape).sum(axis=(1, 3)) / weight.reshape(shape).sum(
        axis=(1, 3)
    )
    np.testing.assert_allclose(remapped(field, fine, coarse), blocks, rtol=0, atol=1e-13)


def test_a_function_of_the_sine_of_latitude_has_its_exact_means() -> None:
    """Means of sin(lat) over bands are half-way between the sines of their edges."""
    fine = equiangular(8, 320)
    rows, _ = cell_bounds(fine)
    field = np.repeat(((rows[1:] + rows[:-1]) / 2)[:, None], 8, axis=1)
    target_rows, _ = cell_bounds(CENTRED)
    found = remapped(field, fine, CENTRED)
    np.testing.assert_allclose(
        found,
        np.repeat(((target_rows[1:] + target_rows[:-1]) / 2)[:, None], 64, axis=1),
        atol=1e-12,
    )


def test_a_limited_area_gives_what_it_covers_and_the_rest_is_missing() -> None:
    field = np.full(REGION.shape, 7.0)
    target = Grid(
        np.array([25.0, 35.0, 45.0, 55.0, 65.0]), np.array([-25.0, -15.0, -5.0, 5.0, 15.0, 25.0])
    )
    found = Regridder(REGION, target)(field)
    np.testing.assert_allclose(found[1:4, 1:4], 7, rtol=1e-14)
    assert np.isnan(found[[0, -1]]).all()
    assert np.isnan(found[:, [0, -1]]).all()
    assert np.isnan(found[2, 4]) != (
        REGION.longitude[-1] + 0.75 > 15
    )  # half of the cell of 15 E is inside
    globe = Regridder(REGION, CENTRED)
    assert globe.outside() == int(np.isnan(globe(field)).sum()) > 1900


def test_a_missing_value_stays_where_it_has_a_share() -> None:
    field = np.ones(POLES.shape)
    field[10, 20] = np.nan
    found = Regridder(POLES, CENTRED)(field)
    rows = conservative(POLES, CENTRED).toarray().reshape(*CENTRED.shape, -1)[..., 10 * 72 + 20] > 0
    np.testing.assert_array_equal(np.isnan(found), rows)


def test_which_method() -> None:
    assert method_between(POLES, POLES) == "none"
    assert method_between(GAUSSIAN, CENTRED) == "conservative"
    assert method_between(CENTRED, GAUSSIAN) == "bilinear"
    assert (
        method_between(equiangular(240, 24), equiangular(72, 48)) == "bilinear"
    )  # finer in one direction
    assert method_between(POLES, Grid(POLES.latitude[::-1], POLES.longitude)) == "conservative"


def test_finer_grids_are_interpolated_and_winds_cross_the_pole() -> None:
    fine = Grid(np.linspace(-90, 90, 181), np.arange(360.0))
    lon = np.deg2rad(CENTRED.mesh[1])
    found = regridder(CENTRED, fine)(np.stack([np.cos(lon), np.ones(CENTRED.shape)]), vector=True)
    np.testing.assert_allclose(found[0, -1], np.cos(np.deg2rad(fine.longitude)), atol=2e-3)
    scalar = regridder(CENTRED, fine)(np.ones((2, 3, *CENTRED.shape)))
    np.testing.assert_allclose(scalar, 1, rtol=1e-12)
    assert scalar.shape == (2, 3, 181, 360)


def test_weights_are_made_once_and_outside_is_refused() -> None:
    assert regridder(POLES, CENTRED) is regridder(
        Grid(POLES.latitude.copy(), POLES.longitude), equiangular(64, 32)
    )
    with pytest.raises(UsageError, match="reaches outside"):
        regridder(REGION, CENTRED)


def test_batches_do_not_change_a_bit() -> None:
    fields = np.random.default_rng(5).normal(size=(9, *GAUSSIAN.shape)).astype(np.float32)
    remap = regridder(GAUSSIAN, CENTRED)
    np.testing.assert_array_equal(remap(fields), np.stack([remap(f) for f in fields]))
