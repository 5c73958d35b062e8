"""Guided sampling beside oi and phyda on days never trained on, with identical observations for
all.

    python -m benchmarks.guidance --data data/nature-test.zarr [--cases 8] [--members 8] [--json
    FILE] python -m benchmarks.guidance --data data/train.zarr --tune [--cases 2]

Networks and scores are those of ``benchmarks.held_out``; ``prior`` is the encoder's mean and spread
when it is told of no observation, which is what guidance starts from. ``--tune`` scores a range of
guidance settings instead, on the last 8 % of the training store's dates, which training kept for
validation.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.held_out import Draw, Pair, Scores, networks, pairs_of_store
from phyda_cli.analysis.guided import Guidance
from phyda_cli.analysis.localisation import Localisation
from phyda_cli.analysis.model_grid import Increment, ModelGridSettings, Networks, analyse
from phyda_cli.analysis.prior import Prior
from phyda_cli.analysis.reconstruction import Observations
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.settings.analysis import GuidanceSettings
from phyda_cli.simulation.simulate import simulate

DEFAULT = GuidanceSettings()
SCORED = {"guidance mmps": DEFAULT, "guidance dps": DEFAULT.model_copy(update={"rule": "dps"})}


def tuning() -> dict[str, GuidanceSettings]:
    """Settings around the defaults, changed one at a time."""
    changes: list[dict[str, object]] = [{}]
    changes += [{"steps": n} for n in (6, 24)]
    changes += [{"iterations": n} for n in (4, 24)]
    changes += [{"sigma_min": s} for s in (0.15, 0.4)]
    changes += [
        {"rule": "dps", "zeta": z, "steps": n} for z in (0.2, 0.35, 0.5, 0.7, 1.0) for n in (24, 48)
    ]
    return {
        " ".join(f"{k} {v}" for k, v in c.items()) or "defaults": DEFAULT.model_copy(update=c)
        for c in changes
    }


class Bench:
    """A checkpoint with its networks, and scores by method."""

    def __init__(self, checkpoint: Checkpoint, members: int) -> None:
        self.checkpoint, self.members = checkpoint, members
        self.networks = Networks.of(checkpoint, today=False)
        self.localisation = Localisation.of(checkpoint.state, checkpoint.metadata.solver)
        self.scores = Scores(checkpoint.state)

    def run(
        self, pair: Pair, network: Draw, number: int, guidance: dict[str, GuidanceSettings]
    ) -> None:
        """Score all methods on one network's observations of one pair."""
        spec = self.checkpoint.state
        rng = np.random.default_rng([20, number])
        target = ((pair.truth - pair.background) / spec.column("background_std")).astype(np.float32)
        observations = simulate(spec, target, network(rng), rng)
        prior = Prior.static(
            self.checkpoint, pair.background, pair.time, pair.lead, self.localisation
        )
        settings = ModelGridSettings(members=self.members, seed=number)
        linear = self._add("oi", pair, prior, observations, None, settings)
        settings = replace(settings, scale=linear.scale)
        nothing = Observations.none(prior.state.size)
        only_mean = replace(settings, members=0)
        self._add("prior", pair, prior, nothing, self.networks, only_mean)
        self._add("phyda", pair, prior, observations, self.networks, settings)
        for name, chosen in guidance.items():
            told = Guidance(chosen, rows=True)
            self._add(name, pair, prior, observations, self.networks, settings, told)

    def _add(
        self,
        name: str,
        pair: Pair,
        prior: Prior,
        observations: Observations,
        networks: Networks | None,
        settings: ModelGridSettings,
        guidance: Guidance | None = None,
    ) -> Increment:
        began = time.perf_counter()
        found = analyse(prior, observations, networks, settings, guidance)
        self.scores.add_increment(name, pair, found, time.perf_counter() - began)
        return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="training store of the days to score or to tune on"
    )
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tune", action="store_true")
    args = parser.parse_args()
    checkpoint = Checkpoint.open(args.checkpoint)
    spec, land = checkpoint.state, checkpoint.statics["lsm"]
    pairs = list(pairs_of_store(args.data, spec, args.cases, 0.92 if args.tune else 0.0))
    result = {}
    print(
        f"{'network':15} {'method':24} {'mse/background':>14} {'spread/skill':>12} {'s/case':>7} "
        " by case"
    )
    for name, network in networks(spec, land).items():
        bench = Bench(checkpoint, args.members)
        for number, pair in enumerate(pairs):
            bench.run(pair, network, number, tuning() if args.tune else SCORED)
        result[name] = bench.scores.table()
        for method, row in result[name].items():
            each = " ".join(f"{v:.2f}" for v in bench.scores.cases[method])
            print(
                f"{name:15} {method:24} {row['ratio']:14.3f} {row['spread_skill']:12.2f} "
                f"{row['seconds']:7.1f}  {each}",
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
