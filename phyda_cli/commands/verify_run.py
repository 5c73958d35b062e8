"""What ``phyda verify`` does: read, score, write, print."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from phyda_cli.commands.console import emit_json, say, warn
from phyda_cli.commands.physics_tables import physics_table
from phyda_cli.errors import GateError, OutputError, PhydaError, UsageError
from phyda_cli.files.publish import check_target
from phyda_cli.files.readable import check_input
from phyda_cli.observations.read.read import TextTables
from phyda_cli.settings.analysis import QualityControlSettings
from phyda_cli.settings.verification import VerificationSettings
from phyda_cli.verification.collect import Inputs, is_feedback
from phyda_cli.verification.collected import Collected
from phyda_cli.verification.examine import Examination, examine
from phyda_cli.verification.experiments import scorecard_lines
from phyda_cli.verification.export import SCHEMA, write_csv, write_netcdf, write_verif
from phyda_cli.verification.fields import score_fields
from phyda_cli.verification.history import series_limits
from phyda_cli.verification.limits import Broken, broken_limits, named_numbers, read_limits
from phyda_cli.verification.ratios import mean_ratio
from phyda_cli.verification.screen import TextTable, screen, shortened
from phyda_cli.verification.station_health import StationRow
from phyda_cli.verification.summary import (
    Headline,
    numbers_of,
    summary_tables,
)
from phyda_cli.verification.tidy import Row

__all__ = ["Request", "run"]

LACKING = ("--member", "--valid-time", "--rename", "--ensemble")  # options of assimilate alone


@dataclass(frozen=True)
class Request:
    """The options of ``phyda verify``."""

    analyses: Sequence[Path] = ()
    truths: Sequence[Path] = ()
    backgrounds: Sequence[Path] = ()
    observations: Sequence[Path] = ()
    feedbacks: Sequence[Path] = ()
    against: Sequence[Path] = ()
    against_feedback: Sequence[Path] = ()
    from_sums: Sequence[Path] = ()
    tables: TextTables = field(default_factory=TextTables)
    time: np.datetime64 | None = None
    limits: Path | None = None
    stations: bool = False
    spectra: bool = False
    single_observation: bool = False
    physics: bool = False
    report: Path | None = None
    csv: Path | None = None
    netcdf: Path | None = None
    sums: Path | None = None
    verif: Path | None = None
    suggest: Path | None = None
    scorecard: Path | None = None
    physics_plot: Path | None = None
    plot: Path | None = None
    field: str | None = None
    overwrite: bool = False
    as_json: bool = False

    @property
    def inputs(self) -> Inputs:
        """The files of our own run."""
        return Inputs(
            self.analyses,
            self.truths,
            self.backgrounds,
            self.feedbacks,
            self.observations,
            self.tables,
            self.time,
        )

    @property
    def others(self) -> Inputs | None:
        """The files of the run to compare with."""
        if not self.against and not self.against_feedback:
            return None
        return replace(
            self.inputs, analyses=self.against, feedbacks=self.against_feedback, time=None
        )

    @property
    def wanted_physics(self) -> Literal["no", "where possible", "yes"]:
        """Whether to say how physical the analyses are."""
        if self.physics:
            return "yes"
        return "where possible" if self.report else "no"

    @property
    def by_option(self) -> dict[str, Sequence[Path]]:
        """Input files by the option that gave them, the most special first."""
        return {
            "--feedback": self.feedbacks,
            "--truth": self.truths,
            "--background": self.backgrounds,
            "--obs": self.observations,
            "--from-sums": self.from_sums,
            "the file to verify": self.analyses,
        }

    @property
    def outputs(self) -> list[Path]:
        """Every file to write."""
        every = [self.report, self.csv, self.netcdf, self.sums, self.verif, self.suggest]
        every += [self.scorecard, self.physics_plot, self.plot]
        return [path for path in every if path is not None]


@dataclass(eq=False)
class _Found:
    """What a run has found, and what of it goes into JSON beside the rows."""

    examination: Examination
    tables: list[TextTable] = field(default_factory=list)
    json: dict[str, Any] = field(default_factory=dict)

    @property
    def collected(self) -> Collected:
        """The pass over the analyses."""
        return self.examination.collected

    @property
    def rows(self) -> list[Row]:
        """Every score."""
        return self.examination.rows

    @property
    def headline(self) -> Headline:
        """The first lines."""
        return self.examination.headline


def run(request: Request, settings: VerificationSettings, controls: QualityControlSettings) -> None:
    """Do what ``request`` asks. Raises PhydaError; GateError when a limit is broken, after
    everything has been written."""
    _check(request)
    limits = read_limits(request.limits) if request.limits else []
    with _hints(request):
        for path in (*request.truths, *request.backgrounds, *request.feedbacks, *request.analyses):
            if not path.is_dir():
                check_input(path)
        found = _Found(
            examine(
                request.inputs,
                settings,
                controls,
                request.others,
                request.from_sums,
                request.wanted_physics,
            )
        )
    for note in found.collected.notes:
        say(note)
    name = request.analyses[0].name if len(request.analyses) == 1 else "analyses"
    truth = request.truths[0].name if len(request.truths) == 1 else "truth"
    found.tables += summary_tables(found.rows, name, truth)
    limits_of_series = series_limits(found.collected.moments, settings.history)
    found.json["control_limits"] = {k: asdict(v) for k, v in limits_of_series.items()}
    _sections(found, request, controls)
    broken = broken_limits(limits, named_numbers(found.rows, _numbers(found))) if limits else []
    _write(found, request, settings, broken)
    _print(found, request, broken)
    if broken:
        raise GateError(
            "limits are broken: " + "; ".join(b.text for b in broken),
            hint=f"the limits are those of {request.limits}",
        )


def _check(request: Request) -> None:
    """Raise UsageError without anything to do, OutputError before any work when an output cannot be
    written or would replace an input or another output."""
    compared = (request.truths, request.observations, request.feedbacks, request.from_sums)
    if not any((*compared, request.plot, request.physics, request.report, request.spectra)):
        raise UsageError(
            "nothing to verify against",
            hint="give --truth FILE, --obs FILE, --feedback FILE, --physics or --plot FILE.png",
        )
    if not request.analyses and not request.feedbacks and not request.from_sums:
        raise UsageError("nothing to verify", hint="name an analysis, or --feedback FILE")
    if not request.analyses and (request.truths or request.observations):
        raise UsageError(
            "--truth and --obs need an analysis to compare with", hint="name it: an.nc --truth …"
        )
    for path in (*request.analyses, *request.truths, *request.backgrounds):
        if path.suffix == ".nc" and path.exists() and is_feedback(path):
            raise UsageError(f"{path} is a feedback file", hint=f"give it as --feedback {path}")
    wanted = [check_target(path, request.overwrite).resolve() for path in request.outputs]
    inputs = (*request.analyses, *request.truths, *request.backgrounds, *request.observations)
    inputs += (*request.feedbacks, *request.against, *request.from_sums)
    inputs += request.tables.files
    taken = {Path(os.path.realpath(path)) for path in inputs}
    if taken.intersection(wanted) or len(set(wanted)) < len(wanted):
        raise OutputError(
            "an output would replace an input or another output", hint="give each file its own name"
        )


@contextmanager
def _hints(request: Request) -> Iterator[None]:
    """Errors about a file say which option gave it, and hint at none that ``verify`` lacks."""
    try:
        yield
    except PhydaError as error:
        given = [
            o
            for o, paths in request.by_option.items()
            if any(str(p) in error.message for p in paths)
        ]
        lacking = any(option in error.hint for option in LACKING)
        hints = [f"it was given as {given[0]}"] if given else []
        hints += [error.hint] if error.hint and not lacking else []
        raise type(error)(error.message, hint="; ".join(hints)) from error


def _numbers(found: _Found) -> dict[str, float | None]:
    return numbers_of(found.collected, found.headline, found.examination.physics)


def _sections(found: _Found, request: Request, controls: QualityControlSettings) -> None:
    """Everything beside the scores that ``request`` asks for."""
    collected, stations, card = (
        found.collected,
        found.examination.stations,
        found.examination.card,
    )
    if collected.last is not None and len(request.analyses) == 1:
        _single(found, request, controls)
    if request.stations or request.report:
        found.json["stations_judged"] = [s.as_dict() for s in stations]
    if request.stations:
        found.tables.insert(0, _station_table(stations))
    if card is not None:
        found.json["scorecard"] = card.as_dict()
    if found.examination.physics is not None:
        _add_physics(found, request)
    if request.spectra and collected.last is not None:
        _add_spectra(found)
    if request.single_observation and collected.last is not None:
        _add_single_observation(found)


def _single(found: _Found, request: Request, controls: QualityControlSettings) -> None:
    """What one analysis alone has in the JSON object: scores by field, station and feedback."""
    collected = found.collected
    file = collected.last
    assert file is not None
    valid = str(file.fields.time.astype("datetime64[s]"))
    found.json |= {"analysis": str(file.path), "valid_time": valid}
    if collected.truth is not None:
        scores = score_fields(
            file.fields, collected.truth, collected.background, file.spread, file.members
        )
        found.json |= {
            "truth": str(request.truths[0]),
            "fields": [s.as_dict() for s in scores],
            "mean_ratio": mean_ratio(s.ratio for s in scores),
        }
    if request.observations:
        _add_stations(found, request, controls)
    if collected.rows is not None:
        _add_feedback(found, request)


def _add_stations(found: _Found, request: Request, controls: QualityControlSettings) -> None:
    from phyda_cli.observations.pre_qc import prepare
    from phyda_cli.observations.read.read import read_observations
    from phyda_cli.verification.stations import score_stations

    file = found.collected.last
    assert file is not None
    table = prepare(
        read_observations(request.observations, request.tables).table,
        file.fields,
        settings=controls.model_copy(update={"repeats": "all"}),
    )
    report = score_stations(table, file.fields, found.collected.background)
    found.json["stations"] = {
        "account": report.account,
        "scores": [d.as_dict() for d in report.scores],
        "notes": report.notes,
    }
    compared = f"{sum(d.n for d in report.scores)} of {report.account['in']} observations compared"
    found.headline.lines.append(f"{compared}{_rejected(report.account)}")


def _add_feedback(found: _Found, request: Request) -> None:
    from phyda_cli.observations.departures import summarise_feedback

    rows = found.collected.rows
    assert rows is not None
    summary = summarise_feedback(rows)
    found.json["feedback"] = summary.as_dict()
    account = summary.account
    name = request.feedbacks[0].name if request.feedbacks else "feedback"
    found.headline.lines.append(
        f"{name}: {account['used']} used, {account['passive']} passive of {account['in']} "
        f"observations{_rejected(account)}"
    )
    if summary.inflation is not None:
        say(f"with observation errors times {summary.inflation:.3g} chi2 would be one")


def _rejected(account: dict[str, Any]) -> str:
    reasons = ", ".join(f"{n} {reason}" for reason, n in account["rejected"].items())
    return f" (rejected: {reasons})" if reasons else ""


def _station_table(stations: Sequence[StationRow]) -> TextTable:
    suspicious = [s for s in stations if s.reasons]
    lines = [
        [s.station[:12], s.variable, f"{s.used}/{s.received}", "; ".join(s.reasons)[:46]]
        for s in suspicious
    ]
    title = f"{len(suspicious)} suspicious of {len(stations)} stations and variables"
    return TextTable(
        title, ("station", "variable", "used", "reasons"), lines or [["none", "", "", ""]], left=4
    )


def _add_physics(found: _Found, request: Request) -> None:
    file, report = found.collected.last, found.examination.physics
    assert file is not None
    assert report is not None
    for note in report.notes:
        say(f"physics: {note}")
    found.json["physics"] = report.as_dict()
    found.tables.append(physics_table(report, file.path.name))
    if request.physics_plot is not None:
        from phyda_cli.verification.physics_plots import draw_physics
        from phyda_cli.verification.plots import utc

        title = f"Residuals of {file.path.name}, {utc(file.fields.time)}"
        draw_physics(request.physics_plot, report, title, request.overwrite)
        say(f"wrote {request.physics_plot}")


def _add_spectra(found: _Found) -> None:
    from phyda_cli.verification.spectra import spectra_of

    collected = found.collected
    file = collected.last
    assert file is not None
    spectra = spectra_of(file.fields, collected.background, collected.truth)
    found.json["spectra"] = [s.as_dict() for s in spectra]
    lines = [
        [
            s.channel,
            s.kind,
            *("–" if v is None else f"{v:.0f}" for v in (s.effective_km, s.smallest_km)),
        ]
        for s in spectra
    ]
    header = ("field", "kind", "effective km", "grid km")
    found.tables.append(TextTable("effective resolution", header, lines))


def _add_single_observation(found: _Found) -> None:
    from phyda_cli.errors import InputError
    from phyda_cli.verification.single_observation import single_observation

    collected = found.collected
    if collected.rows is None or collected.last is None or collected.background is None:
        raise InputError(
            "--single-observation needs an analysis with increments and its feedback",
            hint="give --feedback FILE",
        )
    response = single_observation(collected.last, collected.background, collected.rows)
    found.json["single_observation"] = response.as_dict()
    found.headline.lines.extend(response.lines())


def _write(
    found: _Found, request: Request, settings: VerificationSettings, broken: Sequence[Broken]
) -> None:
    """Write every file that was asked for."""
    collected, overwrite = found.collected, request.overwrite
    attributes = {"phyda_version": _version()}
    if request.csv is not None:
        write_csv(request.csv, found.rows, overwrite)
    if request.netcdf is not None:
        write_netcdf(request.netcdf, found.rows, attributes, overwrite)
    if request.sums is not None:
        collected.sums.save(request.sums, attributes, overwrite)
    if request.suggest is not None:
        from phyda_cli.files.publish import publish_text
        from phyda_cli.verification.suggest import suggested_errors

        publish_text(request.suggest, suggested_errors(collected.sums), overwrite)
    if request.verif is not None:
        from phyda_cli.verification.collect import feedback_by_time

        pairs = feedback_by_time(request.feedbacks)
        write_verif(request.verif, pairs, request.field or "t2m", overwrite)
    if request.scorecard is not None:
        if found.examination.card is None:
            raise UsageError("--scorecard needs --against", hint="name the other run's analyses")
        from phyda_cli.verification.charts import draw_scorecard

        draw_scorecard(request.scorecard, found.examination.card, overwrite)
    if request.plot is not None and collected.last is not None:
        from phyda_cli.verification.plots import draw_channel

        file, background = collected.last, collected.background
        draw_channel(request.plot, file, background, request.field, collected.rows, overwrite)
    if request.report is not None:
        from phyda_cli.verification.report import write_report

        write_report(request.report, found.examination, broken, settings.history, overwrite)
    for path in request.outputs:
        if path != request.physics_plot:
            say(f"wrote {path}")


def _version() -> str:
    from phyda_cli import __version__

    return __version__


def _print(found: _Found, request: Request, broken: Sequence[Broken]) -> None:
    head = found.headline
    if request.as_json:
        emit_json(
            {
                "schema": SCHEMA,
                "times": [f"{np.datetime_as_string(t, unit='m')}Z" for t in head.times],
                "headline": {
                    "withheld_ratio": head.ratio,
                    "truth_ratio": head.field_ratio,
                    "truth_is": head.truth_is,
                    "chi2": head.chi2,
                    "used": head.used,
                    "rejected": head.rejected,
                },
                "broken_limits": [b.text for b in broken],
                "history": [m.as_dict() for m in found.collected.moments],
                "notes": found.collected.notes,
                **found.json,
                "rows": [r.as_dict() for r in found.rows],
            }
        )
        return
    lines = list(head.lines)
    for each in broken:
        warn(f"broken limit: {each.text}")
    tables = list(found.tables)
    if found.examination.card is not None:
        lines += shortened(scorecard_lines(found.examination.card), 20)
        tables = tables[:1]
    hint = "every number: --json, --csv FILE, --netcdf FILE; one page: --report FILE.html"
    print("\n".join(screen(lines, tables, hint)))
