"""``phyda verify``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phyda_cli.commands.arguments import (
    INPUT,
    OUTPUT,
    AsJson,
    ObsMap,
    Overwrite,
    files_of,
    parse_time,
)
from phyda_cli.commands.console import emit, emit_json, say
from phyda_cli.commands.physics_tables import physics_tables
from phyda_cli.commands.tables import departure_table, field_table, group_table
from phyda_cli.errors import OutputError, PhydaError, UsageError
from phyda_cli.settings.analysis import AnalysisSettings, QualityControlSettings
from phyda_cli.settings.options import RUNNING, Chosen, Flag, takes_settings
from phyda_cli.verification.ratios import mean_ratio

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from rich.table import Table

    from phyda_cli.fields.grid import Fields
    from phyda_cli.verification.analysis_file import AnalysisFile

    Section = tuple[dict[str, Any], list[Table]]  # what goes into the JSON object, and its tables

__all__ = ["verify"]

LACKING = ("--member", "--valid-time", "--rename", "--ensemble")  # options of assimilate alone


@takes_settings(
    {AnalysisSettings: (Flag("qc.window_hours", INPUT, "--window"),)}, (INPUT, OUTPUT, RUNNING)
)
def verify(
    analysis: Annotated[
        Path, typer.Argument(help="Analysis (or any forecast) to verify: NetCDF or GRIB.")
    ],
    chosen: Chosen,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Fields to verify against, on any grid.", rich_help_panel=INPUT
        ),
    ] = None,
    background: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="First guess to compare with. [default: the analysis minus its increments]",
            rich_help_panel=INPUT,
        ),
    ] = None,
    obs: Annotated[
        list[Path] | None,
        typer.Option(
            "--obs",
            metavar="FILE",
            help="Observations to verify against: a file of any format, or a quoted pattern. "
            "Repeatable.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    obs_map: ObsMap = None,
    feedback: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Feedback file of the analysis: departures, chi2, error estimates.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            help="Valid time, where the file has several; the others must have it too.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    physics: Annotated[
        bool,
        typer.Option(
            "--physics",
            help="Say how physical it is: residuals, balance, humidity.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    physics_plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw maps of the residuals here (PNG); implies --physics.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw increment, spread and stations here (PNG).",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    field: Annotated[
        str | None,
        typer.Option(
            help="Field to draw, such as z500 or msl. [default: t850 if it is there]",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Score an analysis against fields, stations and its own feedback.

    ```
    phyda verify analysis.nc --truth era5.nc
    phyda verify analysis.nc --obs metar.csv --obs-map metar.toml --json
    phyda verify analysis.nc --feedback feedback.nc --plot increment.png --field z500
    phyda verify analysis.nc --physics --truth era5.nc --physics-plot residuals.png
    ```
    """
    from phyda_cli.observations.feedback import read_feedback
    from phyda_cli.verification.analysis_file import read_analysis
    from phyda_cli.verification.plots import draw_channel

    physics = physics or physics_plot is not None
    if not any((truth, obs, feedback, plot, physics)):
        raise UsageError(
            "nothing to verify against",
            hint="give --truth FILE, --obs FILE, --feedback FILE, --physics or --plot FILE.png",
        )
    obs = files_of(obs or [])
    _check_pictures(
        [plot, physics_plot], [analysis, truth, background, feedback, obs_map, *obs], overwrite
    )
    with _given_as("the file to verify"):
        file = read_analysis(analysis, parse_time(time, "--time"))
    first, target, rows = file.background, None, None
    if background is not None:
        with _given_as("--background"):
            first = _at_same_time(background, file.fields.time)
    if truth is not None:
        with _given_as("--truth"):
            target = _at_same_time(truth, file.fields.time)
    if feedback is not None:
        with _given_as("--feedback"):
            rows = read_feedback(feedback)
    valid = str(file.fields.time.astype("datetime64[s]"))
    sections: list[Section] = [({"schema": 1, "analysis": str(analysis), "valid_time": valid}, [])]
    if truth is not None and target is not None:
        sections.append(_against_truth(file, first, target, truth))
    if obs:
        controls = chosen.settings(AnalysisSettings).qc
        sections.append(_against_stations(obs, obs_map, controls, file, first))
    if physics:
        sections.append(_physics(file, first, target, physics_plot, overwrite))
    if feedback is not None and rows is not None:
        sections.append(_from_feedback(rows, feedback.name))
    if plot is not None:
        draw_channel(plot, file, first, field, rows, overwrite)
        say(f"wrote {plot}")
    if as_json:
        emit_json({key: value for found, _ in sections for key, value in found.items()})
        return
    for table in (t for _, tables in sections for t in tables):
        emit(table)


@contextmanager
def _given_as(option: str) -> Iterator[None]:
    """Errors about a file say which option gave it, and hint at none that ``verify`` lacks."""
    try:
        yield
    except PhydaError as error:
        lacking = any(option in error.hint for option in LACKING)
        advice = f"; {error.hint}" if error.hint and not lacking else ""
        raise type(error)(error.message, hint=f"it was given as {option}{advice}") from error


def _check_pictures(
    pictures: Sequence[Path | None], inputs: Sequence[Path | None], overwrite: bool
) -> None:
    """OutputError before any work when a picture cannot be written or would replace an input or the
    other picture."""
    from phyda_cli.files.publish import check_target

    wanted = [check_target(path, overwrite).resolve() for path in pictures if path is not None]
    taken = {path.resolve() for path in inputs if path is not None}
    if taken.intersection(wanted) or len(set(wanted)) < len(wanted):
        raise OutputError(
            "a picture would replace an input or another picture",
            hint="give each file its own name",
        )


def _at_same_time(path: Path, time: np.datetime64) -> Fields:
    from phyda_cli.formats.background import read_background

    return read_background(path, time).fields


def _rejected(account: dict[str, Any]) -> str:
    reasons = ", ".join(f"{n} {reason}" for reason, n in account["rejected"].items())
    return f" (rejected: {reasons})" if reasons else ""


def _against_truth(file: AnalysisFile, first: Fields | None, truth: Fields, path: Path) -> Section:
    from phyda_cli.verification.fields import score_fields

    scores = score_fields(file.fields, truth, first, file.spread, file.members)
    found = {
        "truth": str(path),
        "fields": [s.as_dict() for s in scores],
        "mean_ratio": mean_ratio(s.ratio for s in scores),
    }
    return found, [field_table(scores, f"{file.path.name} against {path.name}")]


def _against_stations(
    obs: list[Path],
    mapping: Path | None,
    controls: QualityControlSettings,
    file: AnalysisFile,
    first: Fields | None,
) -> Section:
    from phyda_cli.observations.pre_qc import prepare
    from phyda_cli.observations.read.read import read_observations
    from phyda_cli.verification.stations import score_stations

    table = prepare(
        read_observations(obs, mapping).table,
        file.fields,
        settings=controls.model_copy(update={"repeats": "all"}),
    )
    report = score_stations(table, file.fields, first)
    compared = f"{sum(d.n for d in report.scores)} of {report.account['in']} observations compared"
    title = f"{file.path.name} against stations, {compared}{_rejected(report.account)}"
    found = {
        "account": report.account,
        "scores": [d.as_dict() for d in report.scores],
        "notes": report.notes,
    }
    return {"stations": found}, [departure_table(report.scores, title)]


def _physics(
    file: AnalysisFile,
    first: Fields | None,
    truth: Fields | None,
    picture: Path | None,
    overwrite: bool,
) -> Section:
    from phyda_cli.verification.physics import assess

    report = assess(file.fields, first, truth, file.members)
    for note in report.notes:
        say(f"physics: {note}")
    if picture is not None:
        from phyda_cli.verification.physics_plots import draw_physics
        from phyda_cli.verification.plots import utc

        title = f"Residuals of {file.path.name}, {utc(file.fields.time)}"
        draw_physics(picture, report, title, overwrite)
        say(f"wrote {picture}")
    return {"physics": report.as_dict()}, physics_tables(report, file.path.name)


def _from_feedback(rows: pd.DataFrame, name: str) -> Section:
    from phyda_cli.observations.departures import summarise_feedback

    summary = summarise_feedback(rows)
    kinds = {"used": summary.used, "passive": summary.passive}
    counts = {k: f"{summary.account[k]} {k} of {summary.account['in']} observations" for k in kinds}
    tables = [
        departure_table(v, f"{name}, {counts[k]}{_rejected(summary.account)}")
        for k, v in kinds.items()
        if v
    ]
    tables += [
        group_table(found, f"{name}, used observations by {kind}", kind)
        for kind, found in summary.groups.items()
        if found
    ]
    if summary.chi2 is not None:
        advice = (
            ""
            if summary.inflation is None
            else f"; with observation errors times {summary.inflation:.3g} it would be one"
        )
        say(f"chi2 of all used observations: {summary.chi2:.3g}{advice}")
    return {"feedback": summary.as_dict()}, tables
