"""``phyda plot``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phyda_cli.commands.arguments import INPUT, OUTPUT, Overwrite, files_of, parse_time
from phyda_cli.commands.console import say
from phyda_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from phyda_cli.verification.analysis_file import AnalysisFile
    from phyda_cli.verification.maps import Area

__all__ = ["plot"]


class Kind(StrEnum):
    """What to draw."""

    field = "field"
    increment = "increment"
    spread = "spread"
    section = "section"
    station = "station"
    single = "single"


def plot(
    kind: Annotated[
        Kind,
        typer.Argument(
            help="field, increment (with the spread), spread, section (vertical, of the increment "
            "where there is one), station (its departures over time), single (what one observation "
            "does; needs --feedback)."
        ),
    ],
    files: Annotated[
        list[Path],
        typer.Argument(
            help="An analysis or forecast; for station feedback files or patterns.", readable=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Picture to write (PNG).", rich_help_panel=OUTPUT, readable=False
        ),
    ] = Path("plot.png"),
    field: Annotated[
        str | None,
        typer.Option(
            help="Field such as t850, msl, or a variable such as t.", rich_help_panel=INPUT
        ),
    ] = None,
    level: Annotated[
        float | None,
        typer.Option(help="Level [hPa] of a --field without one.", rich_help_panel=INPUT),
    ] = None,
    area: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(
            metavar="WEST SOUTH EAST NORTH",
            help="Part of the globe. [default: the stations' area where they are few]",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    line: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(
            metavar="LAT LON LAT LON",
            help="Ends of a cross-section [degrees]. [default: through the largest increment]",
            rich_help_panel=INPUT,
        ),
    ] = None,
    station: Annotated[
        str | None, typer.Option(help="Station of `plot station`.", rich_help_panel=INPUT)
    ] = None,
    background: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="First guess. [default: the analysis minus its increments]",
            rich_help_panel=INPUT,
            readable=False,
        ),
    ] = None,
    feedback: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Feedback whose stations are drawn.",
            rich_help_panel=INPUT,
            readable=False,
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(help="Valid time, where the file has several.", rich_help_panel=INPUT),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw a field, an increment, a cross-section or a station.

    ```
    phyda plot increment analysis.nc --field t850 --feedback feedback.nc --out t850.png
    phyda plot field fc.nc --field t --level 500 --area -15 35 25 60
    phyda plot section analysis.nc --field t --line 40 -80 60 10
    phyda plot station 'fb/*.nc' --station 06610 --field t2m
    phyda plot single analysis.nc --feedback feedback.nc
    ```
    """
    from phyda_cli.files.publish import check_target
    from phyda_cli.verification.analysis_file import read_analysis

    check_target(out, overwrite)
    paths = files_of(files)
    if kind is Kind.station:
        _station(paths, station, field, out, overwrite)
    else:
        if len(paths) != 1:
            raise UsageError(f"plot {kind} takes one file, got {len(paths)}")
        if level is not None:
            if field is None:
                raise UsageError("--level needs --field", hint="for example --field t --level 850")
            field = f"{field}{level:g}"
        file = read_analysis(paths[0], parse_time(time, "--time"))
        if background is not None:
            from dataclasses import replace

            from phyda_cli.formats.background import read_background

            first = read_background(background, file.fields.time).fields
            file = replace(file, background=first)
        if kind is Kind.single:
            _single(file, feedback, out, overwrite)
        elif kind is Kind.section:
            _section(file, field or "t", line, out, overwrite)
        else:
            _map(kind, file, field, area, feedback, out, overwrite)
    say(f"wrote {out}")


def _station(
    paths: list[Path], station: str | None, field: str | None, out: Path, overwrite: bool
) -> None:
    from phyda_cli.verification.collect import feedback_by_time
    from phyda_cli.verification.sections import draw_station

    if station is None:
        raise UsageError("plot station needs --station NAME")
    draw_station(out, feedback_by_time(paths), station, field, overwrite)


def _section(
    file: AnalysisFile,
    variable: str,
    line: tuple[float, float, float, float] | None,
    out: Path,
    overwrite: bool,
) -> None:
    from phyda_cli.verification.sections import draw_section

    if line is None:
        line = _through_the_largest(file, variable)
    draw_section(out, file.fields, variable, line, file.background, overwrite)


def _single(file: AnalysisFile, feedback: Path | None, out: Path, overwrite: bool) -> None:
    from phyda_cli.observations.feedback import read_feedback
    from phyda_cli.verification.single_plot import draw_single_observation

    if feedback is None or file.background is None:
        raise UsageError("plot single needs --feedback FILE and an analysis with increments")
    draw_single_observation(out, file, file.background, read_feedback(feedback), overwrite)


def _through_the_largest(file: AnalysisFile, variable: str) -> tuple[float, float, float, float]:
    """A line of 40 degrees of longitude through the largest increment of ``variable``."""
    import numpy as np

    if file.background is None or variable not in file.fields.upper:
        raise UsageError("a cross-section needs --line", hint="for example --line 40 -80 60 10")
    change = np.abs(np.asarray(file.fields.upper[variable]) - file.background.upper[variable])
    _, i, j = np.unravel_index(int(np.nanargmax(change)), change.shape)
    latitude, longitude = (float(m[i, j]) for m in file.fields.grid.mesh)
    grid = file.fields.grid
    west, east = longitude - 20, longitude + 20
    if not grid.periodic:
        west, east = max(west, grid.longitude[0]), min(east, grid.longitude[-1])
    return latitude, west, latitude + 0.01, east


def _map(
    kind: Kind,
    file: AnalysisFile,
    field: str | None,
    area: Area | None,
    feedback: Path | None,
    out: Path,
    overwrite: bool,
) -> None:
    from phyda_cli.observations.feedback import read_feedback
    from phyda_cli.verification.plots import draw_channel, draw_one

    rows = None if feedback is None else read_feedback(feedback)
    if kind is Kind.increment:
        draw_channel(out, file, file.background, field, rows, overwrite, area)
        return
    fields, name = (file.fields, "") if kind is Kind.field else (file.spread, "Spread of ")
    if fields is None:
        raise InputError(f"{file.path} has no spread to draw")
    draw_one(out, fields, name, field, rows, overwrite, area)
