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
import torch
from scipy import sparse

from benchmarks.held_out import Pair, Scores, pairs_of_store
from benchmarks.networks import soundings, surface
from benchmarks.outcome import finish
from phyda_cli.analysis.background_scale import BackgroundScale, estimate_scale
from phyda_cli.analysis.localisation import Localisation
from phyda_cli.analysis.reconstruction import Ensemble, reconstruct
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.model.encoder import Encoder, conditions
from phyda_cli.simulation.observing_network import Network

FACTORS = (0.5, 1.0, 2.0)
ALLOWED = 1.03
NETWORKS = ("400 soundings", "100 soundings", "1000 surface")


def draw(checkpoint: Checkpoint, name: str, rng: np.random.Generator) -> Network:
    """The network called ``name``."""
    kind = surface if name.endswith("surface") else soundings
    return kind(checkpoint.state, int(name.split()[0]), rng)


def score(
    checkpoint: Checkpoint,
    encoder: Encoder,
    ensemble: Ensemble,
    pair: Pair,
    network: Network,
    factor: float,
    seed: int,
    scores: Scores,
) -> BackgroundScale:
    """Add every analysis of one case to ``scores``; returns the estimated scale."""
    spec = checkpoint.state
    nominal = spec.column("background_std")
    names = [c.variable for c in spec.channel_list]
    rng = np.random.default_rng([21, seed])
    truth = network.matrix @ (pair.truth - pair.background).ravel()
    innovation = (truth + network.error * rng.standard_normal(network.error.size)).astype(
        np.float32
    )

    def in_units(unit: np.ndarray) -> sparse.csr_matrix:
        return (
            (network.matrix @ sparse.diags_array(np.repeat(unit.ravel(), spec.grid.size)))
            .tocsr()
            .astype(np.float32)
        )

    sigma_b = ensemble.spread_at(in_units(nominal))
    variable = np.array(names)[network.channel]
    found = estimate_scale(
        variable, innovation, network.error, sigma_b, network.latitude, network.longitude
    )
    background = torch.from_numpy((pair.background - spec.column("mean")) / spec.column("std"))
    place = conditions(
        spec.grid, checkpoint.statics["orography"], checkpoint.statics["lsm"], pair.time, pair.lead
    )
    for label, scale in {
        "1": BackgroundScale(),
        "auto": found,
        "right": BackgroundScale(factor),
    }.items():
        ratio = scale.of(names).astype(np.float32)[:, None, None]
        matrix = in_units(nominal * ratio)
        virtual = reconstruct(
            ensemble, matrix, innovation, network.error, network.latitude, network.longitude
        )
        parts = (virtual.increment, virtual.spread, virtual.residual, virtual.information)
        with torch.inference_mode():
            posterior = encoder(
                background[None], *(a[None] for a in parts), torch.from_numpy(place)[None]
            )
        scores.add(
            f"oi {label}",
            pair,
            virtual.increment.numpy() * ratio,
            virtual.spread.numpy() * ratio,
            0.0,
        )
        scores.add(
            f"encoder {label}",
            pair,
            posterior.mean[0].numpy() * ratio,
            posterior.std[0].numpy() * ratio,
            0.0,
        )
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
    encoder, _ = checkpoint.networks()
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
                ensemble = Ensemble(checkpoint.members(pair.time), where)
                network = draw(checkpoint, name, np.random.default_rng([20, seed]))
                scales.append(
                    score(
                        checkpoint, encoder, ensemble, moved, network, factor, seed, scores
                    ).pooled
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
