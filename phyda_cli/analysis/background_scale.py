r"""How large the background's errors are today: a factor on their standard deviation, from the
innovations.

With independent errors an innovation is distributed as d ~ N(0, sigma_o^2 + alpha^2 sigma_b^2). The
factor alpha of each group of variables maximises the likelihood of ln alpha (Dee 1995, Mon. Wea.
Rev. 123, 1128) times a normal prior, so that few observations leave it near the prior's centre. At
the maximum the chi-square of the innovations, weighted by how much each says about alpha,

.. math:: w = \alpha^2 \sigma_b^2 / (\sigma_o^2 + \alpha^2 \sigma_b^2)

is what it should be.

The groups have a factor in common, c: ln alpha_g ~ N(ln c, tau^2) and ln c ~ N(ln c_0, s^2). With
the maximum l_g of each group's likelihood, and its information i_g,

.. math:: \ln c = \Big(\frac{\ln c_0}{s^2} + \sum_g \frac{l_g}{\tau^2 + 1/i_g}\Big) \Big/
          \Big(\frac{1}{s^2} + \sum_g \frac{1}{\tau^2 + 1/i_g}\Big)

and c is the factor of what is not observed. The air at 2 m and 10 m has groups of its own, which
say nothing of c: a forecast that knows little of the ground is not therefore wrong aloft.

Innovations beyond 3.5 standard deviations have no say, as gross errors are
among them; the Gaussian's own share of those is allowed for. Observations close together see the
same errors: those of a group in one cell count as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from phyda_cli.names import Channel

__all__ = ["GROUPS", "BackgroundScale", "cell_weights", "estimate_scale", "group_of"]

GROUPS: dict[str, tuple[str, ...]] = {
    "mass": ("z", "thickness", "msl", "sp"),
    "temperature": ("t", "t2m"),
    "wind": ("u", "v", "u10", "v10", "wind_speed"),
    "humidity": ("q", "q2m", "tcwv"),
}
NEAR_SURFACE: dict[str, tuple[str, ...]] = {
    "temperature_2m": ("t2m",),
    "wind_10m": ("u10", "v10"),
    "humidity_2m": ("q2m",),
}
AT_LEVELS = {"t2m": "t", "u10": "u", "v10": "v", "q2m": "q"}
_GROUP_OF = {variable: group for group, variables in GROUPS.items() for variable in variables}
_SCALE_GROUP_OF = _GROUP_OF | {v: group for group, of in NEAR_SURFACE.items() for v in of}

BOUNDS = (0.25, 4.0)
AGREEING = 300  # observations of a group, which are not all wrong in the same way
FAR_OFF = 16.0  # the bound of the checks where that many agree
DEVIATION = 0.5  # standard deviation of ln c around ln c_0, and of groups near the surface around c
OF_GROUPS = 0.3  # that of the other groups
# real errors are heavy-tailed: 3 biases alpha by -9 % on the held-out days, 4 lets gross errors of
# 5 sigma change it by 10 %
CUT = 3.5
CUT_VARIANCE = 0.99389  # of a normal variable within CUT standard deviations
MEDIAN = 0.67449  # of the modulus of a normal variable
CELL = 9.0  # degrees of latitude: 1000 km


def group_of(variable: str) -> str:
    """The group of a variable; its own name where it belongs to none."""
    return _GROUP_OF.get(variable, variable)


@dataclass(frozen=True)
class BackgroundScale:
    """Factors on sigma_b: ``groups`` by name where it was observed, ``pooled``, what they have in
    common, for everything else."""

    pooled: float = 1.0
    groups: Mapping[str, float] = field(default_factory=dict)

    @property
    def at_bound(self) -> bool:
        """Whether a factor would lie outside BOUNDS if it were let."""
        return any(not BOUNDS[0] < factor < BOUNDS[1] for factor in self.groups.values())

    def of(self, variables: Sequence[str]) -> np.ndarray:
        """The factor of each variable (n,)."""
        return np.array([self.groups.get(scale_group(v), self.pooled) for v in variables])

    def of_channels(self, channels: Sequence[Channel]) -> np.ndarray:
        """The factor of each channel (n,). A state without a variable near the surface sees its
        reports through the lowest level, which has their factor."""
        shared = [c.variable for c in channels]
        for near, aloft in AT_LEVELS.items():
            levels = [n for n, c in enumerate(channels) if c.variable == aloft]
            if near not in shared and levels and scale_group(near) in self.groups:
                shared[max(levels, key=lambda n: channels[n].pressure or 0.0)] = near
        return self.of(shared)


def scale_group(variable: str) -> str:
    """The group that shares the factor of a variable; its own name where it belongs to none."""
    return _SCALE_GROUP_OF.get(variable, variable)


def estimate_scale(
    variable: np.ndarray,
    innovation: np.ndarray,
    error: np.ndarray,
    sigma_b: np.ndarray,
    latitude: np.ndarray,
    longitude: np.ndarray,
    prior: float = 1.0,
    largest: float = BOUNDS[1],
) -> BackgroundScale:
    """Factors for P observations, between a quarter and ``largest``.

    Args:
        variable: canonical names (P,).
        innovation, error, sigma_b: y - H(x_b) and the standard deviations of observation and
            background error, all (P,) [same units].
        latitude, longitude: (P,) [degrees].
        prior: where the estimate starts from and stays without evidence; in a cycle, that of the
            analysis before.
        largest: of the factors of groups with AGREEING observations; the others end at four.
    """
    if innovation.size == 0:
        return BackgroundScale(prior)
    group = np.array([scale_group(v) for v in variable])
    weight = cell_weights(group, latitude, longitude)

    def estimate(name: str, centre: float, width: float) -> tuple[float, float]:
        rows = np.flatnonzero(group == name)
        high = largest if rows.size >= AGREEING else BOUNDS[1]
        d, own, ours, kept = (a[rows] for a in (innovation, error, sigma_b, weight))
        return _maximum(d, own, ours, kept, centre, width, high)

    names = sorted(set(group.tolist()), key=[*GROUPS, *NEAR_SURFACE, *group.tolist()].index)
    width = float(np.hypot(DEVIATION, OF_GROUPS))
    alone = [estimate(name, prior, width) for name in names if name not in NEAR_SURFACE]
    pooled = _common(alone, prior, width)
    widths = {name: DEVIATION if name in NEAR_SURFACE else OF_GROUPS for name in names}
    return BackgroundScale(pooled, {n: estimate(n, pooled, w)[0] for n, w in widths.items()})


def _common(alone: Sequence[tuple[float, float]], prior: float, width: float) -> float:
    """What groups have in common, from the factor of each ``alone`` around ``prior``, where the
    standard deviation of its logarithm was ``width`` beforehand, and its information."""
    total, moment = 1 / DEVIATION**2, 0.0
    for factor, information in alone:
        shared = 1 + information * OF_GROUPS**2
        total += information / shared
        moment += (information + 1 / width**2) * np.log(factor / prior) / shared
    return float(np.clip(prior * np.exp(moment / total), *BOUNDS))


def cell_weights(group: np.ndarray, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """One over the number of observations of the same group in the same cell of about 1000 km,
    (P,)."""
    row = np.floor((latitude + 90) / CELL)
    width = CELL / np.maximum(np.cos(np.deg2rad(-90 + CELL * (row + 0.5))), 0.05)
    cells = np.stack(
        [np.unique(group, return_inverse=True)[1], row, np.floor(longitude % 360 / width)]
    )
    _, cell, count = np.unique(cells, axis=1, return_inverse=True, return_counts=True)
    return 1.0 / count[cell.ravel()]


def _maximum(
    d: np.ndarray,
    error: np.ndarray,
    sigma_b: np.ndarray,
    weight: np.ndarray,
    centre: float,
    width: float,
    high: float = BOUNDS[1],
) -> tuple[float, float]:
    """The most probable alpha by Fisher scoring in ln alpha, from the alpha that puts the median
    where it should be, and the information about ln alpha that the innovations have."""
    low, high = np.log(BOUNDS[0]), np.log(high)
    told = sigma_b > 0
    asked = (d[told] ** 2 / MEDIAN**2 - error[told] ** 2) / sigma_b[told] ** 2  # alpha^2 of each
    x = float(np.clip(np.log(np.median(asked).clip(1e-9)) / 2, low, high)) if told.any() else 0.0
    for _ in range(50):
        background = np.exp(2 * x) * sigma_b**2
        square, share = d**2 / (background + error**2), background / (background + error**2)
        kept = weight * (square < CUT**2)
        score = np.sum(kept * share * (square / CUT_VARIANCE - 1)) - (x - np.log(centre)) / width**2
        information = float(np.sum(2 * kept * share**2))
        step = np.clip(score / (information + 1 / width**2), -0.5, 0.5)
        x = float(np.clip(x + step, low, high))
        if abs(step) < 1e-4:
            break
    return float(np.exp(x)), information
