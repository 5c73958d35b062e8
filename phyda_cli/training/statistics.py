"""What training takes from a store: the state with its statistics, static members, the split by
time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from phyda_cli.fields.state import StateSpec
from phyda_cli.physics.state_physics import StatePhysics
from phyda_cli.preprocessing.pairs import boundary
from phyda_cli.preprocessing.statistics import Span, merge, moments
from phyda_cli.preprocessing.store import PairStore

__all__ = [
    "Split",
    "choose_members",
    "difference",
    "genuine_pairs",
    "measured",
    "physics_scale",
    "split_pairs",
    "state_spec",
]


@dataclass(frozen=True)
class Split:
    """Indices into the pair table."""

    training: np.ndarray
    validation: np.ndarray


def split_pairs(store: PairStore, fraction: float) -> Split:
    """As the store was split by years, else the latest ``fraction`` of the valid times is for
    validation; genuine pairs only (scale 1) there. Without years for validation the fraction is of
    the training years; years for testing are left alone."""
    given = store.split if store.split_by_years else np.zeros(len(store.pairs), np.int8)
    if np.any(given == 1):
        return Split(
            np.flatnonzero(given == 0), np.flatnonzero((given == 1) & (store.scale == 1.0))
        )
    valid = store.time[store.pairs[:, 1]]
    late = valid >= boundary(valid[given == 0], fraction)
    return Split(
        np.flatnonzero((given == 0) & ~late),
        np.flatnonzero((given == 0) & late & (store.scale == 1.0)),
    )


def difference(store: PairStore, states: np.ndarray, pair: int) -> np.ndarray:
    """Scaled truth minus background (C, H, W) of one pair [physical units]."""
    background, truth = store.pairs[pair]
    return (states[truth] - states[background]) * np.float32(store.scale[pair])


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{x:.6g}") for x in values)


def genuine_pairs(store: PairStore, pairs: np.ndarray) -> np.ndarray:
    """Those of ``pairs`` with the largest scale: where some are scaled, the others are genuine."""
    return pairs[store.scale[pairs] == store.scale[pairs].max()]


def measured(store: PairStore, states: np.ndarray, pairs: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics of ``states`` (state, C, H, W) in memory and of ``pairs``, as ``phyda preprocess``
    takes them of a store."""
    used = np.zeros(len(states), bool)
    used[np.unique(store.pairs[pairs])] = True
    span = Span(0, 0, len(states), used, store.pairs[pairs], store.scale[pairs])
    return merge([moments(states, span)], store.grid)


def state_spec(store: PairStore, statistics: Mapping[str, np.ndarray] | None = None) -> StateSpec:
    """The state with the ``statistics`` of the store, or others: area-weighted mean and standard
    deviation of the states and rms of the pair differences, by channel."""
    found = store.statistics if statistics is None else statistics
    return StateSpec(
        channels=store.channels,
        latitude=tuple(store.grid.latitude.tolist()),
        longitude=tuple(store.grid.longitude.tolist()),
        mean=_rounded(found["mean"]),
        std=_rounded(found["std"]),
        background_std=_rounded(found["background_std"]),
    )


def choose_members(
    store: PairStore,
    states: np.ndarray,
    spec: StateSpec,
    pairs: np.ndarray,
    count: int,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, tuple[str, ...]]:
    """``count`` normalised differences (N, C, H, W) spread evenly over the span, with their valid
    times.

    Each is divided by its own rms, as the scale of the day is estimated anyway: a few large errors
    would count as much as all others.

    Genuine pairs with distinct valid times are preferred, so that members are as independent as the
    data allows.
    """
    order = rng.permutation(genuine_pairs(store, pairs))
    _, first = np.unique(store.time[store.pairs[order, 1]], return_index=True)
    distinct = order[np.sort(first)]
    pool = distinct if distinct.size >= count else order
    pool = pool[np.argsort(store.time[store.pairs[pool, 1]], kind="stable")]
    chosen = pool[
        np.unique(np.linspace(0, pool.size - 1, min(count, pool.size)).round().astype(int))
    ]
    scale = spec.column("background_std")
    members = np.stack([difference(store, states, int(p)) / scale for p in chosen])
    size = np.sqrt(
        (members**2 * store.grid.area_weights[:, None]).mean(axis=(1, 2, 3), keepdims=True)
    )
    return torch.from_numpy(members / np.maximum(size, 1e-6).astype(np.float32)), tuple(
        str(t) for t in store.time[store.pairs[chosen, 1]]
    )


def physics_scale(
    store: PairStore,
    states: np.ndarray,
    spec: StateSpec,
    pairs: np.ndarray,
    rng: np.random.Generator,
    sample: int = 64,
) -> dict[str, list[float]]:
    """V_k: mean square difference between the background's and the truth's residuals, by equation
    and layer."""
    physics = StatePhysics(spec)
    chosen = rng.choice(pairs, min(sample, pairs.size), replace=False)
    background = torch.from_numpy(states[store.pairs[chosen, 0]])
    truth = background + torch.from_numpy(
        np.stack([difference(store, states, int(p)) for p in chosen])
    )
    return {k: v.mean(dim=0).tolist() for k, v in physics.difference(background, truth).items()}
