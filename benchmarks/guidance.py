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
from pathlib import Path

import numpy as np
import torch

from benchmarks.held_out import Draw, Pair, Scores, networks, pairs_of_store
from phyda_cli.analysis.generative import sample_members
from phyda_cli.analysis.guided import guide, row_misfit
from phyda_cli.analysis.localisation import Localisation
from phyda_cli.analysis.reconstruction import Ensemble, reconstruct, without_observations
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.model.encoder import conditions
from phyda_cli.settings.analysis import GuidanceSettings
from phyda_cli.training.cases import innovations, scaled

CPU = torch.device("cpu")
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
        self.encoder, self.denoiser = checkpoint.networks()
        self.localisation = Localisation.of(checkpoint.state, checkpoint.metadata.solver)
        self.scores = Scores(checkpoint.state)

    def run(
        self, pair: Pair, network: Draw, number: int, guidance: dict[str, GuidanceSettings]
    ) -> None:
        """Score all methods on one network's observations of one pair."""
        spec, statics = self.checkpoint.state, self.checkpoint.statics
        rng = np.random.default_rng([20, number])
        ensemble = Ensemble(self.checkpoint.members(pair.time), self.localisation)
        target = ((pair.truth - pair.background) / spec.column("background_std")).astype(np.float32)
        drawn = network(rng)
        matrix, innovation = innovations(spec, target, drawn, rng)
        began = time.perf_counter()
        deviation = self.checkpoint.metadata.solver.scale_deviation
        _, factor, matrix = scaled(ensemble, spec, drawn, matrix, innovation, deviation=deviation)
        position = drawn.latitude, drawn.longitude
        virtual = reconstruct(
            ensemble, matrix, innovation, drawn.error, *position, (self.members + 1) // 2, number
        )
        stage1 = time.perf_counter() - began

        def add(method: str, increment: torch.Tensor, spread: torch.Tensor, seconds: float) -> None:
            self.scores.add(
                method, pair, increment.numpy() * factor, spread.numpy() * factor, seconds
            )

        add("oi", virtual.increment, virtual.spread, stage1)
        background = torch.from_numpy((pair.background - spec.column("mean")) / spec.column("std"))
        place = conditions(spec.grid, statics["orography"], statics["lsm"], pair.time, pair.lead)
        nothing = without_observations(ensemble)
        parts = (
            background,
            nothing.increment,
            nothing.spread,
            nothing.residual,
            nothing.information,
            torch.from_numpy(place),
        )
        with torch.no_grad():
            prior = self.encoder(*(a[None] for a in parts))
        add("prior", prior.mean[0], prior.std[0], 0.0)
        common = self.encoder, self.denoiser, background
        sampler = self.checkpoint.metadata.sampler
        began = time.perf_counter()
        sampled = sample_members(*common, virtual, place, self.members, number, sampler)
        add("phyda", sampled.mean, sampled.spread, stage1 + time.perf_counter() - began)
        misfits = [row_misfit(matrix, innovation, drawn.error, CPU)]
        for name, settings in guidance.items():
            began = time.perf_counter()
            sampled = sample_members(
                *common,
                nothing,
                place,
                self.members,
                number,
                settings.sampler,
                guide(settings, misfits),
            )
            add(name, sampled.mean, sampled.spread, time.perf_counter() - began)


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
