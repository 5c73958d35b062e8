"""Stage 1's members scaled to the background errors of the day; see
:mod:`phyda_cli.model.background_spread`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from phyda_cli.analysis.reconstruction import Ensemble
from phyda_cli.model.background_spread import BackgroundSpread
from phyda_cli.model.evidence import evidence

__all__ = ["ErrorsOfTheDay", "observed_evidence"]


def observed_evidence(
    ensemble: Ensemble, matrix: sparse.csr_matrix, innovation: np.ndarray, error: np.ndarray
) -> np.ndarray:
    """What P innovations say of the errors that static members expect, (N_MAPS * C, H, W);
    arguments as of :func:`phyda_cli.analysis.reconstruction.reconstruct`."""
    prior = ensemble.members.square().sum(dim=0).cpu().numpy()
    return evidence(
        ensemble.localisation.grid, prior, matrix, innovation, error, ensemble.spread_at(matrix)
    )


@dataclass(frozen=True, eq=False)
class ErrorsOfTheDay:
    """One background: ``state`` (C, H, W), (x_b - mean) / std of the climate, its ``place``
    (N_CONDITIONS, H, W), and the network."""

    network: BackgroundSpread
    state: np.ndarray
    place: np.ndarray

    @torch.no_grad()
    def ensemble(
        self, static: Ensemble, matrix: sparse.csr_matrix, innovation: np.ndarray, error: np.ndarray
    ) -> Ensemble:
        """The members of ``static`` with the spread that the network finds, in the same units."""
        maps = observed_evidence(static, matrix, innovation, error)
        device = static.members.device
        inputs = (torch.from_numpy(a)[None].to(device) for a in (self.state, self.place, maps))
        spread = self.network.to(device)(*inputs)[0]
        prior = static.members.square().sum(dim=0).sqrt()
        return Ensemble(static.members * (spread / prior.clamp(min=1e-6)), static.localisation)
