"""One analysis of a cycled experiment by each method, on the model grid: a mean increment and one for each forecast.

Shapes: M forecasts (1 but for the ensemble methods), C channels, H x W grid points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from phyda_cli.analysis.ensemble_filter import filter_members, hybrid
from phyda_cli.analysis.generative import sample_members
from phyda_cli.analysis.localisation import Localisation
from phyda_cli.analysis.reconstruction import Ensemble, reconstruct
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.model.encoder import conditions
from phyda_cli.training.cases import innovations, scaled
from phyda_cli.training.networks import Network

Reports = tuple[sparse.csr_matrix, np.ndarray, np.ndarray, np.ndarray, np.ndarray]

__all__ = ["METHODS", "Analyser", "Method", "Step"]


@dataclass(frozen=True)
class Method:
    """``members`` forecasts; B is static, the ensemble's, both or, without ``analyses``, not needed; ``network``: does phyda correct it?"""

    members: int = 1
    analyses: bool = True
    ensemble_weight: float = 0.0
    network: bool = False
    radius_km: float | None = None
    rtps: float = 0.0


METHODS = {
    "free": Method(analyses=False),
    "oi": Method(),
    "phyda": Method(network=True),
    "letkf-20": Method(20, ensemble_weight=1.0, radius_km=3000.0, rtps=0.6),
    "letkf-40": Method(40, ensemble_weight=1.0, radius_km=4000.0, rtps=0.6),
    "hybrid-40": Method(40, ensemble_weight=0.5, rtps=0.6),
    "phyda-hybrid-40": Method(40, ensemble_weight=0.5, network=True, rtps=0.6),
}


@dataclass(frozen=True)
class Step:
    """``increment`` of the mean and its ``spread`` (C, H, W), ``increments`` of every forecast (M, C, H, W), all in physical units;
    ``scale`` of the background error."""

    increment: np.ndarray
    spread: np.ndarray
    increments: np.ndarray
    scale: float


class Analyser:
    """Analyses by any method with one checkpoint."""

    def __init__(self, checkpoint: Checkpoint, samples: int) -> None:
        self.checkpoint, self.samples = checkpoint, samples
        self.spec = checkpoint.state
        self.unit = self.spec.column("background_std")
        self.encoder, self.denoiser = checkpoint.networks()

    def __call__(
        self, method: Method, forecasts: np.ndarray, truth: np.ndarray, network: Network, time: np.datetime64, seed: int, prior: float = 1.0
    ) -> Step:
        """Analyse 6 h ``forecasts`` (M, C, H, W) with ``network``'s observations of ``truth`` (C, H, W), of noise drawn by ``seed``."""
        mean = forecasts.mean(axis=0)
        rng = np.random.default_rng([40, seed])
        matrix, innovation = innovations(self.spec, ((truth - mean) / self.unit).astype(np.float32), network, rng)
        solver = self.checkpoint.metadata.solver
        where = Localisation.of(self.spec, solver.model_copy(update={"radius_km": method.radius_km}) if method.radius_km else solver)
        anomalies = torch.from_numpy(((forecasts - mean) / self.unit / max(len(forecasts) - 1, 1) ** 0.5).astype(np.float32))
        if not method.ensemble_weight:
            ensemble = Ensemble(self.checkpoint.members(time), where)
        else:
            static = self.checkpoint.members(time) if method.ensemble_weight < 1 else anomalies
            ensemble = Ensemble(hybrid(anomalies, static, method.ensemble_weight), where)
        scale, factor, operator = scaled(ensemble, self.spec, network, matrix, innovation, prior)
        reports = (operator, innovation, network.error, network.latitude, network.longitude)
        mean_increment, spread = self._mean(method, ensemble, reports, mean, time, seed)
        each = mean_increment[None]
        if method.ensemble_weight:
            before = anomalies / torch.from_numpy(factor)
            found = filter_members(Ensemble(anomalies, where), *reports, rtps=method.rtps, prior=before)
            each = mean_increment + (len(forecasts) - 1) ** 0.5 * (found.anomalies - before).numpy()
            spread = found.spread.numpy() if method.ensemble_weight == 1 else spread
        unit = factor * self.unit
        return Step(mean_increment * unit, spread * unit, each * unit, scale.pooled)

    def _mean(
        self, method: Method, ensemble: Ensemble, reports: Reports, background: np.ndarray, time: np.datetime64, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Increment of the mean and spread (C, H, W), by the linear analysis or on top of it by the networks."""
        draws = (self.samples + 1) // 2 if method.network else 0
        virtual = reconstruct(ensemble, *reports, draws, seed)
        if not method.network:
            return virtual.increment.numpy(), virtual.spread.numpy()
        spec, statics = self.spec, self.checkpoint.statics
        place = conditions(spec.grid, statics["orography"], statics["lsm"], time, 6.0)
        normalised = torch.from_numpy((background - spec.column("mean")) / spec.column("std"))
        settings = self.checkpoint.metadata.sampler
        sampled = sample_members(self.encoder, self.denoiser, normalised, virtual, place, self.samples, seed, settings)
        return sampled.mean.numpy(), sampled.spread.numpy()
