"""``phyda osse``: what an observing network would give."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phyda_cli.commands.arguments import (
    INPUT,
    METHOD,
    OUTPUT,
    AsJson,
    Checkpoint,
    Decimal,
    NetworkFile,
    ObsMap,
    Overwrite,
    files_of,
)
from phyda_cli.commands.console import emit_json, emit_text, results_are_in_files, say, warn
from phyda_cli.errors import OutputError
from phyda_cli.settings.analysis import AnalysisSettings
from phyda_cli.settings.options import RUNNING, Chosen, Flag, takes_settings

if TYPE_CHECKING:
    from phyda_cli.simulation.osse import Experiment, Outcome
    from phyda_cli.simulation.osse_scores import Gains

__all__ = ["osse"]

NOTHING = "none"
FILES = ("scores.csv", "report.html", "osse.json")
FLAGS = (
    Flag("method", METHOD),
    Flag("members", METHOD),
    Flag("seed", METHOD),
    Flag("device", RUNNING),
)


@takes_settings({AnalysisSettings: FLAGS}, (INPUT, METHOD, OUTPUT, RUNNING))
def osse(
    truth: Annotated[
        list[Path],
        typer.Option(
            "--truth",
            metavar="FILE",
            help="The truth at one or more times: a file or a quoted pattern. Repeatable.",
            rich_help_panel=INPUT,
            readable=False,
        ),
    ],
    network: NetworkFile,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder for osse.json, scores.csv and report.html.",
            rich_help_panel=OUTPUT,
            readable=False,
        ),
    ],
    chosen: Chosen,
    background: Annotated[
        list[Path] | None,
        typer.Option(
            "--background",
            metavar="FILE",
            help="Forecasts valid at the times of the truth: a file or a quoted pattern. "
            "Repeatable. [default: the truth of 24 h before]",
            rich_help_panel=INPUT,
            readable=False,
        ),
    ] = None,
    baseline: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Network to compare with, or none: then the background alone.",
            rich_help_panel=INPUT,
        ),
    ] = NOTHING,
    obs_map: ObsMap = None,
    decimal: Decimal = None,
    checkpoint: Checkpoint = None,
    repeats: Annotated[
        int,
        typer.Option(
            min=1,
            help="Analyse each time this often, with other errors of the observations.",
            rich_help_panel=METHOD,
        ),
    ] = 1,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """What would an observing network give? Simulate its observations of a truth, assimilate them
    and compare the analyses with the truth.

    Every time of the truth that has a background is analysed. The error bars come from these times,
    ten of them or more.

    ```
    phyda osse --truth 'truth_*.nc' --background 'fc_*.nc' --network network.csv --out osse
    phyda osse --truth truth.nc --network new.csv --baseline old.csv --method oi --out osse
    ```
    """
    from phyda_cli.analysis.assimilate import Request
    from phyda_cli.formats.by_time import FieldsByTime
    from phyda_cli.model.checkpoint import BUNDLED
    from phyda_cli.observations.read.read import TextTables
    from phyda_cli.simulation.network_file import read_network
    from phyda_cli.simulation.osse import Experiment, run_osse
    from phyda_cli.simulation.osse_scores import BASELINE, NETWORK, gains_of

    settings = chosen.settings(AnalysisSettings)
    outputs = _outputs(out, overwrite)
    tables = TextTables(tuple(obs_map or ()), tuple(decimal or ()))
    networks = {NETWORK: read_network(network, tables)}
    if baseline != NOTHING:
        networks[BASELINE] = read_network(Path(baseline), tables)
    experiment = Experiment(
        truths=FieldsByTime("truth", files_of(truth)),
        backgrounds=FieldsByTime("background", files_of(background)) if background else None,
        networks=networks,
        request=Request(obs=[], background=None, out=None, checkpoint=checkpoint or BUNDLED),
        settings=settings,
        repeats=repeats,
    )
    outcome = run_osse(experiment, say)
    gains = gains_of(outcome)
    _write(outputs, experiment, outcome, gains)
    with results_are_in_files():
        _tell(outputs, experiment, outcome, gains, as_json)


def _outputs(out: Path, overwrite: bool) -> dict[str, Path]:
    """The files to write in the folder ``out``, which is made. Raises OutputError."""
    from phyda_cli.files.publish import check_target

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {out}: {error.strerror}", hint="choose another one with --out"
        ) from error
    return {name: check_target(out / name, overwrite) for name in FILES}


def _write(
    outputs: Mapping[str, Path], experiment: Experiment, outcome: Outcome, gains: Gains
) -> None:
    """Write all files, or none."""
    from phyda_cli.files.publish import publish_text, together
    from phyda_cli.simulation.osse_page import render_osse
    from phyda_cli.simulation.osse_scores import scores_of
    from phyda_cli.simulation.osse_summary import as_json
    from phyda_cli.verification.export import write_csv

    found = as_json(experiment, outcome, gains)
    with together():
        write_csv(outputs["scores.csv"], list(scores_of(outcome, gains)), overwrite=True)
        publish_text(outputs["report.html"], render_osse(experiment, outcome, gains))
        publish_text(outputs["osse.json"], json.dumps(found, indent=1, allow_nan=False) + "\n")


def _tell(
    outputs: Mapping[str, Path],
    experiment: Experiment,
    outcome: Outcome,
    gains: Gains,
    as_object: bool,
) -> None:
    """Print the result."""
    from phyda_cli.commands.tables import left_out_text
    from phyda_cli.simulation.osse_summary import as_json, headline, notes_of, table_of
    from phyda_cli.verification.screen import screen

    if as_object:
        emit_json(as_json(experiment, outcome, gains))
        return
    for network in experiment.networks.values():
        for note in network.notes:
            say(note)
    for name, reports in outcome.reports.items():
        for group in reports.account()["left_out"]:
            say(f"{name}, left out: {left_out_text(group)}")
    for note in outcome.remarks:
        say(f"first analysis: {note}")
    for note in notes_of(outcome, gains):
        warn(note)
    emit_text("\n".join(screen(headline(experiment, outcome, gains), [table_of(gains)])) + "\n")
    say(f"every number: {outputs['scores.csv']}; a page: {outputs['report.html']}")
