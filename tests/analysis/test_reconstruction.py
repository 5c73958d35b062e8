"""The virtual reconstruction's fields: what stage 1 fits, what it leaves, and where there is
information."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from synthetic import CHANNELS, GRID, observations

from phyda_cli.analysis.localisation import Columns, Localisation
from phyda_cli.analysis.reconstruction import Ensemble, Virtual, reconstruct

SHAPE = (len(CHANNELS), *GRID.shape)


def ensemble(n: int = 8) -> Ensemble:
    members = torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(0)) / n**0.5
    return Ensemble(members, Localisation(GRID, Columns(GRID, 1), np.inf))


def points(index: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Observations of single numbers of the state, and where they are."""
    matrix = sparse.csr_matrix(
        (np.ones(index.size, np.float32), (np.arange(index.size), index)),
        shape=(index.size, int(np.prod(SHAPE))),
    )
    lat, lon = (np.broadcast_to(m, SHAPE).ravel()[index] for m in GRID.mesh)
    return matrix, lat, lon


def analysed(d: np.ndarray, error: np.ndarray, index: np.ndarray) -> Virtual:
    matrix, lat, lon = points(index)
    return reconstruct(ensemble(), observations(matrix, d, error, lat, lon))


def test_residual_and_information_are_a_scalar_analysis_of_what_is_left() -> None:
    index = np.array([5, 300, 301, 1500, 300])
    d, error = (
        np.array([1.0, -2.0, 0.5, 3.0, 1.0], np.float32),
        np.array([0.5, 1.0, 2.0, 0.1, 1.0], np.float32),
    )
    virtual = analysed(d, error, index)
    left = d - virtual.increment.numpy().ravel()[index]
    precision, pull = np.zeros(int(np.prod(SHAPE))), np.zeros(int(np.prod(SHAPE)))
    np.add.at(precision, index, 1 / error**2)
    np.add.at(pull, index, left / error**2)
    np.testing.assert_allclose(virtual.residual.numpy().ravel(), pull / (1 + precision), atol=2e-4)
    np.testing.assert_allclose(
        virtual.information.numpy().ravel(), precision / (1 + precision), atol=1e-5
    )


def test_without_observations_every_field_is_that_of_the_background() -> None:
    nothing = np.zeros(0, np.float32)
    virtual = analysed(nothing, nothing, np.zeros(0, int))
    assert not virtual.increment.any()
    assert not virtual.residual.any()
    assert not virtual.information.any()
    assert torch.equal(virtual.spread, virtual.prior_spread)


def test_observed_members_are_the_operator_on_each() -> None:
    matrix, _, _ = points(np.array([3, 77]))
    made = ensemble()
    expected = made.members.reshape(8, -1)[:, [3, 77]].T
    np.testing.assert_allclose(made.observed(matrix), expected.numpy(), rtol=1e-6)


def test_spread_never_grows() -> None:
    virtual = analysed(
        np.ones(3, np.float32), np.full(3, 0.3, np.float32), np.array([10, 500, 900])
    )
    assert (virtual.spread <= virtual.prior_spread * (1 + 1e-5)).all()
    assert (virtual.spread < 0.7 * virtual.prior_spread).any()
