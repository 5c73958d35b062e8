"""The background-error scale of a cycle, followed from innovation statistics as time goes on.

E[d^2] = sigma_o^2 + alpha^2 sigma_b^2 for innovations d, so the moment estimate of alpha^2 over a group of variables is
(sum d^2 - sum sigma_o^2) / sum sigma_b^2; it is relaxed in time, as single networks are too small to trust.
"""

from __future__ import annotations

import numpy as np

from phyda_cli.model.state import StateSpec

__all__ = ["GROUPS", "ScaleTracker"]

GROUPS = {"z": "mass", "msl": "mass", "t": "temperature", "t2m": "temperature", "q": "humidity"}  # the rest is wind
LOW, HIGH = 0.1, 4.0
ENOUGH = 500  # observations at which an estimate counts fully
MEMORY = 0.8  # weight of the previous estimate even then


class ScaleTracker:
    """alpha by variable group, starting at ``start``; ``factors`` (C,) multiplies the members' channels."""

    def __init__(self, spec: StateSpec, start: float = 1.0) -> None:
        self.group = np.array([GROUPS.get(c.variable, "wind") for c in spec.channel_list])
        self.alpha = dict.fromkeys(sorted(set(self.group.tolist())), start)

    @property
    def factors(self) -> np.ndarray:
        """alpha of each channel (C,) float32."""
        return np.array([self.alpha[g] for g in self.group], np.float32)

    def update(self, innovation: np.ndarray, error: np.ndarray, sigma_b: np.ndarray, channel: np.ndarray) -> None:
        """Take in innovations, observation errors and unscaled background errors (P,), of channel indices (P,)."""
        for name in self.alpha:
            rows = self.group[channel] == name
            if not rows.any():
                continue
            estimate = (np.sum(innovation[rows] ** 2) - np.sum(error[rows] ** 2)) / np.sum(sigma_b[rows] ** 2)
            gain = (1 - MEMORY) * min(1.0, rows.sum() / ENOUGH)
            square = (1 - gain) * self.alpha[name] ** 2 + gain * np.clip(estimate, LOW**2, HIGH**2)
            self.alpha[name] = float(np.sqrt(square))
