"""``phyda train``: statistics, static members, simulated cases, the three networks, and the
checkpoint they make."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from phyda_cli.fields.state import StateSpec
from phyda_cli.files.resume import claim
from phyda_cli.model.checkpoint import Checkpoint, build_networks, save_checkpoint
from phyda_cli.model.denoiser import Denoiser
from phyda_cli.model.encoder import Encoder
from phyda_cli.parallel.training import World
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.settings.training import TrainingSettings
from phyda_cli.training.data import Material, simulated, statistics
from phyda_cli.training.loop import Phase
from phyda_cli.training.objectives import denoiser_loss, encoder_loss, noise_draws, precision_on
from phyda_cli.training.progress import Lines, Watch, figures
from phyda_cli.training.scores import calibrate, validate, validate_members
from phyda_cli.training.spread import trained_spread
from phyda_cli.training.warm_start import fitted, require_fit

__all__ = ["denoiser_phase", "encoder_phase", "networks", "train"]

# Settings of how a run is made, not of what comes out: a run may go on with others.
FREE = {"accumulate", "strategy", "compile", "channels_last", "keep", "save_every"}


def train(
    data: Path,
    run: Path,
    settings: TrainingSettings,
    world: World,
    watch: Watch,
    init_from: Checkpoint | None = None,
) -> Path:
    """Train on the store ``data`` in the folder ``run``, from the weights of ``init_from`` where it
    is given; returns the checkpoint folder ``run/checkpoint``. Of several processes the first alone
    writes, and is watched.

    A second call with the same settings continues where the first stopped. Raises UsageError when
    ``run`` holds a run with other settings, or ``init_from`` does not fit the data.
    """
    began = time.monotonic()
    watch = watch if world.rank == 0 else Lines(lambda _: None)
    store = PairStore.open(data)
    record = {
        "data": str(data.resolve()),
        "settings": settings.model_dump(mode="json", exclude=FREE),
    }
    world.first(
        lambda: claim(
            run, record if init_from is None else record | {"init_from": init_from.sha256}
        )
    )
    basis = statistics(run, store, settings, world, watch.say, init_from)
    if init_from is not None:
        require_fit(init_from, basis.spec, settings.network)
    spread = trained_spread(run, basis, settings, world, watch, init_from)
    material = simulated(run, basis, settings, world, watch.say, spread)
    encoder, denoiser = networks(basis.spec, settings, world.device, watch, init_from)

    def check() -> dict[str, float]:
        return validate(encoder.eval(), material.validation, material.area, world)

    encoder_phase(encoder, material, settings, run, world).run(watch, check)
    encoder.eval().requires_grad_(False)
    calibration = calibrate(encoder, material.validation, material.area, world)
    scores = check()
    watch.say(f"validation {figures(scores)}; spread calibration {float(calibration.mean()):.3f}")

    def check_members() -> dict[str, float]:
        return validate_members(encoder, denoiser.eval(), material.validation, material.area, world)

    # The last averaged weights stay: the score of a few sampled members differs by chance more than
    # it gains.
    denoiser_phase(encoder, denoiser, material, settings, run, world).run(
        watch, check_members, keep_best=False
    )

    summary = {
        "data": data.name,
        "source": store.attributes.get("source", ""),
        "pairs_kind": store.attributes.get("pairs_kind", ""),
        "data_license": store.attributes.get("license", ""),
        "references": store.attributes.get("references", ""),
        "first": str(store.time.min()),
        "last": str(store.time.max()),
        "pairs": len(basis.split.training),
        "settings": settings.model_dump(mode="json"),
        "validation": scores,
        "hardware": _hardware(world),
        "seconds_of_this_call": round(time.monotonic() - began),
    }
    metadata: dict[str, Any] = {
        "name": run.name,
        "state": basis.spec,
        "solver": settings.solver,
        "sampler": settings.sampler,
        "network": settings.network,
        "member_times": basis.times,
        "physics_scale": material.scale,
        "training": summary,
    }
    made = encoder.cpu(), denoiser.cpu(), spread, basis.mean_error
    return world.first(
        lambda: save_checkpoint(run / "checkpoint", metadata, store.statics, basis.members, *made)
    )


def networks(
    spec: StateSpec,
    settings: TrainingSettings,
    device: torch.device,
    watch: Watch,
    init_from: Checkpoint | None,
) -> tuple[Encoder, Denoiser]:
    """The networks to train, on ``device``: new ones, with the weights of ``init_from`` as far as
    its channels are theirs."""
    torch.manual_seed(settings.seed)
    encoder, denoiser = build_networks(spec, settings.network)
    if init_from is not None:
        watch.say(fitted(init_from, spec, settings.network, encoder, denoiser))
    return encoder.to(device), denoiser.to(device)


def encoder_phase(
    encoder: Encoder, material: Material, settings: TrainingSettings, run: Path, world: World
) -> Phase:
    """The encoder's training."""
    loss = encoder_loss(
        material.area,
        material.physics,
        settings.encoder_physics,
        precision_on(world.device, settings),
        settings.balanced,
    )
    return Phase(
        "encoder", encoder, loss, material.cases, settings, settings.encoder_epochs, run, world
    )


def denoiser_phase(
    encoder: Encoder,
    denoiser: Denoiser,
    material: Material,
    settings: TrainingSettings,
    run: Path,
    world: World,
) -> Phase:
    """The denoiser's training, for the encoder as it is now."""
    loss = denoiser_loss(
        encoder,
        material.area,
        material.physics,
        settings.physics,
        precision_on(world.device, settings),
    )
    return Phase(
        "denoiser",
        denoiser,
        loss,
        material.cases,
        settings,
        settings.denoiser_epochs,
        run,
        world,
        noise_draws,
    )


def _hardware(world: World) -> str:
    if world.device.type == "cuda":
        return f"{world.size} x {torch.cuda.get_device_name(world.device)}"
    return f"{os.cpu_count()} CPU cores, {platform.machine()}" + (
        f", {world.size} processes" if world.size > 1 else ""
    )
