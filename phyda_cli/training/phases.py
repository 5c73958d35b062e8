"""The networks that a training makes, and the training of each."""

from __future__ import annotations

import torch

from phyda_cli.fields.state import StateSpec
from phyda_cli.model.checkpoint import build_networks
from phyda_cli.model.denoiser import Denoiser
from phyda_cli.model.encoder import Encoder
from phyda_cli.training.data import TrainingCases, TrainingData
from phyda_cli.training.loop import Phase
from phyda_cli.training.objectives import denoiser_loss, encoder_loss, noise_draws
from phyda_cli.training.run import Run
from phyda_cli.training.warm_start import fitted

__all__ = ["denoiser_phase", "encoder_phase", "networks"]


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
