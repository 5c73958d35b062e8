r"""How much of the learned correction to believe today, from observations that the analysis did not
see.

The observations are dealt by place into folds, and the analysis is repeated without each of them.
At a withheld observation r is the departure that stage 1 leaves, of standard deviation s, and c
the correction, which should explain it. With I the sums of c^2 / s^2 over the observations of each
group of variables and b those of c r / s^2, the most probable weights of the groups are

.. math:: w = (\mathrm{diag}(I) + V^{-1})^{-1} (b + V^{-1} w_0)

for weights that are normal with mean w_0 and covariance V beforehand, and between 0 and 1. Few
observations leave them at w_0; many that the correction does not explain take them to zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from phyda_cli.analysis.background_scale import CUT, GROUPS, cell_weights, group_of
from phyda_cli.analysis.reconstruction import Observations
from phyda_cli.settings.model import CorrectionSettings

__all__ = ["CorrectionWeight", "HeldOut", "Repeat", "estimate_weight", "held_out"]

FOLDS = 4
SHARED = 0.5  # correlation of the weights of two groups beforehand
ENOUGH = 400  # places withheld in all, after which no further fold is analysed


@dataclass(frozen=True)
class CorrectionWeight:
    """``groups``: the weight of each group of variables; ``places``: how many were withheld for
    it."""

    groups: Mapping[str, float]
    places: int = 0

    @classmethod
    def uniform(cls, weight: float) -> CorrectionWeight:
        """The same for every group."""
        return cls(dict.fromkeys(GROUPS, weight))

    @property
    def rounded(self) -> dict[str, float]:
        """The groups' weights as a report states them."""
        return {group: round(weight, 2) for group, weight in self.groups.items()}

    def of(self, variables: Sequence[str]) -> np.ndarray:
        """The weight of each variable (n,); the mean where a variable belongs to no group."""
        mean = float(np.mean(list(self.groups.values())))
        return np.array([self.groups.get(group_of(v), mean) for v in variables])


@dataclass(frozen=True, eq=False)
class HeldOut:
    """P withheld observations: canonical names ``variable``, the departure ``residual`` that stage
    1 leaves, its standard deviation ``deviation`` and the ``correction`` there, in the
    observations' units, and their positions [degrees], all (P,)."""

    variable: np.ndarray = field(default_factory=lambda: np.zeros(0, object))
    residual: np.ndarray = field(default_factory=lambda: np.zeros(0))
    correction: np.ndarray = field(default_factory=lambda: np.zeros(0))
    deviation: np.ndarray = field(default_factory=lambda: np.zeros(0))
    latitude: np.ndarray = field(default_factory=lambda: np.zeros(0))
    longitude: np.ndarray = field(default_factory=lambda: np.zeros(0))


Repeat = Callable[[Observations], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""The analysis of some observations: stage 1's increment, its spread and the correction, all
(C, H, W) in the units of the observations' operator."""


def estimate_weight(held: HeldOut, prior: CorrectionSettings) -> CorrectionWeight:
    """The most probable weights; ``prior`` says what is expected beforehand.

    Observations of a group in one cell of about 1000 km count as one, as they see the same errors.
    Those beyond 3.5 standard deviations do not count: gross errors are among them.
    """
    usual = prior.expected, prior.deviation
    expected, deviation = np.array([prior.groups.get(g, usual) for g in GROUPS]).T
    shared = np.full((len(GROUPS),) * 2, SHARED)
    np.fill_diagonal(shared, 1.0)
    precision = np.linalg.inv(deviation[:, None] * shared * deviation)
    group = np.array([group_of(v) for v in held.variable], object)
    weight = np.zeros(0)
    if group.size:
        weight = cell_weights(group.astype(str), held.latitude, held.longitude)
    likely = np.abs(held.residual) < CUT * np.hypot(held.deviation, held.correction)
    kept = weight * likely / held.deviation**2
    information, evidence = (
        np.array([np.sum((kept * held.correction * other)[group == g]) for g in GROUPS])
        for other in (held.correction, held.residual)
    )
    found = np.linalg.solve(np.diag(information) + precision, evidence + precision @ expected)
    places = np.unique(np.stack([held.latitude, held.longitude]), axis=1).shape[1]
    return CorrectionWeight(dict(zip(GROUPS, found.clip(0, 1).tolist(), strict=True)), places)


def held_out(observations: Observations, repeat: Repeat, seed: int = 0) -> HeldOut:
    """What ``repeat`` says of P ``observations`` that it is not given, a fold of places at a
    time."""
    matrix = observations.matrix
    residual, correction, variance = (np.zeros(matrix.shape[0]) for _ in range(3))
    seen = np.zeros(matrix.shape[0], bool)
    for rows in _folds(observations, seed):
        linear, spread, change = (a.ravel() for a in repeat(observations.chosen(~rows)))
        own = matrix[rows]
        residual[rows] = observations.innovation[rows] - own @ linear
        correction[rows] = own @ change
        variance[rows] = observations.error[rows] ** 2 + (abs(own) @ spread) ** 2
        seen |= rows
    return HeldOut(
        observations.variable[seen],
        residual[seen],
        correction[seen],
        np.sqrt(variance[seen]),
        observations.latitude[seen],
        observations.longitude[seen],
    )


def _folds(observations: Observations, seed: int) -> Iterator[np.ndarray]:
    """Which observations (P,) each fold withholds: whole places, ENOUGH of them in all. None where
    there is but one place."""
    places = np.stack([observations.latitude, observations.longitude])
    _, place = np.unique(places, axis=1, return_inverse=True)
    count = place.max(initial=-1) + 1
    folds = min(FOLDS, count)
    if folds < 2:
        return
    fold = np.random.default_rng([seed, FOLDS]).permutation(count) % folds
    for k in range(min(folds, -(-ENOUGH * folds // count))):
        yield fold[place.ravel()] == k
