"""States as 16-bit integers: each field of each state with an offset and a factor of its own, as
GRIB packs fields."""

from __future__ import annotations

import numpy as np

__all__ = ["MISSING", "pack", "unpack"]

MISSING = -32768
_STEPS = 65534


def pack(states: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integers (n, C, H, W), offset and factor (n, C) of ``states``: wrong by half a factor at
    most, 1/131068 of a field's range."""
    packed = np.empty(states.shape, np.int16)
    offset, factor = np.zeros(states.shape[:2]), np.zeros(states.shape[:2])
    for i, state in enumerate(states):
        wide, there = state.astype(np.float64), np.isfinite(state)
        bounds = (
            np.where(there, wide, np.inf).min(axis=(1, 2)),
            np.where(there, wide, -np.inf).max(axis=(1, 2)),
        )
        low, high = (np.where(np.isfinite(b), b, 0.0) for b in bounds)
        offset[i], factor[i] = (low + high) / 2, (high - low) / _STEPS
        steps = (wide - offset[i, :, None, None]) / np.where(factor[i] > 0, factor[i], 1.0)[
            :, None, None
        ]
        packed[i] = np.where(there, np.rint(np.where(there, steps, 0.0)), MISSING)
    return packed, offset, factor


def unpack(packed: np.ndarray, offset: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The states (n, C, H, W), or one (C, H, W), float32 again."""
    values = np.empty(packed.shape, np.float32)
    for place in np.ndindex(packed.shape[:-3]):  # (n,) or, for one state, ()
        wide = packed[place] * factor[place][:, None, None] + offset[place][:, None, None]
        values[place] = np.where(packed[place] == MISSING, np.nan, wide)
    return values
