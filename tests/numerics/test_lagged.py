"""Lagged forecasts as members: the Kalman filter with B of both."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from synthetic import GRID, TIME, observations, spec

from phyda_cli.analysis.background_scale import BackgroundScale
from phyda_cli.analysis.lagged import with_lagged
from phyda_cli.analysis.localisation import Columns, Localisation
from phyda_cli.analysis.model_grid import ModelGridSettings, analyse
from phyda_cli.analysis.prior import Prior
from phyda_cli.analysis.reconstruction import Ensemble

SPEC = spec()
SHAPE = (SPEC.n_channels, *GRID.shape)
UNIT = SPEC.column("background_std")


def prior() -> Prior:
    rng = np.random.default_rng(0)
    members = torch.from_numpy(rng.standard_normal((6, *SHAPE)).astype(np.float32) / 6**0.5)
    where = Localisation(GRID, Columns(GRID, 1), np.inf)
    statics = dict.fromkeys(("orography", "lsm"), np.zeros(GRID.shape))
    return Prior.of(np.zeros(SHAPE, np.float32), SPEC, statics, TIME, 6, Ensemble(members, where))


def test_is_the_kalman_filter_with_both_kinds_of_members() -> None:
    rng = np.random.default_rng(1)
    differences = (
        rng.standard_normal((3, *SHAPE)) * UNIT * np.array([1, 5, 0.2])[:, None, None, None]
    )
    p, size = 12, int(np.prod(SHAPE))
    at = rng.choice(size, p, replace=False)
    matrix = sparse.csr_matrix((np.ones(p), (np.arange(p), at)), (p, size))
    unit = np.broadcast_to(UNIT, SHAPE).ravel()
    d, error = rng.standard_normal(p) * unit[at], 0.5 * unit[at]
    static = prior()
    combined = with_lagged(static, differences, 0.3)
    found = analyse(
        combined,
        observations(matrix, d, error),
        None,
        ModelGridSettings(scale=BackgroundScale()),
    )
    share = np.broadcast_to(GRID.area_weights[:, None], SHAPE)
    x = (differences / UNIT).reshape(3, -1)
    x /= np.sqrt((x**2 @ share.ravel()) / share.sum())[:, None]
    fixed = static.ensemble.members.flatten(1).numpy().astype(float)
    b = unit[:, None] * (0.3 * x.T @ x / 3 + 0.7 * fixed.T @ fixed) * unit
    gain = b[:, at] @ np.linalg.inv(b[np.ix_(at, at)] + np.diag(error**2))
    np.testing.assert_allclose((found.mean * found.unit).ravel() / unit, gain @ d / unit, atol=1e-5)
    variance = np.diag(b) - np.einsum("ij,ji->i", gain, b[at])
    np.testing.assert_allclose(
        (found.spread * found.unit).ravel() / unit, np.sqrt(variance) / unit, atol=2e-5
    )


def test_differences_of_no_size_change_nothing() -> None:
    static = prior()
    assert with_lagged(static, np.zeros((2, *SHAPE)), 0.3) is static
    some = np.zeros((2, *SHAPE))
    some[1] = UNIT
    assert with_lagged(static, some, 0.3).ensemble.members.shape[0] == 7


def test_a_forecast_that_lacks_channels_is_not_blown_up_in_the_others() -> None:
    rng = np.random.default_rng(2)
    whole = rng.standard_normal((2, *SHAPE)) * UNIT
    part = whole.copy()
    part[1, 2:] = 0.0

    def variance(differences: np.ndarray) -> float:
        return float(
            with_lagged(prior(), differences, 1.0).ensemble.members[:2, :2].square().mean()
        )

    assert abs(variance(part) / variance(whole) - 1) < 0.05
