"""``phyda assimilate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phyda_cli.commands.arguments import (
    INPUT,
    METHOD,
    OUTPUT,
    AsJson,
    Checkpoint,
    Decimal,
    ObsMap,
    Overwrite,
    check_name,
    files_of,
    parse_pairs,
    parse_renames,
    parse_time,
)
from phyda_cli.commands.console import (
    emit,
    emit_json,
    results_are_in_files,
    say,
    silence,
    warn,
)
from phyda_cli.commands.tables import bias_text, observation_table, summary_table, verdict_text
from phyda_cli.errors import UsageError
from phyda_cli.settings.analysis import AnalysisSettings
from phyda_cli.settings.options import RUNNING, Chosen, Flag, takes_settings

if TYPE_CHECKING:
    from phyda_cli.analysis.analyse import Analysis
    from phyda_cli.analysis.assimilate import Judge
    from phyda_cli.formats.background import Background

__all__ = ["assimilate"]

QUALITY = "Quality control"
CLIMATOLOGY = "climatology"
FLAGS = (
    Flag("method", METHOD),
    Flag("members", METHOD, hidden=True),
    Flag("qc.window_hours", QUALITY, "--window"),
    Flag("qc.withhold", QUALITY),
    Flag("output.format", OUTPUT, hidden=True),
    Flag("output.area", OUTPUT, hidden=True),
    Flag("output.levels", OUTPUT, hidden=True),
    Flag("fine.stage", METHOD, "--fine", hidden=True),
    Flag("physics", METHOD, hidden=True),
    Flag("verdict.fail_on", RUNNING),
    Flag("degraded.fail_on", RUNNING, "--fail-on-degraded", hidden=True),
    Flag("bias.memory_days", QUALITY, hidden=True),
    Flag("bias.anchors", QUALITY, "--anchors", hidden=True),
    Flag("seed", METHOD, hidden=True),
    Flag("device", RUNNING, hidden=True),
    Flag("background_error_scale", METHOD, hidden=True),
    Flag("correction_weight", METHOD, hidden=True),
    Flag("ensemble.hybrid_weight", METHOD, hidden=True),
    Flag("ensemble.lagged_weight", METHOD, hidden=True),
    Flag("ensemble.rtps", METHOD, hidden=True),
    Flag("guidance.rule", METHOD, "--guidance", hidden=True),
    Flag("qc.thinning", QUALITY, hidden=True),
    Flag("qc.robust", QUALITY, hidden=True),
)


@takes_settings({AnalysisSettings: FLAGS}, (INPUT, METHOD, QUALITY, OUTPUT, RUNNING))
def assimilate(
    chosen: Chosen,
    obs: Annotated[
        list[Path] | None,
        typer.Option(
            "--obs",
            metavar="FILE",
            help="Observations (CSV, BUFR, NetCDF, ODB-2): a file or a quoted pattern. Repeatable.",
            rich_help_panel=INPUT,
            readable=False,
        ),
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            "--background",
            metavar="FILE",
            help="Forecast to correct: a file, or a quoted pattern of the files of its times; or "
            "climatology: the model's own, without a forecast. "
            "[default: the mean of --ensemble]",
            rich_help_panel=INPUT,
            readable=False,
        ),
    ] = None,
    ensemble: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Members of your ensemble: a file or a quoted pattern. Repeatable.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    lagged: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Forecasts of other starts that hold the valid time: they show what forecasts of "
            "today disagree on. A file or a quoted pattern. Repeatable.",
            rich_help_panel=INPUT,
            hidden=True,
        ),
    ] = None,
    obs_map: ObsMap = None,
    decimal: Decimal = None,
    time: Annotated[
        str | None,
        typer.Option(
            help="Time to take from the background. [default: nearest to the observations]",
            rich_help_panel=INPUT,
            hidden=True,
        ),
    ] = None,
    valid_time: Annotated[
        str | None,
        typer.Option(
            help="Treat the background as valid at this time, whatever it says; the output "
            "records it.",
            rich_help_panel=INPUT,
            hidden=True,
        ),
    ] = None,
    member: Annotated[
        int | None,
        typer.Option(
            help="Member to take from an ensemble file.", rich_help_panel=INPUT, hidden=True
        ),
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=CANONICAL",
            help="Name of a variable that phyda does not know. Repeatable.",
            rich_help_panel=INPUT,
            hidden=True,
        ),
    ] = None,
    operator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Observations with the operator of a plug-in, for the method phyda. Repeatable.",
            rich_help_panel=INPUT,
            hidden=True,
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Stop at the first unreadable row.", rich_help_panel=INPUT, hidden=True
        ),
    ] = False,
    checkpoint: Checkpoint = None,
    withhold_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Stations, one a line, to compare and not to use.",
            rich_help_panel=QUALITY,
            hidden=True,
            readable=False,
        ),
    ] = None,
    blacklist: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Stations to reject, one a line, with or without variables.",
            rich_help_panel=QUALITY,
            readable=False,
            hidden=True,
        ),
    ] = None,
    whitelist: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Stations to accept, in the same form; all others are rejected.",
            rich_help_panel=QUALITY,
            hidden=True,
            readable=False,
        ),
    ] = None,
    limits: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="TOML file of limits, as for phyda verify: an analysis beyond one is suspect.",
            rich_help_panel=RUNNING,
            hidden=True,
            readable=False,
        ),
    ] = None,
    allow_no_obs: Annotated[
        bool,
        typer.Option(
            "--allow-no-obs",
            help="Write the background as analysis where no observation is usable, or none is "
            "given.",
            rich_help_panel=QUALITY,
            hidden=True,
        ),
    ] = False,
    previous: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Feedback of the previous analysis: it knows which stations are biased, and which "
            "reports are used already.",
            rich_help_panel=QUALITY,
            hidden=True,
            readable=False,
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Analysis to write, on the background's grid: NetCDF, .zarr, or .grib2 of a GRIB "
            "background.",
            rich_help_panel=OUTPUT,
            readable=False,
        ),
    ] = Path("analysis.nc"),
    feedback: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File for every observation with its O-B, O-A and quality control.",
            rich_help_panel=OUTPUT,
            readable=False,
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="One offline page (HTML) about the analysis and, with --feedback, its stations.",
            rich_help_panel=OUTPUT,
            readable=False,
        ),
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV of stations: the analysis there goes to OUT_points.csv.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    iau_hours: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Write the increment as a rate over this window [h] to OUT_tendency.nc, for a "
            "model that adds it slowly.",
            rich_help_panel=OUTPUT,
            hidden=True,
        ),
    ] = None,
    save_members: Annotated[
        bool,
        typer.Option(
            "--save-members", help="Write each member too.", rich_help_panel=OUTPUT, hidden=True
        ),
    ] = False,
    overwrite: Overwrite = False,
    replace_if_inputs_changed: Annotated[
        bool,
        typer.Option(
            "--replace-if-inputs-changed",
            help="Replace outputs that phyda made from other inputs, such as fewer observations.",
            hidden=True,
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    as_json: AsJson = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            help="Print only warnings and errors.",
            rich_help_panel=OUTPUT,
            hidden=True,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            "-n",
            help="Read and check everything, write nothing.",
            rich_help_panel=RUNNING,
        ),
    ] = False,
) -> None:
    """Correct a forecast with observations.

    ```
    phyda assimilate --obs stations.csv --background fc.nc --out analysis.nc
    phyda assimilate --obs metar.csv --obs-map metar.toml --background gfs.grib2 --feedback fb.nc
    phyda assimilate --obs 'temp/*.bufr' --background fc.nc --set qc.robust=huber --dry-run
    phyda assimilate --obs stations.csv --ensemble 'ens/*.nc' --method letkf --save-members
    torchrun --nproc-per-node 4 -m phyda_cli assimilate --obs stations.csv --background fc.nc
    ```
    """
    from phyda_cli.analysis.assimilate import Request, assist
    from phyda_cli.analysis.assimilate import assimilate as run
    from phyda_cli.files.publish import check_target
    from phyda_cli.model.checkpoint import BUNDLED
    from phyda_cli.observations.read.read import TextTables
    from phyda_cli.parallel.ranks import ranks

    with ranks() as place:
        if place.rank > 0:
            silence()
            assist(place)
            return
        if not obs and not allow_no_obs:
            raise UsageError(
                "no observations are given",
                hint="give --obs FILE, or --allow-no-obs for the background as analysis",
            )
        settings = chosen.settings(AnalysisSettings)
        climatology = background == CLIMATOLOGY and not Path(CLIMATOLOGY).exists()
        no_file = background is None or climatology
        forecast = [] if no_file else files_of([str(background)])
        if settings.output.format == "auto":
            check_name(out, "--out", "GRIB", "Zarr")
        check_name(feedback, "--feedback", "CSV")
        if page is not None and feedback is not None and feedback.suffix.lower() == ".csv":
            raise UsageError(
                f"--report reads the feedback, and {feedback} would be CSV",
                hint=f"use --feedback {feedback.with_suffix('.nc')}, or leave out --report",
            )
        request = Request(
            obs=files_of(obs or []),
            background=forecast[0] if forecast else None,
            trajectory=forecast[1:],
            ensemble=files_of(ensemble or []),
            lagged=files_of(lagged or []),
            out=out,
            feedback=feedback,
            previous=previous,
            checkpoint=checkpoint or BUNDLED,
            tables=TextTables(tuple(obs_map or ()), tuple(decimal or ())),
            withhold_file=withhold_file,
            blacklist=blacklist,
            whitelist=whitelist,
            limits=limits,
            operators=_operators(operator or []),
            time=parse_time(time, "--time"),
            valid_time=parse_time(valid_time, "--valid-time"),
            member=member,
            rename=parse_renames(rename or []),
            strict=strict,
            overwrite=overwrite,
            replace_changed=replace_if_inputs_changed,
            allow_no_obs=allow_no_obs,
            save_members=save_members,
            points=points,
            iau_hours=iau_hours,
            climatology=climatology,
        )
        if page is not None and not dry_run:
            check_target(page, overwrite)
        judge = _judge_of(limits) if limits else lambda *_: ()
        result = run(request, settings, dry_run, place, judge)
        report = result.report
        if result.background is not None:
            report["lead_hours"] = result.background.fields.lead_hours
    if page is not None and not dry_run:
        from phyda_cli.formats.inputs import file_kind
        from phyda_cli.verification.collect import Inputs
        from phyda_cli.verification.report import report_on

        # GRIB holds no increments: the page takes them from the background, as it was read.
        plain = file_kind(out) == "grib" and not (rename or time or member is not None)
        inputs = Inputs([out], [], forecast if plain else [], [feedback] if feedback else [])
        report_on(page, inputs, overwrite=overwrite)
    with results_are_in_files():
        others = {"tendency": request.tendency_out, "report": page}
        report |= {name: str(path) if path else None for name, path in others.items()}
        _tell(report, place.size, quiet, as_json)


def _operators(pairs: Sequence[str]) -> dict[str, Path]:
    """Files of observations by the names of the operators that they are for."""
    found = parse_pairs("--operator", pairs, "NAME=FILE", "wind_speed_850=speeds.csv")
    return {name: Path(path) for name, path in found.items()}


def _judge_of(path: Path) -> Judge:
    """What finds the limits in ``path`` that an analysis breaks. Raises InputError, UsageError."""
    from phyda_cli.verification.analysis_file import AnalysisFile
    from phyda_cli.verification.collected import Case
    from phyda_cli.verification.limits import broken_of_analysis, read_limits

    limits = read_limits(path)

    def judge(background: Background, analysis: Analysis) -> list[str]:
        spread = analysis.spread if analysis.status == "ok" else None
        file = AnalysisFile(
            background.path, analysis.fields, background.fields, spread, tuple(analysis.members)
        )
        rows = analysis.feedback.frame()
        time = analysis.fields.time
        broken = broken_of_analysis(limits, Case("", time, file, background.fields, rows=rows))
        return [f"broken limit: {b.text}" for b in broken]

    return judge


def _tell(report: dict[str, Any], ranks: int, quiet: bool, as_json: bool) -> None:
    """Print what became of the observations; ``quiet`` leaves only what is wrong."""
    if report.get("reasons"):
        warn(f"the analysis is degraded: {'; '.join(report['reasons'])}")
    if as_json:
        emit_json(report)
        return
    for problem in report.get("problems", []):
        warn(problem)
    if report["status"] == "background_only" and report["method"] != "none":
        warn("no usable observation: the background is published as the analysis")
    if not quiet:
        _show(report, ranks)


_OUTPUTS = ("out", "feedback", "points", "tendency", "report")


def _show(report: dict[str, Any], ranks: int) -> None:
    """What was read, used and written, and the verdict."""
    verdict = verdict_text(report)
    if report["status"] == "up to date":
        say(f"{report['out']} is up to date, made from the same inputs ({verdict})")
        return
    for note in report["notes"]:
        say(note)
    emit(observation_table(report))
    if report["bias"] is not None:
        say(bias_text(report["bias"]))
    factors = ", ".join(
        f"{name} {factor:.2f}" for name, factor in report["background_error_scale"].items()
    )
    say(f"factor on the background error: {factors}")
    if "departures" not in report:
        say(f"dry run: nothing is written ({verdict})")
        return
    if report["correction_weight"] is not None:
        weights = ", ".join(f"{k} {v:.2f}" for k, v in report["correction_weight"].items())
        say(f"weight of the learned correction: {weights}")
    emit(summary_table(report))
    written = [report[n] for n in _OUTPUTS if report[n]]
    *first, last = written
    files = f"{', '.join(first)} and {last}" if first else last
    by = f" by {ranks} ranks" if ranks > 1 else ""
    say(f"wrote {files} in {report['seconds']} s{by} ({verdict})")
