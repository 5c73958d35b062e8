r"""The small-scale covariance, estimated from the residuals at hand.

Each station of a sample is predicted from its nearest neighbours without itself, and the parameters
maximise the likelihood of what it reports (leave-one-out, Sundararajan and Keerthi 2001, Neural
Comput. 13, 1103) times a log-normal prior. This is what the analysis is for, and costs little: a
thousand small matrices. Outliers count no more than at 3.5 standard deviations.

The estimate is taken only where it predicts the stations better than the background alone does, by
more than its parameters would on noise (Akaike's criterion): errors as smooth as the model grid
leave nothing for the fine stage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from phyda_cli.analysis.fine_covariance import (
    Points,
    Separation,
    SmallScale,
    covariance,
    separation,
)

__all__ = ["PRIOR", "drawn", "estimate"]

PRIOR = SmallScale(0.3, 0.3, 150.0, 700.0, 800.0, 2000.0, 0.5, 0.25)
"""Where the estimate starts from and stays without evidence, for residuals of unit variance."""

_BOUNDS = SmallScale(8.0, 8.0, 6.0, 2.5, 5.0, 4.0, 6.0, 12.0)  # factors on the prior, and over it
_NAMES = tuple(PRIOR.__dataclass_fields__)
_NEIGHBOURS = 24
_CUT = 3.5
_FOR_SPREAD = 2000  # stations
_GROSS = 10.0  # standard deviations, beyond which no spread can stand for an error
_ITERATIONS = 15


@dataclass(frozen=True, eq=False)
class _Problem:
    """Left-out stations (n,): ``value`` (n, V), those of their neighbours ``given`` (n, N, V), and
    how far all are from each other."""

    value: Tensor
    given: Tensor
    among: Separation
    towards: Separation
    itself: Separation
    components: int

    def predicted(self, small: SmallScale, radius: float) -> tuple[Tensor, Tensor]:
        """Of each station (n,) the variance expected, and its misfit squared over that."""
        size = self.given.shape[1]
        system = covariance(small, self.among, radius) + small.noise * torch.eye(
            size, dtype=self.given.dtype
        )
        cross = covariance(small, self.towards, radius)
        factor = torch.linalg.cholesky(system)
        weight = torch.cholesky_solve(cross, factor)
        mean = (weight * self.given).sum(dim=1)
        prior = covariance(small, self.itself, radius)[:, 0, 0]
        variance = (prior - (weight * cross)[..., 0].sum(dim=1)).clamp_min(1e-6) + small.noise
        misfit = ((self.value - mean) ** 2).sum(dim=1) / (variance * self.components)
        return variance, misfit

    def score(self, small: SmallScale, radius: float) -> Tensor:
        """Minus the log likelihood of each station (n,), without constants."""
        variance, misfit = self.predicted(small, radius)
        return 0.5 * self.components * (variance.log() + misfit.clamp(max=_CUT**2))


def estimate(
    stations: Points,
    residual: np.ndarray,
    radius: float,
    components: int | None = None,
    prior: SmallScale | None = None,
    sample: int = 1000,
    seed: int = 0,
) -> SmallScale | None:
    """The parameters for ``residual`` (m, V) at ``stations`` (m,), or None where there is nothing
    that a fine stage could gain.

    Args:
        radius: where all influence ends [km].
        components: how many of the V are independent; a horizontal wind in three has two.
        prior: in a cycle, the estimate of the analysis before instead of :data:`PRIOR`.
        sample: most stations to leave out, drawn with ``seed``; who is in it depends on where a
            station is, so that one more or less changes nothing for the others.
    """
    components = residual.shape[1] if components is None else components
    unit = float(np.mean(residual**2) * residual.shape[1] / components)
    if unit == 0.0:
        return None
    start = PRIOR if prior is None else _scaled(prior, 1 / unit)
    everybody = drawn(stations.position, seed)
    scaled = residual / np.sqrt(unit)
    problem = _problem(stations, scaled, components, everybody[:sample])
    logs = torch.zeros(len(_NAMES), dtype=torch.float64, requires_grad=True)
    limits = torch.log(torch.tensor([getattr(_BOUNDS, n) for n in _NAMES], dtype=torch.float64))
    limits[[0, 1]] = np.log(1e4)

    def parameters() -> SmallScale:
        bounded = limits * torch.tanh(logs / limits)
        return SmallScale(
            *(getattr(start, n) * e for n, e in zip(_NAMES, bounded.exp(), strict=True))
        )

    optimiser = torch.optim.LBFGS([logs], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = problem.score(parameters(), radius).sum() + 0.5 * (logs**2).sum()
        torch.autograd.backward(loss)
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        best = SmallScale(*(float(getattr(parameters(), n)) for n in _NAMES))
        gain = _without(problem) - float(problem.score(best, radius).sum())
        if gain < len(_NAMES):
            return None
        # Outliers have their share in the spread again: the increments do not depend on it.
        several = _problem(stations, scaled, components, everybody[:_FOR_SPREAD])
        variance, misfit = several.predicted(best, radius)
        square = variance * misfit.clamp(max=_GROSS**2)
    return _scaled(best, unit * float(square.mean() / variance.mean()))


def drawn(position: np.ndarray, seed: int) -> np.ndarray:
    """All points in an order that looks random: that of a number made from each ``position``
    (m, 3) [km], to a metre (splitmix64, Steele et al. 2014, OOPSLA)."""
    number = np.full(len(position), seed, np.uint64)
    for metre in np.round(1e3 * position.T).astype(np.int64).view(np.uint64):
        number = (number ^ metre) + np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            number = (number ^ (number >> np.uint64(shift))) * np.uint64(factor)
        number ^= number >> np.uint64(31)
    return np.argsort(number, kind="stable")


def _scaled(small: SmallScale, factor: float) -> SmallScale:
    """``small`` with all variances times ``factor``."""
    return replace(
        small,
        near_variance=small.near_variance * factor,
        far_variance=small.far_variance * factor,
        noise=small.noise * factor,
    )


def _problem(
    stations: Points, residual: np.ndarray, components: int, chosen: np.ndarray
) -> _Problem:
    count = len(residual)
    near = cKDTree(stations.position).query(stations.position[chosen], min(_NEIGHBOURS + 1, count))[
        1
    ]
    # The nearest is the station, or another at its very place.
    is_itself = near == chosen[:, None]
    is_itself[~is_itself.any(axis=1), -1] = True
    index = near[~is_itself].reshape(len(chosen), -1)
    one, others = stations.take(chosen[:, None]), stations.take(index)
    values = torch.from_numpy(np.asarray(residual, np.float64))
    return _Problem(
        values[chosen],
        values[index],
        separation(others, others),
        separation(others, one),
        separation(one, one),
        components,
    )


def _without(problem: _Problem) -> float:
    """Minus the log likelihood of the stations without a fine stage, with the best variance."""
    squares = (problem.value**2).sum(dim=1) / problem.components
    variance = float(squares.mean())
    misfit = (squares / variance).clamp(max=_CUT**2)
    return float((0.5 * problem.components * (np.log(variance) + misfit)).sum())
