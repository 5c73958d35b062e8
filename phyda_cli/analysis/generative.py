"""Stage 3 on one case: from the encoder's posterior to analysis members of the normalised
increment."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from phyda_cli.analysis.guided import Guide
from phyda_cli.analysis.reconstruction import Virtual
from phyda_cli.model.denoiser import Denoiser
from phyda_cli.model.encoder import MIN_SPREAD, Posterior, cosine_of_latitude
from phyda_cli.model.guidance import guided_samples
from phyda_cli.model.sampler import antithetic, heun, initial_noise, noise_levels
from phyda_cli.parallel.ranks import in_parts
from phyda_cli.settings.model import SamplerSettings

__all__ = ["Sampled", "of_unit_variance", "sample_members"]

MEMBERS_AT_ONCE = 8
MOST_RESCALING = 2.0  # more would be no matter of calibration


class Sampled:
    """``members`` (M, C, H, W), their ``mean`` and their ``spread`` (C, H, W).

    The mean is that of complete antithetic pairs, which is not estimated from them, so the spread
    is the rms around it; a single member's mean and spread are the encoder's.
    """

    def __init__(
        self, members: torch.Tensor, encoder_mean: torch.Tensor, encoder_spread: torch.Tensor
    ) -> None:
        self.members = members
        self.mean = (
            members[: members.shape[0] // 2 * 2].mean(dim=0)
            if members.shape[0] > 1
            else encoder_mean
        )
        self.spread = (
            (members - self.mean).square().mean(dim=0).sqrt()
            if members.shape[0] > 1
            else encoder_spread
        )


@torch.no_grad()
def sample_members(
    denoiser: Denoiser,
    posterior: Posterior,
    virtual: Virtual,
    conditions: np.ndarray,
    members: int,
    seed: int,
    settings: SamplerSettings,
    guide: Guide | None = None,
    weight: torch.Tensor | None = None,
) -> Sampled:
    """Draw ``members`` of the posterior, each rank some of them. Their mean variance in each
    channel is the posterior's, which was calibrated; sampling in few steps comes out some percent
    narrower.

    Sampling from stage 1's draws keeps their balance of mass and wind, which a network that starts
    from noise has to invent for every member; the denoiser corrects what is not Gaussian in them
    (compare SDEdit, Meng et al. 2022, arXiv 2108.01073).

    Args:
        posterior: the encoder's, of one case.
        virtual: with ceil(members / 2) perturbations where sampling starts from them.
        conditions: (N_CONDITIONS, H, W), which the encoder saw.
        guide: brings in observations that the encoder did not see.
        weight: of the denoiser in them (C, 1, 1); the rest are stage 1's draws. None: one.
    """
    mean, std = posterior.mean[0], posterior.std[0]
    denoise = denoiser.conditioned(posterior.latent)
    levels = noise_levels(settings.steps, settings.sigma_min, settings.sigma_max)
    drawn = antithetic(virtual.perturbations / virtual.spread.clamp(min=MIN_SPREAD), members)
    noise = initial_noise(members, tuple(mean.shape), seed, mean.device)
    if guide is None:
        sample, together = partial(heun, denoise), 2  # antithetic pairs
        start = levels[0].item() * noise
        if settings.start == "linear":
            start += drawn
    else:
        # members that share a centre
        sample, together = partial(guided_samples, guide(denoise, posterior)), MEMBERS_AT_ONCE
        start = noise

    def sampled(groups: slice) -> torch.Tensor:
        chosen = start[groups.start * together : groups.stop * together]
        return torch.cat([sample(part, levels) for part in chosen.split(MEMBERS_AT_ONCE)])

    residual = in_parts(-(-members // together), sampled, start)
    if guide is None:
        if weight is not None:
            residual = drawn.lerp(residual, weight)
        residual = of_unit_variance(residual, cosine_of_latitude(conditions))
    return Sampled(posterior.mean + posterior.std * residual, mean, std)


def of_unit_variance(residual: torch.Tensor, area: np.ndarray) -> torch.Tensor:
    """Members (M, C, H, W) around zero, scaled by channel so that their mean square over members
    and ``area`` (H, W) is one."""
    weight = torch.from_numpy(area / area.mean()).to(residual)
    rms = (residual.square() * weight).mean(dim=(0, 2, 3)).sqrt()
    return residual / rms.clamp(1 / MOST_RESCALING, MOST_RESCALING)[:, None, None]
