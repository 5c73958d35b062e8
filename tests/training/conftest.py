"""The tiny training run, opened."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from phyda_cli.fields.state import StateSpec
from phyda_cli.model.background_spread import BackgroundSpread
from phyda_cli.model.checkpoint import build_spread
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.settings.training import TrainingSettings
from phyda_cli.training.cases import Cases
from phyda_cli.training.members import MemberPool
from phyda_cli.training.statistics import split_pairs


@dataclass(frozen=True)
class Opened:
    """What ``train`` works with once its statistics are there; ``pairs`` are those of the training
    cases."""

    store: PairStore
    states: np.ndarray
    spec: StateSpec
    pool: MemberPool
    times: tuple[str, ...]
    pairs: np.ndarray
    cases: Cases
    area: torch.Tensor
    spread: BackgroundSpread


@pytest.fixture(scope="session")
def opened(tiny_run: Path, store_path: Path, tiny_settings: TrainingSettings) -> Opened:
    store = PairStore.open(store_path)
    states = store.load_states()
    record = json.loads((tiny_run / "state.json").read_text())
    spec, times = StateSpec.model_validate(record["state"]), tuple(record["member_times"])
    members = load_file(str(tiny_run / "members.safetensors"))["members"]
    training = split_pairs(store, tiny_settings.validation_fraction).training
    pairs = np.random.default_rng([tiny_settings.seed, 3]).permutation(training)[
        : tiny_settings.samples
    ]
    cases = Cases(tiny_run / "cases" / "training", store, states, spec, pairs)
    area = torch.from_numpy(store.grid.area_weights[:, None].astype(np.float32))
    spread = build_spread(spec, tiny_settings.network)
    assert spread is not None
    spread.load_state_dict(load_file(str(tiny_run / "spread.safetensors")))
    pool = MemberPool(members, times, spec, tiny_settings.solver)
    return Opened(
        store, states, spec, pool, times, pairs, cases, area, spread.eval().requires_grad_(False)
    )
