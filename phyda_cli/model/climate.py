"""The climate of a model's training data: mean and standard deviation at every point for a date.

The mean is a constant and two harmonics of the year, by least squares; the standard deviation is
that of the states about it. Data of less than ten months tell no season: the mean is a constant.
Shapes: C channels, H x W grid points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from phyda_cli.model.mean_error import N_SEASON, season

__all__ = ["PACKED", "Climate", "fit_climate", "packed", "unpacked"]

YEAR = np.timedelta64(300, "D")
AT_ONCE = 64
PACKED = ("origin", "scale")  # what a packed climate has beside its fields


@dataclass(frozen=True, eq=False)
class Climate:
    """``weights`` (N_SEASON, C, H, W) of the season, and ``deviation`` (C, H, W), both in physical
    units."""

    weights: np.ndarray
    deviation: np.ndarray

    def mean(self, time: np.datetime64) -> np.ndarray:
        """The mean (C, H, W) float32 of the date of ``time``."""
        return np.tensordot(season(np.array([time]))[0], self.weights, 1).astype(np.float32)


def fit_climate(states: np.ndarray, rows: Sequence[int] | np.ndarray, time: np.ndarray) -> Climate:
    """The climate of ``states[rows]`` (n, C, H, W) [physical units], valid at ``time`` (n,)."""
    rows = np.asarray(rows)
    order = np.argsort(rows, kind="stable")
    rows, time = rows[order], time[order]
    x = season(time)
    if np.ptp(time) < YEAR:
        x[:, 1:] = 0.0
    origin = np.asarray(states[int(rows[0])], np.float64)
    moment, square = np.zeros((N_SEASON, origin.size)), np.zeros(origin.size)
    for first in range(0, rows.size, AT_ONCE):
        part = slice(first, first + AT_ONCE)
        away = np.stack([states[int(i)] for i in rows[part]]) - origin
        flat = away.reshape(len(away), -1)
        moment += x[part].T @ flat
        square += np.square(flat).sum(axis=0)
    weights = np.linalg.pinv(x.T @ x) @ moment
    left = np.maximum(square - (weights * moment).sum(axis=0), 0.0)
    weights = weights.reshape(N_SEASON, *origin.shape)
    weights[0] += origin
    deviation = np.sqrt(left / max(rows.size - 1, 1)).reshape(origin.shape)
    return Climate(weights.astype(np.float32), deviation.astype(np.float32))


def packed(climate: Climate) -> dict[str, np.ndarray]:
    """``climate`` as a file holds it: fields in float16, in standard deviations ``scale`` (C,) of
    each channel and without its mean ``origin`` (C,), in physical units."""
    scale = np.sqrt(np.square(climate.deviation, dtype=np.float64).mean(axis=(1, 2)))
    scale = np.where(scale > 0, scale, 1.0)
    origin = climate.weights[0].mean(axis=(1, 2), dtype=np.float64)
    weights = climate.weights.astype(np.float64)
    weights[0] -= origin[:, None, None]
    unit = scale[:, None, None]
    fields = {"weights": weights / unit, "deviation": climate.deviation / unit}
    return {k: v.astype(np.float16) for k, v in fields.items()} | {
        k: v.astype(np.float32) for k, v in (("origin", origin), ("scale", scale))
    }


def unpacked(found: Mapping[str, np.ndarray]) -> Climate:
    """What :func:`packed` made."""
    unit = found["scale"][:, None, None]
    weights = found["weights"] * unit
    weights[0] += found["origin"][:, None, None]
    return Climate(weights, found["deviation"] * unit)
