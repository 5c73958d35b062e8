"""Fit the mean error of backgrounds, and give every pair the background that it leads to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from phyda_cli.errors import UsageError
from phyda_cli.fields.state import StateSpec
from phyda_cli.model.mean_error import N_SEASON, MeanError, n_predictors
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.training.members import date_folds

__all__ = ["corrected", "fit_mean_error", "leading"]

RIDGES = (30.0, 100.0, 300.0, 1000.0)
OVERSAMPLED = 16


def fit_mean_error(
    states: np.ndarray,
    errors: np.ndarray,
    time: np.ndarray,
    spec: StateSpec,
    count: int,
    products: int = 0,
) -> tuple[MeanError, np.ndarray]:
    """The regression on ``count`` patterns, with products of the first ``products``, and what it
    says of each state without having seen it.

    Args:
        states: backgrounds (n, C, H, W); errors: truth minus background, same shape, both in
            physical units; time: (n,) valid times.
        spec: whose scales make channels comparable.

    Ridge regression, the seasonal terms free; of RIDGES the one whose predictions of dates left out
    (those of the pools' folds) are best. These predictions (n, C, H, W) are the second result.
    """
    shape, scale, unit = states.shape[1:], spec.column("std"), spec.column("background_std")
    origin = states.mean(axis=0, dtype=np.float64).astype(np.float32)
    eofs = leading(torch.from_numpy((states - origin) / scale) / len(states) ** 0.5, count).numpy()
    patterns = (
        eofs / np.square(eofs).sum(axis=(1, 2, 3), keepdims=True) / scale
    )  # their scores have a mean square of one
    x = MeanError(
        origin,
        patterns,
        np.zeros((n_predictors(len(eofs), min(products, len(eofs))), *shape), np.float32),
    ).predictors(states, time)
    y = (errors / unit).reshape(len(errors), -1)
    folds = date_folds(time)
    grams = [
        (x[folds == k].T @ x[folds == k], x[folds == k].T @ y[folds == k])
        for k in range(folds.max() + 1)
    ]
    gram, right = (np.sum([g[i] for g in grams], axis=0) for i in (0, 1))

    def solve(ridge: float, left_out: int | None) -> np.ndarray:
        a, b = (
            (gram, right)
            if left_out is None
            else (gram - grams[left_out][0], right - grams[left_out][1])
        )
        penalty = np.r_[np.zeros(N_SEASON), np.full(x.shape[1] - N_SEASON, ridge)]
        return np.asarray(np.linalg.solve(a + np.diag(penalty + 1e-6), b))

    best, lowest = np.zeros(y.shape), np.inf
    for ridge in RIDGES:
        found = np.empty(y.shape)
        for k in range(len(grams)):
            found[folds == k] = x[folds == k] @ solve(ridge, k)
        if (score := float(np.square(y - found).mean())) < lowest:
            best, lowest, chosen = found, score, ridge
    weights = solve(chosen, None).reshape(-1, *shape) * unit
    return MeanError(origin, patterns, weights.astype(np.float32)), (
        best.reshape(errors.shape) * unit
    ).astype(np.float32)


def corrected(
    store: PairStore,
    states: np.ndarray,
    spec: StateSpec,
    training: np.ndarray,
    count: int,
    products: int = 0,
) -> tuple[PairStore, np.ndarray, MeanError]:
    """The store and its states with a corrected background for each pair, fitted to the
    ``training`` pairs; their own are left out.

    Raises UsageError for pairs whose differences are scaled: their backgrounds are not what they
    would be in use.
    """
    if not np.all(store.scale == 1.0):
        raise UsageError(
            "mean_error_patterns needs genuine pairs, these are scaled",
            hint="see `phyda preprocess --lag-scale`",
        )
    backgrounds, time = states[store.pairs[:, 0]], store.time[store.pairs[:, 1]]
    errors = states[store.pairs[training, 1]] - backgrounds[training]
    fitted, own = fit_mean_error(
        backgrounds[training], errors, time[training], spec, count, products
    )
    expected = fitted(backgrounds, time)
    expected[training] = own
    pairs = np.stack([len(states) + np.arange(len(store.pairs)), store.pairs[:, 1]], axis=1)
    times = np.concatenate([store.time, store.time[store.pairs[:, 0]]])
    return (
        replace(store, pairs=pairs, time=times),
        np.concatenate([states, backgrounds + expected]),
        fitted,
    )


def leading(members: torch.Tensor, count: int) -> torch.Tensor:
    """``count`` members (K, C, H, W) that have nearly the covariance X X^T of ``members`` (N, C, H,
    W): its leading EOFs times the roots of their variances.

    Randomised subspace iteration (Halko et al. 2011, algorithm 4.4) with fixed random numbers.
    """
    flat = members.flatten(1)
    more = min(count + OVERSAMPLED, *flat.shape)
    basis = torch.linalg.qr(
        flat.T @ torch.randn(flat.shape[0], more, generator=torch.Generator().manual_seed(0))
    )[0]
    for _ in range(2):
        basis = torch.linalg.qr(flat.T @ (flat @ basis))[0]
    _, size, right = torch.linalg.svd(flat @ basis, full_matrices=False)
    return (size[:, None] * right @ basis.T)[:count].reshape(-1, *members.shape[1:])
