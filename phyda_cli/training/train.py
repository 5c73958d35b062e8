"""``phyda train``: statistics, static members, simulated cases, the three networks, and the
checkpoint they make."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from phyda_cli.fields.state import StateSpec
from phyda_cli.files.resume import claim
from phyda_cli.model.checkpoint import build_networks, save_checkpoint
from phyda_cli.model.denoiser import Denoiser
from phyda_cli.model.encoder import Encoder
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.training.data import TrainingCases, TrainingData, simulate_cases, training_data
from phyda_cli.training.loop import Phase
from phyda_cli.training.monitor import Lines, figures
from phyda_cli.training.objectives import denoiser_loss, encoder_loss, noise_draws
from phyda_cli.training.run import Run
from phyda_cli.training.scores import calibrate, validate, validate_members
from phyda_cli.training.spread import trained_spread
from phyda_cli.training.warm_start import fitted, require_fit

__all__ = ["denoiser_phase", "encoder_phase", "networks", "train"]

# Settings of how a run is made, not of what comes out: a run may go on with others.
FREE = {"accumulate", "compile", "keep", "save_every"}


def train(run: Run, store_path: Path) -> Path:
    """Train on the store ``store_path``; returns the checkpoint folder, ``checkpoint`` in the run's
    folder. Of several processes the first alone writes, and is shown.

    A second call with the same settings continues where the first stopped. Raises UsageError when
    the folder holds a run with other settings, or the checkpoint to start from does not fit the
    data.
    """
    began = time.monotonic()
    if run.ranks.rank > 0:
        run = replace(run, monitor=Lines(lambda _: None))
    store = PairStore.open(store_path)
    run.ranks.first(lambda: claim(run.folder, _record(run, store_path)))
    data = training_data(run, store)
    if run.start is not None:
        require_fit(run.start, data.spec, run.settings.network)
    spread = trained_spread(run, data)
    cases = simulate_cases(run, data, spread)
    encoder, denoiser = networks(run, data.spec)

    def check() -> dict[str, float]:
        return validate(encoder.eval(), cases.validation, data.area, run.ranks)

    def check_members() -> dict[str, float]:
        return validate_members(encoder, denoiser.eval(), cases.validation, data.area, run.ranks)

    encoder_phase(encoder, run, data, cases).run(check)
    encoder.eval().requires_grad_(False)
    calibration = calibrate(encoder, cases.validation, data.area, run.ranks)
    scores = check()
    run.monitor.say(
        f"validation {figures(scores)}; spread calibration {float(calibration.mean()):.3f}"
    )
    # The last averaged weights stay: the score of a few sampled members differs by chance more than
    # it gains.
    denoiser_phase(encoder, denoiser, run, data, cases).run(check_members, keep_best=False)

    metadata: dict[str, Any] = {
        "name": run.folder.name,
        "state": data.spec,
        "solver": run.settings.solver,
        "sampler": run.settings.sampler,
        "network": run.settings.network,
        "member_times": data.times,
        "physics_scale": cases.scale,
        "training": _summary(run, store_path, store, data, scores, time.monotonic() - began),
    }
    made = encoder.cpu(), denoiser.cpu(), spread, data.mean_error
    folder = run.folder / "checkpoint"
    return run.ranks.first(
        lambda: save_checkpoint(folder, metadata, store.statics, data.members, *made)
    )


def networks(run: Run, spec: StateSpec) -> tuple[Encoder, Denoiser]:
    """The networks to train, on the device: new ones, with the weights of the checkpoint to start
    from as far as its channels are theirs."""
    torch.manual_seed(run.settings.seed)
    encoder, denoiser = build_networks(spec, run.settings.network)
    if run.start is not None:
        run.monitor.say(fitted(run.start, spec, run.settings.network, encoder, denoiser))
    return encoder.to(run.device), denoiser.to(run.device)


def encoder_phase(encoder: Encoder, run: Run, data: TrainingData, cases: TrainingCases) -> Phase:
    """The encoder's training."""
    settings = run.settings
    strength, balanced = settings.encoder_physics, settings.balanced
    loss = encoder_loss(data.area, cases.physics, strength, run.precision, balanced)
    return Phase("encoder", encoder, loss, cases.training, settings.encoder_epochs, run)


def denoiser_phase(
    encoder: Encoder, denoiser: Denoiser, run: Run, data: TrainingData, cases: TrainingCases
) -> Phase:
    """The denoiser's training, for the encoder as it is now."""
    settings = run.settings
    loss = denoiser_loss(encoder, data.area, cases.physics, settings.physics, run.precision)
    epochs = settings.denoiser_epochs
    return Phase("denoiser", denoiser, loss, cases.training, epochs, run, noise_draws)


def _record(run: Run, store: Path) -> dict[str, Any]:
    """What makes this run itself: another call continues it only with the same."""
    settings = run.settings.model_dump(mode="json", exclude=FREE)
    record: dict[str, Any] = {"data": str(store.resolve()), "settings": settings}
    return record if run.start is None else record | {"init_from": run.start.sha256}


def _summary(
    run: Run,
    path: Path,
    store: PairStore,
    data: TrainingData,
    scores: dict[str, float],
    seconds: float,
) -> dict[str, Any]:
    """How the checkpoint was made, for its metadata."""
    return {
        "data": path.name,
        "source": store.attributes.get("source", ""),
        "pairs_kind": store.attributes.get("pairs_kind", ""),
        "data_license": store.attributes.get("license", ""),
        "references": store.attributes.get("references", ""),
        "first": str(store.time.min()),
        "last": str(store.time.max()),
        "pairs": len(data.split.training),
        "settings": run.settings.model_dump(mode="json"),
        "validation": scores,
        "hardware": _hardware(run),
        "seconds_of_this_call": round(seconds),
    }


def _hardware(run: Run) -> str:
    size = run.ranks.size
    if run.device.type == "cuda":
        return f"{size} x {torch.cuda.get_device_name(run.device)}"
    processes = f", {size} processes" if size > 1 else ""
    return f"{os.cpu_count()} CPU cores, {platform.machine()}{processes}"
