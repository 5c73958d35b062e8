"""The methods that are compared, on the model grid: single analyses and those of a cycle.

Shapes: M forecasts (1 but for the ensemble methods), K analysis members, C channels, H x W grid
points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from phyda_cli.analysis.ensemble_filter import hybrid
from phyda_cli.analysis.guided import Guidance
from phyda_cli.analysis.localisation import Localisation
from phyda_cli.analysis.model_grid import (
    Increment,
    ModelGridSettings,
    Networks,
    analyse,
    analyse_ensemble,
)
from phyda_cli.analysis.prior import Prior
from phyda_cli.analysis.reconstruction import Ensemble
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.settings.analysis import GuidanceSettings
from phyda_cli.simulation.observing_network import Network
from phyda_cli.simulation.simulate import simulate

__all__ = ["CYCLED", "METHODS", "Analyser", "Method", "Step", "Valid"]


@dataclass(frozen=True)
class Method:
    """``members`` forecasts; B is static but for ``ensemble_weight`` of it; ``networks``: what
    phyda adds on top of the linear analysis, the encoder's mean alone or all of it, or the
    diffusion guided by the observations without the linear analysis; ``today``: static members have
    the spread of the day.

    Of ensembles: the wind ``initial_u`` [m/s] of the perturbations that make the first one, which
    is that of a forecast without skill; relaxation to the forecasts' spread (``rtps``) or to their
    perturbations (``rtpp``, Zhang et al. 2004); and ``additive`` inflation, the size of static
    members that are added to the analyses, in background-error standard deviations.
    """

    members: int = 1
    analyses: bool = True
    ensemble_weight: float = 0.0
    networks: Literal["none", "encoder", "phyda", "mmps", "dps"] = "none"
    today: bool = False
    radius_km: float | None = None
    radius_log_p: float | None = None
    rtps: float = 0.0
    rtpp: float = 0.0
    additive: float = 0.0
    initial_u: float = 6.0


# letkf-20 as found best of a few on the training season (docs/explanation/experiments.md); the
# other ensembles are not tuned yet.
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
        self.networks = Networks.of(checkpoint)

    def __call__(
        self,
        method: Method,
        forecasts: np.ndarray,
        truth: np.ndarray,
        network: Network,
        valid: Valid,
        expected: float = 1.0,
    ) -> Step:
        """Analyse ``forecasts`` (M, C, H, W) with ``network``'s observations of ``truth`` (C, H,
        W); the scale's estimate starts from ``expected``."""
        mean = forecasts.mean(axis=0)
        rng = np.random.default_rng([40, valid.seed])
        error = ((truth - mean) / self.unit).astype(np.float32)
        observations = simulate(self.spec, error, network, rng)
        prior = self._prior(method, forecasts, valid)
        settings = ModelGridSettings(
            members=0 if method.networks in ("none", "encoder") else self.samples,
            seed=valid.seed,
            expected_scale=expected,
        )
        networks, guidance = self._networks(method)
        found = analyse(prior, observations, networks, settings, guidance)
        if not method.ensemble_weight:
            return _step(found, found.mean[None], found.members)
        known = replace(settings, scale=found.scale)
        filtered = analyse_ensemble(prior, observations, known, method.rtps)
        each = found.mean + (1 - method.rtpp) * (filtered.members - filtered.mean)
        if method.networks != "none":
            return _step(found, each, found.members)
        if method.additive:
            each = each + method.additive * self._draws(len(forecasts), valid) / found.unit
        members = each + (forecasts - mean) / found.unit
        if method.ensemble_weight == 1:
            found = replace(
                found,
                spread=np.sqrt(((members - found.mean) ** 2).sum(axis=0) / (len(forecasts) - 1)),
            )
        return _step(found, each, members)

    def _draws(self, number: int, valid: Valid) -> np.ndarray:
        """Static members (M, C, H, W) without their mean, in physical units."""
        static = self.checkpoint.all_members().numpy()
        rng = np.random.default_rng([42, valid.seed])
        chosen = static[rng.choice(len(static), number, replace=False)]
        found: np.ndarray = (chosen - chosen.mean(axis=0)) * self.unit
        return found

    def _prior(self, method: Method, forecasts: np.ndarray, valid: Valid) -> Prior:
        checkpoint, solver = self.checkpoint, self.checkpoint.metadata.solver
        radii = {"radius_km": method.radius_km, "radius_log_p": method.radius_log_p}
        solver = solver.model_copy(update={k: v for k, v in radii.items() if v is not None})
        where, mean = Localisation.of(self.spec, solver), forecasts.mean(axis=0)
        prior = Prior.static(checkpoint, mean, valid.time, valid.lead, where)
        if not method.ensemble_weight:
            return prior
        scaled = (forecasts - mean) / self.unit / max(len(forecasts) - 1, 1) ** 0.5
        anomalies = torch.from_numpy(scaled.astype(np.float32))
        mixed = hybrid(anomalies, prior.ensemble.members, method.ensemble_weight)
        return replace(
            prior,
            ensemble=Ensemble(mixed, where),
            anomalies=Ensemble(anomalies, where),
            centred=True,
        )

    def _networks(self, method: Method) -> tuple[Networks | None, Guidance | None]:
        today = self.networks.errors_of_the_day if method.today else None
        chosen = replace(self.networks, errors_of_the_day=today)
        if method.networks in ("mmps", "dps"):
            settings = GuidanceSettings(rule=method.networks)  # type: ignore[arg-type]
            return chosen, Guidance(settings, rows=True)
        if method.networks == "none":
            return replace(chosen, encoder=None), None
        return chosen, None


def _step(found: Increment, each: np.ndarray, members: np.ndarray) -> Step:
    """In physical units, of the increments ``each`` (M, C, H, W) and ``members`` (K, C, H, W)."""
    unit = found.unit
    return Step(
        found.mean * unit, found.spread * unit, each * unit, members * unit, found.scale.pooled
    )
