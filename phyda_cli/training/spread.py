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
from phyda_cli.parallel.training import World
from phyda_cli.settings.training import TrainingSettings
from phyda_cli.training.cases import Cases, EvidenceBatch, evidence_maps
from phyda_cli.training.data import Basis, cases_of
from phyda_cli.training.loop import Phase
from phyda_cli.training.objectives import precision_on, spread_loss
from phyda_cli.training.progress import Watch, figures
from phyda_cli.training.scores import likelihood

__all__ = ["spread_phase", "trained_spread"]

CLIMATE_CASES = 2000


def trained_spread(
    run: Path,
    basis: Basis,
    settings: TrainingSettings,
    world: World,
    watch: Watch,
    init_from: Checkpoint | None = None,
) -> BackgroundSpread | None:
    """The network of the background spread, trained in the folder ``run`` where it is not there
    yet; None with settings without it."""
    torch.manual_seed(settings.seed)
    network = build_spread(basis.spec, settings.network)
    if network is None:
        return None
    kept = run / "spread.safetensors"
    if not world.first(kept.exists):
        folder = run / "cases" / "evidence"
        training, validation = cases_of(
            folder, basis, settings, world, watch.say, evidence_maps, EvidenceBatch
        )
        area = torch.from_numpy(basis.store.grid.area_weights[:, None].astype(np.float32)).to(
            world.device
        )
        _started(network, training, init_from, basis)
        phase = spread_phase(network.to(world.device), training, area, settings, run, world)

        def check() -> dict[str, float]:
            return likelihood(network.eval(), validation, area, world)

        phase.run(watch, check)
        watch.say(f"validation {figures(check())}")
        world.first(lambda: _keep(network.cpu(), kept))
    world.first(
        lambda: shutil.rmtree(run / "cases" / "evidence", ignore_errors=True)
    )  # large, and of no more use
    network.load_state_dict(load_file(str(kept)))
    return network.eval().requires_grad_(False)


def spread_phase(
    network: BackgroundSpread,
    cases: Cases,
    area: torch.Tensor,
    settings: TrainingSettings,
    run: Path,
    world: World,
) -> Phase:
    """The training of ``network``."""
    loss = spread_loss(area, precision_on(world.device, settings))
    return Phase("spread", network, loss, cases, settings, settings.spread_epochs, run, world)


def _keep(network: BackgroundSpread, path: Path) -> None:
    """Write the weights, complete or not at all."""
    with publish(path, overwrite=True, check=load_file) as temporary:
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, temporary)


def _started(
    network: BackgroundSpread, cases: Cases, start: Checkpoint | None, basis: Basis
) -> None:
    """Fill ``network`` with the weights of ``start``, if those are of the same state and sizes, and
    its climate from ``cases``."""
    same = (
        start is not None
        and start.state.channels == basis.spec.channels
        and start.state.grid.same_as(basis.spec.grid)
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
