"""An assimilation from files to files: read, control, analyse, publish, account for it."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from phyda_cli import __version__
from phyda_cli.analysis.analyse import FILTERS, Analysis, Problem, complete, estimate, pose
from phyda_cli.analysis.fine import refine
from phyda_cli.analysis.prior import Forecasts
from phyda_cli.analysis.verdict import Verdict, verdict_of
from phyda_cli.errors import GateError, InputError, NoObservationsError, OutputError, UsageError
from phyda_cli.files.publish import check_target, sha256
from phyda_cli.formats.background import Background, read_background
from phyda_cli.formats.ensemble import member_labels, read_ensemble
from phyda_cli.formats.write import write_analysis
from phyda_cli.formats.zarr import is_zarr, store_stamp
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.observations.departures import departures_by_variable
from phyda_cli.observations.feedback import write_feedback
from phyda_cli.observations.pre_qc import prepare
from phyda_cli.observations.qc import require_usable, summary, unit_hints
from phyda_cli.observations.read.read import read_observations
from phyda_cli.observations.report import ReadResult, told_once
from phyda_cli.observations.stations import StationLists, read_rules, read_stations
from phyda_cli.parallel.ranks import Ranks
from phyda_cli.settings.analysis import AnalysisSettings

__all__ = ["Request", "Result", "assimilate", "assist"]


ENSEMBLE_METHODS = (*FILTERS, "phyda")


@dataclass(frozen=True)
class Request:
    """What to assimilate and where to put it; ``None`` outputs are not written. Without
    ``background`` it is the mean of ``ensemble``."""

    obs: list[Path]
    background: Path | None
    out: Path | None
    feedback: Path | None = None
    ensemble: list[Path] = field(default_factory=list)
    checkpoint: Path = BUNDLED
    obs_map: Path | None = None
    withhold_file: Path | None = None
    blacklist: Path | None = None
    whitelist: Path | None = None
    time: np.datetime64 | None = None
    valid_time: np.datetime64 | None = None
    member: int | None = None
    rename: dict[str, str] = field(default_factory=dict)
    strict: bool = False
    overwrite: bool = False
    allow_no_obs: bool = False
    save_members: bool = False

    @property
    def lists(self) -> tuple[Path | None, ...]:
        """The small files beside the observations."""
        return self.obs_map, self.withhold_file, self.blacklist, self.whitelist

    @property
    def fields(self) -> list[Path]:
        """The files that hold fields."""
        return [*([] if self.background is None else [self.background]), *self.ensemble]


@dataclass(frozen=True, eq=False)
class Result:
    """``report`` is one JSON object; the rest is None when the output was up to date already."""

    report: dict[str, Any]
    analysis: Analysis | None = None
    background: Background | None = None
    read: ReadResult | None = None
    problem: Problem | None = None


def assimilate(
    request: Request, settings: AnalysisSettings, dry_run: bool = False, place: Ranks | None = None
) -> Result:
    """Run ``request``. With ``dry_run`` everything up to the quality control, and nothing is
    written.

    Of several ranks the first alone reads observations and fields and writes; the others
    :func:`assist`.

    Raises PhydaError as its parts do; outputs appear complete or not at all.
    """
    began, place = time.monotonic(), place or Ranks()
    checkpoint = Checkpoint.open(request.checkpoint)
    _check_methods(request, settings)
    for path in (*request.obs, *request.fields):
        if path.is_dir() and not (path in request.fields and is_zarr(path)):
            raise UsageError(f"{path} is a folder, expected a file")
        if not path.exists():
            raise InputError(f"{path} does not exist", hint="check the path")
    provenance = {} if dry_run else _provenance(request, settings, checkpoint)
    if not dry_run and _up_to_date(request, provenance):
        place.broadcast(None)
        return Result(
            {
                "status": "up to date",
                "out": str(request.out),
                "verdict": Verdict.from_text(
                    _attribute(request.out, "phyda_verdict") or "ok"
                ).as_dict(),
                "seconds": round(time.monotonic() - began, 2),
            }
        )
    stages = {"checked inputs": time.monotonic() - began}

    def note(stage: str) -> None:
        stages[stage] = time.monotonic() - began - sum(stages.values())

    read = read_observations(request.obs, request.obs_map, request.strict)
    note("read")
    background, forecasts = _read_forecasts(request, settings, read.table["time"])
    table = _prepared(request, settings, read, background)
    place.broadcast(None if dry_run else (request, settings, background.fields, table, forecasts))
    problem = pose(background.fields, table, checkpoint, settings, forecasts)
    note("controlled")
    report = _report(request, read, background, problem)
    if dry_run:
        if settings.method != "none" and not request.allow_no_obs:
            _require_usable(problem.departures.table, background, read)
        report |= _stated(verdict_of(problem), settings)
        return Result(
            report | {"status": "dry run", "seconds": round(time.monotonic() - began, 2)},
            None,
            background,
            read,
            problem,
        )
    analysis = complete(problem, estimate(problem, request.allow_no_obs), request.save_members)
    analysis = refine(background.fields, analysis, settings.fine)
    report["notes"] += [n for n in analysis.notes if n not in problem.notes]
    note("analysed")
    verdict = verdict_of(problem, analysis)
    report |= _stated(verdict, settings)
    provenance |= {"background_error_scale": json.dumps(_scale(problem))}
    _publish(request, background, analysis, provenance | {"phyda_verdict": str(verdict)})
    note("written")
    report |= {
        "status": analysis.status,
        "stages": {name: round(seconds, 2) for name, seconds in stages.items()},
        "departures": {
            kind: {found.variable: found.as_dict() for found in rows}
            for kind, rows in departures_by_variable(analysis.feedback.frame()).items()
        },
        "increment_rms": {
            k: _rms(v)
            for k, v in {**analysis.increment.upper, **analysis.increment.surface}.items()
        },
        "seconds": round(time.monotonic() - began, 2),
    }
    return Result(report, analysis, background, read, problem)


def assist(place: Ranks) -> None:
    """Do the part of a rank other than the first in its :func:`assimilate`."""
    shared = place.broadcast()
    if shared is None:
        return
    request, settings, background, table, forecasts = shared
    checkpoint = Checkpoint.open(request.checkpoint)
    estimate(pose(background, table, checkpoint, settings, forecasts), request.allow_no_obs)


def _check_methods(request: Request, settings: AnalysisSettings) -> None:
    """Raise UsageError where method and files do not go together."""
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


def _read_forecasts(
    request: Request, settings: AnalysisSettings, times: pd.Series
) -> tuple[Background, Forecasts | None]:
    """The background and, for the methods that use one, the ensemble: that of ``request``, or a
    background file's own members.

    Of several times the one nearest to the observations, valid when ``valid_time`` says, if it
    does.
    """
    near, middle = request.valid_time, times.dropna().median()
    if near is None and not pd.isna(middle):
        near = np.datetime64(middle)
    single, files = request.background, request.ensemble
    forecasts: Forecasts | None = None
    if (
        single is not None
        and not files
        and request.member is None
        and settings.method in ENSEMBLE_METHODS
    ):
        stated = request.time if request.time is not None else request.valid_time
        if len(member_labels(single, request.rename, stated)) > 1:
            files, single = [single], None
        elif settings.method in FILTERS:
            raise UsageError(
                f"the method {settings.method} needs an ensemble: {single} is a single forecast",
                hint="give its members with --ensemble",
            )
    if single is None:
        found, members = read_ensemble(
            files, request.time, near, request.rename, request.valid_time
        )
        forecasts = Forecasts(members, centred=True)
    else:
        found = read_background(
            single, request.time, near, request.rename, request.member, request.valid_time
        )
        if files:
            time = found.fields.time
            forecasts = Forecasts(
                read_ensemble(files, time, None, request.rename, time)[1], centred=False
            )
            found = replace(
                found,
                notes=[
                    *found.notes,
                    f"ensemble of {len(forecasts.members)} members beside the background",
                ],
            )
    if request.valid_time is None or request.valid_time == found.fields.time:
        return found, forecasts
    note = (
        f"treated as valid at {request.valid_time} (--valid-time) instead of "
        f"{str(found.fields.time)[:19]}"
    )
    fields = replace(found.fields, time=request.valid_time.astype("datetime64[ns]"))
    return replace(found, fields=fields, notes=[*found.notes, note]), forecasts


def _prepared(
    request: Request, settings: AnalysisSettings, read: ReadResult, background: Background
) -> pd.DataFrame:
    lists = StationLists(
        blacklist=read_rules(request.blacklist) if request.blacklist else {},
        whitelist=read_rules(request.whitelist) if request.whitelist else None,
        withheld=read_stations(request.withhold_file) if request.withhold_file else frozenset(),
        fraction=settings.qc.withhold,
        seed=settings.seed,
    )
    table = prepare(read.table, background.fields, None, settings.qc, lists)
    if settings.method != "none" and not request.allow_no_obs:
        _require_usable(table, background, read)
    return table


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


def _provenance(
    request: Request, settings: AnalysisSettings, checkpoint: Checkpoint
) -> dict[str, Any]:
    """Global attributes that say what the output was made from; ``phyda_inputs`` is their
    fingerprint."""
    stated = {
        "phyda_version": __version__,
        "method": settings.method,
        "physics": settings.physics,
        "seed": settings.seed,
        "model_name": checkpoint.metadata.name,
        "model_sha256": checkpoint.sha256,
        "obs_file": ", ".join(p.name for p in request.obs),
        "obs_sha256": ", ".join(_hash(p) for p in request.obs),
        "background_file": "mean of the ensemble"
        if request.background is None
        else request.background.name,
        "background_sha256": "" if request.background is None else _hash(request.background),
        "config_json": settings.model_dump_json(),
        "valid_time_override": "" if request.valid_time is None else str(request.valid_time),
    }
    if request.ensemble:
        stated["ensemble_file"] = ", ".join(p.name for p in request.ensemble)
        stated["ensemble_sha256"] = ", ".join(_hash(p) for p in request.ensemble)
    if request.obs_map:
        stated["obs_map_sha256"] = _hash(request.obs_map)
    for name, path in (
        ("withheld", request.withhold_file),
        ("blacklist", request.blacklist),
        ("whitelist", request.whitelist),
    ):
        if path is not None:
            stated[f"{name}_sha256"] = _hash(path)
    options = (
        str(request.time),
        request.member,
        sorted(request.rename.items()),
        request.save_members,
    )
    fingerprint = hashlib.sha256(
        json.dumps([stated, *map(str, options)], sort_keys=True).encode()
    ).hexdigest()
    return stated | {"phyda_inputs": fingerprint}


def _hash(path: Path) -> str:
    """Hash of an input; unreadable ones are left to their reader, which knows what to say."""
    if path.is_dir() and is_zarr(path):
        return store_stamp(path)
    return sha256(path) if path.is_file() else ""


def _up_to_date(request: Request, provenance: dict[str, Any]) -> bool:
    """Whether every output exists and was made from the same inputs; other existing outputs are
    refused here, early."""
    outputs = [p for p in (request.out, request.feedback) if p is not None]
    existing = [p for p in outputs if p.exists()]
    if (
        existing
        and not request.overwrite
        and len(existing) == len(outputs)
        and all(_made_from(p, provenance) for p in existing)
    ):
        return True
    for path in outputs:
        check_target(path, _replaces(path, request, provenance))
    inputs = [p for p in (*request.obs, *request.fields, *request.lists) if p is not None]
    taken = {p.resolve() for p in inputs}
    if any(p.resolve() in taken for p in outputs) or len({p.resolve() for p in outputs}) < len(
        outputs
    ):
        raise OutputError(
            "an output would replace an input or another output", hint="give each file its own name"
        )
    return False


def _replaces(path: Path, request: Request, provenance: dict[str, Any]) -> bool:
    """Whether ``path`` may be replaced: with ``--overwrite``, or when an interrupted call of the
    same inputs left it."""
    return request.overwrite or (path.is_file() and _made_from(path, provenance))


def _made_from(path: Path, provenance: dict[str, Any]) -> bool:
    return _attribute(path, "phyda_inputs") == provenance["phyda_inputs"]


def _attribute(path: Path | None, name: str) -> str | None:
    """A global attribute of an output; None for a file without it."""
    import netCDF4

    if path is None:
        return None
    try:
        with netCDF4.Dataset(path) as data:
            return getattr(data, name, None)
    except OSError:  # not NetCDF: some other file of the user's
        return None


def _stated(verdict: Verdict, settings: AnalysisSettings) -> dict[str, Any]:
    """The verdict for the report. Raises GateError where the user wants none that is suspect."""
    if verdict.word == "suspect" and settings.verdict.fail_on == "suspect":
        raise GateError(
            f"the analysis is {verdict}; nothing was written",
            hint="look at the observations with --dry-run and at their times, units and place; "
            "phyda config show prints the limits verdict.*",
        )
    return {"verdict": verdict.as_dict()}


def _publish(
    request: Request, background: Background, analysis: Analysis, provenance: dict[str, Any]
) -> None:
    attributes = provenance | {
        "phyda_status": analysis.status,
        "phyda_notes": "; ".join([*background.notes, *analysis.notes]),
    }
    if request.feedback is not None:
        overwrite = _replaces(request.feedback, request, provenance)
        write_feedback(request.feedback, analysis.feedback, attributes, overwrite)
    if request.out is not None:
        spread = analysis.spread if analysis.status == "ok" else None
        overwrite, members = _replaces(request.out, request, provenance), analysis.members or None
        write_analysis(
            request.out,
            background,
            analysis.fields,
            analysis.increment,
            spread,
            members,
            attributes,
            overwrite,
        )


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
        "valid_time": str(background.fields.time.astype("datetime64[s]")),
        "background_error_scale": _scale(problem),
        "ensemble_members": 0 if forecasts is None else len(forecasts.members),
        "rows": rows,
        "observations": summary(table),
        "problems": [*unit_hints(table), *map(str, read.problems[:20])],
        "notes": [*told_once(read.notes), *background.notes, *problem.notes],
    }


def _scale(problem: Problem) -> dict[str, float]:
    """The factors on the background error: ``pooled`` and those of the groups that were
    observed."""
    scale = problem.departures.scale
    factors = {"pooled": scale.pooled, **scale.groups}
    return {name: float(f"{factor:.4g}") for name, factor in factors.items()}


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(np.square(values)))) if values.size else 0.0
