"""``phyda obs``: look at observation files, convert and merge them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
    files_of,
    parse_time,
)
from phyda_cli.commands.arguments import Overwrite as OverwriteOutputs
from phyda_cli.commands.console import emit, emit_json, emit_text, say, warn
from phyda_cli.errors import UsageError
from phyda_cli.settings.analysis import AnalysisSettings
from phyda_cli.settings.options import RUNNING, Chosen, Flag, SettingsCommand, takes_settings

if TYPE_CHECKING:
    from phyda_cli.observations.report import ReadResult

__all__ = ["obs"]

obs = typer.Typer(
    no_args_is_help=True, help="Look at observation files, convert, merge and simulate them."
)

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE…",
        help="Observation files of any format; quoted patterns are expanded.",
        readable=False,
    ),
]
Out = Annotated[Path, typer.Option("--out", help="File to write.", readable=False)]
To = Annotated[
    str | None, typer.Option("--to", help="csv or nc. [default: as the name of --out says]")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]


@obs.command()
def inspect(
    files: Files,
    obs_map: ObsMap = None,
    decimal: Decimal = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw a map of the stations here (PNG).", readable=False)
    ] = None,
    overwrite: Overwrite = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of tables.")
    ] = False,
) -> None:
    """What files hold: counts by variable, type, level, time and region, ranges of values, and what
    is wrong.

    Only checks that need no background are made.

    Example:

      phyda obs inspect metar.csv 'temp/*.bufr' --plot stations.png
    """
    from phyda_cli.commands.tables import inventory_tables
    from phyda_cli.observations.inventory import check_alone, inventory

    read = _read(files, obs_map, decimal)
    report = inventory(read)
    if plot is not None:
        from phyda_cli.verification.plots import draw_observations

        draw_observations(
            plot,
            check_alone(read.table),
            f"{report['stations']} stations, {report['in']} observations",
            overwrite,
        )
        say(f"wrote {plot}")
    if as_json:
        emit_json(report)
        return
    for note in report["notes"]:
        say(note)
    for problem in report["problems"]:
        warn(problem)
    if report["problem_count"] > len(report["problems"]):
        warn(f"{report['problem_count']} problems in all; --json shows the first ones")
    for table in inventory_tables(report):
        emit(table)


@obs.command()
def rejected(
    feedback: Annotated[Path, typer.Argument(help="Feedback file of an analysis.", readable=False)],
    out: Annotated[
        Path | None, typer.Option(help="File to write. [default: print it]", readable=False)
    ] = None,
    overwrite: Overwrite = False,
    reason: Annotated[
        list[str] | None,
        typer.Option(help="Only those whose reason holds these words. Repeatable."),
    ] = None,
) -> None:
    """The observations that an analysis did not use, each with its reason, as CSV.

    Example:

      phyda obs rejected feedback.nc --out rejected.csv
      phyda obs rejected feedback.nc --reason neighbours --reason background
    """
    from phyda_cli.observations.feedback import rejected as rows_of

    rows = rows_of(feedback)
    counts = rows["reason"].value_counts()
    if reason:
        rows = rows.loc[[any(words in text for words in reason) for text in rows["reason"]]]
    written = rows.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ", float_format="%.7g")
    emit_text(written, out, overwrite)
    listed = ", ".join(f"{n} {text}" for text, n in counts.items())
    say(f"{counts.sum()} rejected observations" + (f": {listed}" if listed else ""))
    if reason:
        say(f"{len(rows)} of them are listed")


@obs.command()
def maps(
    name: Annotated[str | None, typer.Argument(help="Example to print; all names without.")] = None,
    keys: Annotated[
        bool, typer.Option("--keys", help="Print what a mapping file may say.")
    ] = False,
) -> None:
    """Examples of mapping files for --obs-map: those of the exports that phyda knows.

    Example:

      phyda obs maps ndbc > buoy.toml

      phyda obs maps --keys
    """
    from phyda_cli.observations.read.columns import keys_text
    from phyda_cli.observations.read.layouts import FOLDER, example

    known = sorted(path.stem for path in FOLDER.glob("*.toml"))
    if keys:
        emit_text(keys_text())
    elif name is None:
        emit_text("\n".join(known) + "\n", None, False)
    elif name in known:
        emit_text(example(name), None, False)
    else:
        raise UsageError(f"no example {name!r}: expected one of {', '.join(known)}")


@obs.command()
def template(
    kind: Annotated[
        str, typer.Option(help="long: one value a row; wide: one report a row.")
    ] = "long",
    out: Annotated[
        Path | None, typer.Option(help="File to write. [default: print it]", readable=False)
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """A CSV header to fill in, each column and unit explained.

    Example:

      phyda obs template --kind wide --out stations.csv
    """
    from phyda_cli.observations.template import template as text_of

    if kind not in ("long", "wide"):
        raise UsageError(f"--kind {kind}: expected long or wide")
    emit_text(text_of(wide=kind == "wide"), out, overwrite)


@obs.command()
def convert(
    files: Files,
    out: Out,
    to: To = None,
    obs_map: ObsMap = None,
    decimal: Decimal = None,
    overwrite: Overwrite = False,
) -> None:
    """Write observations of any format as long CSV, or as NetCDF in the layout of a feedback file.

    CSV holds the rows that could be read; NetCDF all of them, with their codes, files and rows.

    Example:

      phyda obs convert temp.bufr --to csv --out temp.csv
    """
    from phyda_cli.files.publish import check_target
    from phyda_cli.observations.convert import format_of, write_observations

    kind = format_of(out, to)
    check_target(out, overwrite)
    read = _read(files, obs_map, decimal)
    written, left_out = write_observations(out, read.table, kind, overwrite)
    _tell(read, out, written, left_out)


@obs.command()
def merge(
    files: Files,
    out: Out,
    to: To = None,
    obs_map: ObsMap = None,
    decimal: Decimal = None,
    overwrite: Overwrite = False,
) -> None:
    """Several files as one, in the order of time, each observation once.

    Of rows of the same station, position, time, variable and level the first is kept.

    Example:

      phyda obs merge 'hour_*.csv' --out day.csv
    """
    from phyda_cli.files.publish import check_target
    from phyda_cli.observations.convert import format_of, merged, write_observations

    kind = format_of(out, to)
    check_target(out, overwrite)
    read = _read(files, obs_map, decimal)
    table, duplicates = merged(read.table)
    written, left_out = write_observations(out, table, kind, overwrite)
    say(f"{duplicates} duplicates left out")
    _tell(read, out, written, left_out)


@obs.command(cls=SettingsCommand)
@takes_settings({AnalysisSettings: (Flag("seed", METHOD),)}, (INPUT, METHOD, OUTPUT, RUNNING))
def simulate(
    fields: Annotated[
        list[Path],
        typer.Argument(
            metavar="FIELD…",
            help="What is observed: forecasts or analyses (NetCDF, GRIB or Zarr), quoted patterns.",
            readable=False,
        ),
    ],
    chosen: Chosen,
    network: NetworkFile,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Observations to write, .csv or .nc.",
            rich_help_panel=OUTPUT,
            readable=False,
        ),
    ],
    times: Annotated[
        list[str] | None,
        typer.Option(
            "--times",
            metavar="TIME",
            help="Valid time to observe. Repeatable. [default: every one of the fields]",
            rich_help_panel=INPUT,
        ),
    ] = None,
    member: Annotated[
        int | None,
        typer.Option(help="Member to observe of an ensemble file.", rich_help_panel=INPUT),
    ] = None,
    obs_map: ObsMap = None,
    decimal: Decimal = None,
    errors: Annotated[
        Literal["on", "off"],
        typer.Option(
            help="Add random errors to the values, or leave them exact.", rich_help_panel=METHOD
        ),
    ] = "on",
    checkpoint: Checkpoint = None,
    overwrite: OverwriteOutputs = False,
    as_json: AsJson = False,
) -> None:
    """Observations that a network would make of known fields, with random errors.

    The values come from the observation operators that `phyda assimilate` compares with. Each gets
    an error of its own standard deviation, that of the network file or the default. The same seed
    gives the same errors.

    ```
    phyda obs simulate truth.nc --network network.csv --out obs.csv --seed 1
    phyda obs simulate truth.nc --network metar.csv --out exact.csv --errors off
    ```
    """
    from phyda_cli.commands.tables import left_out_text, simulated_table
    from phyda_cli.files.publish import check_target
    from phyda_cli.model.checkpoint import BUNDLED
    from phyda_cli.model.checkpoint import Checkpoint as Model
    from phyda_cli.observations.convert import format_of, write_observations
    from phyda_cli.observations.read.read import TextTables
    from phyda_cli.simulation.network_file import read_network
    from phyda_cli.simulation.simulated_reports import simulate_files

    settings = chosen.settings(AnalysisSettings)
    kind = format_of(out, None)
    check_target(out, overwrite)
    wanted = [time for text in times or [] if (time := parse_time(text, "--times")) is not None]
    found = read_network(network, TextTables(tuple(obs_map or ()), tuple(decimal or ())))
    seed = settings.seed if errors == "on" else None
    model = Model.open(checkpoint or BUNDLED)
    reports = simulate_files(files_of(fields), found, model, settings.qc, seed, wanted, member)
    write_observations(out, reports.table, kind, overwrite)
    account = reports.account()
    if as_json:
        emit_json(
            {"schema": 1, "out": str(out), "seed": seed, "notes": list(found.notes)} | account
        )
        return
    for note in found.notes:
        say(note)
    emit(simulated_table(account))
    for group in account["left_out"]:
        say(f"left out: {left_out_text(group)}")
    if reports.clipped:
        say(f"{reports.clipped} values were set to the edge of their plausible range")
    with_errors = "without errors" if seed is None else f"with errors of seed {seed}"
    say(f"wrote {out}: {account['simulated']} observations {with_errors}")


def _read(patterns: list[Path], maps: list[str] | None, decimals: list[str] | None) -> ReadResult:
    from phyda_cli.observations.read.read import TextTables, read_observations

    return read_observations(
        files_of(patterns), TextTables(tuple(maps or ()), tuple(decimals or ()))
    )


def _tell(read: ReadResult, out: Path, written: int, left_out: int) -> None:
    """What was written, and what and which rows were not."""
    from phyda_cli.observations.report import told_once

    for note in told_once(read.notes):
        say(note)
    for problem in read.problems[:5]:
        warn(str(problem))
    unreadable = (
        f", {left_out + read.rows_unreadable} unreadable ones left out"
        if left_out + read.rows_unreadable
        else ""
    )
    say(f"wrote {out}: {written} observations{unreadable}")
