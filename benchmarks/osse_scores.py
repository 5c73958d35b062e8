"""Scores of one analysis on the model grid, as numbers that can be added over cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.stats import chi2

from benchmarks.held_out import Pair
from benchmarks.methods import Step
from phyda_cli.fields.state import StateSpec
from phyda_cli.physics.state_physics import StatePhysics
from phyda_cli.verification.scores import crps_ensemble, crps_gaussian

__all__ = ["Scorer", "crps", "flat_share", "rank_counts", "ranks"]

# every so-many-th row and column has a say in rank histograms: neighbours are not independent
SPARSE = 6
PHYSICAL_MEMBERS = 2  # whose residuals are taken


def crps(step: Step, target: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """CRPS (C, H, W) over ``unit`` (C, 1, 1) against the true increment ``target`` (C, H, W): of
    the members, or of the normal distribution of mean and spread where there are none."""
    if len(step.members):
        return crps_ensemble(step.members / unit, target / unit)
    return crps_gaussian(step.increment / unit, step.spread / unit, target / unit)


def ranks(members: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rank of ``target`` (C, H, W) among ``members`` (K, C, H, W) at places that are far from
    each other: (C, places)."""
    half = SPARSE // 2
    few, truth = members[:, :, half::SPARSE, half::SPARSE], target[:, half::SPARSE, half::SPARSE]
    found: np.ndarray = (few < truth).sum(axis=0).reshape(truth.shape[0], -1)
    return found


def rank_counts(found: np.ndarray, members: int) -> np.ndarray:
    """How often each rank among ``members`` is in ``found`` (..., n): (..., members + 1)."""
    return (found[..., None] == np.arange(members + 1)).sum(axis=-2)


def flat_share(counts: np.ndarray, pairs: bool = False) -> float:
    """Share of the rank histograms (V, K + 1) or (V, G, K + 1) that a chi-square test at 95 % does
    not tell from that of a perfect ensemble: a flat one, and twice as high in the middle where the
    K members, an even number, come in ``pairs`` around their mean.

    Ranks are independent, or those of different groups G are: then the statistic is compared with
    a chi-square of as much scatter as the counts of groups have (Rao and Scott 1981, second order).
    """
    k = counts.shape[-1] - 1
    share = np.ones(k + 1)
    if pairs:
        share[k // 2] = 2
    share /= share.sum()
    effect, freedom = np.ones(len(counts)), np.full(len(counts), float(k))
    if counts.ndim == 3:
        chance = counts.sum(axis=2).mean(axis=1)[:, None, None] * share
        scatter = (counts - counts.mean(axis=1, keepdims=True)) / np.sqrt(chance)
        covariance = scatter.mT @ scatter / (counts.shape[1] - 1)
        total, squares = np.trace(covariance, axis1=1, axis2=2), (covariance**2).sum(axis=(1, 2))
        differ = total > 0
        effect[differ] = squares[differ] / total[differ]
        freedom[differ] = total[differ] / effect[differ]
        counts = counts.sum(axis=1)
    expected = counts.sum(axis=1, keepdims=True) * share
    statistic = ((counts - expected) ** 2 / expected).sum(axis=1) / effect
    return float((statistic < chi2.ppf(0.95, freedom)).mean())


class Scorer:
    """Scores an analysis; all but ``residual`` have an entry for each channel, in units of the
    background-error standard deviation.

    ``square``, ``prior``: mean square error of analysis and background; ``width``: mean square
    spread; ``crps``: that of the members, of the normal distribution of mean and spread without
    members, of the mean alone without a spread; ``ranks``: (C, K + 1) counts; ``residual``: by
    equation, the mean square over each layer of the members' residual (the mean's without members)
    and of the truth's.
    """

    def __init__(self, spec: StateSpec) -> None:
        self.area = spec.grid.area_weights[:, None]
        self.unit = spec.column("background_std")
        self.physics = StatePhysics(spec)

    def __call__(self, pair: Pair, step: Step) -> dict[str, Any]:
        """Scores of ``step`` against the pair's truth."""
        target = (pair.truth - pair.background) / self.unit
        centre, spread, members = (
            step.increment / self.unit,
            step.spread / self.unit,
            step.members / self.unit,
        )
        record = {
            "square": self._mean((centre - target) ** 2),
            "prior": self._mean(target**2),
            "width": self._mean(spread**2),
            "crps": self._mean(crps(step, pair.truth - pair.background, self.unit)),
        }
        if k := len(members):
            record["ranks"] = rank_counts(ranks(members, target), k)
        return {k: np.round(v, 7).tolist() for k, v in record.items()} | {
            "residual": self._residuals(pair, step)
        }

    def _mean(self, values: np.ndarray) -> np.ndarray:
        return np.asarray((values * self.area).mean(axis=(1, 2)), float)

    def _residuals(self, pair: Pair, step: Step) -> dict[str, list[list[float]]]:
        increments = step.members[:PHYSICAL_MEMBERS] if len(step.members) else step.increment[None]
        state = torch.from_numpy(pair.background.astype(float) + increments)
        truth = torch.from_numpy(pair.truth.astype(float))[None]
        found = []
        for states in (state, truth):
            squares = self.physics.mean_square(self.physics.residuals(states))
            found.append({name: value.mean(0).tolist() for name, value in squares.items()})
        return {name: [found[0][name], found[1][name]] for name in found[0]}
