"""The evidence of innovations on the size of background errors, against exact answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from phyda_cli.fields.grid import Grid
from phyda_cli.fields.state import equiangular
from phyda_cli.model.evidence import BETA, CUT, N_MAPS, evidence

GLOBE = equiangular(16, 8)
AREA = Grid(np.linspace(40.0, 50.0, 5), np.linspace(0.0, 12.0, 7))


def at(points: list[tuple[int, int, int]], grid: Grid, channels: int = 2) -> sparse.csr_matrix:
    """Observations of single (channel, row, column)."""
    columns = [c * grid.size + i * grid.shape[1] + j for c, i, j in points]
    return sparse.csr_matrix(
        (np.ones(len(points)), (np.arange(len(points)), columns)),
        shape=(len(points), channels * grid.size),
    )


def maps(
    grid: Grid,
    points: list[tuple[int, int, int]],
    innovation: float,
    error: float = 1.0,
    sigma_b: float = 1.0,
) -> np.ndarray:
    n = len(points)
    prior = np.full((2, *grid.shape), sigma_b**2)
    matrix = at(points, grid)
    found = evidence(
        grid, prior, matrix, np.full(n, innovation), np.full(n, error), np.full(n, sigma_b)
    )
    return found.reshape(N_MAPS, 2, *grid.shape)


def test_one_innovation_where_it_was_made() -> None:
    found = maps(GLOBE, [(1, 4, 3)], 3.0, error=1.0, sigma_b=1.0)
    share, chi2 = 0.5, 4.5
    expected = share * (chi2 - 1) / (BETA + share**2)
    assert found[0, 1, 4, 3] == pytest.approx(expected, rel=1e-6)
    assert found[1, 1, 4, 3] == pytest.approx(np.log1p(share**2), rel=1e-6)
    assert found[2, 1, 4, 3] == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(found[2, 1, 4], expected, rtol=1e-6)  # all around the latitude
    assert (found[:, 0] == 0).all()  # and nothing of the other channel


def test_innovations_as_large_as_expected_say_that_it_is_right() -> None:
    found = maps(GLOBE, [(0, i, j) for i in range(8) for j in range(16)], np.sqrt(2.0))
    np.testing.assert_allclose(found[[0, 2], 0], 0.0, atol=1e-6)
    assert (found[[1, 3], 0] > 0.2).all()


def test_many_innovations_find_the_variance() -> None:
    """Errors three times as large, exact observations: a Fisher step towards 9 times the variance,
    less the prior's part."""
    found = maps(GLOBE, [(0, i, j) for i in range(8) for j in range(16)], 3.0, error=1e-6)
    weight = np.expm1(found[1, 0])
    np.testing.assert_allclose(found[0, 0], 8.0 * weight / (BETA + weight), rtol=1e-5)


def test_a_gross_error_has_no_more_say_than_the_cut() -> None:
    assert maps(GLOBE, [(0, 2, 2)], 1e3)[0, 0, 2, 2] == pytest.approx(
        maps(GLOBE, [(0, 2, 2)], np.sqrt(2 * CUT))[0, 0, 2, 2], rel=1e-6
    )


def test_longitude_wraps_on_the_globe_and_not_on_an_area() -> None:
    found = maps(GLOBE, [(0, 4, 0)], 3.0)[0, 0, 4]
    assert found[1] == pytest.approx(found[-1], rel=1e-5)
    limited = maps(AREA, [(0, 2, 0)], 3.0)[0, 0, 2]
    assert limited[0] > limited[1] > limited[-1]


def test_the_sign_of_innovations_says_nothing() -> None:
    points = [(0, 1, 1), (1, 5, 9)]
    np.testing.assert_array_equal(maps(GLOBE, points, 2.0), maps(GLOBE, points, -2.0))


def test_an_observation_between_points_counts_once() -> None:
    prior = np.ones((1, *GLOBE.shape))
    matrix = sparse.csr_matrix(
        ([0.5, 0.5], ([0, 0], [4 * 16 + 3, 4 * 16 + 4])), shape=(1, GLOBE.size)
    )
    one = np.ones(1)
    found = evidence(GLOBE, prior, matrix, 3 * one, one, one)
    split = np.expm1(found[3, 4])  # the sum of the weights around its latitude
    np.testing.assert_allclose(split, 0.25, rtol=1e-6)


def test_without_observations_there_is_no_evidence() -> None:
    nothing = np.zeros(0)
    found = evidence(
        GLOBE,
        np.ones((2, *GLOBE.shape)),
        sparse.csr_matrix((0, 2 * GLOBE.size)),
        nothing,
        nothing,
        nothing,
    )
    assert found.shape == (N_MAPS * 2, *GLOBE.shape)
    assert (found == 0).all()
