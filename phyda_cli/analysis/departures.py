"""What the observations say against the prior: operators, the scale of the background error, the
checks that need both, and the weights of observations that stage 1 cannot fit.

Variational quality control weighs such observations less, smoothly rather than all or nothing. With
the Huber norm (Huber 1964, Ann. Math. Stat. 35, 73; in weather prediction Tavolato and Isaksen
2015, QJRMS 141, 1514) the cost of a misfit r = (y - H x_a) / sigma_o is quadratic up to k and
linear beyond. Its minimum is that of a quadratic cost whose weights w = min(1, k / |r|) come from
the minimum itself: it is found by solving again with the errors sigma_o / sqrt(w).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import sparse

from phyda_cli.analysis.background_scale import BOUNDS, FAR_OFF, BackgroundScale, estimate_scale
from phyda_cli.analysis.prior import Prior, as_fields, in_channel_order
from phyda_cli.analysis.reconstruction import Observations, in_units, reconstruct
from phyda_cli.analysis.spatial_check import spatial_check
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.interpolate import regrid
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.observations.operators import Operator, build_operator, operator_check
from phyda_cli.observations.qc import (
    Superobs,
    buddy_check,
    first_guess_check,
    superob,
    thin,
    wind_pairs,
)
from phyda_cli.observations.table import QC
from phyda_cli.settings.analysis import AnalysisSettings, QualityControlSettings

__all__ = [
    "Departures",
    "huber_weights",
    "left_out",
    "observe_background",
    "reweighted",
    "static_orography",
    "with_robust_weights",
]

_FINER = 0.6  # of the model's spacing: from here on a background has a ground of its own


@dataclass(frozen=True, eq=False, kw_only=True)
class Departures:
    """P observations after all quality control, against a background.

    ``table`` carries the final codes; ``hofx0``, the background at the observations, and
    ``sigma_b``, the standard deviation of its error there, are (P,) in the rows' units. ``hofx0``
    holds the ``change`` (P,) of the background until the observation's own time.
    ``innovation`` and ``error`` (P,) are what the analysis uses: those of the row, or of the
    superobservation of ``merged`` (P,) rows that it stands for; the error holds the robust
    ``weight`` (P,) and what is in doubt of the station's ``bias`` (P,), which is subtracted from
    the innovation.
    ``operator`` is H on the user's fields, made with ``orography`` (H, W) where these have none,
    ``matrix`` (P, C*H*W) H on the model grid's increment in physical units.
    ``scale`` multiplies the prior's unit.
    """

    table: pd.DataFrame
    operator: Operator
    orography: np.ndarray | None
    matrix: sparse.csr_matrix
    change: np.ndarray
    hofx0: np.ndarray
    sigma_b: np.ndarray
    innovation: np.ndarray
    error: np.ndarray
    weight: np.ndarray
    merged: np.ndarray
    bias: np.ndarray
    scale: BackgroundScale
    notes: tuple[str, ...]

    @property
    def used(self) -> np.ndarray:
        """The rows that passed every check (n,)."""
        return np.flatnonzero((self.table["qc"] == QC.PASS).to_numpy())

    def left_out(self, hofx1: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The departure of each row (P,), before its bias is subtracted, from an analysis that is
        made without the row, and the standard deviation (P,) of the error of that analysis.

        ``hofx1`` (P,) is the analysis, and ``spread`` (C, H, W) that of its error on the model grid
        [physical units]."""
        oman = self.table["value"].to_numpy() - self.bias - hofx1
        sigma_a = abs(self.matrix) @ spread.ravel()
        departure, sigma = left_out(oman, sigma_a, self.error, self.sigma_b)
        return self.bias + departure, sigma

    def observations(self, rows: np.ndarray) -> Observations:
        """``rows`` (n,) as observations of the increment in physical units."""
        table = self.table.iloc[rows]
        return Observations(
            matrix=self.matrix[rows],
            innovation=self.innovation[rows].astype(np.float32),
            error=self.error[rows].astype(np.float32),
            variable=table["variable"].to_numpy(object),
            latitude=table["latitude"].to_numpy(),
            longitude=table["longitude"].to_numpy(),
        )


def scaled_as(table: pd.DataFrame) -> np.ndarray:
    """The variable whose scale of errors each report (P,) shares: a speed without a direction is of
    the wind at its height."""
    variable = table["variable"].to_numpy(object)
    aloft = (table["pressure"].notna() | table["height"].notna()).to_numpy()
    return np.where(variable == "wind_speed", np.where(aloft, "u", "u10"), variable)


def observe_background(
    background: Fields,
    table: pd.DataFrame,
    prior: Prior,
    checkpoint: Checkpoint,
    settings: AnalysisSettings,
    bias: tuple[np.ndarray, np.ndarray] | None = None,
    change: np.ndarray | None = None,
) -> Departures:
    """Operators, background-error spread at the observations, the checks against both, and
    thinning, for a prepared ``table``; ``prior`` is that of ``background``. The
    known ``bias`` of stations (P,) is subtracted first, and the standard deviation (P,) of what is
    wrong with it adds to the error. ``change`` (P,) is what the background changes until the time
    of each observation.

    All ranks of an analysis repeat this, so it must come out the same for each."""
    spec = checkpoint.state
    statics = static_orography(checkpoint, background)
    operator = build_operator(background, table, statics, settings.qc.height_limit_m)
    table = operator_check(table, operator)
    layout = as_fields(prior.state, spec, background, prior.available)
    model = build_operator(layout, table, checkpoint.statics["orography"])
    # The user's fields decide on heights and levels; the model grid only has to have the variable.
    table = operator_check(table, replace(model, qc=np.where(model.qc == QC.H_FAILED, model.qc, 0)))
    matrix = in_channel_order(model.matrix, layout, spec)
    change = np.zeros(len(table)) if change is None else change
    hofx0 = operator.of(background) + change
    known, doubt = (np.zeros(len(table)),) * 2 if bias is None else bias
    innovation = table["value"].to_numpy() - known - hofx0
    members = prior.ensemble.observed(in_units(matrix, prior.unit))
    table, scale = _check(table, background, innovation, members, settings)
    used = _thinned(table, innovation, background.time, settings.qc)
    notes = list(operator.notes)
    if statics is not None:
        notes.append(
            "the background has no orography: that of the checkpoint, whose points are "
            f"{spec.grid.spacing:.3g} degrees apart, stands for it"
        )
    if scale.at_bound:
        notes.insert(
            0,
            "the innovations do not fit the background's errors even times a quarter or four: "
            "look at times, units and errors",
        )
    return Departures(
        table=used.table,
        operator=operator,
        orography=statics,
        matrix=matrix,
        change=change,
        hofx0=hofx0,
        sigma_b=prior.ensemble.spread_at(in_units(matrix, prior.scaled(scale).unit)),
        innovation=used.innovation,
        error=used.error if bias is None else np.hypot(used.error, doubt),
        weight=np.ones(len(table)),
        merged=used.size,
        bias=known,
        scale=scale,
        notes=tuple(notes),
    )


def with_robust_weights(
    departures: Departures, prior: Prior, settings: QualityControlSettings
) -> Departures:
    """``departures`` whose errors hold the weights of the robust norm, where ``settings`` ask for
    it."""
    rows = departures.used
    if settings.robust == "none" or not rows.size:
        return departures
    observations = departures.observations(rows).in_units(prior.scaled(departures.scale).unit)

    def fit(error: np.ndarray) -> np.ndarray:
        weighted = replace(observations, error=error.astype(np.float32))
        virtual = reconstruct(prior.ensemble, weighted)
        return np.asarray(observations.matrix @ virtual.increment.cpu().numpy().ravel())

    weight = departures.weight.copy()
    weight[rows] = reweighted(
        fit,
        observations.innovation,
        departures.error[rows],
        settings.huber_k,
        settings.robust_iterations,
    )
    return replace(departures, weight=weight, error=departures.error / np.sqrt(weight))


def left_out(
    oman: np.ndarray, sigma_a: np.ndarray, error: np.ndarray, sigma_b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What O-A (P,) is for an analysis without the observation, and the standard deviation (P,) of
    the error of that analysis there.

    Of a change of an observation the analysis takes the share h = sigma_a^2 / sigma_o^2. Without it
    the departure is (O-A) / (1 - h), of the variance sigma_o^2 / (1 - h) (the influence matrix:
    Cardinali et al. 2004, QJRMS 130, 2767). No share is larger than that of an observation on its
    own, sigma_b^2 / (sigma_o^2 + sigma_b^2).
    """
    own = error**2
    share = np.minimum(sigma_a**2 / own, sigma_b**2 / (own + sigma_b**2))
    return oman / (1 - share), error * np.sqrt(share / (1 - share))


def huber_weights(misfit: np.ndarray, k: float) -> np.ndarray:
    """Weights (P,) in 0..1 of normalised misfits (P,)."""
    return np.asarray(k / np.maximum(np.abs(misfit), k))


def reweighted(
    fit: Callable[[np.ndarray], np.ndarray],
    observed: np.ndarray,
    error: np.ndarray,
    k: float,
    iterations: int,
) -> np.ndarray:
    """Weights (P,) for the last of ``iterations`` solutions.

    ``fit`` maps observation errors (P,) to the analysed equivalents (P,) of ``observed`` (P,), all
    in one unit.
    """
    weight = np.ones_like(error)
    for _ in range(iterations - 1):
        weight = huber_weights((observed - fit(error / np.sqrt(weight))) / error, k)
    return weight


def _check(
    table: pd.DataFrame,
    background: Fields,
    innovation: np.ndarray,
    anomalies: np.ndarray,
    settings: AnalysisSettings,
) -> tuple[pd.DataFrame, BackgroundScale]:
    """The first-guess check, the buddy check, the spatial check, both components of a wind, and the
    scale of the background error they are made with.

    ``anomalies`` (P, N) is the ensemble at the observations. The checks need the scale and the
    scale good observations: a first one, which gross errors hardly move, serves the checks, the
    final one comes from what passed. A scale below one does not make them stricter: a forecast that
    is good but for one storm needs the reports of that storm.
    """
    sigma_b = np.sqrt((anomalies**2).sum(axis=1))

    def scale(of: pd.DataFrame, largest: float = BOUNDS[1]) -> BackgroundScale:
        if settings.background_error_scale != "auto":
            return BackgroundScale(float(settings.background_error_scale))
        rows = np.flatnonzero((of["qc"] == QC.PASS).to_numpy())
        error, latitude, longitude = (
            of[n].to_numpy()[rows] for n in ("error", "latitude", "longitude")
        )
        return estimate_scale(
            scaled_as(of)[rows],
            innovation[rows],
            error,
            sigma_b[rows],
            latitude,
            longitude,
            largest=largest,
        )

    # The analysis is not made for errors beyond the bound, but the fine stage is: it needs the
    # stations that agree on them.
    bound = BOUNDS[1] if settings.fine.stage == "off" else FAR_OFF
    first = np.maximum(scale(table, bound).of(scaled_as(table).tolist()), 1.0)
    table = first_guess_check(table, innovation, first * sigma_b, settings.qc.first_guess_factor)
    if settings.qc.buddy_factor is not None:
        table = buddy_check(table, innovation, anomalies, settings.qc.buddy_factor, first)
    if settings.qc.spatial_factor is not None:
        fine = settings.fine
        table = spatial_check(table, background, innovation, settings.qc.spatial_factor, fine)
    table = wind_pairs(table)
    return table, scale(table)


def _thinned(
    table: pd.DataFrame,
    innovation: np.ndarray,
    time: np.datetime64,
    settings: QualityControlSettings,
) -> Superobs:
    """What the analysis uses of the rows that passed every check."""
    if settings.thinning == "superob":
        return superob(
            table,
            innovation,
            settings.thinning_km,
            settings.thinning_log_p,
            settings.superob_correlation,
        )
    if settings.thinning == "thin":
        table = thin(table, time, settings.thinning_km, settings.thinning_log_p)
    return Superobs(table, innovation, table["error"].to_numpy(), np.ones(len(table), int))


def static_orography(checkpoint: Checkpoint, background: Fields) -> np.ndarray | None:
    """The checkpoint's orography on the user's grid, where the background brings none and is not
    finer: the ground of a finer one is not that smooth."""
    spec = checkpoint.state
    if "orography" in background.surface or not checkpoint.statics["orography"].any():
        return None
    if "sp" in background.surface:  # it belongs to its own orography only
        return None
    if background.grid.spacing < _FINER * spec.grid.spacing:
        return None
    return regrid(spec.grid, background.grid, checkpoint.statics["orography"])
