"""Incremental analysis update (Bloom et al. 1996, Mon. Wea. Rev. 124, 1256): an increment as a
tendency over the hours after the analysis, which filters the gravity waves that it would start.

The tendency is taken in steps: the model runs for a part of the time, and each part begins with an
equal share of what the whole increment changes in the background.
"""

from __future__ import annotations

import numpy as np

from phyda_cli.simulation.jcm import STEPS_PER_DAY, Native, SpeedyModel
from phyda_cli.simulation.speedy_link import SpeedyLink

__all__ = ["IncrementalUpdate"]


CHANGED = ("u", "v", "t", "q", "ps")


class IncrementalUpdate:
    """Increments in ``parts`` over the time between two analyses; ``start`` is any time before the
    first."""

    def __init__(self, link: SpeedyLink, start: np.datetime64, parts: int) -> None:
        each = STEPS_PER_DAY * parts  # a day
        self._link, self._parts = link, parts
        self._apart = np.timedelta64(86400 // each, "s")
        self._model = SpeedyModel(start, 1 / each, each)

    def forecast(self, state: Native, increment: np.ndarray, time: np.datetime64) -> list[Native]:
        """The states after each part, the last one at the next analysis, from the background
        ``state`` at ``time`` and its increment (C, H, W) [physical units]."""
        whole = self._link.add(state, increment)
        change = {name: (whole[name] - state[name]) / self._parts for name in CHANGED}
        states = []
        for part in range(self._parts):
            begun = dict(state) | {name: state[name] + change[name] for name in CHANGED}
            begun["q"] = np.maximum(begun["q"], np.minimum(state["q"], 0.0))
            [state] = self._model.forecast(begun, time + part * self._apart)
            states.append(state)
        return states
