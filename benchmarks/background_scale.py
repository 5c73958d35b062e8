"""What the estimated background-error scale costs and gains, on days never trained on.

    python -m benchmarks.background_scale --data data/nature-test.zarr [--cases 12]

The truth is moved to background + factor * (truth - background), so that the background's errors
are ``factor`` times those of the training; every analysis then takes the scale as 1, as estimated
(auto) or as ``factor`` (right). Networks and scores are those of benchmarks.held_out. Exit 1 where
the RMSE of oi with auto is more than 3 % above that with the right scale.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.held_out import Pair, Scores, pairs_of_store
from benchmarks.networks import soundings, surface
from benchmarks.outcome import finish
from phyda_cli.analysis.background_scale import BackgroundScale
from phyda_cli.analysis.localisation import Localisation
from phyda_cli.analysis.model_grid import ModelGridSettings, Networks, analyse, scaled_to_today
from phyda_cli.analysis.prior import Prior
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.simulation.observing_network import Network
from phyda_cli.simulation.simulate import simulate

FACTORS = (0.5, 1.0, 2.0)
ALLOWED = 1.03
NETWORKS = ("400 soundings", "100 soundings", "1000 surface")


def draw(checkpoint: Checkpoint, name: str, rng: np.random.Generator) -> Network:
    """The network called ``name``."""
    kind = surface if name.endswith("surface") else soundings
    return kind(checkpoint.state, int(name.split()[0]), rng)


def score(
    checkpoint: Checkpoint,
    networks: Networks,
    prior: Prior,
    pair: Pair,
    network: Network,
    factor: float,
    seed: int,
    scores: Scores,
) -> BackgroundScale:
    """Add every analysis of one case to ``scores``; returns the estimated scale."""
    spec = checkpoint.state
    error = (pair.truth - pair.background) / spec.column("background_std")
    rng = np.random.default_rng([21, seed])
    observations = simulate(spec, error.astype(np.float32), network, rng)
    _, _, found = scaled_to_today(prior, observations, ModelGridSettings())
    scales = {"1": BackgroundScale(), "auto": found, "right": BackgroundScale(factor)}
    for label, scale in scales.items():
        settings = ModelGridSettings(scale=scale)
        for name, chosen in (("oi", None), ("encoder", networks)):
            increment = analyse(prior, observations, chosen, settings)
            scores.add_increment(f"{name} {label}", pair, increment, 0.0)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="training store of the held-out days"
    )
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument("--cases", type=int, default=12)
    args = parser.parse_args()
    checkpoint = Checkpoint.open(args.checkpoint)
    spec = checkpoint.state
    pairs = list(pairs_of_store(args.data, spec, args.cases))
    networks = Networks.of(checkpoint, today=False)
    where = Localisation.of(spec, checkpoint.metadata.solver)
    missed = []
    for factor in FACTORS:
        for name in NETWORKS:
            scores, scales = Scores(spec), []
            for seed, pair in enumerate(pairs):
                moved = Pair(
                    pair.background,
                    pair.background + factor * (pair.truth - pair.background),
                    pair.time,
                    pair.lead,
                )
                prior = Prior.static(checkpoint, pair.background, pair.time, pair.lead, where)
                network = draw(checkpoint, name, np.random.default_rng([20, seed]))
                scales.append(
                    score(checkpoint, networks, prior, moved, network, factor, seed, scores).pooled
                )
            table = scores.table()
            row = "  ".join(
                f"{label} {r['ratio']:.4f} ({r['spread_skill']:.2f})" for label, r in table.items()
            )
            print(
                f"errors x {factor:g}, {name:13} scale {np.mean(scales):.2f} +- "
                f"{np.std(scales):.2f}: {row}",
                flush=True,
            )
            excess = np.sqrt(table["oi auto"]["ratio"] / table["oi right"]["ratio"])
            missed += [f"{factor:g} {name}: {excess:.3f}"] * bool(excess > ALLOWED)
    finish(missed)


if __name__ == "__main__":
    main()
