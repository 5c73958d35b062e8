"""Stage 1's members scaled to the background errors of the day; see
:mod:`phyda_cli.model.background_spread`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from phyda_cli.analysis.prior import Prior
from phyda_cli.analysis.reconstruction import Ensemble, Observations
from phyda_cli.model.background_spread import BackgroundSpread
from phyda_cli.model.evidence import evidence

__all__ = ["observed_evidence", "with_errors_of_the_day"]


def observed_evidence(ensemble: Ensemble, observations: Observations) -> np.ndarray:
    """What P innovations say of the errors that static members expect, (N_MAPS * C, H, W)."""
    prior = ensemble.members.square().sum(dim=0).cpu().numpy()
    return evidence(
        ensemble.localisation.grid,
        prior,
        observations.matrix,
        observations.innovation,
        observations.error,
        ensemble.spread_at(observations.matrix),
    )


@torch.no_grad()
def with_errors_of_the_day(
    prior: Prior, observations: Observations, network: BackgroundSpread
) -> Prior:
    """``prior`` whose members have the spread that ``network`` finds, in the same units."""
    static = prior.ensemble
    maps = observed_evidence(static, observations)
    device = static.members.device
    arrays = prior.normalised, prior.conditions, maps
    spread = network.to(device)(*(torch.from_numpy(a)[None].to(device) for a in arrays))[0]
    before = static.members.square().sum(dim=0).sqrt()
    members = static.members * (spread / before.clamp(min=1e-6))
    return replace(prior, ensemble=Ensemble(members, static.localisation))
