"""The linear analysis of a limited area tuned on its training years: season and number of members,
localisation, scale.

The members of a case are one-day differences within ``season_days`` of its date in every other
year, so that none knows the answer. One thing is varied at a time, from the best found so far; the
score is the mean over channels and networks of the RMSE over the background's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.limited_cases import stations
from phyda_cli.analysis.background_scale import BackgroundScale
from phyda_cli.analysis.localisation import Localisation
from phyda_cli.analysis.model_grid import ModelGridSettings, analyse
from phyda_cli.analysis.prior import Prior
from phyda_cli.analysis.reconstruction import Ensemble
from phyda_cli.model.checkpoint import in_season
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.settings.model import SolverSettings
from phyda_cli.simulation.simulate import simulate
from phyda_cli.training.statistics import difference, measured, state_spec

__all__ = ["START", "TrainingYears", "search"]

Settings = dict[str, Any]
START: Settings = {
    "season_days": 60,
    "radius_km": 8000.0,
    "members": None,
    "scale": "auto",
    "column_stride": 2,
}
SEARCH: dict[str, tuple[Any, ...]] = {
    "scale": (0.8, 0.9, 1.0, 1.1),
    "season_days": (30, 45, 90, None),
    "radius_km": (1500.0, 2000.0, 3000.0, 4000.0, 6000.0, 16000.0),
    "members": (128, 256, 512),
    "column_stride": (1,),
}


class TrainingYears:
    """A training store, and the differences of all its pairs as members."""

    def __init__(self, store: PairStore, cases: int) -> None:
        self.store, self.states = store, store.load_states()
        self.spec = state_spec(store, measured(store, self.states, np.arange(len(store.pairs))))
        unit = self.spec.column("background_std")
        self.members = torch.from_numpy(
            np.stack([difference(store, self.states, p) / unit for p in range(len(store.pairs))])
        )
        self.times = store.time[store.pairs[:, 1]]
        self.years = self.times.astype("datetime64[Y]")
        self.cases = np.linspace(0, len(store.pairs) - 1, cases).astype(int)

    def score(self, count: int, settings: Settings) -> np.ndarray:
        """RMSE over the background's of each channel with ``count`` stations."""
        solver = SolverSettings(
            radius_km=settings["radius_km"],
            radius_log_p=None,
            column_stride=settings["column_stride"],
        )
        where, spec = Localisation.of(self.spec, solver), self.spec
        sums = np.zeros((2, self.spec.n_channels))
        weights = self.store.grid.area_weights[:, None]
        for number, case in enumerate(self.cases.tolist()):
            rng = np.random.default_rng([51, number])
            truth = self.members[case].numpy()
            network = stations(spec, count, rng)
            observations = simulate(spec, truth, network, rng)
            fixed = None if settings["scale"] == "auto" else BackgroundScale(settings["scale"])
            start, _ = self.store.pairs[case]
            prior = Prior.of(
                state=self.states[start],
                spec=spec,
                statics=self.store.statics,
                time=self.times[case],
                lead_hours=float(self.store.lead[case]),
                ensemble=Ensemble(self._members(case, settings), where),
            )
            found = analyse(prior, observations, None, ModelGridSettings(scale=fixed))
            factor = found.unit / spec.column("background_std")
            errors = np.stack([truth - factor * found.mean, truth])
            sums += (errors**2 * weights).mean(axis=(2, 3))
        return np.sqrt(sums[0] / sums[1])

    def _members(self, case: int, settings: Settings) -> torch.Tensor:
        keep = np.flatnonzero(self.years != self.years[case])
        if settings["season_days"] is not None:
            keep = keep[in_season(self.times[keep], self.times[case], settings["season_days"])]
        if settings["members"] and keep.size > settings["members"]:
            keep = keep[np.linspace(0, keep.size - 1, settings["members"]).round().astype(int)]
        return self.members[torch.from_numpy(keep)] / keep.size**0.5


def search(
    years: TrainingYears, counts: tuple[int, ...], report: Callable[[Settings], None]
) -> tuple[Settings, list[Settings]]:
    """The best settings and everything tried."""
    tried: list[Settings] = []

    def score(settings: Settings) -> float:
        found = {n: years.score(n, settings) for n in counts}
        row = settings | {f"mse {n}": np.square(v).round(4).tolist() for n, v in found.items()}
        tried.append(row | {"mean rmse": round(float(np.mean(list(found.values()))), 5)})
        report(tried[-1])
        return float(tried[-1]["mean rmse"])

    best = dict(START)
    lowest = score(best)
    for name, values in SEARCH.items():
        for value in values:
            if (found := score(best | {name: value})) < lowest:
                lowest, best = found, best | {name: value}
    return best, tried
