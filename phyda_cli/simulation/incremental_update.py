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


class IncrementalUpdate:
    """Increments in ``parts`` over the time between two analyses; ``start`` is any time before the
    first."""

    def __init__(self, link: SpeedyLink, start: np.datetime64, parts: int) -> None:
        each = STEPS_PER_DAY * parts  # a day
        self._link, self._parts = link, parts
        self._model = SpeedyModel(start, 1 / each, each)

    def forecast(self, state: Native, increment: np.ndarray, time: np.datetime64) -> list[Native]:
        """The states after each part, the last one at the next analysis, from the background
        ``state`` at ``time`` and its increment (C, H, W) [physical units]."""
        return self._model.nudged(state, self._link.add(state, increment), time, self._parts)
