"""``phyda inspect``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phyda_cli.commands.arguments import AsJson, Checkpoint, files_of, parse_renames, parse_time
from phyda_cli.commands.console import emit, emit_json, warn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.table import Table

__all__ = ["forecast_tables", "inspect"]

MOST_LINES = 24  # of fields that are not used, in text mode


def inspect(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE…",
            help="Forecasts: NetCDF, GRIB or Zarr; quoted patterns are expanded.",
            readable=False,
        ),
    ],
    time: Annotated[
        str | None, typer.Option(help="Which time to look at. [default: the first]")
    ] = None,
    member: Annotated[
        int | None, typer.Option(help="Which member of an ensemble file. [default: the first]")
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=CANONICAL", help="As for assimilate; =ignore leaves one out."),
    ] = None,
    checkpoint: Checkpoint = None,
    as_json: AsJson = False,
) -> None:
    """What forecasts hold: grid, levels, times, what phyda uses as what, what it does not use and
    why, and what the model misses.

    Examples:

      phyda inspect gfs.grib2

      phyda inspect fc.nc --rename t_2=ignore --json
    """
    from phyda_cli.formats.contents import describe_forecast
    from phyda_cli.model.checkpoint import BUNDLED
    from phyda_cli.model.checkpoint import Checkpoint as Model

    known = [p for p in files if os.path.exists(p)]
    paths = [*known, *files_of([p for p in files if p not in known])]
    channels = Model.open(checkpoint or BUNDLED).state.channels
    when, renames = parse_time(time, "--time"), parse_renames(rename or [])
    reports = [describe_forecast(p, channels, when, member, renames) for p in paths]
    if as_json:
        emit_json({"schema": 1, "files": reports})
        return
    for report in reports:
        for table in forecast_tables(report):
            emit(table)
        if report["problem"]:
            warn(report["problem"])


def forecast_tables(report: Mapping[str, Any]) -> list[Table]:
    """What the file is, the fields that are used, and those that are not and why."""
    from phyda_cli.commands.tables import new_table, value_table

    fields = report["fields"]
    used = [f for f in fields if f["used_as"]]
    doubtful = [f for f in fields if not f["used_as"] and f["looks_like"]]
    others = len(fields) - len(used) - len(doubtful)
    model = report["for_the_model"]
    facts = {
        "format": report["format"],
        "grid": _grid(report["grid"]),
        "times": _times(report["times"]),
        "members": len(report["members"]) or "one forecast",
        "shown": report["shown"],
        "the model finds": _channels(model["available"]) or "nothing",
        "the model misses": _channels(model["missing"]) or "nothing",
        "other fields": f"{others}, which pass through",
    }
    notes = {f"note {i}": note for i, note in enumerate(report["notes"], 1)}
    tables = [value_table(report["path"], facts | notes)]
    table = new_table("Used", ("as", "field", "units", "levels (hPa)"), ())
    for column in table.columns[1:]:
        column.no_wrap, column.overflow = False, "fold"
    for f in used:
        table.add_row(f["used_as"], f["name"], f["units"], _levels(f["levels_hpa"]))
    tables.append(table)
    if doubtful:
        lines = {
            f["name"]: f"looks like {f['looks_like']}: {f['reason']}"
            + (f"; {f['hint']}" if f["hint"] else "")
            for f in doubtful[:MOST_LINES]
        }
        if len(doubtful) > MOST_LINES:
            lines["…"] = f"and {len(doubtful) - MOST_LINES} more; --json lists all"
        tables.append(value_table("Not used", lines))
    return tables


def _grid(grid: Mapping[str, Any]) -> str:
    (south, north), (west, east) = sorted(grid["latitude"]), grid["longitude"]
    extent = "global" if grid["global"] else "limited area"
    return (
        f"{grid['rows']} x {grid['columns']}, {grid['spacing'][0]:g} x {grid['spacing'][1]:g} "
        f"degrees, {extent}, {grid['projection']}: latitudes {south:g} to {north:g}, longitudes "
        f"{west:g} to {east:g}"
    )


def _times(times: list[dict[str, Any]]) -> str:
    shown = [f"{t['valid']} (+{t['lead_hours']:g} h)" for t in times]
    if len(shown) > 6:
        shown = [*shown[:3], "…", shown[-1], f"{len(times)} in all"]
    return ", ".join(shown)


def _levels(levels: Iterable[float]) -> str:
    return " ".join(f"{p:g}" for p in levels) or "–"


def _channels(keys: Iterable[str]) -> str:
    """Channels by variable: ``z 50 100, msl``."""
    from phyda_cli.names import parse_channel

    found: dict[str, list[str]] = {}
    for key in keys:
        channel = parse_channel(key)
        levels = found.setdefault(channel.variable, [])
        if channel.level is not None:
            levels.append(f"{channel.level:g}")
    return ", ".join(" ".join([name, *levels]) for name, levels in found.items())
