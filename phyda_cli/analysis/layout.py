"""Between a checkpoint's channel stack on the model grid and fields on the user's grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.remap import to_grid
from phyda_cli.fields.state import StateSpec

__all__ = ["as_fields", "ensemble_anomalies", "in_channel_order", "model_background"]


def model_background(fields: Fields, spec: StateSpec) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The background on the model grid: (C, H, W) float32, which channels it really has (C,), and
    notes on what was filled.

    Missing channels, and points outside a limited-area background, take the climatological mean.
    Raises InputError when no channel at all is available.
    """
    values, available = to_grid(fields, spec.channel_list, spec.grid)
    if not available.any():
        found = sorted({c.key for c in fields.channels})
        raise InputError(
            "the background shares no level and variable with the model; found "
            f"{', '.join(found[:12])}; "
            f"the model works on {', '.join(spec.channels)}"
        )
    missing = [key for key, has in zip(spec.channels, available, strict=True) if not has]
    notes = (
        [f"not in the background, climatology used as network input: {', '.join(missing)}"]
        if missing
        else []
    )
    gaps = np.isnan(values[available])
    outside = gaps.all(axis=0)
    if lacking := int((gaps.any(axis=0) & ~outside).sum()):
        notes.append(
            f"{lacking} of {outside.size} points of the model grid hold climatology where the "
            "background is missing"
        )
    if outside.any():
        notes.append(
            f"{outside.mean():.0%} of the model grid lies outside the background and holds "
            "climatology"
        )
    return (
        np.where(np.isnan(values), spec.column("mean"), values).astype(np.float32),
        available,
        notes,
    )


def ensemble_anomalies(members: Sequence[Fields], spec: StateSpec) -> np.ndarray:
    """Anomalies of N ``members`` about their mean over sqrt(N - 1), in units of s_b, (N, C, H, W)
    float32.

    Zero in channels the members lack, and outside a limited area.
    """
    stack = np.stack([model_background(member, spec)[0] for member in members])
    anomalies = (stack - stack.mean(axis=0, dtype=np.float64)) / spec.column("background_std")
    return (anomalies / np.sqrt(len(members) - 1)).astype(np.float32)


def as_fields(stack: np.ndarray, spec: StateSpec, like: Fields, available: np.ndarray) -> Fields:
    """A channel stack (C, H, W) as fields on the model grid; unavailable (variable, level) slices
    are NaN, as readers do."""
    levels = np.array(sorted({c.pressure for c in spec.channel_list if c.pressure is not None}))
    upper: dict[str, np.ndarray] = {}
    surface: dict[str, np.ndarray] = {}
    for index, channel in enumerate(spec.channel_list):
        if not available[index]:
            continue
        if channel.pressure is None:
            surface[channel.variable] = stack[index]
            continue
        empty = np.full((levels.size, *spec.grid.shape), np.nan, stack.dtype)
        upper.setdefault(channel.variable, empty)[np.searchsorted(levels, channel.pressure)] = (
            stack[index]
        )
    return Fields(spec.grid, like.time, levels, upper, surface, like.lead_hours)


def in_channel_order(
    matrix: sparse.csr_matrix, layout: Fields, spec: StateSpec
) -> sparse.csr_matrix:
    """An operator (P, n) on ``layout.vector()`` as one (P, C*H*W) on the flattened channel
    stack."""
    size = spec.grid.size
    where = {channel: index for index, channel in enumerate(spec.channel_list)}
    start = np.array([where.get(channel, -1) for channel in layout.channels])
    coo = matrix.tocoo()
    target = start[coo.col // size]
    keep = target >= 0
    column = target[keep] * size + coo.col[keep] % size
    return sparse.coo_matrix(
        (coo.data[keep], (coo.row[keep], column)), shape=(matrix.shape[0], spec.n_channels * size)
    ).tocsr()
