"""Observations against the background: operators, the scale of the background error, and the checks
that need both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from phyda_cli.analysis.background_scale import DEVIATION, BackgroundScale, estimate_scale
from phyda_cli.analysis.ensemble_filter import hybrid
from phyda_cli.analysis.layout import (
    as_fields,
    ensemble_anomalies,
    in_channel_order,
    model_background,
)
from phyda_cli.analysis.localisation import Localisation
from phyda_cli.analysis.reconstruction import Ensemble
from phyda_cli.errors import UsageError
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.interpolate import grid_to_grid
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

__all__ = ["Departures", "Forecasts", "choose_device", "quality_control"]


@dataclass(frozen=True, eq=False)
class Forecasts:
    """The members of the user's ensemble; ``centred`` where the background is their mean."""

    members: Sequence[Fields]
    centred: bool


@dataclass(frozen=True, eq=False)
class Departures:
    """Observations after all quality control, with what both sides of the increment need.

    ``table`` carries the final codes; ``hofx0`` and ``sigma_b`` (P,) in the rows' units.
    ``innovation`` and ``error`` (P,) are what the analysis uses: those of the row, or of the
    superobservation of ``merged`` (P,) rows that it stands for. ``full`` is the operator on the
    user's fields, ``matrix`` (P, C*H*W) the one on the model grid's normalised increment.
    Increments are normalised by ``unit`` (C, 1, 1), the checkpoint's background-error standard
    deviation times ``scale``: stage 1 and the networks see every background as being as good as
    those of the training. ``ensemble`` is what B is made of, ``anomalies`` the user's own members'.
    ``correction`` (C, H, W) is what the checkpoint knows of the background's error beforehand
    [physical units]: ``innovation`` and ``state``, the background on the model grid, are those
    after it, ``hofx0`` is not.
    """

    table: pd.DataFrame
    full: Operator
    matrix: sparse.csr_matrix
    hofx0: np.ndarray
    sigma_b: np.ndarray
    innovation: np.ndarray
    error: np.ndarray
    merged: np.ndarray
    scale: BackgroundScale
    unit: np.ndarray
    ensemble: Ensemble
    anomalies: Ensemble | None
    forecasts: Forecasts | None
    state: np.ndarray
    correction: np.ndarray
    available: np.ndarray
    notes: list[str]


def choose_device(name: str) -> torch.device:
    """The device called ``auto``, ``cpu`` or ``cuda``. Raises UsageError when CUDA is asked for and
    absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "--device cuda: this machine has no usable CUDA device", hint="use --device auto or cpu"
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def quality_control(
    background: Fields,
    table: pd.DataFrame,
    checkpoint: Checkpoint,
    settings: AnalysisSettings,
    forecasts: Forecasts | None = None,
) -> Departures:
    """Operators, background-error spread at the observations, the checks against both, and
    thinning, for a prepared ``table``."""
    spec = checkpoint.state
    state, available, notes = model_background(background, spec)
    ensemble, anomalies = _ensembles(background, checkpoint, settings, forecasts)
    statics = (
        None if "orography" in background.surface else _static_orography(checkpoint, background)
    )
    full = build_operator(background, table, statics, settings.qc.height_limit_m)
    table = operator_check(table, full)
    layout = as_fields(state, spec, background, available)
    model = build_operator(layout, table, checkpoint.statics["orography"])
    # The user's fields decide on heights and levels; the model grid only has to have the variable.
    table = operator_check(table, replace(model, qc=np.where(model.qc == QC.H_FAILED, model.qc, 0)))
    matrix = in_channel_order(model.matrix, layout, spec)
    unit = spec.column("background_std")
    hofx0 = full.apply(np.nan_to_num(background.vector()))
    correction = _correction(state, background.time, checkpoint, settings, forecasts)
    innovation = table["value"].to_numpy() - hofx0 - matrix @ correction.ravel()
    deviation = checkpoint.metadata.solver.scale_deviation if forecasts is None else DEVIATION
    table, scale = _check(
        table, innovation, ensemble.observed(_in_units(matrix, unit)), settings, deviation
    )
    used = _thinned(table, innovation, background.time, settings.qc)
    unit = (
        unit * scale.of([c.variable for c in spec.channel_list]).astype(np.float32)[:, None, None]
    )
    matrix = _in_units(matrix, unit)
    sigma_b = ensemble.spread_at(matrix)
    if scale.at_bound:
        notes.append(
            "the innovations do not fit the background's errors even times a quarter or four: "
            "look at times, units and errors"
        )
    return Departures(
        used.table,
        full,
        matrix,
        hofx0,
        sigma_b,
        used.innovation,
        used.error,
        used.size,
        scale,
        unit,
        ensemble,
        anomalies,
        forecasts,
        state + correction,
        correction,
        available,
        [*notes, *full.notes],
    )


def _correction(
    state: np.ndarray,
    time: np.datetime64,
    checkpoint: Checkpoint,
    settings: AnalysisSettings,
    forecasts: Forecasts | None,
) -> np.ndarray:
    """The checkpoint's correction of the background ``state`` (C, H, W); none of an ensemble's,
    which is of another kind."""
    known = checkpoint.mean_error
    if known is None or forecasts is not None or settings.method == "none":
        return np.zeros_like(state)
    return np.asarray(known(state[None], np.array([time]))[0])


def _ensembles(
    background: Fields,
    checkpoint: Checkpoint,
    settings: AnalysisSettings,
    forecasts: Forecasts | None,
) -> tuple[Ensemble, Ensemble | None]:
    """What B is made of (static members, the anomalies of ``forecasts``, or both), and those
    anomalies."""
    spec, solver, own = checkpoint.state, checkpoint.metadata.solver, settings.ensemble
    device = choose_device(settings.device)
    if forecasts is None:
        return Ensemble(
            checkpoint.members(background.time).to(device), Localisation.of(spec, solver)
        ), None
    radii = {
        name: radius
        for name in ("radius_km", "radius_log_p")
        if (radius := getattr(own, name)) is not None
    }
    where = Localisation.of(spec, solver.model_copy(update=radii))
    anomalies = Ensemble(
        torch.from_numpy(ensemble_anomalies(forecasts.members, spec)).to(device), where
    )
    if settings.method == "letkf":
        return anomalies, anomalies
    return Ensemble(
        hybrid(
            anomalies.members, checkpoint.members(background.time).to(device), own.hybrid_weight
        ),
        where,
    ), anomalies


def _in_units(matrix: sparse.csr_matrix, unit: np.ndarray) -> sparse.csr_matrix:
    """The operator ``matrix`` (P, C*H*W) on increments in units of ``unit`` (C, 1, 1)."""
    points = matrix.shape[1] // unit.size
    return (matrix @ sparse.diags_array(np.repeat(unit.ravel(), points))).tocsr().astype(np.float32)


def _check(
    table: pd.DataFrame,
    innovation: np.ndarray,
    anomalies: np.ndarray,
    settings: AnalysisSettings,
    deviation: float,
) -> tuple[pd.DataFrame, BackgroundScale]:
    """The first-guess check, the buddy check, both components of a wind, and the scale of the
    background error they are made with.

    ``anomalies`` (P, N) is the ensemble at the observations, ``deviation`` that of
    :func:`estimate_scale`. The checks need the scale and the scale good observations: a first one,
    which gross errors hardly move, serves the checks, the final one comes from what passed. A scale
    below one does not make them stricter: a forecast that is good but for one storm needs the
    reports of that storm.
    """
    sigma_b = np.sqrt((anomalies**2).sum(axis=1))

    def scale(of: pd.DataFrame) -> BackgroundScale:
        if settings.background_error_scale != "auto":
            return BackgroundScale(float(settings.background_error_scale))
        rows = np.flatnonzero((of["qc"] == QC.PASS).to_numpy())
        names = ("variable", "error", "latitude", "longitude")
        variable, error, latitude, longitude = (of[n].to_numpy()[rows] for n in names)
        return estimate_scale(
            variable,
            innovation[rows],
            error,
            sigma_b[rows],
            latitude,
            longitude,
            deviation=deviation,
        )

    first = np.maximum(scale(table).of(list(table["variable"])), 1.0)
    table = first_guess_check(table, innovation, first * sigma_b, settings.qc.first_guess_factor)
    if settings.qc.buddy_factor is not None:
        table = buddy_check(table, innovation, anomalies, settings.qc.buddy_factor, first)
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


def _static_orography(checkpoint: Checkpoint, background: Fields) -> np.ndarray | None:
    """The checkpoint's orography on the user's grid, where the background brings none."""
    spec = checkpoint.state
    if (
        not checkpoint.statics["orography"].any() or "sp" in background.surface
    ):  # sp belongs to its own orography only
        return None
    matrix = grid_to_grid(spec.grid, background.grid)
    return (matrix @ checkpoint.statics["orography"].ravel()).reshape(background.grid.shape)
