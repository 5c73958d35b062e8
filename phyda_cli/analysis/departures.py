"""Observations against the background: operators, the scale of the background error, and the first-guess check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from phyda_cli.analysis.background_scale import BackgroundScale, estimate_scale
from phyda_cli.analysis.ensemble_filter import hybrid
from phyda_cli.analysis.layout import as_fields, ensemble_anomalies, in_channel_order, model_background
from phyda_cli.analysis.localisation import Localisation
from phyda_cli.analysis.reconstruction import Ensemble
from phyda_cli.config import AnalysisSettings
from phyda_cli.errors import UsageError
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.regrid import grid_to_grid
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.observations.operators import Operator, build_operator, operator_check
from phyda_cli.observations.qc import first_guess_check
from phyda_cli.observations.table import QC

__all__ = ["Departures", "Forecasts", "choose_device", "quality_control"]


@dataclass(frozen=True, eq=False)
class Forecasts:
    """The members of the user's ensemble; ``centred`` where the background is their mean."""

    members: Sequence[Fields]
    centred: bool


@dataclass(frozen=True, eq=False)
class Departures:
    """Observations after all quality control, with what both sides of the increment need.

    ``table`` carries the final codes; ``hofx0`` and ``sigma_b`` (P,) in the rows' units; ``full`` is the operator on the
    user's fields, ``matrix`` (P, C*H*W) the one on the model grid's normalised increment. Increments are normalised by ``unit``
    (C, 1, 1), the checkpoint's background-error standard deviation times ``scale``: stage 1 and the networks see every
    background as being as good as those of the training. ``ensemble`` is what B is made of, ``anomalies`` the user's own members'.
    """

    table: pd.DataFrame
    full: Operator
    matrix: sparse.csr_matrix
    hofx0: np.ndarray
    sigma_b: np.ndarray
    scale: BackgroundScale
    unit: np.ndarray
    ensemble: Ensemble
    anomalies: Ensemble | None
    forecasts: Forecasts | None
    state: np.ndarray
    available: np.ndarray
    notes: list[str]


def choose_device(name: str) -> torch.device:
    """The device called ``auto``, ``cpu`` or ``cuda``. Raises UsageError when CUDA is asked for and absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this machine has no usable CUDA device", hint="use --device auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def quality_control(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint, settings: AnalysisSettings, forecasts: Forecasts | None = None
) -> Departures:
    """Operators, background-error spread at the observations and the first-guess check, for a prepared ``table``."""
    spec = checkpoint.state
    state, available, notes = model_background(background, spec)
    ensemble, anomalies = _ensembles(background, checkpoint, settings, forecasts)
    statics = None if "orography" in background.surface else _static_orography(checkpoint, background)
    full = build_operator(background, table, statics)
    table = operator_check(table, full)
    layout = as_fields(state, spec, background, available)
    model = build_operator(layout, table, checkpoint.statics["orography"])
    # The user's fields decide on heights and levels; the model grid only has to have the variable.
    table = operator_check(table, replace(model, qc=np.where(model.qc == QC.H_FAILED, model.qc, 0)))
    matrix = in_channel_order(model.matrix, layout, spec)
    unit = spec.column("background_std")
    hofx0 = full.apply(np.nan_to_num(background.vector()))
    nominal = np.sqrt((ensemble.observed(_in_units(matrix, unit)) ** 2).sum(axis=1))
    table, scale = _check(table, table["value"].to_numpy() - hofx0, nominal, settings)
    unit = unit * scale.of([c.variable for c in spec.channel_list]).astype(np.float32)[:, None, None]
    matrix = _in_units(matrix, unit)
    sigma_b = np.sqrt((ensemble.observed(matrix) ** 2).sum(axis=1))
    if scale.at_bound:
        notes.append("the innovations do not fit the background's errors even times a quarter or four: look at times, units and errors")
    return Departures(
        table, full, matrix, hofx0, sigma_b, scale, unit, ensemble, anomalies, forecasts, state, available, [*notes, *full.notes]
    )


def _ensembles(
    background: Fields, checkpoint: Checkpoint, settings: AnalysisSettings, forecasts: Forecasts | None
) -> tuple[Ensemble, Ensemble | None]:
    """What B is made of (static members, the anomalies of ``forecasts``, or both), and those anomalies."""
    spec, solver, own = checkpoint.state, checkpoint.metadata.solver, settings.ensemble
    device = choose_device(settings.device)
    if forecasts is None:
        return Ensemble(checkpoint.members(background.time).to(device), Localisation.of(spec, solver)), None
    radii = {name: radius for name in ("radius_km", "radius_log_p") if (radius := getattr(own, name)) is not None}
    where = Localisation.of(spec, solver.model_copy(update=radii))
    anomalies = Ensemble(torch.from_numpy(ensemble_anomalies(forecasts.members, spec)).to(device), where)
    if settings.method == "letkf":
        return anomalies, anomalies
    return Ensemble(hybrid(anomalies.members, checkpoint.members(background.time).to(device), own.hybrid_weight), where), anomalies


def _in_units(matrix: sparse.csr_matrix, unit: np.ndarray) -> sparse.csr_matrix:
    """The operator ``matrix`` (P, C*H*W) on increments in units of ``unit`` (C, 1, 1)."""
    points = matrix.shape[1] // unit.size
    return (matrix @ sparse.diags_array(np.repeat(unit.ravel(), points))).tocsr().astype(np.float32)


def _check(
    table: pd.DataFrame, innovation: np.ndarray, sigma_b: np.ndarray, settings: AnalysisSettings
) -> tuple[pd.DataFrame, BackgroundScale]:
    """The first-guess check, and the scale of the background error it is made with.

    The check needs the scale and the scale good observations: a first one, which gross errors hardly move, serves the check,
    the final one comes from what passed. A scale below one does not make the check stricter: a forecast that is good but for one
    storm needs the reports of that storm.
    """

    def scale(of: pd.DataFrame) -> BackgroundScale:
        if settings.background_error_scale != "auto":
            return BackgroundScale(float(settings.background_error_scale))
        rows = np.flatnonzero((of["qc"] == QC.PASS).to_numpy())
        names = ("variable", "error", "latitude", "longitude")
        variable, error, latitude, longitude = (of[n].to_numpy()[rows] for n in names)
        return estimate_scale(variable, innovation[rows], error, sigma_b[rows], latitude, longitude)

    first = np.maximum(scale(table).of(list(table["variable"])), 1.0)
    table = first_guess_check(table, innovation, first * sigma_b, settings.qc.first_guess_factor)
    return table, scale(table)


def _static_orography(checkpoint: Checkpoint, background: Fields) -> np.ndarray | None:
    """The checkpoint's orography on the user's grid, where the background brings none."""
    spec = checkpoint.state
    if not checkpoint.statics["orography"].any() or "sp" in background.surface:  # sp belongs to its own orography only
        return None
    matrix = grid_to_grid(spec.grid, background.grid)
    return (matrix @ checkpoint.statics["orography"].ravel()).reshape(background.grid.shape)
