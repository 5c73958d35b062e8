"""Static members for training cases: those an analysis of that date would use, without those that
know the answer."""

from __future__ import annotations

import numpy as np
import torch

from phyda_cli.analysis.localisation import Localisation
from phyda_cli.analysis.reconstruction import Ensemble
from phyda_cli.errors import InputError
from phyda_cli.fields.state import StateSpec
from phyda_cli.model.checkpoint import in_season
from phyda_cli.settings.model import SolverSettings

__all__ = ["MemberPool", "date_folds"]

FOLDS = 8
WINDOW_DAYS = 12


class MemberPool:
    """Members (N, C, H, W) drawn from the training pairs themselves.

    A case never sees members of its own fold of dates (windows of 12 days, every eighth in the same
    fold), or stage 1 would be handed the truth and training would learn to trust it too much. Of
    those left it sees ``most``, evenly spread, where there are more. Raises InputError where none
    is left.
    """

    def __init__(
        self,
        members: torch.Tensor,
        times: tuple[str, ...],
        spec: StateSpec,
        solver: SolverSettings,
        most: int | None = None,
    ) -> None:
        self._members, self._times, self._solver, self._most = (
            members,
            np.array(times, "datetime64[s]"),
            solver,
            most,
        )
        self._localisation = Localisation.of(spec, solver)
        self._folds = date_folds(self._times)
        self._made: dict[tuple[int, int], Ensemble] = {}

    def ensemble(self, time: np.datetime64) -> Ensemble:
        """The ensemble for a training case valid at ``time``; with seasonal members, that of the
        middle of its month."""
        fold = int(date_folds(np.array([time], "datetime64[s]"))[0])
        month = (
            int(time.astype("datetime64[M]").astype(int) % 12)
            if self._solver.season_days is not None
            else -1
        )
        if (fold, month) not in self._made:
            keep = np.flatnonzero(self._folds != fold)
            if month >= 0:
                middle = np.datetime64(f"2001-{month + 1:02d}-15", "s")
                assert self._solver.season_days is not None
                keep = keep[in_season(self._times[keep], middle, self._solver.season_days)]
            if not keep.size:
                raise InputError(
                    f"no static member is left for {np.datetime_as_string(time, unit='D')}: all "
                    f"are of the same {WINDOW_DAYS} days, or of another season",
                    hint="train on pairs of a longer time, some weeks at least",
                )
            if self._most and keep.size > self._most:
                keep = keep[np.linspace(0, keep.size - 1, self._most).round().astype(int)]
            chosen = self._members[torch.from_numpy(keep)] / keep.size**0.5
            self._made[fold, month] = Ensemble(chosen, self._localisation)
        return self._made[fold, month]


def date_folds(times: np.ndarray) -> np.ndarray:
    """The fold 0..FOLDS - 1 of each date (n,)."""
    return np.asarray(times.astype("datetime64[D]").astype(int) // WINDOW_DAYS % FOLDS)
