"""One analysis on the user's fields: background and observations in, analysis with spread and
departures out. No files, no printing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from phyda_cli.analysis.balance import Constraints
from phyda_cli.analysis.climatology import with_climate_errors
from phyda_cli.analysis.correction_weight import CorrectionWeight
from phyda_cli.analysis.departures import Departures, observe_background, with_robust_weights
from phyda_cli.analysis.guided import Guidance, UserObservations
from phyda_cli.analysis.lagged import lagged_differences, with_lagged
from phyda_cli.analysis.model_grid import (
    Increment,
    ModelGridSettings,
    Networks,
    analyse_ensemble,
)
from phyda_cli.analysis.model_grid import analyse as analyse_on_model_grid
from phyda_cli.analysis.prior import Forecasts, Prior, add, corrected, prior_of_fields
from phyda_cli.analysis.reconstruction import in_units
from phyda_cli.errors import GateError, UsageError
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.layered import Layered, plane
from phyda_cli.fields.remap import increments_to_fields
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.model.climate import Climate
from phyda_cli.model.encoder import MIN_SPREAD
from phyda_cli.names import VARIABLES
from phyda_cli.observations.bias import Memory, remember, station_bias
from phyda_cli.observations.feedback import Feedback
from phyda_cli.observations.operators import build_operator
from phyda_cli.observations.qc import require_usable
from phyda_cli.settings.analysis import AnalysisSettings

__all__ = [
    "FILTERS",
    "Analysis",
    "Estimate",
    "Problem",
    "analyse",
    "check_plausible",
    "complete",
    "estimate",
    "pose",
]

FILTERS = ("letkf", "hybrid")

_GATE_MARGIN = 0.05  # of a variable's plausible range


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """What is to be analysed.

    ``background`` is the user's; ``start`` is what the analysis starts from, the same with its
    expected error taken off where the checkpoint knows that: ``prior`` and ``departures`` are of
    it. ``forecasts`` are the user's ensemble, and ``memory`` what was known of the biases of
    stations, where there is one.
    """

    background: Fields
    start: Fields
    prior: Prior
    departures: Departures
    forecasts: Forecasts | None
    memory: Memory | None
    checkpoint: Checkpoint
    settings: AnalysisSettings

    @property
    def filtered(self) -> bool:
        """Whether an ensemble filter analyses it."""
        return self.settings.method in FILTERS

    @property
    def notes(self) -> list[str]:
        """What was assumed or left out."""
        return [*self.prior.notes, *self.departures.notes]


@dataclass(frozen=True, eq=False, kw_only=True)
class Estimate:
    """``increment`` on the model grid, and ``departures`` with the robust weights in their errors;
    ``status`` is as in :class:`Analysis`."""

    increment: Increment
    departures: Departures
    status: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Analysis:
    """Everything on the user's grid; ``members`` only when asked for.

    ``increment`` is analysis minus the user's background; ``feedback`` has a row for each
    observation; ``status`` is ok or background_only.
    """

    fields: Fields
    increment: Fields
    spread: Fields
    members: list[Fields]
    feedback: Feedback
    status: str
    notes: list[str]


def pose(
    background: Fields,
    table: pd.DataFrame,
    checkpoint: Checkpoint,
    settings: AnalysisSettings,
    forecasts: Forecasts | None = None,
    memory: Memory | None = None,
    change: np.ndarray | None = None,
    lagged: Sequence[Fields] = (),
    climate: Climate | None = None,
) -> Problem:
    """The background without its expected error, its prior on the model grid, and what the prepared
    observations of ``table`` say against it.

    ``memory`` is that of the previous analysis; the biases that it knows are subtracted. An
    ensemble's errors are of another kind than those that a checkpoint knows beforehand. ``change``
    (P,) is what the background changes until the time of each observation
    (:mod:`phyda_cli.analysis.fgat`). ``lagged`` are forecasts of other starts valid at its time.
    With a ``climate`` the background is that, and its errors are as large as its deviation.
    """
    start = background
    if forecasts is None and climate is None and settings.method != "none":
        start = corrected(background, checkpoint)
    prior = prior_of_fields(start, checkpoint, settings, forecasts)
    if climate is not None:
        prior = with_climate_errors(prior, climate)
    if lagged:
        differences = lagged_differences(lagged, background, checkpoint.state)
        prior = with_lagged(prior, differences, settings.ensemble.lagged_weight)
    bias = None
    if memory is not None:
        memory = memory.at(background.time, settings.bias.memory_days)
        bias = station_bias(memory, table, settings.bias)
    return Problem(
        background=background,
        start=start,
        prior=prior,
        departures=observe_background(start, table, prior, checkpoint, settings, bias, change),
        forecasts=forecasts,
        memory=memory,
        checkpoint=checkpoint,
        settings=settings,
    )


def analyse(
    problem: Problem,
    keep_members: bool = False,
    allow_none: bool = False,
    extra: Sequence[UserObservations] = (),
) -> Analysis:
    """The analysis of the passing rows and of ``extra`` observations with the caller's own
    operators.

    Raises NoObservationsError when none passes and not ``allow_none``, UsageError when the method
    cannot use ``extra``, GateError when the result is not plausible.
    """
    return complete(problem, estimate(problem, allow_none, extra), keep_members)


def estimate(
    problem: Problem, allow_none: bool = False, extra: Sequence[UserObservations] = ()
) -> Estimate:
    """The part of :func:`analyse` on the model grid, which ranks do together."""
    settings, prior = problem.settings, problem.prior
    _check_extra(settings, extra)
    rows = problem.departures.used if settings.method != "none" else np.zeros(0, int)
    if settings.method != "none" and not ((allow_none or extra) and not rows.size):
        require_usable(problem.departures.table, problem.background.time)
    departures = problem.departures
    if settings.method != "none":
        departures = with_robust_weights(departures, prior, settings.qc)
    observations = departures.observations(rows)
    observed = bool(rows.size or extra)
    sampled = settings.method in ("phyda", "guidance") and observed
    given = settings.correction_weight
    on_model_grid = ModelGridSettings(
        members=settings.members if sampled else 0,
        seed=settings.seed,
        scale=departures.scale,
        weight=None if given == "auto" else CorrectionWeight.uniform(float(given)),
    )
    if problem.filtered:
        increment = _filtered(problem, departures, on_model_grid)
    else:
        networks = _networks(problem) if sampled else None
        guided = settings.method == "guidance"
        guidance = Guidance(settings.guidance, guided, extra) if guided or extra else None
        increment = analyse_on_model_grid(prior, observations, networks, on_model_grid, guidance)
    status = "ok" if observed else "background_only"
    return Estimate(increment=increment, departures=departures, status=status)


def _check_extra(settings: AnalysisSettings, extra: Sequence[UserObservations]) -> None:
    if extra and settings.method not in ("phyda", "guidance"):
        raise UsageError(
            f"the method {settings.method} cannot use operators of your own",
            hint="use phyda or guidance",
        )
    if extra and settings.members < 2:
        raise UsageError(
            "operators of your own need at least 2 members: the analysis is their mean"
        )


def _networks(problem: Problem) -> Networks:
    """Forecasts of the user's own have the spread of the day already, and guidance has no stage 1
    to scale."""
    today = problem.forecasts is None and problem.settings.method == "phyda"
    device = problem.prior.ensemble.members.device
    return Networks.of(problem.checkpoint, device, today)


def _filtered(
    problem: Problem, departures: Departures, on_model_grid: ModelGridSettings
) -> Increment:
    settings = problem.settings
    if problem.prior.anomalies is None:
        raise UsageError(
            f"the method {settings.method} needs an ensemble",
            hint="give its members with --ensemble",
        )
    return analyse_ensemble(
        problem.prior,
        departures.observations(departures.used),
        on_model_grid,
        rtps=settings.ensemble.rtps,
        mixed=settings.method == "hybrid",
    )


def complete(problem: Problem, found: Estimate, keep_members: bool = False) -> Analysis:
    """The rest: balance, the way to the user's grid, and the departures from the analysis."""
    background, settings = problem.background, problem.settings
    start = background if found.status == "background_only" else problem.start
    mean, spread, members = _balanced(problem, found)
    # a projection balances z with the humidity that it gets
    humid, condensing = settings.physics != "off", settings.physics == "train"
    change = on_user_grid(mean, problem)
    fields = add(start, change, humid, condensing)
    check_plausible(background, fields, humid)
    increment = _subtract(fields, background, change)
    hofx1 = _observed_analysis(problem, fields, increment, found, mean)
    widths = on_user_grid(spread, problem, vectors=False)
    kept = []
    if keep_members:
        bases = _member_backgrounds(problem, start, len(members))
        kept = [
            add(base, on_user_grid(member, problem), humid, condensing)
            for base, member in zip(bases, members, strict=True)
        ]
    return Analysis(
        fields=fields,
        increment=increment,
        spread=widths,
        members=kept,
        feedback=_feedback(problem, found, hofx1, spread),
        status=found.status,
        notes=problem.notes,
    )


def on_user_grid(increment: np.ndarray, problem: Problem, vectors: bool = True) -> Fields:
    """``increment`` (C, H, W) on the model grid [physical units], on the grid and the levels of the
    user's background, winds as ``vectors``."""
    spec = problem.checkpoint.state
    parts = increment, spec.channel_list, spec.grid, problem.background
    return increments_to_fields(*parts, vectors=vectors)


def _feedback(problem: Problem, found: Estimate, hofx1: np.ndarray, spread: np.ndarray) -> Feedback:
    departures, hofx0, corrected_hofx0 = found.departures, found.departures.hofx0, None
    memory = problem.memory or Memory(problem.background.time)
    if found.status != "background_only":
        left_out = departures.left_out(hofx1, spread)
        memory = remember(memory, departures.table, *left_out, problem.settings.bias)
    if problem.start is not problem.background:
        # H of the user's own background: where it is not linear it is not that of the corrected one
        corrected_hofx0 = hofx0
        operator = build_operator(
            problem.background,
            departures.table,
            departures.orography,
            problem.settings.qc.height_limit_m,
        )
        hofx0 = operator.of(problem.background) + departures.change
    return Feedback(
        table=departures.table,
        hofx0=hofx0,
        hofx1=hofx1,
        sigma_b=departures.sigma_b,
        innovation=departures.innovation,
        error=departures.error,
        weight=departures.weight,
        merged=departures.merged,
        corrected=corrected_hofx0,
        bias=None if problem.memory is None else departures.bias,
        memory=memory,
    )


def _member_backgrounds(problem: Problem, start: Fields, count: int) -> Sequence[Fields]:
    """What each member's increment is added to: the member itself where the background is the
    ensemble's mean."""
    forecasts = problem.forecasts
    if problem.filtered and forecasts is not None and forecasts.centred:
        return forecasts.members
    return [start] * count


def _observed_analysis(
    problem: Problem, analysis: Fields, increment: Fields, found: Estimate, mean: np.ndarray
) -> np.ndarray:
    """H(x_a) (P,); for variables of the background that the model does not analyse (such as sp)
    H(x_b) + H dx with the increment ``mean`` (C, H, W) on the model grid."""
    departures, unit = found.departures, found.increment.unit
    hofx1 = departures.operator.of(analysis)
    curved = np.flatnonzero(
        departures.table["variable"] == "wind_speed"
    )  # the tangent at the background is too low beside it
    if curved.size:
        hofx1[curved] = build_operator(analysis, departures.table.iloc[curved], None).of(analysis)
    fixed = [name for name in problem.background.surface if name not in increment.surface]
    linear = np.flatnonzero(departures.table["variable"].isin(fixed).to_numpy())
    matrix = in_units(departures.matrix[linear], unit)
    hofx1 += departures.change
    hofx1[linear] = departures.hofx0[linear] + matrix @ (mean / unit).ravel()
    return hofx1


def _balanced(problem: Problem, found: Estimate) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and spread (C, H, W) and members (M, C, H, W) in physical units. With the physics
    projected, mean and every member are, and the spread is that of the members then."""
    increment = found.increment
    unit, prior = increment.unit, problem.prior
    mean, spread, members = (
        a * unit for a in (increment.mean, increment.spread, increment.members)
    )
    analysed = found.status == "ok" or problem.filtered
    if problem.settings.physics != "project" or not analysed:
        return mean, spread, members
    sigma = np.maximum(increment.linear_spread * unit, MIN_SPREAD * unit)
    constraints = Constraints(prior.spec, prior.state, sigma, prior.available)
    projected = np.stack([constraints(m) for m in (mean, *members)])
    # a filter's increments are from members' own forecasts: the spread is not theirs
    several = not problem.filtered and len(members) > 1
    return projected[0], projected[1:].std(axis=0) if several else spread, projected[1:]


def _subtract(analysis: Fields, background: Fields, changed: Fields) -> Fields:
    """Analysis minus background, of the variables of ``changed``."""

    def level(name: str, k: int) -> np.ndarray:
        return plane(analysis.upper, name, k) - plane(background.upper, name, k)

    return replace(
        background,
        upper=Layered(changed.upper, background.levels.size, level),
        surface={k: analysis.surface[k] - background.surface[k] for k in changed.surface},
    )


def check_plausible(background: Fields, analysis: Fields, humidity: bool = True) -> None:
    """Raise GateError when any point of the analysis leaves its variable's plausible range by more
    than 5 % of it, whatever the background has, or is missing where the background is not: pressure
    extrapolated below cold high ground comes close to the limits, a broken analysis goes far
    beyond. ``humidity`` too?
    """
    levels = range(background.levels.size)
    for name in analysis.upper:
        if name != "q" or humidity:
            pairs = ((plane(f.upper, name, k) for f in (analysis, background)) for k in levels)
            _require_plausible(name, pairs)
    for name, values in analysis.surface.items():
        _require_plausible(name, [(values, background.surface[name])])


def _require_plausible(name: str, planes: Iterable[Iterable[np.ndarray]]) -> None:
    """Raise GateError where analysis and background of ``planes`` (H, W) say so."""
    low, high = VARIABLES[name].valid_range
    margin = _GATE_MARGIN * (high - low)
    count, worst = 0, 0.0
    for values, before in planes:
        if low - margin <= values.min() and values.max() <= high + margin:
            continue
        sound = (values >= low - margin) & (values <= high + margin)
        bad = ~sound & ~np.isnan(before)
        if bad.any():
            worst = worst if count else float(values[bad][0])
            count += int(bad.sum())
    if count:
        raise GateError(
            f"the analysis of {name} is not plausible: {count} values such as "
            f"{worst:g} {VARIABLES[name].units}; "
            f"nothing was written",
            hint="look at the feedback of a --dry-run for observations that should not have passed",
        )
