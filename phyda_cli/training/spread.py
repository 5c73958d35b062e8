"""The first network: the spread of the background's errors, which the cases of the others are then
simulated with."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from phyda_cli.files.publish import publish
from phyda_cli.model.background_spread import BackgroundSpread
from phyda_cli.model.checkpoint import Checkpoint, build_spread
from phyda_cli.training.cases import Cases, EvidenceBatch, evidence_maps
from phyda_cli.training.data import TrainingData, build
from phyda_cli.training.loop import Phase
from phyda_cli.training.monitor import figures
from phyda_cli.training.objectives import spread_loss
from phyda_cli.training.run import Run
from phyda_cli.training.scores import likelihood

__all__ = ["spread_phase", "trained_spread"]

CLIMATE_CASES = 2000


def trained_spread(run: Run, data: TrainingData) -> BackgroundSpread | None:
    """The network of the background spread, trained in the run's folder where it is not there yet;
    None with settings without it."""
    torch.manual_seed(run.settings.seed)
    network = build_spread(data.spec, run.settings.network)
    if network is None:
        return None
    kept, folder = run.folder / "spread.safetensors", run.folder / "cases" / "evidence"
    if not run.ranks.first(kept.exists):
        training, validation = build(folder, data, run, evidence_maps, EvidenceBatch)
        _started(network, training, run.start, data)
        phase = spread_phase(network.to(run.device), training, run, data)

        def check() -> dict[str, float]:
            return likelihood(network.eval(), validation, data.area, run.ranks)

        phase.run(check)
        run.monitor.say(f"validation {figures(check())}")
        run.ranks.first(lambda: _keep(network.cpu(), kept))
    # The cases are large, and of no more use.
    run.ranks.first(lambda: shutil.rmtree(folder, ignore_errors=True))
    network.load_state_dict(load_file(str(kept)))
    return network.eval().requires_grad_(False)


def spread_phase(network: BackgroundSpread, cases: Cases, run: Run, data: TrainingData) -> Phase:
    """The training of ``network``."""
    loss = spread_loss(data.area, run.precision)
    return Phase("spread", network, loss, cases, run.settings.spread_epochs, run)


def _keep(network: BackgroundSpread, path: Path) -> None:
    with publish(path, overwrite=True, check=load_file) as temporary:
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, temporary)


def _started(
    network: BackgroundSpread, cases: Cases, start: Checkpoint | None, data: TrainingData
) -> None:
    """Fill ``network`` with the weights of ``start``, if those are of the same state and sizes, and
    its climate from ``cases``."""
    same = (
        start is not None
        and start.state.channels == data.spec.channels
        and start.state.grid.same_as(data.spec.grid)
    )
    before = start.background_spread() if start is not None and same else None
    if before is not None and [w.shape for w in before.parameters()] == [
        w.shape for w in network.parameters()
    ]:
        network.load_state_dict(before.state_dict())
    square = torch.zeros_like(network.climate)
    count = min(cases.count, CLIMATE_CASES)
    for number in range(count):
        square += cases.batch(np.array([number]), torch.device("cpu")).target[0].square()
    network.climate.copy_((square / count).sqrt().clamp(min=1e-3))
