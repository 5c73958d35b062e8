"""A nature run of the toy model, and a checkpoint whose members are differences of its states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch
import toy_nature

from phyda_cli.fields.state import StateSpec
from phyda_cli.model.checkpoint import build_networks, save_checkpoint
from phyda_cli.settings.model import NetworkSettings, SamplerSettings, SolverSettings
from phyda_cli.simulation.nature_files import download_nature
from phyda_cli.simulation.speedy_link import SpeedyLink

MEMBERS = 24


@pytest.fixture
def toy_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """jcm's place taken by the toy."""
    toy_nature.install(monkeypatch)


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nature run of seven days, native and as analyses."""
    folder = tmp_path_factory.mktemp("toy")
    with pytest.MonkeyPatch.context() as patch:
        toy_nature.install(patch)
        download_nature(folder, 7, toy_nature.START, 3)
    return folder


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[StateSpec], Path]:
    """A checkpoint for a state; its members (those of the toy, where the state is the toy's) are
    differences over up to a day."""

    def make(spec: StateSpec) -> Path:
        network = NetworkSettings(encoder=(8, 16), denoiser=(8, 16), spread=())
        members = torch.zeros(MEMBERS, spec.n_channels, *spec.grid.shape)
        if spec.channels == synthetic.CHANNELS:
            members = torch.from_numpy(
                _differences(spec) / spec.column("background_std")
            ).contiguous()
        metadata: dict[str, object] = {
            "name": "toy",
            "state": spec,
            "solver": SolverSettings(radius_km=20000, column_stride=1),
            "sampler": SamplerSettings(),
            "network": network,
            "physics_scale": {},
            "training": {},
            "member_times": (str(toy_nature.START),) * MEMBERS,
        }
        networks = build_networks(spec, network)
        statics = {name: np.zeros(spec.grid.shape) for name in ("orography", "lsm")}
        return save_checkpoint(
            tmp_path_factory.mktemp("models"), metadata, statics, members, *networks
        )

    return make


def _differences(spec: StateSpec) -> np.ndarray:
    rng = np.random.default_rng(8)
    phase, shift = rng.uniform(0, 2 * np.pi, MEMBERS), rng.uniform(0.05, 0.4, MEMBERS)
    with pytest.MonkeyPatch.context() as patch:
        toy_nature.install(patch)
        link = SpeedyLink(spec)
        return link.stack(
            [toy_nature.toy(p + d) for p, d in zip(phase, shift, strict=True)]
        ) - link.stack([*map(toy_nature.toy, phase)])


@pytest.fixture(scope="session")
def toy_checkpoint(make_checkpoint: Callable[[StateSpec], Path]) -> Path:
    """z t u v q at 300, 500 and 850 hPa and msl on the 16x8 grid."""
    return make_checkpoint(synthetic.spec())
