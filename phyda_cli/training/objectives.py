"""What the networks are trained on: a mini-batch of cases with its random draws, and the loss
of each phase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from phyda_cli.fields.state import StateSpec
from phyda_cli.model.denoiser import Denoiser
from phyda_cli.model.diffusion import diffusion_loss, noise_level
from phyda_cli.model.encoder import Encoder
from phyda_cli.physics.state_physics import StatePhysics
from phyda_cli.training.cases import Batch

__all__ = [
    "Draw",
    "Loss",
    "MiniBatch",
    "Objective",
    "Physics",
    "autocast",
    "balance",
    "denoiser_loss",
    "encoder_loss",
    "log_loss",
    "no_draws",
    "noise_draws",
    "spread_loss",
]

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class MiniBatch:
    """Cases that a process works on at once, the random numbers that go with them, and their weight
    among those of the step."""

    batch: Batch
    draws: tuple[Tensor, ...] = ()
    weight: float = 1.0


Loss = Callable[[nn.Module, MiniBatch], tuple[Tensor, dict[str, Tensor]]]
Draw = Callable[[torch.Size, torch.Generator], tuple[Tensor, ...]]


class Objective(nn.Module):
    """A network with its loss: what the processes share is called as one module."""

    def __init__(self, network: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.network, self._loss = network, loss

    def forward(self, mini_batch: MiniBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss of the cases, and its terms."""
        return self._loss(self.network, mini_batch)


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context that networks are evaluated in while they are trained."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


class Physics:
    """PRDO of normalised increments (B, C, H, W) of a batch, in physical units against the truth's
    residuals; see StatePhysics."""

    def __init__(self, spec: StateSpec, scale: dict[str, list[float]]) -> None:
        self._physics, self._scale = StatePhysics(spec), scale

    def __call__(self, batch: Batch, increment: Tensor) -> Tensor:
        truth = batch.state + batch.unit * batch.target
        with autocast(truth.device, "float32"):
            return self._physics.objective(batch.state + batch.unit * increment, truth, self._scale)


def no_draws(_: torch.Size, __: torch.Generator) -> tuple[Tensor, ...]:
    """A loss without random numbers of its own."""
    return ()


def noise_draws(shape: torch.Size, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Noise levels (B,) and standard noise of ``shape`` (B, C, H, W)."""
    return noise_level(shape[0], generator), torch.randn(shape, generator=generator)


def balance(batch: Batch) -> Tensor:
    """Weights (B, C, 1, 1) of mean one: the square of the case's background error over that of
    stage 1's spread, by channel.

    Errors so weighted count as they do in scores relative to the linear analysis: dense networks
    and variables that are well observed as much as others, and days of large errors more than quiet
    ones, as their physical size says.
    """
    scale = batch.unit.square()
    weight = scale / scale.mean(dim=0) / batch.parts[1].square().mean(dim=(2, 3), keepdim=True)
    return weight / weight.mean()


def encoder_loss(
    area: Tensor,
    physics: Physics,
    strength: float,
    precision: Precision = "float32",
    balanced: bool = False,
) -> Loss:
    """Squared error of the mean, ``balanced`` by :func:`balance` or not, with PRDO on it, plus a
    Gaussian likelihood of the spread that does not move the mean.

    The mean is what the denoiser estimates in the limit of strong noise, and what forecasts start
    from.
    """

    def loss(encoder: nn.Module, mini_batch: MiniBatch) -> tuple[Tensor, dict[str, Tensor]]:
        batch = mini_batch.batch
        with autocast(area.device, precision):
            posterior = encoder(*batch.inputs)
        square = (batch.target - posterior.mean).square()
        mean_term = (square * area * balance(batch)).mean() if balanced else (square * area).mean()
        spread_term = (log_loss(square.detach().sqrt(), posterior.std) * area).mean()
        terms = {"mse": mean_term.detach(), "nll": spread_term.detach()}
        total = mean_term + 0.1 * spread_term
        if strength:
            unphysical = physics(batch, posterior.mean).mean()
            total, terms["physics"] = total + strength * unphysical, unphysical.detach()
        return total, terms

    return loss


def spread_loss(area: Tensor, precision: Precision = "float32") -> Loss:
    """Gaussian likelihood of the background's errors, each point and channel on its own."""

    def loss(spread: nn.Module, mini_batch: MiniBatch) -> tuple[Tensor, dict[str, Tensor]]:
        with autocast(area.device, precision):
            std = spread(*mini_batch.batch.inputs)
        nll = (log_loss(mini_batch.batch.target, std) * area).mean()
        return nll, {"nll": nll.detach()}

    return loss


def log_loss(error: Tensor, std: Tensor) -> Tensor:
    """Minus the log-likelihood of ``error`` ~ N(0, std^2), without its constant."""
    return std.log() + 0.5 * (error / std).square()


def denoiser_loss(
    encoder: Encoder,
    area: Tensor,
    physics: Physics,
    strength: float,
    precision: Precision = "float32",
) -> Loss:
    """EDM loss of the residual plus PRDO on the denoised state in physical units; the encoder is
    frozen."""

    def loss(denoiser: nn.Module, mini_batch: MiniBatch) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(denoiser, Denoiser)
        batch, (sigma, noise) = mini_batch.batch, mini_batch.draws
        with torch.no_grad():
            posterior = encoder(*batch.inputs)
        clean = (batch.target - posterior.mean) / posterior.std

        def objective(denoised: Tensor) -> Tensor:
            return physics(batch, posterior.mean + posterior.std * denoised)

        with autocast(area.device, precision):
            terms = diffusion_loss(
                denoiser.conditioned(posterior.latent),
                clean,
                sigma,
                noise,
                area,
                objective,
                strength,
            )
        return terms.total, {
            "denoising": terms.denoising.detach(),
            "physics": terms.physics.detach(),
        }

    return loss
