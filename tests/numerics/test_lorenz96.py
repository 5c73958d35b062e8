"""The solver's algebra as a filter: the transform is exact, and Lorenz-96 comes out as published
(Sakov and Oke 2008)."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.lorenz96 import BAR, SIZE, Filter, Static, climate, score, step
from phyda_cli.analysis.ensemble_filter import ensemble_transform
from phyda_cli.analysis.localisation import Draws, Layer
from phyda_cli.analysis.solver import normal_equations, solve_members


def test_the_transform_is_the_kalman_update() -> None:
    """Mean and covariance of the transformed ensemble, its zero sum, and the solver's own
    weights."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(9, 30, generator=rng, dtype=torch.float64)
    x = (x - x.mean(dim=0)) / 8**0.5
    h = torch.randn(12, 30, generator=rng, dtype=torch.float64)
    d = torch.randn(12, generator=rng, dtype=torch.float64)
    nothing = Draws(torch.zeros(9, 0, dtype=torch.float64), torch.zeros(12, 0, dtype=torch.float64))
    layer = Layer(
        np.arange(30), x @ h.T, d, nothing, np.arange(12), torch.ones(1, 12, dtype=torch.float64)
    )
    gram, right = normal_equations(layer)
    weights, transform = ensemble_transform(gram, right[:, :, 0])
    b = x.T @ x
    gain = b @ h.T @ torch.linalg.inv(h @ b @ h.T + torch.eye(12))
    updated = transform[0] @ x
    torch.testing.assert_close(weights[0] @ x, gain @ d, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(updated.T @ updated, b - gain @ h @ b, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        updated.sum(dim=0), torch.zeros(30, dtype=torch.float64), rtol=0, atol=1e-12
    )
    torch.testing.assert_close(transform, transform.mT, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        weights, solve_members(layer, x[None])[0][:, :, 0], rtol=1e-10, atol=1e-12
    )


def test_the_model_has_the_published_climate() -> None:
    mean, covariance = climate()
    assert abs(float(mean.mean()) - 2.34) < 0.1
    assert abs(float(covariance.diagonal().mean().sqrt()) - 3.63) < 0.1
    steady = torch.full((SIZE,), 8.0, dtype=torch.float64)
    torch.testing.assert_close(step(steady), steady)


def test_filters_reach_the_published_errors() -> None:
    """DAPPER: 0.18 with 24 members, 0.20 with 10 localised ones, 0.41 for 3D-Var, 0.95 for OI."""
    assert score(Filter(24, 1.02), 24, 1, 600) <= BAR
    assert score(Filter(10, 1.02, radius=16.0), 10, 1, 600) <= BAR
    mean, covariance = climate()
    assert 0.37 < score(Static(covariance, 0.02), 1, 1, 600) < 0.45
    assert 0.9 < score(Static(covariance, 1.0, mean), 1, 1, 600) < 1.0
