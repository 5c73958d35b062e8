"""One analysis: observations and background in, analysis with spread and departures out. No files,
no printing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from phyda_cli.analysis.balance import Constraints
from phyda_cli.analysis.departures import Departures
from phyda_cli.analysis.ensemble_filter import filter_members
from phyda_cli.analysis.errors_of_the_day import ErrorsOfTheDay
from phyda_cli.analysis.generative import sample_members
from phyda_cli.analysis.guided import Guide, UserObservations, guide, row_misfit, user_misfit
from phyda_cli.analysis.reconstruction import Ensemble, Virtual, reconstruct, without_observations
from phyda_cli.analysis.robust import reweighted
from phyda_cli.errors import GateError, UsageError
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.remap import increments_to_fields
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.model.encoder import MIN_SPREAD, conditions
from phyda_cli.names import VARIABLES
from phyda_cli.observations.operators import build_operator
from phyda_cli.observations.qc import require_usable
from phyda_cli.observations.table import QC
from phyda_cli.settings.analysis import AnalysisSettings

__all__ = ["FILTERS", "Analysis", "Estimate", "analyse", "complete", "estimate"]

FILTERS = ("letkf", "hybrid")
Reports = tuple[sparse.csr_matrix, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Increments = tuple[np.ndarray, np.ndarray, np.ndarray]

_GATE_MARGIN = 0.05  # of a variable's plausible range


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything on the user's grid; ``members`` only when asked for. ``status`` is ok or
    background_only.

    Of each row (P,): ``hofx0``, ``hofx1``, ``sigma_b``, and as used its ``innovation``, its
    ``error`` with the ``weight`` that the robust norm gave it, and the number of rows ``merged`` in
    it.
    """

    fields: Fields
    increment: Fields
    spread: Fields
    members: list[Fields]
    table: pd.DataFrame
    hofx0: np.ndarray
    hofx1: np.ndarray
    sigma_b: np.ndarray
    innovation: np.ndarray
    error: np.ndarray
    weight: np.ndarray
    merged: np.ndarray
    status: str
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Estimate:
    """The increment on the model grid [physical units]: ``mean`` and ``spread`` (C, H, W),
    ``members`` (M, C, H, W).

    Increments are to be balanced with the weights ``sigma`` (C, H, W) where there are some;
    ``spread`` is then that of the members if ``of_members``. ``departures`` have the ``weight``
    (P,) of each row in their errors; ``status`` is as in :class:`Analysis`.
    """

    mean: np.ndarray
    spread: np.ndarray
    members: np.ndarray
    sigma: np.ndarray | None
    of_members: bool
    departures: Departures
    weight: np.ndarray
    status: str


def analyse(
    background: Fields,
    departures: Departures,
    checkpoint: Checkpoint,
    settings: AnalysisSettings,
    keep_members: bool = False,
    allow_none: bool = False,
    extra: Sequence[UserObservations] = (),
) -> Analysis:
    """The analysis of ``departures``' passing rows and of ``extra`` observations with the caller's
    own operators.

    Raises NoObservationsError when none passes and not ``allow_none``, UsageError when the method
    cannot use ``extra``, GateError when the result is not plausible.
    """
    found = estimate(background, departures, checkpoint, settings, allow_none, extra)
    return complete(background, found, checkpoint, settings, keep_members)


def estimate(
    background: Fields,
    departures: Departures,
    checkpoint: Checkpoint,
    settings: AnalysisSettings,
    allow_none: bool = False,
    extra: Sequence[UserObservations] = (),
) -> Estimate:
    """The part of :func:`analyse` that ranks do together: stage 1 and the networks."""
    if extra and settings.method not in ("phyda", "guidance"):
        raise UsageError(
            f"the method {settings.method} cannot use operators of your own",
            hint="use phyda or guidance",
        )
    if extra and settings.members < 2:
        raise UsageError(
            "operators of your own need at least 2 members: the analysis is their mean"
        )
    used = (departures.table["qc"] == QC.PASS).to_numpy() & (settings.method != "none")
    if settings.method != "none" and not ((allow_none or extra) and not used.any()):
        require_usable(departures.table, background.time)
    weight = np.ones(len(departures.table))
    weight[used] = _robust_weights(departures, settings, np.flatnonzero(used))
    departures = replace(departures, error=departures.error / np.sqrt(weight))
    increments, sigma = _increments(background, departures, checkpoint, settings, used, extra)
    if used.any() or extra:
        increments = (
            increments[0] + departures.correction,
            increments[1],
            increments[2] + departures.correction,
        )
    status = "ok" if used.any() or extra else "background_only"
    filtered = settings.method in FILTERS
    balanced = settings.physics == "project" and (status == "ok" or filtered)
    return Estimate(
        *increments, sigma if balanced else None, not filtered, departures, weight, status
    )


def complete(
    background: Fields,
    found: Estimate,
    checkpoint: Checkpoint,
    settings: AnalysisSettings,
    keep_members: bool = False,
) -> Analysis:
    """The rest: balance, the way back to the user's grid, and the departures from the analysis."""
    departures, spec = found.departures, checkpoint.state
    mean, spread, members = _balanced(found, checkpoint)

    def to_user(stack: np.ndarray) -> Fields:
        return increments_to_fields(stack, spec.channel_list, spec.grid, background)

    humidity = settings.physics != "off"
    fields = _add(background, to_user(mean), humidity)
    _plausible(background, fields, humidity)
    increment = _subtract(fields, background)
    hofx1 = _observed_analysis(background, fields, increment, departures, mean / departures.unit)
    signed = to_user(spread)  # interpolated like the wind, so negative across a pole
    widths = replace(
        signed,
        upper={k: abs(v) for k, v in signed.upper.items()},
        surface={k: abs(v) for k, v in signed.surface.items()},
    )
    bases = _member_backgrounds(background, departures, settings, len(members))
    kept = (
        [_add(base, to_user(m), humidity) for base, m in zip(bases, members, strict=True)]
        if keep_members
        else []
    )
    return Analysis(
        fields,
        increment,
        widths,
        kept,
        departures.table,
        departures.hofx0,
        hofx1,
        departures.sigma_b,
        departures.innovation,
        departures.error,
        found.weight,
        departures.merged,
        found.status,
        departures.notes,
    )


def _robust_weights(
    departures: Departures, settings: AnalysisSettings, rows: np.ndarray
) -> np.ndarray:
    """Weights of ``rows`` (n,) under the robust norm, one without it."""
    if settings.qc.robust == "none" or not rows.size:
        return np.ones(rows.size)
    table, matrix = departures.table.iloc[rows], departures.matrix[rows]
    innovation = departures.innovation[rows].astype(np.float32)
    position = table["latitude"].to_numpy(), table["longitude"].to_numpy()

    def fit(error: np.ndarray) -> np.ndarray:
        virtual = reconstruct(
            departures.ensemble, matrix, innovation, error.astype(np.float32), *position
        )
        return np.asarray(matrix @ virtual.increment.cpu().numpy().ravel())

    return reweighted(
        fit, innovation, departures.error[rows], settings.qc.huber_k, settings.qc.robust_iterations
    )


def _member_backgrounds(
    background: Fields, departures: Departures, settings: AnalysisSettings, count: int
) -> Sequence[Fields]:
    """What each member's increment is added to: the member itself where the background is the
    ensemble's mean."""
    forecasts = departures.forecasts
    if settings.method in FILTERS and forecasts is not None and forecasts.centred:
        return forecasts.members
    return [background] * count


def _observed_analysis(
    background: Fields,
    analysis: Fields,
    increment: Fields,
    departures: Departures,
    normalised: np.ndarray,
) -> np.ndarray:
    """H(x_a) (P,); for variables of the background that the model does not analyse (such as sp)
    H(x_b) + H dx."""
    hofx1 = departures.full.apply(np.nan_to_num(analysis.vector()))
    curved = np.flatnonzero(
        departures.table["variable"] == "wind_speed"
    )  # the tangent at the background is too low beside it
    if curved.size:
        hofx1[curved] = build_operator(analysis, departures.table.iloc[curved], None).apply(
            np.nan_to_num(analysis.vector())
        )
    fixed = [name for name in background.surface if name not in increment.surface]
    linear = departures.table["variable"].isin(fixed).to_numpy()
    hofx1[linear] = (
        departures.hofx0[linear] + departures.matrix[np.flatnonzero(linear)] @ normalised.ravel()
    )
    return hofx1


def _increments(
    background: Fields,
    departures: Departures,
    checkpoint: Checkpoint,
    settings: AnalysisSettings,
    used: np.ndarray,
    extra: Sequence[UserObservations],
) -> tuple[Increments, np.ndarray]:
    """Mean, spread (C, H, W) and members (M, C, H, W) of the increment on the model grid [physical
    units], and the analysis error (C, H, W) of stage 1.

    Every observation enters once: rows through stage 1, or with the method guidance in the sampler,
    where ``extra`` always does.
    """
    unit, ensemble, rows = departures.unit, departures.ensemble, np.flatnonzero(used)
    table, matrix = departures.table.iloc[rows], departures.matrix[rows]
    innovation, error = (
        departures.innovation[rows].astype(np.float32),
        departures.error[rows].astype(np.float32),
    )
    reports = (
        matrix,
        innovation,
        error,
        table["latitude"].to_numpy(),
        table["longitude"].to_numpy(),
    )
    if settings.method in FILTERS:
        filtered = _filtered(departures, checkpoint, settings, reports)
        return filtered, filtered[1]
    device, misfits = ensemble.members.device, []
    if settings.method == "guidance":
        virtual = without_observations(ensemble)
        misfits.append(row_misfit(matrix, innovation, error, device))
    else:
        draws = 0
        if settings.method == "phyda":
            draws, ensemble = (
                (settings.members + 1) // 2,
                _of_today(background, departures, checkpoint, reports),
            )
        virtual = reconstruct(ensemble, *reports, draws, settings.seed)
    sigma = virtual.spread.cpu().numpy() * unit
    if not (used.any() or extra) or settings.method in ("oi", "none"):
        return (
            virtual.increment.cpu().numpy() * unit,
            sigma,
            np.zeros((0, *unit.shape), np.float32),
        ), sigma
    state, scale = (torch.from_numpy(a).to(device) for a in (departures.state, unit))
    misfits += [user_misfit(observations, state, scale) for observations in extra]
    guided = guide(settings.guidance, misfits) if misfits else None
    return _generate(background, departures, checkpoint, settings, virtual, guided), sigma


def _of_today(
    background: Fields, departures: Departures, checkpoint: Checkpoint, reports: Reports
) -> Ensemble:
    """The members with the spread of the day, which forecasts of the user's own have already."""
    network = checkpoint.background_spread()
    if network is None or departures.forecasts is not None:
        return departures.ensemble
    today = ErrorsOfTheDay(
        network, _normalised(departures, checkpoint), _place(background, checkpoint)
    )
    return today.ensemble(departures.ensemble, *reports[:3])


def _normalised(departures: Departures, checkpoint: Checkpoint) -> np.ndarray:
    return (departures.state - checkpoint.state.column("mean")) / checkpoint.state.column("std")


def _place(background: Fields, checkpoint: Checkpoint) -> np.ndarray:
    statics = checkpoint.statics
    return conditions(
        checkpoint.state.grid,
        statics["orography"],
        statics["lsm"],
        background.time,
        background.lead_hours,
    )


def _balanced(found: Estimate, checkpoint: Checkpoint) -> Increments:
    """Mean and every member projected, and the spread of the members then, where ``found`` is to be
    balanced."""
    if found.sigma is None:
        return found.mean, found.spread, found.members
    departures, sigma = (
        found.departures,
        np.maximum(found.sigma, MIN_SPREAD * found.departures.unit),
    )
    constraints = Constraints(
        checkpoint.state, departures.state - departures.correction, sigma, departures.available
    )
    projected = np.stack([constraints(m) for m in (found.mean, *found.members)])
    several = (
        found.of_members and len(found.members) > 1
    )  # a filter's increments are from members' own forecasts: the spread is not theirs
    return projected[0], projected[1:].std(axis=0) if several else found.spread, projected[1:]


def _filtered(
    departures: Departures, checkpoint: Checkpoint, settings: AnalysisSettings, reports: Reports
) -> Increments:
    """The methods letkf and hybrid. Members are relaxed to the forecasts' own spread, before
    ``scale``."""
    anomalies, forecasts, unit = departures.anomalies, departures.forecasts, departures.unit
    if anomalies is None or forecasts is None:
        raise UsageError(
            f"the method {settings.method} needs an ensemble",
            hint="give its members with --ensemble",
        )
    members = anomalies.members
    scale = torch.from_numpy(unit / checkpoint.state.column("background_std")).to(members)
    mixed = departures.ensemble if settings.method == "hybrid" else None
    found = filter_members(
        anomalies, *reports, rtps=settings.ensemble.rtps, prior=members / scale, mixed=mixed
    )
    change = found.anomalies - members / scale if forecasts.centred else found.anomalies
    each = found.increment + (len(members) - 1) ** 0.5 * change
    return (
        found.increment.cpu().numpy() * unit,
        found.spread.cpu().numpy() * unit,
        each.cpu().numpy() * unit,
    )


def _generate(
    background: Fields,
    departures: Departures,
    checkpoint: Checkpoint,
    settings: AnalysisSettings,
    virtual: Virtual,
    guided: Guide | None,
) -> Increments:
    device = departures.ensemble.members.device
    encoder, denoiser = checkpoint.networks()
    place, normalised = (
        _place(background, checkpoint),
        torch.from_numpy(_normalised(departures, checkpoint)).to(device),
    )
    sampler = checkpoint.metadata.sampler
    if guided:
        sampler = settings.guidance.sampler
    sampled = sample_members(
        encoder.to(device),
        denoiser.to(device),
        normalised,
        virtual,
        place,
        settings.members,
        settings.seed,
        sampler,
        guided,
    )
    unit = departures.unit
    return (
        sampled.mean.cpu().numpy() * unit,
        sampled.spread.cpu().numpy() * unit,
        sampled.members.cpu().numpy() * unit,
    )


def _add(background: Fields, increment: Fields, humidity: bool) -> Fields:
    """Background plus increment; with ``humidity`` it is kept non-negative."""
    upper = {
        k: v + increment.upper[k] if k in increment.upper else v
        for k, v in background.upper.items()
    }
    surface = {
        k: v + increment.surface[k] if k in increment.surface else v
        for k, v in background.surface.items()
    }
    if humidity and "q" in increment.upper:
        upper["q"] = np.maximum(upper["q"], np.minimum(background.upper["q"], 0.0))
    return replace(background, upper=upper, surface=surface)


def _subtract(analysis: Fields, background: Fields) -> Fields:
    upper = {
        k: v - background.upper[k]
        for k, v in analysis.upper.items()
        if v is not background.upper[k]
    }
    surface = {
        k: v - background.surface[k]
        for k, v in analysis.surface.items()
        if v is not background.surface[k]
    }
    return replace(background, upper=upper, surface=surface)


def _plausible(background: Fields, analysis: Fields, humidity: bool) -> None:
    """Raise GateError when the analysis leaves a variable's plausible range, or the background's
    own where that is wider, by more than 5 % of it: pressure extrapolated below cold high ground
    comes close to the limits, a broken analysis goes far beyond. ``humidity`` too?
    """
    for name, values in [*analysis.upper.items(), *analysis.surface.items()]:
        if name == "q" and not humidity:
            continue
        before = background.upper[name] if name in analysis.upper else background.surface[name]
        if np.isnan(before).all():
            continue
        low, high = VARIABLES[name].valid_range
        margin = _GATE_MARGIN * (high - low)
        bad = (values < min(low, np.nanmin(before)) - margin) | (
            values > max(high, np.nanmax(before)) + margin
        )
        if bad.any():
            worst = values[bad].ravel()[0]
            raise GateError(
                f"the analysis of {name} is not plausible: {int(bad.sum())} values such as "
                f"{worst:g} {VARIABLES[name].units}; "
                f"nothing was written",
                hint="look at the feedback of a --dry-run for observations that should not "
                "have passed",
            )
