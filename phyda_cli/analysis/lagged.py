"""Lagged forecasts as members of B.

What a forecast of an earlier start says differently, valid at the same time, is an error that
forecasts of today make: it follows the flow, which no static member does (Hoffman and Kalnay 1983,
Tellus 35A, 100). Its size says little about that of the background's error, as an older forecast is
a worse one. So each difference is scaled to unit size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from phyda_cli.analysis.ensemble_filter import hybrid
from phyda_cli.analysis.prior import Prior
from phyda_cli.analysis.reconstruction import Ensemble
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.remap import to_grid
from phyda_cli.fields.state import StateSpec

__all__ = ["lagged_differences", "with_lagged"]


def lagged_differences(
    members: Sequence[Fields], background: Fields, spec: StateSpec
) -> np.ndarray:
    """``members`` minus ``background`` (K, C, H, W) on the model grid [physical units], zero where
    either is missing."""

    def on_grid(fields: Fields) -> np.ndarray:
        values, available = to_grid(fields, spec.channel_list, spec.grid)
        values[~available] = np.nan
        return values

    own = on_grid(background)
    return np.nan_to_num(np.stack([on_grid(member) - own for member in members]))


def with_lagged(prior: Prior, differences: np.ndarray, weight: float) -> Prior:
    """``prior`` with B = (1 - ``weight``) times its own plus ``weight`` times the mean outer
    product of ``differences`` (K, C, H, W) [physical units], each divided by its own root mean
    square, in units of s_b, over the points and channels that it has. Those of no size are left
    out."""
    normalised = differences / prior.spec.column("background_std")
    share = prior.spec.grid.area_weights[:, None]
    total = ((normalised != 0) * share).sum(axis=(1, 2, 3))  # of what each forecast has
    size = np.sqrt((normalised**2 * share).sum(axis=(1, 2, 3)) / np.maximum(total, 1e-30))
    normalised, size = normalised[size > 0], size[size > 0]
    if not size.size:
        return prior
    scaled = normalised / (size * np.sqrt(size.size))[:, None, None, None]
    static = prior.ensemble.members
    members = hybrid(torch.from_numpy(scaled).to(static), static, weight)
    return replace(prior, ensemble=Ensemble(members, prior.ensemble.localisation))
