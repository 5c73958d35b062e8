"""An assimilation from files to files: read, control, analyse, publish, account for it."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from phyda_cli import __version__
from phyda_cli.analysis.analyse import Analysis, complete, estimate
from phyda_cli.analysis.departures import Departures, quality_control
from phyda_cli.analysis.request import Request, check_methods, read_forecasts
from phyda_cli.analysis.verdict import Measured, Verdict, evidence_of, increments_of, judge
from phyda_cli.errors import GateError, InputError, NoObservationsError, OutputError, UsageError
from phyda_cli.files.publish import check_target, sha256
from phyda_cli.formats.background import Background
from phyda_cli.formats.write import write_analysis
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.observations.feedback import AsUsed, write_feedback
from phyda_cli.observations.pre_qc import prepare
from phyda_cli.observations.qc import require_usable, summary, unit_hints
from phyda_cli.observations.read.read import read_observations
from phyda_cli.observations.report import ReadResult
from phyda_cli.observations.stations import StationLists, read_rules, read_stations
from phyda_cli.observations.table import QC
from phyda_cli.parallel.ranks import Ranks
from phyda_cli.settings.analysis import AnalysisSettings

__all__ = ["Request", "Result", "assimilate", "assist"]


@dataclass(frozen=True, eq=False)
class Result:
    """``report`` is one JSON object; the rest is None when the output was up to date already."""

    report: dict[str, Any]
    analysis: Analysis | None = None
    background: Background | None = None
    read: ReadResult | None = None
    departures: Departures | None = None


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
    check_methods(request, settings)
    for path in (*request.obs, *request.fields):
        if path.is_dir():
            raise UsageError(f"{path} is a folder, expected a file")
        if not path.exists():
            raise InputError(f"{path} does not exist", hint="check the path")
    provenance = {} if dry_run else _provenance(request, settings, checkpoint)
    if not dry_run and _up_to_date(request, provenance):
        place.share(None)
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
    background, forecasts = read_forecasts(request, settings, read.table["time"])
    table = _prepared(request, settings, read, background)
    place.share(None if dry_run else (request, settings, background.fields, table, forecasts))
    departures = quality_control(background.fields, table, checkpoint, settings, forecasts)
    note("controlled")
    report = _report(request, settings, read, background, departures)
    if dry_run:
        if settings.method != "none" and not request.allow_no_obs:
            _require_usable(departures.table, background, read)
        report |= _stated(_verdict(departures, None, checkpoint, settings), settings)
        return Result(
            report | {"status": "dry run", "seconds": round(time.monotonic() - began, 2)},
            None,
            background,
            read,
            departures,
        )
    found = estimate(background.fields, departures, checkpoint, settings, request.allow_no_obs)
    analysis = complete(background.fields, found, checkpoint, settings, request.save_members)
    note("analysed")
    verdict = _verdict(departures, analysis, checkpoint, settings)
    report |= _stated(verdict, settings)
    provenance |= {"background_error_scale": json.dumps(_scale(departures))}
    _publish(request, background, analysis, provenance | {"phyda_verdict": str(verdict)})
    note("written")
    report |= {
        "status": analysis.status,
        "stages": {name: round(seconds, 2) for name, seconds in stages.items()},
        "departures": departure_statistics(analysis.table, analysis.hofx0, analysis.hofx1),
        "increment_rms": {
            k: _rms(v)
            for k, v in {**analysis.increment.upper, **analysis.increment.surface}.items()
        },
        "seconds": round(time.monotonic() - began, 2),
    }
    return Result(report, analysis, background, read, departures)


def assist(place: Ranks) -> None:
    """Do the part of a rank other than the first in its :func:`assimilate`."""
    shared = place.share()
    if shared is None:
        return
    request, settings, background, table, forecasts = shared
    checkpoint = Checkpoint.open(request.checkpoint)
    departures = quality_control(background, table, checkpoint, settings, forecasts)
    estimate(background, departures, checkpoint, settings, request.allow_no_obs)


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


def _verdict(
    departures: Departures,
    analysis: Analysis | None,
    checkpoint: Checkpoint,
    settings: AnalysisSettings,
) -> Verdict:
    """What the rules say, without an analysis those about the observations alone."""
    rows = departures.table
    oman = None
    if analysis is not None:
        oman = rows["value"].to_numpy(float) - analysis.hofx1
    variable = rows["variable"].to_numpy(str)
    evidence = evidence_of(
        variable,
        rows["qc"].to_numpy(),
        departures.innovation,
        oman,
        departures.error,
        departures.sigma_b,
        departures.scale.of(variable.tolist()),
    )
    if settings.background_error_scale == "auto":
        evidence["scale"] = {k: Measured(v) for k, v in departures.scale.groups.items()}
    if analysis is not None:
        spec = checkpoint.state
        deviation = spec.column("background_std").ravel()
        evidence["increment"] = increments_of(analysis.increment, spec.channel_list, deviation)
    only = analysis is not None and analysis.status == "background_only"
    return judge(evidence, settings.verdict, only)


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
        used = AsUsed(analysis.innovation, analysis.error, analysis.weight, analysis.merged)
        write_feedback(
            request.feedback,
            analysis.table,
            analysis.hofx0,
            analysis.hofx1,
            analysis.sigma_b,
            attributes,
            overwrite,
            used,
        )
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
    request: Request,
    settings: AnalysisSettings,
    read: ReadResult,
    background: Background,
    departures: Departures,
) -> dict[str, Any]:
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
        "background_error_scale": _scale(departures),
        "ensemble_members": 0
        if departures.forecasts is None
        else len(departures.forecasts.members),
        "rows": rows,
        "observations": summary(departures.table),
        "problems": [*unit_hints(departures.table), *map(str, read.problems[:20])],
        "notes": [*background.notes, *departures.notes],
    }


def _scale(departures: Departures) -> dict[str, float]:
    """The factors on the background error: ``pooled`` and those of the groups that were
    observed."""
    factors = {"pooled": departures.scale.pooled, **departures.scale.groups}
    return {name: float(f"{factor:.4g}") for name, factor in factors.items()}


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(np.square(values)))) if values.size else 0.0


def departure_statistics(
    table: pd.DataFrame, hofx0: np.ndarray, hofx1: np.ndarray
) -> dict[str, dict[str, dict[str, float]]]:
    """For ``used`` and ``passive`` rows and each variable: count, rms and mean of O-B and O-A."""
    out: dict[str, dict[str, dict[str, float]]] = {}
    value, qc = table["value"].to_numpy(), table["qc"].to_numpy()
    for name, code in (("used", QC.PASS), ("passive", QC.PASSIVE)):
        out[name] = {}
        for variable, index in table[qc == code].groupby("variable").indices.items():
            rows = np.flatnonzero(qc == code)[index]
            ombg, oman = value[rows] - hofx0[rows], value[rows] - hofx1[rows]
            out[name][str(variable)] = {
                "n": len(rows),
                "ombg_rms": _rms(ombg),
                "oman_rms": _rms(oman),
                "ombg_mean": float(ombg.mean()),
                "oman_mean": float(oman.mean()),
            }
    return out
