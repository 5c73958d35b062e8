"""How far a network's analysis is from the truth, on fixed cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from phyda_cli.analysis.background_scale import GROUPS, group_of
from phyda_cli.model.background_spread import BackgroundSpread
from phyda_cli.model.denoiser import Denoiser
from phyda_cli.model.encoder import Encoder
from phyda_cli.model.sampler import heun, initial_noise, noise_levels
from phyda_cli.parallel.ranks import Ranks
from phyda_cli.settings.model import CorrectionSettings
from phyda_cli.training.cases import Batch, Cases
from phyda_cli.training.objectives import log_loss

__all__ = ["calibrate", "expected_weights", "likelihood", "validate", "validate_members"]

AT_ONCE = 16
SAMPLED_CASES = 32
LEVELS = (4, 0.05, 8.0)  # few, as this is made often: steps, lowest and highest noise


@torch.no_grad()
def validate(
    encoder: Encoder, cases: Cases, area: Tensor, ranks: Ranks | None = None
) -> dict[str, float]:
    """Increment mean square error over the background's, averaged over channels: ``oi`` and
    ``encoder``."""

    def errors(b: Batch) -> Tensor:
        mean = encoder(*b.inputs).mean
        parts = torch.stack([b.target, b.target - b.parts[0], b.target - mean])
        return (parts.square() * area).sum(dim=(1, 3, 4))

    totals = _summed(errors, (3, encoder.calibration.numel()), cases, area.device, ranks)
    return {
        "oi": (totals[1] / totals[0]).mean().item(),
        "encoder": (totals[2] / totals[0]).mean().item(),
    }


@torch.no_grad()
def likelihood(
    network: BackgroundSpread, cases: Cases, area: Tensor, ranks: Ranks | None = None
) -> dict[str, float]:
    """Mean of :func:`log_loss`: ``climate``, with the spread of the climate, and ``spread``."""

    def losses(b: Batch) -> Tensor:
        std = network(*b.inputs)
        parts = torch.stack([log_loss(b.target, s) for s in (network.climate.expand_as(std), std)])
        return (parts * area).mean(dim=(2, 3, 4)).sum(dim=1)

    totals = _summed(losses, (2,), cases, area.device, ranks) / cases.count
    return {"climate": totals[0].item(), "spread": totals[1].item()}


@torch.no_grad()
def validate_members(
    encoder: Encoder, denoiser: Denoiser, cases: Cases, area: Tensor, ranks: Ranks | None = None
) -> dict[str, float]:
    """As :func:`validate` on the first cases, with ``denoiser``: the mean of two members a case,
    sampled from noise z and -z."""
    levels = noise_levels(*LEVELS)

    def errors(b: Batch) -> Tensor:
        posterior = encoder(*b.inputs)
        denoise = denoiser.conditioned(posterior.latent)
        start = LEVELS[-1] * initial_noise(2, tuple(b.target.shape), 0, area.device)
        members = torch.stack(
            [posterior.mean + posterior.std * heun(denoise, x, levels) for x in start]
        )
        parts = torch.stack(
            [
                b.target,
                b.target - b.parts[0],
                b.target - posterior.mean,
                b.target - members.mean(dim=0),
            ]
        )
        return (parts.square() * area).sum(dim=(1, 3, 4))

    totals = _summed(
        errors, (4, encoder.calibration.numel()), cases, area.device, ranks, SAMPLED_CASES
    )
    return dict(
        zip(
            ("oi", "encoder", "denoiser"),
            (totals[1:] / totals[0]).mean(dim=1).tolist(),
            strict=True,
        )
    )


@torch.no_grad()
def calibrate(encoder: Encoder, cases: Cases, area: Tensor, ranks: Ranks | None = None) -> Tensor:
    """Set the encoder's ``calibration`` to the ratio of rms error to rms spread [physical units] by
    channel (C,) on ``cases``."""
    encoder.calibration.fill_(1.0)

    def squares(b: Batch) -> Tensor:
        posterior = encoder(*b.inputs)
        parts = b.unit * torch.stack([b.target - posterior.mean, posterior.std])
        return (parts.square() * area).sum(dim=(1, 3, 4))

    error, spread = _summed(squares, (2, encoder.calibration.numel()), cases, area.device, ranks)
    encoder.calibration.copy_((error / spread).sqrt())
    return encoder.calibration


@torch.no_grad()
def expected_weights(
    encoder: Encoder,
    cases: Cases,
    area: Tensor,
    variables: Sequence[str],
    ranks: Ranks | None = None,
) -> CorrectionSettings:
    """Mean and standard deviation over ``cases`` of the weight with which the encoder's correction
    fits best, by group of the channels' ``variables`` (C,). A larger correction counts for more.

    Backgrounds to come may be of another kind, so that the deviation of a group that nothing is
    known of is added.
    """
    usual = CorrectionSettings()
    names = [g for g in GROUPS if g in map(group_of, variables)]
    member = torch.tensor([[group_of(v) == g for v in variables] for g in names])

    def moments(b: Batch) -> Tensor:
        linear = b.parts[0]
        change = encoder(*b.inputs).mean - linear
        both = torch.stack([change * (b.target - linear), change.square()]) * area
        fit, size = both.sum(dim=(3, 4)) @ member.to(both).T
        return torch.stack([fit, size, fit.square() / size.clamp(min=1e-30)]).sum(dim=1)

    totals = _summed(moments, (3, len(names)), cases, area.device, ranks).double()
    groups = {}
    for name, (fit, size, square) in zip(names, totals.T.tolist(), strict=True):
        if size > 0:
            mean = fit / size
            variance = max(square / size - mean**2, 0.0)
            groups[name] = (min(max(mean, 0.0), 1.0), (variance + usual.deviation**2) ** 0.5)
    return usual.model_copy(update={"groups": groups})


def _summed(
    score: Callable[[Batch], Tensor],
    shape: tuple[int, ...],
    cases: Cases,
    device: torch.device,
    ranks: Ranks | None,
    most: int | None = None,
) -> Tensor:
    """The sum of ``score`` (of ``shape``) over batches of the first ``most`` ``cases``, each taken
    by one process; the same sum however many there are."""
    count = min(cases.count, most or cases.count)
    ranks = ranks or Ranks()
    starts = range(0, count, AT_ONCE)
    parts = torch.zeros(len(starts), *shape, device=device)
    for i in range(ranks.rank, len(starts), ranks.size):
        parts[i] = score(cases.batch(np.arange(starts[i], min(starts[i] + AT_ONCE, count)), device))
    return ranks.total(parts).sum(dim=0)
