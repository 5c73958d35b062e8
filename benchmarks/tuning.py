"""Stage 1 and OI tuned on the training season: number of static members and localisation.

    python -m benchmarks.tuning --data data/train-cycled.zarr [--cases 8] --json tuning.json

Mean square error over the background's, averaged over channels and the networks of
benchmarks.networks, with the automatic background-error scale. Members come from the store's own
pairs, none of them within the case's own dates (see MemberPool). One thing is varied at a time,
from the best found so far.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.networks import NETWORKS, draw
from phyda_cli.analysis.model_grid import ModelGridSettings, analyse
from phyda_cli.analysis.prior import Prior
from phyda_cli.fields.state import StateSpec
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.settings.model import SolverSettings
from phyda_cli.simulation.simulate import simulate
from phyda_cli.training.members import MemberPool
from phyda_cli.training.statistics import choose_members, difference, split_pairs, state_spec

Settings = dict[str, float | None]
START: Settings = {"members": 256, "radius_km": 5000.0, "radius_log_p": 4.0}
SEARCH: dict[str, tuple[float | None, ...]] = {
    "radius_km": (3000.0, 4000.0, 6000.0, 8000.0),
    "radius_log_p": (1.5, 2.5, 6.0, None),
    "members": (64, 128, 384, 512),
}


class Season:
    """A training store with pools of members of every size asked for."""

    def __init__(self, path: Path, cases: int) -> None:
        self.store = PairStore.open(path)
        self.states = self.store.load_states()
        split = split_pairs(self.store, 0.08)
        rng = np.random.default_rng(0)
        self.spec: StateSpec = state_spec(self.store)
        self.chosen = {
            n: choose_members(self.store, self.states, self.spec, split.training, n, rng)
            for n in (64, 128, 256, 384, 512)
        }
        short = split.training[self.store.lead[split.training] == self.store.lead.min()]
        self.pairs = short[np.linspace(0, short.size - 1, cases).astype(int)]

    def score(self, members: int, radius_km: float, radius_log_p: float | None) -> Settings:
        """Ratio by network, and their ``mean``."""
        solver = SolverSettings(radius_km=radius_km, radius_log_p=radius_log_p, column_stride=3)
        pool = MemberPool(*self.chosen[members], self.spec, solver)
        unit, weights = self.spec.column("background_std"), self.store.grid.area_weights[:, None]
        out: dict[str, float | None] = {}
        ratios = []
        for name in NETWORKS:
            sums = np.zeros((2, self.spec.n_channels))
            for number, pair in enumerate(self.pairs.tolist()):
                rng = np.random.default_rng([31, number])
                truth = difference(self.store, self.states, pair) / unit
                network = draw(name, 1.0, self.spec, self.store.statics["lsm"], rng)
                start, end = self.store.pairs[pair]
                time = self.store.time[end]
                prior = Prior.of(
                    state=self.states[start],
                    spec=self.spec,
                    statics=self.store.statics,
                    time=time,
                    lead_hours=float(self.store.lead[pair]),
                    ensemble=pool.ensemble(time),
                )
                observations = simulate(self.spec, truth, network, rng)
                found = analyse(prior, observations, None, ModelGridSettings())
                left = truth - found.unit / unit * found.mean
                sums[0] += (left**2 * weights).mean(axis=(1, 2))
                sums[1] += (truth**2 * weights).mean(axis=(1, 2))
            ratios.append(float((sums[0] / sums[1]).mean()))
            out[name] = ratios[-1]
        return out | {"mean": float(np.mean(ratios))}


def main() -> None:
    """Print and write the search."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    season = Season(args.data, args.cases)
    best: Settings = dict(START)
    tried: list[dict[str, float | None]] = []

    def score(settings: Settings) -> float:
        row = season.score(**settings)  # type: ignore[arg-type]
        tried.append(settings | row)
        print(json.dumps(tried[-1]), flush=True)
        if args.json:
            args.json.write_text(
                json.dumps({"best": best, "tried": tried}, indent=1), encoding="utf-8"
            )
        assert row["mean"] is not None
        return row["mean"]

    lowest = score(dict(best))
    for name, values in SEARCH.items():
        for value in values:
            if (found := score(best | {name: value})) < lowest:
                lowest, best = found, best | {name: value}
    print(f"best {best}: {lowest:.4f}")
    if args.json:
        args.json.write_text(json.dumps({"best": best, "tried": tried}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
