"""What a training would take: some of its steps, measured in a folder that is thrown away."""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from phyda_cli.model.background_spread import BackgroundSpread
from phyda_cli.model.checkpoint import Checkpoint, build_spread
from phyda_cli.parallel.training import World
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.settings.training import TrainingSettings
from phyda_cli.training.cases import PARTS, EvidenceBatch, evidence_maps
from phyda_cli.training.data import Basis, cases_of, simulated, statistics
from phyda_cli.training.loop import Pace, Phase
from phyda_cli.training.progress import Watch
from phyda_cli.training.run import denoiser_phase, encoder_phase, networks
from phyda_cli.training.scores import validate
from phyda_cli.training.spread import spread_phase

__all__ = ["Estimate", "PhaseEstimate", "estimate"]

STEPS = 6
STATE_BYTES = 20  # a parameter in a state file: itself, its average, the best one, two moments
SIMULATED = 32


@dataclass(frozen=True)
class PhaseEstimate:
    """One network: ``parameters``, planned ``steps``, measured seconds of a ``step`` and of
    ``waiting`` for data in it, and of all ``checks``."""

    name: str
    parameters: int
    steps: int
    step: float
    waiting: float
    checks: float

    @property
    def seconds(self) -> float:
        """In all."""
        return self.steps * self.step + self.checks


@dataclass(frozen=True)
class Estimate:
    """A training: its phases; seconds to simulate its ``cases``; peak ``memory`` of a process, of
    ``device_memory`` on a GPU, the part of the states in it, and the cases' and state files'
    ``disk`` [bytes]."""

    phases: tuple[PhaseEstimate, ...]
    processes: int
    cases: int
    case_seconds: float
    memory: int
    device_memory: int
    states: int
    disk: int

    @property
    def seconds(self) -> float:
        """From an empty folder to the checkpoint."""
        return self.cases * self.case_seconds + sum(p.seconds for p in self.phases)


def estimate(
    data: Path,
    settings: TrainingSettings,
    world: World,
    watch: Watch,
    init_from: Checkpoint | None = None,
) -> Estimate:
    """Simulate a few cases and take a few steps of every phase."""
    folder = Path(world.first(lambda: tempfile.mkdtemp(prefix="phyda-dry-run-")))
    try:
        return _measured(data, folder, settings, world, watch, init_from)
    finally:
        if world.rank == 0:
            shutil.rmtree(folder, ignore_errors=True)


def _measured(
    data: Path,
    folder: Path,
    settings: TrainingSettings,
    world: World,
    watch: Watch,
    init_from: Checkpoint | None,
) -> Estimate:
    store = PairStore.open(data)
    basis = statistics(folder, store, settings, world, watch.say, init_from)
    few = settings.model_copy(
        update={"samples": min(settings.samples, max(SIMULATED, settings.batch))}
    )
    held = min(SIMULATED, basis.split.validation.size)
    phases, spread = _spread(folder, basis, few, settings, world, watch, held)
    began = time.monotonic()
    material = simulated(folder, basis, few, world, watch.say, spread, held)
    case_seconds = (time.monotonic() - began) / (few.samples + held)

    encoder, denoiser = networks(basis.spec, settings, world.device, watch, init_from)
    phase = encoder_phase(encoder, material, settings, folder, world)
    pace = phase.pace(STEPS)
    encoder.eval().requires_grad_(False)
    began = time.monotonic()
    validate(encoder, material.validation, material.area, world)
    checking = (
        (time.monotonic() - began)
        / held
        * min(settings.validation_cases, basis.split.validation.size)
    )
    phases.append(_phase(phase, pace, settings.encoder_epochs, settings, checking))
    phase = denoiser_phase(encoder, denoiser, material, settings, folder, world)
    phases.append(_phase(phase, phase.pace(STEPS), settings.denoiser_epochs, settings))

    cases = settings.samples + min(settings.validation_cases, basis.split.validation.size)
    disk = cases * PARTS * 2 * basis.states[0].size + sum(
        STATE_BYTES * p.parameters * (settings.keep + 1) for p in phases
    )
    on_device = torch.cuda.max_memory_allocated() if world.device.type == "cuda" else 0
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Estimate(
        tuple(phases), world.size, cases, case_seconds, memory, on_device, basis.states.nbytes, disk
    )


def _spread(
    folder: Path,
    basis: Basis,
    few: TrainingSettings,
    settings: TrainingSettings,
    world: World,
    watch: Watch,
    held: int,
) -> tuple[list[PhaseEstimate], BackgroundSpread | None]:
    """The first phase, and its network untrained, where ``settings`` have it. Its checks cost next
    to nothing."""
    network = build_spread(basis.spec, settings.network)
    if network is None:
        return [], None
    cases, _ = cases_of(
        folder / "evidence", basis, few, world, watch.say, evidence_maps, EvidenceBatch, held
    )
    area = torch.from_numpy(basis.store.grid.area_weights[:, None].astype(np.float32)).to(
        world.device
    )
    phase = spread_phase(network.to(world.device), cases, area, settings, folder, world)
    found = _phase(phase, phase.pace(STEPS), settings.spread_epochs, settings)
    return [found], network.cpu().eval().requires_grad_(False)


def _phase(
    phase: Phase, pace: Pace, epochs: float, settings: TrainingSettings, checking: float = 0.0
) -> PhaseEstimate:
    parameters = sum(p.numel() for p in phase.network.parameters())
    steps = max(1, round(epochs * settings.samples / settings.batch))
    if settings.max_minutes:
        steps = min(steps, max(1, int(settings.max_minutes * 60 / pace.seconds)))
    return PhaseEstimate(
        phase.name,
        parameters,
        steps,
        pace.seconds,
        pace.waiting,
        checking * -(-steps // settings.check_every),
    )
