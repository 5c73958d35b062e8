"""Statistics of a store against plain numpy, the split by time, the choice of members."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from phyda_cli.physics.state_physics import StatePhysics
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.training.statistics import (
    choose_members,
    difference,
    measured,
    physics_scale,
    split_pairs,
    state_spec,
)


@pytest.fixture(scope="module")
def store(store_path: Path) -> PairStore:
    return PairStore.open(store_path)


@pytest.fixture(scope="module")
def states(store: PairStore) -> np.ndarray:
    return store.load_states()


def test_climate_and_background_error(store: PairStore, states: np.ndarray) -> None:
    pairs = np.arange(len(store.pairs))
    spec = state_spec(store, measured(store, states, pairs))
    wide = states.astype(np.float64)
    w = np.broadcast_to(store.grid.area_weights[:, None], wide.shape[2:])
    mean = np.average(wide, axis=(2, 3), weights=w).mean(0)
    std = np.sqrt(np.average((wide - mean[:, None, None]) ** 2, axis=(2, 3), weights=w).mean(0))
    apart = wide[store.pairs[:, 1]] - wide[store.pairs[:, 0]]
    background = np.sqrt(np.average(apart**2, axis=(2, 3), weights=w).mean(0))
    np.testing.assert_allclose(spec.mean, mean, rtol=1e-4, atol=1e-6 * std.max())
    np.testing.assert_allclose(spec.std, std, rtol=1e-4)
    np.testing.assert_allclose(spec.background_std, background, rtol=1e-4)
    assert state_spec(store).background_std == tuple(
        float(f"{x:.6g}") for x in store.statistics["background_std"]
    )
    assert spec.channels == store.channels
    assert spec.grid.same_as(store.grid)


def test_difference_is_scaled_truth_minus_background(store: PairStore, states: np.ndarray) -> None:
    b, t = store.pairs[7]
    np.testing.assert_allclose(
        difference(store, states, 7), (states[t] - states[b]) * store.scale[7]
    )


@pytest.mark.parametrize("fraction", [0.08, 0.3])
def test_the_split_is_by_time(store: PairStore, fraction: float) -> None:
    split = split_pairs(store, fraction)
    valid = store.time[store.pairs[:, 1]]
    assert valid[split.training].max() < valid[split.validation].min()
    assert len(split.training) + len(split.validation) == len(store.pairs)
    assert len(split.validation) / len(store.pairs) == pytest.approx(fraction, abs=0.02)


def test_members_are_spread_over_the_span_and_distinct(
    store: PairStore, states: np.ndarray
) -> None:
    pairs = np.arange(len(store.pairs))
    spec = state_spec(store, measured(store, states, pairs))
    members, times = choose_members(store, states, spec, pairs, 20, np.random.default_rng(1))
    assert members.shape == (20, spec.n_channels, *spec.grid.shape)
    assert len(set(times)) == 20
    assert list(times) == sorted(times)
    gaps = np.diff(np.array(times, "datetime64[h]")).astype(int)
    assert gaps.max() <= 2 * gaps.min() + 12
    w = torch.from_numpy(store.grid.area_weights[:, None].copy())
    variance = (members.double().square() * w).mean((0, 2, 3))
    torch.testing.assert_close(variance, torch.ones_like(variance), rtol=0, atol=0.35)
    at = int(np.flatnonzero(store.time[store.pairs[:, 1]] == np.datetime64(times[3]))[0])
    normalised = difference(store, states, at) / spec.column("background_std")
    size = np.sqrt((normalised**2 * w.numpy()).mean())
    np.testing.assert_allclose(members[3].numpy(), normalised / size, rtol=1e-5)
    torch.testing.assert_close(
        (members.double().square() * w).mean((1, 2, 3)),
        torch.ones(20, dtype=torch.float64),
        rtol=1e-5,
        atol=0,
    )
    every, _ = choose_members(store, states, spec, pairs[:6], 20, np.random.default_rng(1))
    assert every.shape[0] == 6


def test_physics_scale_makes_the_background_cost_one(store: PairStore, states: np.ndarray) -> None:
    pairs = np.arange(30)
    spec = state_spec(store, measured(store, states, pairs))
    scale = physics_scale(store, states, spec, pairs, np.random.default_rng(0))
    background, truth = (torch.from_numpy(states[store.pairs[pairs, i]]) for i in (0, 1))
    cost = StatePhysics(spec).objective(background, truth, scale)
    assert float(cost.mean()) == pytest.approx(1.0, rel=1e-4)
    assert (cost > 0).all()
