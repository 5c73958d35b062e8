"""An assimilation from files to files: read, control, analyse, publish, account for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from phyda_cli.analysis.analyse import Analysis, Problem, complete, estimate, pose
from phyda_cli.analysis.climatology import climate_of
from phyda_cli.analysis.degraded import degradations
from phyda_cli.analysis.departures import static_orography
from phyda_cli.analysis.fgat import background_change, brackets
from phyda_cli.analysis.fine import refine
from phyda_cli.analysis.forecasts import (
    ENSEMBLE_METHODS,
    lagged_forecasts,
    read_climate,
    read_forecasts,
)
from phyda_cli.analysis.guided import UserObservations
from phyda_cli.analysis.own_operators import OwnOperator, observed_by
from phyda_cli.analysis.plausibility import (
    dry_mass_change,
    hydrostatic_excess,
    rms_by_variable,
)
from phyda_cli.analysis.points import at_stations, read_points
from phyda_cli.analysis.publication import (
    Request,
    attribute,
    grown,
    one_at_a_time,
    provenance_of,
    publish_outputs,
    stamps,
    up_to_date,
    with_copies,
)
from phyda_cli.analysis.verdict import Verdict, increments_of, verdict_of
from phyda_cli.errors import GateError, InputError, NoObservationsError, UsageError
from phyda_cli.fields.grid import Fields
from phyda_cli.files.readable import check_input, in_utf8
from phyda_cli.files.worker import release
from phyda_cli.formats.background import Background, read_background
from phyda_cli.formats.inputs import FieldInput, frame_times
from phyda_cli.formats.times import of_start
from phyda_cli.formats.write import check_format
from phyda_cli.formats.zarr import is_zarr
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.observations.bias import Memory, account
from phyda_cli.observations.departures import departures_by_variable
from phyda_cli.observations.feedback import read_feedback, read_memory
from phyda_cli.observations.pre_qc import prepare
from phyda_cli.observations.qc import require_usable, summary, unit_hints
from phyda_cli.observations.read.read import read_observations
from phyda_cli.observations.report import Note, ReadResult, told_once
from phyda_cli.observations.stations import StationLists, read_rules, read_stations
from phyda_cli.observations.surface_air import with_specific_humidity
from phyda_cli.observations.table import QC
from phyda_cli.parallel.ranks import Ranks
from phyda_cli.settings.analysis import AnalysisSettings

__all__ = ["Request", "Result", "assimilate", "assist"]


_LARGE = 1 << 27  # bytes, beyond which the memory of the process that read it is worth a new one


@dataclass(frozen=True, eq=False)
class Result:
    """``report`` is one JSON object, and ``attributes`` say what the analysis was made from; the
    rest is None when the output was up to date already."""

    report: dict[str, Any]
    analysis: Analysis | None = None
    background: Background | None = None
    read: ReadResult | None = None
    problem: Problem | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


Judge = Callable[[Background, Analysis], Sequence[str]]
"""Further reasons to suspect an analysis."""


def assimilate(
    request: Request,
    settings: AnalysisSettings,
    dry_run: bool = False,
    ranks: Ranks | None = None,
    judge: Judge = lambda *_: (),
    own: Sequence[OwnOperator] = (),
) -> Result:
    """Run ``request``. With ``dry_run`` everything up to the quality control, and nothing is
    written. What ``judge`` finds makes the verdict suspect; ``own`` are operators beside those of
    ``request``.

    Of several ranks the first alone reads observations and fields and writes; the others
    :func:`assist`.

    Raises PhydaError as its parts do; outputs appear complete or not at all.
    """
    watch, ranks = _Stopwatch(), ranks or Ranks()
    checkpoint = Checkpoint.open(request.checkpoint)
    _check_methods(request, settings)
    for path in request.files:
        if not path.is_dir():
            check_input(path)
        elif any(path is own for own in request.obs) or not is_zarr(path):
            raise UsageError(f"{path} is a folder, expected a file")
    if dry_run:
        watch.note("checked inputs")
        read = read_observations(request.obs, request.tables, request.strict)
        watch.note("read")
        return _analysed(request, settings, checkpoint, read, None, ranks, watch, judge, own)
    with one_at_a_time(request):
        seen = stamps(request.obs)
        provenance = provenance_of(request, settings, checkpoint)
        if up_to_date(request, provenance):
            ranks.broadcast(None)
            verdict = Verdict.from_text(attribute(request.out, "phyda_verdict") or "ok")
            report = {"status": "up to date", "out": str(request.out)}
            return Result(report | {"verdict": verdict.as_dict(), "seconds": watch.seconds})
        watch.note("checked inputs")
        read = read_observations(request.obs, request.tables, request.strict)
        for path in grown(seen):
            with with_copies(request) as copied:
                provenance = provenance_of(copied, settings, checkpoint)
                read = read_observations(copied.obs, request.tables, request.strict)
            read.notes.append(Note(str(path), "it changed while it was read; a copy was used"))
        watch.note("read")
        return _analysed(request, settings, checkpoint, read, provenance, ranks, watch, judge, own)


class _Stopwatch:
    """The seconds that each stage takes."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.stages: dict[str, float] = {}

    def note(self, stage: str) -> None:
        """``stage`` ends now."""
        elapsed = time.monotonic() - self._began
        self.stages[stage] = round(elapsed - sum(self.stages.values()), 2)

    @property
    def seconds(self) -> float:
        """The seconds so far."""
        return round(time.monotonic() - self._began, 2)


def _analysed(
    request: Request,
    settings: AnalysisSettings,
    checkpoint: Checkpoint,
    read: ReadResult,
    provenance: dict[str, Any] | None,
    ranks: Ranks,
    watch: _Stopwatch,
    judge: Judge,
    own: Sequence[OwnOperator],
) -> Result:
    """The rest of :func:`assimilate` once the observations are read; without ``provenance`` it is
    a dry run."""
    climate = climate_of(checkpoint) if request.climatology else None
    if climate is None:
        background, forecasts = read_forecasts(request, settings, read.table["time"])
    else:
        background, forecasts = read_climate(request, checkpoint, read.table["time"]), None
    if request.out is not None:
        check_format(request.out, background, settings.output)
    before, memory = _before(request, background.fields.time)
    table = _prepared(request, settings, read, background, before)
    lagged = lagged_forecasts(request, settings, background, forecasts)
    observed = observed_by(request.operators, own, checkpoint.state, background.fields.time)
    change, of_times = _change(request, settings, background, table, checkpoint)
    large = background.source.nbytes > _LARGE
    if large:  # everything is read
        release()
    fields = background.fields
    shared = (request, settings, fields, table, forecasts, memory, own, change, lagged.members)
    ranks.broadcast(None if provenance is None else shared)
    problem = pose(
        fields, table, checkpoint, settings, forecasts, memory, change, lagged.members, climate
    )
    watch.note("controlled")
    report = _report(request, read, background, problem)
    report["notes"] += [*_told(observed), *of_times, *lagged.notes]
    reasons = _degraded(background, problem)
    if provenance is None:
        if settings.method != "none" and not request.allow_no_obs:
            _require_usable(problem.departures.table, background, read)
        report |= _stated(verdict_of(problem), settings, reasons)
        report |= {"status": "dry run", "seconds": watch.seconds}
        return Result(report, None, background, read, problem)
    found = estimate(problem, request.allow_no_obs, [*observed.values()])
    analysis = complete(problem, found, request.save_members)
    analysis = refine(background.fields, analysis, settings.fine, settings.seed)
    report["notes"] += [n for n in analysis.notes if n not in problem.notes]
    watch.note("analysed")
    verdict = verdict_of(problem, analysis).because(judge(background, analysis))
    report |= _stated(verdict, settings, reasons)
    status = "degraded" if reasons and analysis.status == "ok" else analysis.status
    provenance |= {"background_error_scale": json.dumps(_scale(problem))}
    weight = None if found.increment.weight is None else found.increment.weight.rounded
    if weight is not None:
        provenance |= {"correction_weight": json.dumps(weight)}
    stated = {
        "phyda_verdict": str(verdict),
        "phyda_status": f"{status}: {'; '.join(reasons)}" if status == "degraded" else status,
    }
    notes = in_utf8("; ".join([*background.notes, *of_times, *lagged.notes, *analysis.notes]))
    attributes = provenance | stated | {"phyda_notes": notes}
    places = None if request.points is None else read_points(request.points)
    points = None if places is None else at_stations(places, problem, analysis)
    if large:
        release()
    publish_outputs(request, background, analysis, attributes, settings.output, points)
    watch.note("written")
    report |= {
        "status": status,
        "correction_weight": weight,
        "stages": watch.stages,
        "departures": {
            kind: {found.variable: found.as_dict() for found in rows}
            for kind, rows in departures_by_variable(analysis.feedback.frame()).items()
        },
        "increment_rms": rms_by_variable(analysis.increment),
        "increment_sigmas": _in_sigmas(problem, analysis),
        "dry_mass_change_hpa": dry_mass_change(background.fields, analysis.fields),
        "hydrostatic_excess": hydrostatic_excess(background.fields, analysis.fields),
        "seconds": watch.seconds,
    }
    return Result(report, analysis, background, read, problem, attributes)


def assist(ranks: Ranks) -> None:
    """Do the part of a rank other than the first in its :func:`assimilate`."""
    shared = ranks.broadcast()
    if shared is None:
        return
    request, settings, background, table, forecasts, memory, own, change, lagged = shared
    checkpoint = Checkpoint.open(request.checkpoint)
    climate = climate_of(checkpoint) if request.climatology else None
    problem = pose(
        background, table, checkpoint, settings, forecasts, memory, change, lagged, climate
    )
    observed = observed_by(request.operators, own, checkpoint.state, background.time)
    estimate(problem, request.allow_no_obs, [*observed.values()])


def _told(observed: Mapping[str, UserObservations]) -> list[str]:
    return [
        f"{np.size(o.value)} observations by the operator {name}, without rows in the feedback"
        for name, o in observed.items()
    ]


def _check_methods(request: Request, settings: AnalysisSettings) -> None:
    """Raise UsageError where method and files do not go together."""
    if request.climatology:
        if request.fields or request.lagged or settings.method != "oi":
            raise UsageError(
                "the climate as background goes with the method oi and without other forecasts",
                hint="give --method oi, without --ensemble and --lagged",
            )
        return
    if not request.fields:
        raise UsageError(
            "there is nothing to correct: no background and no ensemble",
            hint="give --background, or --ensemble",
        )
    if request.ensemble and settings.method not in ENSEMBLE_METHODS:
        raise UsageError(
            f"the method {settings.method} makes no use of --ensemble",
            hint="use --method letkf, hybrid or phyda; or give the mean of the ensemble as "
            "--background",
        )


def _change(
    request: Request,
    settings: AnalysisSettings,
    background: Background,
    table: pd.DataFrame,
    checkpoint: Checkpoint,
) -> tuple[np.ndarray, list[str]]:
    """What the background changes until the time of each observation (P,), where its files hold
    more times of the same forecast than one; an ensemble's mean and a time that the user overrides
    have one. Where no file says when its forecast started, all are taken as of one."""
    fields = background.fields
    own = fields.time.astype("datetime64[ns]")
    alone = request.valid_time is not None or (
        len(request.forecast) == 1 and len(background.times) < 2
    )
    given = () if alone else request.forecast
    frames = [(source, *frame_times(source, request.rename, own)) for source in given]
    start = None
    if any(lead.any() for _, _, lead in frames):
        start = own - np.timedelta64(round(fields.lead_hours * 3600), "s")
    sources: dict[np.datetime64, FieldInput] = {}
    for source, valid, lead in frames:
        times = valid if start is None else valid[of_start(valid, lead, start)]
        sources |= dict.fromkeys(times, source)
    seen = table["time"].to_numpy()[(table["qc"] <= QC.PASSIVE).to_numpy()]
    near = brackets(np.array(sorted({own, *sources})), own, seen.astype("datetime64[ns]"))

    def at(time: np.datetime64) -> Fields:
        found = read_background(
            sources[time], time, None, request.rename, request.member, start=start
        )
        return with_specific_humidity(found.fields)

    orography = static_orography(checkpoint, fields)
    return background_change(fields, table, near, at, orography, settings.qc.height_limit_m)


def _prepared(
    request: Request,
    settings: AnalysisSettings,
    read: ReadResult,
    background: Background,
    before: pd.DataFrame | None,
) -> pd.DataFrame:
    lists = StationLists(
        blacklist=read_rules(request.blacklist) if request.blacklist else {},
        whitelist=read_rules(request.whitelist) if request.whitelist else None,
        withheld=read_stations(request.withhold_file) if request.withhold_file else frozenset(),
        fraction=settings.qc.withhold,
        seed=settings.seed,
    )
    table = prepare(read.table, background.fields, None, settings.qc, lists, before)
    if settings.method != "none" and not request.allow_no_obs:
        _require_usable(table, background, read)
    return table


def _before(request: Request, time: np.datetime64) -> tuple[pd.DataFrame | None, Memory | None]:
    """The rows of the previous analysis's feedback and its memory of biases, for an analysis of
    ``time``. Raises InputError where it is not of an earlier analysis."""
    path = request.previous
    if path is None:
        return None, None
    rows, memory = read_feedback(path), read_memory(path)
    if memory is not None and memory.time is not None and memory.time >= time:
        raise InputError(
            f"{path} is of the analysis of {str(memory.time)[:16]}, not of one before "
            f"{str(time)[:16]}",
            hint="give --previous the feedback of an earlier analysis",
        )
    return rows, memory or Memory()


def _require_usable(table: pd.DataFrame, background: Background, read: ReadResult) -> None:
    """As :func:`require_usable`; the hint also shows the first rows that could not be read."""
    try:
        require_usable(table, background.fields.time)
    except NoObservationsError as error:
        if not read.problems:
            raise
        bad = f"first of {len(read.problems)} bad rows: {'; '.join(map(str, read.problems[:3]))}"
        raise NoObservationsError(
            error.message, hint=f"{error.hint}; {bad}" if error.hint else bad
        ) from error


def _degraded(background: Background, problem: Problem) -> list[str]:
    """What degrades the analysis; nothing does where no observation is wanted."""
    settings, departures = problem.settings, problem.departures
    if settings.method == "none":
        return []
    empty = [f"{name} is missing everywhere" for name in background.empty]
    return empty + degradations(
        problem.background,
        problem.prior.spec,
        departures.table,
        departures.hofx0,
        settings.degraded,
    )


def _stated(verdict: Verdict, settings: AnalysisSettings, reasons: Sequence[str]) -> dict[str, Any]:
    """The verdict, and the ``reasons`` why the analysis is degraded, for the report. Raises
    GateError where the user wants none that is suspect or degraded."""
    if reasons and settings.degraded.fail_on == "degraded":
        raise GateError(
            f"the analysis is degraded: {'; '.join(reasons)}; nothing was written",
            hint="mend the inputs, or leave degraded.fail_on at never",
        )
    if verdict.word == "suspect" and settings.verdict.fail_on == "suspect":
        raise GateError(
            f"the analysis is {verdict}; nothing was written",
            hint="look at the observations with --dry-run and at their times, units and places; "
            "phyda config show prints the limits verdict.*",
        )
    return {"verdict": verdict.as_dict(), "reasons": list(reasons)}


def _report(
    request: Request, read: ReadResult, background: Background, problem: Problem
) -> dict[str, Any]:
    settings, table, forecasts = problem.settings, problem.departures.table, problem.forecasts
    rows = {
        "read": read.rows_read,
        "with_values": read.rows_with_values,
        "without_values": read.rows_without_values,
        "unreadable": read.rows_unreadable,
    }
    return {
        "schema": 1,
        "method": settings.method,
        "physics": settings.physics,
        "out": None if request.out is None else str(request.out),
        "feedback": None if request.feedback is None else str(request.feedback),
        "points": None if request.points_out is None else str(request.points_out),
        "valid_time": str(background.fields.time.astype("datetime64[s]")),
        "background_error_scale": _scale(problem),
        "ensemble_members": 0 if forecasts is None else len(forecasts.members),
        "rows": rows,
        "observations": summary(table),
        "bias": None if problem.memory is None else account(table, problem.departures.bias),
        "problems": [*unit_hints(table), *map(str, read.problems[:20])],
        "notes": [*told_once(read.notes), *background.notes, *problem.notes],
    }


def _scale(problem: Problem) -> dict[str, float]:
    """The factors on the background error: ``pooled`` and those of the groups that were
    observed."""
    scale = problem.departures.scale
    factors = {"pooled": scale.pooled, **scale.groups}
    return {name: float(f"{factor:.4g}") for name, factor in factors.items()}


def _in_sigmas(problem: Problem, analysis: Analysis) -> dict[str, float]:
    """The rms of the increments of each channel in its background-error standard deviations."""
    spec = problem.prior.spec
    deviation = spec.column("background_std").ravel()
    found = increments_of(analysis.increment, spec.channel_list, deviation)
    return {channel: measured.value for channel, measured in found.items()}
