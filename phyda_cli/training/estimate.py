"""What a training would take: some of its steps, measured in a folder that is thrown away."""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from phyda_cli.model.background_spread import BackgroundSpread
from phyda_cli.model.checkpoint import build_spread
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.settings.training import TrainingSettings
from phyda_cli.training.cases import PARTS, CaseBuilder, EvidenceBatch, StageOne, evidence_maps
from phyda_cli.training.data import (
    TrainingData,
    build,
    build_held,
    build_training,
    simulate_cases,
    training_data,
)
from phyda_cli.training.loop import Pace, Phase
from phyda_cli.training.monitor import Lines
from phyda_cli.training.phases import denoiser_phase, encoder_phase, networks
from phyda_cli.training.run import Run
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
        """Of all steps and checks."""
        return self.steps * self.step + self.checks


@dataclass(frozen=True)
class CaseSeconds:
    """Seconds to simulate one case for ``training``, and one for ``validation``, which sees all
    static members."""

    training: float = 0.0
    validation: float = 0.0

    def of(self, samples: int, validated: int) -> float:
        """Seconds for all of them."""
        return samples * self.training + validated * self.validation


@dataclass(frozen=True)
class Estimate:
    """A training: its phases; the number of its ``samples`` and of its ``validated`` cases; seconds
    to simulate a case, and a case's evidence of the errors of the day; peak ``memory`` of a
    process, of ``device_memory`` on a GPU, the part of the states in it, and the cases' and state
    files' ``disk`` [bytes]."""

    phases: tuple[PhaseEstimate, ...]
    processes: int
    samples: int
    validated: int
    case_seconds: CaseSeconds
    evidence_seconds: CaseSeconds
    memory: int
    device_memory: int
    states: int
    disk: int

    @property
    def cases(self) -> int:
        """For training and for validation."""
        return self.samples + self.validated

    @property
    def simulating(self) -> float:
        """Seconds to simulate all cases."""
        parts = self.case_seconds, self.evidence_seconds
        return sum(each.of(self.samples, self.validated) for each in parts)

    @property
    def seconds(self) -> float:
        """From an empty folder to the checkpoint."""
        return self.simulating + sum(p.seconds for p in self.phases)


def estimate(run: Run, store_path: Path) -> Estimate:
    """Simulate a few cases and take a few steps of every phase. Of several processes the first
    alone is shown."""
    if run.ranks.rank > 0:
        run = replace(run, monitor=Lines(lambda _: None))
    folder = Path(run.ranks.first(lambda: tempfile.mkdtemp(prefix="phyda-dry-run-")))
    try:
        return _measured(replace(run, folder=folder), PairStore.open(store_path))
    finally:
        if run.ranks.rank == 0:
            shutil.rmtree(folder, ignore_errors=True)


def _measured(run: Run, store: PairStore) -> Estimate:
    settings = run.settings
    data = training_data(run, store)
    samples = min(settings.samples, max(SIMULATED, settings.batch))
    few = replace(run, settings=settings.model_copy(update={"samples": samples}))
    validated = min(settings.validation_cases, data.split.validation.size)
    held = min(SIMULATED, data.split.validation.size)
    phases, spread, evidence_seconds = _spread(few, settings, data, held)
    case_seconds = _simulated(few, "cases", data, StageOne(spread), held)
    cases = simulate_cases(few, data, spread, held)

    encoder, denoiser = networks(run, data.spec)
    phase = encoder_phase(encoder, run, data, cases)
    pace = phase.pace(STEPS)
    encoder.eval().requires_grad_(False)
    began = time.monotonic()
    validate(encoder, cases.validation, data.area, run.ranks)
    checking = (time.monotonic() - began) / held * validated
    phases.append(_phase(phase, pace, settings.encoder_epochs, settings, checking))
    phase = denoiser_phase(encoder, denoiser, run, data, cases)
    phases.append(_phase(phase, phase.pace(STEPS), settings.denoiser_epochs, settings))

    states = STATE_BYTES * sum(p.parameters for p in phases) * (settings.keep + 1)
    return Estimate(
        phases=tuple(phases),
        processes=run.ranks.size,
        samples=settings.samples,
        validated=validated,
        case_seconds=case_seconds,
        evidence_seconds=evidence_seconds,
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        device_memory=torch.cuda.max_memory_allocated() if run.device.type == "cuda" else 0,
        states=data.states.nbytes,
        disk=(settings.samples + validated) * PARTS * 2 * data.states[0].size + states,
    )


def _simulated(
    few: Run, name: str, data: TrainingData, builder: CaseBuilder, held: int
) -> CaseSeconds:
    """What a case costs, from those that are simulated in the folder ``name``."""
    folder, began = few.folder / name, time.monotonic()
    validation = build_held(folder, data, few, builder, held=held).count
    between = time.monotonic()
    training = build_training(folder, data, few, builder).count
    ended = time.monotonic()
    return CaseSeconds((ended - between) / training, (between - began) / validation)


def _spread(
    few: Run, settings: TrainingSettings, data: TrainingData, held: int
) -> tuple[list[PhaseEstimate], BackgroundSpread | None, CaseSeconds]:
    """The first phase, its network untrained and the seconds of one case's evidence, where
    ``settings`` have it. Its checks cost next to nothing."""
    network = build_spread(data.spec, settings.network)
    if network is None:
        return [], None, CaseSeconds()
    seconds = _simulated(few, "evidence", data, evidence_maps, held)
    cases, _ = build(few.folder / "evidence", data, few, evidence_maps, EvidenceBatch, held)
    phase = spread_phase(network.to(few.device), cases, few, data)
    found = _phase(phase, phase.pace(STEPS), settings.spread_epochs, settings)
    return [found], network.cpu().eval().requires_grad_(False), seconds


def _phase(
    phase: Phase, pace: Pace, epochs: float, settings: TrainingSettings, checking: float = 0.0
) -> PhaseEstimate:
    parameters = sum(p.numel() for p in phase.network.parameters())
    steps = max(1, round(epochs * settings.samples / settings.batch))
    return PhaseEstimate(
        phase.name,
        parameters,
        steps,
        pace.seconds,
        pace.waiting,
        checking * -(-steps // settings.check_every),
    )
