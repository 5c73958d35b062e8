"""The plain linear analysis that phyda is compared with: static members from all training pairs,
backgrounds as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from phyda_cli.model.checkpoint import Checkpoint, build_networks, save_checkpoint
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.settings.model import NetworkSettings, SamplerSettings, SolverSettings
from phyda_cli.training.statistics import choose_members, measured, state_spec

__all__ = ["TUNED", "baseline"]

# Solver and background-error scale, as --tune finds them on the training years
# (docs/explanation/experiments.md)
TUNED = {
    "weurope": (
        SolverSettings(season_days=90, radius_km=4000, radius_log_p=None, column_stride=2),
        0.9,
    ),
    "iberia": (
        SolverSettings(season_days=60, radius_km=16000, radius_log_p=None, column_stride=2),
        1.0,
    ),
}


def baseline(data: Path, solver: SolverSettings, folder: Path) -> Checkpoint:
    """A checkpoint for the method oi from the training store ``data``, made in ``folder`` unless it
    is there."""
    if not (folder / "model.json").exists():
        store = PairStore.open(data)
        states, pairs, rng = (
            store.load_states(),
            np.arange(len(store.pairs)),
            np.random.default_rng(0),
        )
        spec = state_spec(store, measured(store, states, pairs))
        members, times = choose_members(store, states, spec, pairs, pairs.size, rng)
        network = NetworkSettings(encoder=(8,), denoiser=(8,))
        metadata = {
            "name": "oi",
            "state": spec,
            "solver": solver,
            "sampler": SamplerSettings(),
            "network": network,
            "member_times": times,
            "physics_scale": {},
            "training": {"last": str(store.time.max())},
        }
        save_checkpoint(folder, metadata, store.statics, members, *build_networks(spec, network))
    return Checkpoint.open(folder)
