"""The two training phases, encoder then denoiser, over cached cases; resumable at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from phyda_cli.config import TrainingSettings
from phyda_cli.model.denoiser import Denoiser
from phyda_cli.model.diffusion import diffusion_loss, noise_level
from phyda_cli.model.encoder import Encoder
from phyda_cli.model.physics_loss import StatePhysics
from phyda_cli.model.state import StateSpec
from phyda_cli.training.cases import Batch, Cases

__all__ = ["Phase", "Physics", "autocast", "calibrate", "denoiser_loss", "encoder_loss", "validate"]

SAVE_EVERY = 100
CHECK_EVERY = 250
MEASURED_STEPS = 12
Loss = Callable[[Batch, torch.Generator], tuple[Tensor, dict[str, float]]]
Precision = Literal["float32", "bfloat16"]


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context that networks are evaluated in while they are trained."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


class Physics:
    """PRDO of normalised increments (B, C, H, W) of a batch, in physical units against the truth's residuals; see StatePhysics."""

    def __init__(self, spec: StateSpec, scale: dict[str, list[float]]) -> None:
        self._physics, self._scale = StatePhysics(spec), scale

    def __call__(self, batch: Batch, increment: Tensor) -> Tensor:
        truth = batch.state + batch.unit * batch.target
        with autocast(truth.device, "float32"):
            return self._physics.objective(batch.state + batch.unit * increment, truth, self._scale)


def encoder_loss(encoder: Encoder, area: Tensor, physics: Physics, strength: float, precision: Precision = "float32") -> Loss:
    """Squared error of the mean with PRDO on it, plus a Gaussian likelihood of the spread that does not move the mean.

    The mean is what the denoiser estimates in the limit of strong noise, and what forecasts start from.
    """

    def loss(batch: Batch, _: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        with autocast(area.device, precision):
            posterior = encoder(*batch.inputs)
        square = (batch.target - posterior.mean).square()
        mean_term = (square * area).mean()
        spread_term = ((posterior.std.log() + 0.5 * square.detach() / posterior.std.square()) * area).mean()
        terms = {"mse": mean_term.item(), "nll": spread_term.item()}
        total = mean_term + 0.1 * spread_term
        if strength:
            unphysical = physics(batch, posterior.mean).mean()
            total, terms["physics"] = total + strength * unphysical, unphysical.item()
        return total, terms

    return loss


def denoiser_loss(
    encoder: Encoder, denoiser: Denoiser, area: Tensor, physics: Physics, strength: float, precision: Precision = "float32"
) -> Loss:
    """EDM loss of the residual plus PRDO on the denoised state in physical units; the encoder is frozen."""

    def loss(batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        with torch.no_grad():
            posterior = encoder(*batch.inputs)
        clean = (batch.target - posterior.mean) / posterior.std
        sigma = noise_level(clean.shape[0], generator).to(clean.device)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)

        def objective(denoised: Tensor) -> Tensor:
            return physics(batch, posterior.mean + posterior.std * denoised)

        with autocast(area.device, precision):
            terms = diffusion_loss(denoiser.conditioned(posterior.latent), clean, sigma, noise, area, objective, strength)
        return terms.total, {"denoising": terms.denoising.item(), "physics": terms.physics.item()}

    return loss


@torch.no_grad()
def validate(encoder: Encoder, cases: Cases, area: Tensor, batch: int = 16) -> dict[str, float]:
    """Increment mean square error over the background's, averaged over channels: ``oi`` and ``encoder``."""
    sums: list[Tensor] = []
    for start in range(0, cases.count, batch):
        b = cases.batch(np.arange(start, min(start + batch, cases.count)), area.device)
        mean = encoder(*b.inputs).mean
        errors = torch.stack([b.target, b.target - b.virtual[0], b.target - mean])
        sums.append((errors.square() * area).sum(dim=(1, 3, 4)))
    totals = torch.stack(sums).sum(dim=0)
    return {"oi": (totals[1] / totals[0]).mean().item(), "encoder": (totals[2] / totals[0]).mean().item()}


@torch.no_grad()
def calibrate(encoder: Encoder, cases: Cases, area: Tensor, batch: int = 16) -> Tensor:
    """Set the encoder's ``calibration`` to the ratio of rms error to rms spread by channel (C,) on ``cases``."""
    encoder.calibration.fill_(1.0)
    error, spread = [], []
    for start in range(0, cases.count, batch):
        b = cases.batch(np.arange(start, min(start + batch, cases.count)), area.device)
        posterior = encoder(*b.inputs)
        error.append(((b.target - posterior.mean).square() * area).sum(dim=(0, 2, 3)))
        spread.append((posterior.std.square() * area).sum(dim=(0, 2, 3)))
    encoder.calibration.copy_((torch.stack(error).sum(0) / torch.stack(spread).sum(0)).sqrt())
    return encoder.calibration


class Phase:
    """Train one network by ``loss``; it ends with the averaged weights, those of the best check where there is one.

    Every random draw is a function of (seed, step), so a phase that was stopped continues as if it had not been.
    """

    def __init__(
        self, name: str, network: nn.Module, loss: Loss, cases: Cases, settings: TrainingSettings, epochs: float, folder: Path
    ) -> None:
        self.name, self.network, self.loss, self.cases, self.settings = name, network, loss, cases, settings
        self.state_file = folder / f"{name}.state.pt"
        self.log_file = folder / f"{name}.log.tsv"
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
        self.average = {k: v.detach().clone() for k, v in network.state_dict().items()}
        self.planned = max(1, round(epochs * cases.count / settings.batch))
        self.total = self.planned
        self.best = self.average
        self.best_score = math.inf
        self.step = 0
        self.seconds = 0.0
        if self.state_file.exists():
            self._restore()

    def run(self, device: torch.device, report: Callable[[str], None], check: Callable[[], dict[str, float]] | None = None) -> None:
        """Train to the end of the schedule and load the weights to keep into the network.

        ``check`` scores the averaged weights on validation cases now and then; its entry under the phase's name is to be small.
        """
        began = time.monotonic() - self.seconds
        terms: dict[str, float] = {}
        while self.step < self.total:
            self._fit_to_budget(time.monotonic() - began)
            terms = self._one_step(device)
            self.seconds = time.monotonic() - began
            if check and (self.step % CHECK_EVERY == 0 or self.step == self.total):
                self._keep_best(check, report)
            if self.step % SAVE_EVERY == 0 or self.step == self.total:
                self._save()
                self._log(terms)
                report(f"{self.name} step {self.step}/{self.total} " + " ".join(f"{k} {v:.4f}" for k, v in terms.items()))
        self.network.load_state_dict(self.best if check else self.average)

    def _keep_best(self, check: Callable[[], dict[str, float]], report: Callable[[str], None]) -> None:
        current = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        scores = check()
        self.network.load_state_dict(current)
        if scores[self.name] < self.best_score:
            self.best_score = scores[self.name]
            self.best = {k: v.clone() for k, v in self.average.items()}
        report(f"{self.name} step {self.step} validation " + " ".join(f"{k} {v:.4f}" for k, v in scores.items()))

    def _one_step(self, device: torch.device) -> dict[str, float]:
        epoch, offset = divmod(self.step * self.settings.batch, self.cases.count)
        order = np.random.default_rng([self.settings.seed, 1, epoch]).permutation(self.cases.count)
        batch = self.cases.batch(order[offset : offset + self.settings.batch], device)
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.step)
        if self.settings.network.odd:
            batch = batch.turned(2.0 * torch.randint(2, (batch.target.shape[0],), generator=generator) - 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.network.train()
        loss, terms = self.loss(batch, generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 1.0, error_if_nonfinite=True)
        self.optimizer.step()
        self.step += 1
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        for key, value in self.network.state_dict().items():
            self.average[key].lerp_(value.detach(), 1 - decay)
        return terms | {"gradient": float(norm)}

    def _learning_rate(self) -> float:
        warm = min(1.0, (self.step + 1) / 100)
        return self.settings.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * self.step / self.total))

    def _fit_to_budget(self, elapsed: float) -> None:
        """Fit the schedule, up to the planned one, to what the measured pace affords within ``max_minutes``."""
        if self.settings.max_minutes and self.step >= MEASURED_STEPS and self.step % MEASURED_STEPS == 0:
            affordable = int(self.step * self.settings.max_minutes * 60 / elapsed)
            self.total = max(self.step + 1, min(self.planned, affordable))

    def _log(self, terms: dict[str, float]) -> None:
        if not self.log_file.exists():
            self.log_file.write_text("step\tseconds\tlearning_rate\t" + "\t".join(terms) + "\n", encoding="utf-8")
        with self.log_file.open("a", encoding="utf-8") as log:
            values = "\t".join(f"{v:.6g}" for v in terms.values())
            log.write(f"{self.step}\t{self.seconds:.0f}\t{self._learning_rate():.3g}\t{values}\n")

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(), "average": self.average, "optimizer": self.optimizer.state_dict(),
            "best": self.best, "best_score": self.best_score, "step": self.step, "total": self.total, "seconds": self.seconds,
        }  # fmt: skip
        partial = self.state_file.with_suffix(".part")
        torch.save(state, partial)
        partial.replace(self.state_file)

    def _restore(self) -> None:
        state = torch.load(self.state_file, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average, self.best, self.best_score = state["average"], state["best"], state["best_score"]
        self.step, self.total, self.seconds = state["step"], state["total"], state["seconds"]
