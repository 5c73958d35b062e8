"""The methods that are compared, on the model grid: single analyses and those of a cycle.

Shapes: M forecasts (1 but for the ensemble methods), K analysis members, C channels, H x W grid
points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy import sparse

from phyda_cli.analysis.ensemble_filter import filter_members, hybrid
from phyda_cli.analysis.errors_of_the_day import ErrorsOfTheDay
from phyda_cli.analysis.generative import Sampled, sample_members
from phyda_cli.analysis.guided import Guide, guide, row_misfit
from phyda_cli.analysis.localisation import Localisation
from phyda_cli.analysis.reconstruction import Ensemble, Virtual, reconstruct, without_observations
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.model.encoder import conditions
from phyda_cli.settings.analysis import GuidanceSettings
from phyda_cli.settings.model import SamplerSettings
from phyda_cli.simulation.observing_network import Network
from phyda_cli.training.cases import innovations, scaled

__all__ = ["CYCLED", "METHODS", "Analyser", "Method", "Step", "Valid"]

Reports = tuple[sparse.csr_matrix, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Method:
    """``members`` forecasts; B is static but for ``ensemble_weight`` of it; ``networks``: what
    phyda adds on top of the linear analysis, the encoder's mean alone or all of it, or the
    diffusion guided by the observations without the linear analysis; ``today``: static members have
    the spread of the day."""

    members: int = 1
    analyses: bool = True
    ensemble_weight: float = 0.0
    networks: Literal["none", "encoder", "phyda", "mmps", "dps"] = "none"
    today: bool = False
    radius_km: float | None = None
    rtps: float = 0.0


# letkf-20 as found best of a few on the training season (docs/experiments.md); the other ensembles
# are not tuned yet.
METHODS = {
    "free": Method(analyses=False),
    "oi": Method(),
    "phyda": Method(networks="phyda", today=True),
    "phyda, diffusion off": Method(networks="encoder", today=True),
    "phyda, encoder off": Method(today=True),
    "phyda, errors of the day off": Method(networks="phyda"),
    "guidance mmps (VRE off)": Method(networks="mmps"),
    "guidance dps (VRE off)": Method(networks="dps"),
    "letkf-20": Method(20, ensemble_weight=1.0, radius_km=3000.0, rtps=0.6),
    "letkf-40": Method(40, ensemble_weight=1.0, radius_km=4000.0, rtps=0.6),
    "hybrid-40": Method(40, ensemble_weight=0.5, rtps=0.6),
    "phyda-hybrid-40": Method(40, ensemble_weight=0.5, networks="phyda", rtps=0.6),
    "phyda-40, static members off": Method(
        40, ensemble_weight=1.0, networks="phyda", radius_km=4000.0, rtps=0.6
    ),
}
CYCLED = ("free", "oi", "phyda", "letkf-20", "letkf-40", "hybrid-40", "phyda-hybrid-40")


@dataclass(frozen=True)
class Valid:
    """``time`` of an analysis, ``lead`` of its background [h] and the ``seed`` of observation noise
    and members."""

    time: np.datetime64
    lead: float
    seed: int


@dataclass(frozen=True)
class Step:
    """``increment`` of the mean and its ``spread`` (C, H, W), ``increments`` of every forecast (M,
    C, H, W), analysis ``members`` (K, C, H, W) minus the mean forecast, K = 0 where there are none;
    all in physical units. ``scale`` of the background error."""

    increment: np.ndarray
    spread: np.ndarray
    increments: np.ndarray
    members: np.ndarray
    scale: float


class Analyser:
    """Analyses by any method with one checkpoint; phyda draws ``samples`` members."""

    def __init__(self, checkpoint: Checkpoint, samples: int) -> None:
        self.checkpoint, self.samples = checkpoint, samples
        self.spec = checkpoint.state
        self.unit = self.spec.column("background_std")
        self.encoder, self.denoiser = checkpoint.networks()
        self.background_spread = checkpoint.background_spread()

    def __call__(
        self,
        method: Method,
        forecasts: np.ndarray,
        truth: np.ndarray,
        network: Network,
        valid: Valid,
        prior: float = 1.0,
    ) -> Step:
        """Analyse ``forecasts`` (M, C, H, W) with ``network``'s observations of ``truth`` (C, H,
        W)."""
        mean = forecasts.mean(axis=0)
        rng = np.random.default_rng([40, valid.seed])
        matrix, innovation = innovations(
            self.spec, ((truth - mean) / self.unit).astype(np.float32), network, rng
        )
        where = self._localisation(method)
        anomalies = torch.from_numpy(
            ((forecasts - mean) / self.unit / max(len(forecasts) - 1, 1) ** 0.5).astype(np.float32)
        )
        ensemble = Ensemble(self._background_members(method, anomalies, valid.time), where)
        deviation = self.checkpoint.metadata.solver.scale_deviation
        scale, factor, operator = scaled(
            ensemble, self.spec, network, matrix, innovation, prior, deviation
        )
        reports = (operator, innovation, network.error, network.latitude, network.longitude)
        if method.today and self.background_spread:
            today = ErrorsOfTheDay(
                self.background_spread, self._normalised(mean), self._place(valid)
            )
            ensemble = today.ensemble(ensemble, *reports[:3])
        increment, spread, members = self._analysis(method, ensemble, reports, mean, valid)
        each = increment[None]
        if method.ensemble_weight:
            before = anomalies / torch.from_numpy(factor)
            found = filter_members(
                Ensemble(anomalies, where), *reports, rtps=method.rtps, prior=before
            )
            root = (len(forecasts) - 1) ** 0.5
            each = increment + root * (found.anomalies - before).numpy()
            if method.networks == "none":
                members = increment + root * found.anomalies.numpy()
                spread = found.spread.numpy() if method.ensemble_weight == 1 else spread
        unit = factor * self.unit
        return Step(increment * unit, spread * unit, each * unit, members * unit, scale.pooled)

    def _localisation(self, method: Method) -> Localisation:
        solver = self.checkpoint.metadata.solver
        return Localisation.of(
            self.spec,
            solver.model_copy(update={"radius_km": method.radius_km})
            if method.radius_km
            else solver,
        )

    def _background_members(
        self, method: Method, anomalies: torch.Tensor, time: np.datetime64
    ) -> torch.Tensor:
        weight = method.ensemble_weight
        return (
            anomalies if weight == 1 else hybrid(anomalies, self.checkpoint.members(time), weight)
        )

    def _analysis(
        self,
        method: Method,
        ensemble: Ensemble,
        reports: Reports,
        background: np.ndarray,
        valid: Valid,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Increment and spread (C, H, W) and members (K, C, H, W), normalised."""
        if method.networks in ("mmps", "dps"):
            settings = GuidanceSettings(rule=method.networks)  # type: ignore[arg-type]
            guided = guide(settings, [row_misfit(*reports[:3], CPU)])
            sampled = self._sampled(
                without_observations(ensemble),
                background,
                valid,
                self.samples,
                settings.sampler,
                guided,
            )
            return sampled.mean.numpy(), sampled.spread.numpy(), sampled.members.numpy()
        draws = {"phyda": (self.samples + 1) // 2, "encoder": 1}.get(method.networks, 0)
        virtual = reconstruct(ensemble, *reports, draws, valid.seed)
        if method.networks == "none":
            return (
                virtual.increment.numpy(),
                virtual.spread.numpy(),
                np.zeros((0, *background.shape), np.float32),
            )
        sampled = self._sampled(
            virtual, background, valid, 1 if method.networks == "encoder" else self.samples
        )
        kept = sampled.members if method.networks == "phyda" else sampled.members[:0]
        return sampled.mean.numpy(), sampled.spread.numpy(), kept.numpy()

    def _sampled(
        self,
        virtual: Virtual,
        background: np.ndarray,
        valid: Valid,
        count: int,
        sampler: SamplerSettings | None = None,
        guided: Guide | None = None,
    ) -> Sampled:
        settings, normalised = (
            sampler or self.checkpoint.metadata.sampler,
            torch.from_numpy(self._normalised(background)),
        )
        return sample_members(
            self.encoder,
            self.denoiser,
            normalised,
            virtual,
            self._place(valid),
            count,
            valid.seed,
            settings,
            guided,
        )

    def _normalised(self, background: np.ndarray) -> np.ndarray:
        return ((background - self.spec.column("mean")) / self.spec.column("std")).astype(
            np.float32
        )

    def _place(self, valid: Valid) -> np.ndarray:
        statics = self.checkpoint.statics
        return conditions(
            self.spec.grid, statics["orography"], statics["lsm"], valid.time, valid.lead
        )
