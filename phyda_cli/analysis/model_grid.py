r"""The method: one analysis on the model grid.

C channels, H x W points, N members of B, P observations, M members of the analysis. All arrays are
normalised: an increment is d = (x - x_b) / (alpha s_b) with the background x_b, its expected
standard deviation of error s_b and the scale alpha of that today.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from phyda_cli.analysis.background_scale import BackgroundScale, estimate_scale
from phyda_cli.analysis.correction_weight import CorrectionWeight, estimate_weight, held_out
from phyda_cli.analysis.ensemble_filter import filter_members
from phyda_cli.analysis.errors_of_the_day import with_errors_of_the_day
from phyda_cli.analysis.generative import sample_members
from phyda_cli.analysis.guided import Guidance
from phyda_cli.analysis.prior import Prior
from phyda_cli.analysis.reconstruction import Observations, Virtual, reconstruct
from phyda_cli.model.background_spread import BackgroundSpread
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.model.denoiser import Denoiser
from phyda_cli.model.encoder import Encoder, Posterior
from phyda_cli.settings.model import CorrectionSettings, SamplerSettings

__all__ = [
    "Increment",
    "ModelGridSettings",
    "Networks",
    "analyse",
    "analyse_ensemble",
    "scaled_to_today",
]


@dataclass(frozen=True, eq=False, kw_only=True)
class Networks:
    """What a checkpoint has learned: stages 2 and 3, ``errors_of_the_day`` for stage 1, and the
    weight to expect of the ``correction`` that stages 2 and 3 are."""

    encoder: Encoder | None = None
    denoiser: Denoiser | None = None
    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    errors_of_the_day: BackgroundSpread | None = None
    correction: CorrectionSettings = field(default_factory=CorrectionSettings)

    @classmethod
    def of(
        cls, checkpoint: Checkpoint, device: torch.device | None = None, today: bool = True
    ) -> Networks:
        """All of them on ``device``; without the errors of the day unless ``today``."""
        encoder, denoiser = checkpoint.networks()
        return cls(
            encoder=encoder.to(device),
            denoiser=denoiser.to(device),
            sampler=checkpoint.metadata.sampler,
            errors_of_the_day=checkpoint.background_spread() if today else None,
            correction=checkpoint.metadata.correction,
        )


@dataclass(frozen=True, kw_only=True)
class ModelGridSettings:
    """``members`` to draw with ``seed``; none: the encoder's mean is the analysis.

    ``scale`` of the background's errors where it is known already; else its estimate starts from
    ``expected_scale``. ``weight`` of the learned correction; none: it is estimated.
    """

    members: int = 0
    seed: int = 0
    scale: BackgroundScale | None = None
    expected_scale: float = 1.0
    weight: CorrectionWeight | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Increment:
    """``mean`` and ``spread`` (C, H, W) and ``members`` (M, C, H, W) of the normalised increment,
    ``linear_spread`` (C, H, W) what stage 1 alone claims. Times ``unit`` (C, 1, 1) they are in
    physical units. ``virtual`` is stage 1's analysis, which an ensemble filter does not make, and
    ``weight`` that of the learned correction, where there is one.
    """

    mean: np.ndarray
    spread: np.ndarray
    members: np.ndarray
    linear_spread: np.ndarray
    unit: np.ndarray
    scale: BackgroundScale
    virtual: Virtual | None = None
    weight: CorrectionWeight | None = None


@torch.no_grad()
def analyse(
    prior: Prior,
    observations: Observations,
    networks: Networks | None,
    settings: ModelGridSettings,
    guidance: Guidance | None = None,
) -> Increment:
    """The increment of ``observations`` (of increments in physical units) to ``prior``.

    Every observation enters once: in stage 1, or by ``guidance`` in stage 3. Without ``networks``
    the analysis is stage 1's, optimal interpolation with B of the prior's members.
    """
    # The scale of the background's errors today. From here on everything is in units of them.
    prior, observations, scale = scaled_to_today(prior, observations, settings)
    if networks is not None and networks.errors_of_the_day is not None:
        prior = with_errors_of_the_day(prior, observations, networks.errors_of_the_day)

    # Stage 1, virtual reconstruction: the linear-Gaussian optimum in a local ensemble space.
    guided = guidance is not None and guidance.rows
    shown = Observations.none(prior.state.size) if guided else observations
    draws = 0 if guided else (settings.members + 1) // 2
    virtual = reconstruct(prior.ensemble, shown, draws, settings.seed)
    if networks is None or networks.encoder is None:
        return _increment(virtual.increment, virtual.spread, None, virtual, prior, scale)

    # Stage 2, the encoder: posterior mean, its standard deviation and a latent. How far it moves
    # them from stage 1's is decided by observations that it was not given.
    posterior = encoded(networks.encoder, prior, virtual)
    weight, share = None, None
    if not guided:
        weight = settings.weight or weight_of_today(prior, observations, networks, settings.seed)
        share = torch.from_numpy(weight.of(prior.variables)).to(virtual.increment)[:, None, None]
        posterior = posterior.towards(virtual.increment, virtual.spread, share)
    if networks.denoiser is None or settings.members == 0:
        mean, spread = posterior.mean[0], posterior.std[0]
        return _increment(mean, spread, None, virtual, prior, scale, weight)

    # Stage 3, the diffusion: members of (d - mean) / std, conditioned on the latent.
    guide, sampler = None, networks.sampler
    if guidance is not None:
        guide, sampler = guidance.guide(prior, observations), guidance.settings.sampler
    sampled = sample_members(
        networks.denoiser,
        posterior,
        virtual,
        prior.conditions,
        settings.members,
        settings.seed,
        sampler,
        guide,
        share,
    )
    return _increment(sampled.mean, sampled.spread, sampled.members, virtual, prior, scale, weight)


def encoded(encoder: Encoder, prior: Prior, virtual: Virtual) -> Posterior:
    """What ``encoder`` makes of stage 1's analysis."""
    device = virtual.increment.device
    background, conditions = (
        torch.from_numpy(a).to(device) for a in (prior.normalised, prior.conditions)
    )
    inputs = (a[None].to(background) for a in (background, *virtual.seen, conditions))
    found: Posterior = encoder(*inputs)
    return found


def weight_of_today(
    prior: Prior, observations: Observations, networks: Networks, seed: int
) -> CorrectionWeight:
    """The weight of the encoder's correction that normalised ``observations`` ask for."""
    encoder = networks.encoder
    assert encoder is not None, "no correction to weigh"

    def repeat(some: Observations) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        virtual = reconstruct(prior.ensemble, some)
        linear = virtual.increment
        change = encoded(encoder, prior, virtual).mean[0] - linear
        return linear.cpu().numpy(), virtual.spread.cpu().numpy(), change.cpu().numpy()

    return estimate_weight(held_out(observations, repeat, seed), networks.correction)


def scaled_to_today(
    prior: Prior, observations: Observations, settings: ModelGridSettings
) -> tuple[Prior, Observations, BackgroundScale]:
    """``prior`` and ``observations`` of physical increments, normalised by the background's errors
    as large as the innovations show them (Dee 1995), and that scale."""
    scale = settings.scale
    if scale is None:
        scale = estimate_scale(
            observations.variable,
            observations.innovation,
            observations.error,
            prior.ensemble.spread_at(observations.in_units(prior.unit).matrix),
            observations.latitude,
            observations.longitude,
            settings.expected_scale,
        )
    prior = prior.scaled(scale)
    return prior, observations.in_units(prior.unit), scale


def analyse_ensemble(
    prior: Prior,
    observations: Observations,
    settings: ModelGridSettings,
    rtps: float = 0.0,
    mixed: bool = False,
) -> Increment:
    """The increment by the ensemble filter (LETKF) with the prior's own anomalies; mean and spread
    come from all its members where they are ``mixed`` with static ones.

    ``members`` are what each forecast changes by where the background is the forecasts' mean, else
    what is added to the background. They are relaxed by ``rtps`` to the forecasts' own spread,
    before the scale.
    """
    ensemble, expected = prior.anomalies, prior.unit
    assert ensemble is not None, "a prior without an ensemble"
    prior, observations, scale = scaled_to_today(prior, observations, settings)
    anomalies = ensemble.members
    before = anomalies / torch.from_numpy(prior.unit / expected).to(anomalies)
    found = filter_members(
        ensemble,
        observations,
        rtps=rtps,
        prior=before,
        mixed=prior.ensemble if mixed else None,
    )
    change = found.anomalies - before if prior.centred else found.anomalies
    members = found.increment + (len(anomalies) - 1) ** 0.5 * change
    return _increment(found.increment, found.spread, members, None, prior, scale)


def _increment(
    mean: torch.Tensor,
    spread: torch.Tensor,
    members: torch.Tensor | None,
    virtual: Virtual | None,
    prior: Prior,
    scale: BackgroundScale,
    weight: CorrectionWeight | None = None,
) -> Increment:
    linear = spread if virtual is None else virtual.spread
    return Increment(
        mean=mean.cpu().numpy(),
        spread=spread.cpu().numpy(),
        members=(mean.new_zeros(0, *mean.shape) if members is None else members).cpu().numpy(),
        linear_spread=linear.cpu().numpy(),
        unit=prior.unit,
        scale=scale,
        virtual=virtual,
        weight=weight,
    )
