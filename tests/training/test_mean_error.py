"""The mean error of backgrounds: found where it is linear, judged on dates it was not fitted to,
and given to every pair."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from synthetic import spec

from phyda_cli.errors import UsageError
from phyda_cli.fields.grid import Grid
from phyda_cli.fields.state import StateSpec
from phyda_cli.model.mean_error import season
from phyda_cli.training.mean_error import corrected, fit_mean_error, leading
from phyda_cli.training.members import date_folds

if TYPE_CHECKING:
    from conftest import Opened

AREA = Grid(np.linspace(30, 50, 5), np.linspace(0, 15, 4))
SPEC: StateSpec = spec(("t850", "msl"), AREA)
TIME = np.datetime64("2001-01-01T12:00", "s") + np.timedelta64(1, "D") * np.arange(900)


def weather(noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """States (n, 2, 5, 4) of six patterns, and errors that are linear in state and season but for
    ``noise`` of their size."""
    rng = np.random.default_rng(seed)
    unit = SPEC.column("background_std")
    patterns, response = (rng.standard_normal((6, 2, *AREA.shape)) for _ in range(2))
    scores = rng.standard_normal((TIME.size, 6))
    states = SPEC.column("mean") + unit * np.einsum("nk,kchw->nchw", scores, patterns)
    known = np.einsum("nk,kchw->nchw", scores, response) + season(TIME)[:, 1, None, None, None]
    errors = unit * (known + noise * known.std() * rng.standard_normal(known.shape))
    return states.astype(np.float32), errors.astype(np.float32)


def test_errors_linear_in_state_and_season_are_known() -> None:
    states, errors = weather(0.0)
    fitted, own = fit_mean_error(states, errors, TIME, SPEC, 6)
    unit = SPEC.column("background_std")
    for found in (fitted(states, TIME), own):  # the ridge takes a little
        assert np.sqrt(np.mean(((found - errors) / unit) ** 2)) < 0.06 * np.sqrt(
            np.mean((errors / unit) ** 2)
        )


def test_errors_that_are_products_of_patterns_are_known() -> None:
    """Errors s_i s_j, as of advection: the linear fit knows nothing of them, that with products all
    but what rare states lose."""
    states, _ = weather(0.0)
    unit = SPEC.column("background_std")
    plain, _ = fit_mean_error(states, np.zeros_like(states), TIME, SPEC, 6)
    scores = plain.predictors(states, TIME)[:, 5:].clip(-3, 3)
    response = np.random.default_rng(3).standard_normal((2, 2, *AREA.shape))
    errors = (
        unit
        * np.einsum("kn,kchw->nchw", [scores[:, 0] * scores[:, 1], scores[:, 2] ** 2 - 1], response)
    ).astype(np.float32)

    def left(products: int) -> float:
        fitted, own = fit_mean_error(states, errors, TIME, SPEC, 6, products)
        assert fitted.products == products
        np.testing.assert_allclose(
            fitted(states[:5], TIME[:5]), fitted(states, TIME)[:5], rtol=1e-4, atol=1e-4
        )
        return float(np.sqrt(np.mean(((own - errors) / unit) ** 2) / np.mean((errors / unit) ** 2)))

    assert left(0) > 0.95
    assert left(4) < 0.1


def test_what_cannot_be_known_is_not_claimed() -> None:
    """Pure noise: the fit explains some of it on its own dates, but of dates left out nothing."""
    states, _ = weather(0.0)
    unit = SPEC.column("background_std")
    noise = unit * np.random.default_rng(1).standard_normal(states.shape).astype(np.float32)
    fitted, own = fit_mean_error(states, noise, TIME, SPEC, 6)
    whole, left_seen, left_unseen = (
        np.mean(((noise - found) / unit) ** 2) for found in (0.0, fitted(states, TIME), own)
    )
    assert left_seen < whole < left_unseen < 1.02 * whole


def test_a_prediction_does_not_depend_on_its_own_dates() -> None:
    states, errors = weather(0.5)
    _, before = fit_mean_error(states, errors, TIME, SPEC, 6)
    changed = errors.copy()
    mine = date_folds(TIME) == 3
    changed[mine] *= 1.01
    _, after = fit_mean_error(states, changed, TIME, SPEC, 6)
    np.testing.assert_allclose(after[mine], before[mine], rtol=1e-4, atol=1e-4)
    assert not np.allclose(after[~mine], before[~mine], rtol=1e-4, atol=1e-4)


def test_leading_eofs_have_the_covariance_of_the_members() -> None:
    smooth = torch.logspace(0, -2, 40).reshape(2, *AREA.shape)
    members = smooth * torch.randn(200, 2, *AREA.shape, generator=torch.Generator().manual_seed(2))
    flat = members.flatten(1)
    found = leading(members, 60)  # no more than there are dimensions
    assert found.shape == (40, 2, *AREA.shape)
    torch.testing.assert_close(
        found.flatten(1).T @ found.flatten(1), flat.T @ flat, rtol=1e-4, atol=1e-3
    )
    few = leading(members, 10).flatten(1)
    values = torch.linalg.svdvals(flat)
    torch.testing.assert_close(few.square().sum(1).sqrt(), values[:10], rtol=0.02, atol=0)


def test_every_pair_gets_its_own_background(opened: Opened) -> None:
    store, states = opened.store, opened.states
    training = np.arange(len(store.pairs) - 30)
    after, all_states, fitted = corrected(store, states, opened.spec, training, 8)
    n = len(states)
    assert len(all_states) == n + len(store.pairs) == after.time.size
    np.testing.assert_array_equal(all_states[:n], states)
    np.testing.assert_array_equal(after.pairs[:, 1], store.pairs[:, 1])
    np.testing.assert_array_equal(after.time[after.pairs[:, 0]], store.time[store.pairs[:, 0]])
    late = np.arange(len(store.pairs) - 30, len(store.pairs))
    expected = fitted(states[store.pairs[late, 0]], store.time[store.pairs[late, 1]])
    np.testing.assert_allclose(
        all_states[after.pairs[late, 0]],
        states[store.pairs[late, 0]] + expected,
        rtol=1e-6,
        atol=1e-5,
    )


def test_scaled_pairs_are_refused(opened: Opened) -> None:
    store = replace(opened.store, scale=np.full_like(opened.store.scale, 0.5))
    with pytest.raises(UsageError, match="scaled"):
        corrected(store, opened.states, opened.spec, np.arange(20), 4)
