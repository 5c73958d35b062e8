"""``phyda verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phyda_cli.commands.assimilate import parse_time
from phyda_cli.commands.console import emit, emit_json, say
from phyda_cli.commands.score_tables import departure_table, field_table
from phyda_cli.errors import UsageError
from phyda_cli.verification.ratios import mean_ratio

if TYPE_CHECKING:
    import numpy as np

    from phyda_cli.fields.grid import Fields
    from phyda_cli.verification.station_scores import StationReport

__all__ = ["verify"]


def verify(
    analysis: Annotated[Path, typer.Argument(help="Analysis (or any forecast) to verify: NetCDF or GRIB.")],
    truth: Annotated[Path | None, typer.Option(help="Fields to verify against, on any grid.")] = None,
    background: Annotated[Path | None, typer.Option(help="First guess to compare with. [default: analysis minus its increments]")] = None,
    obs: Annotated[list[Path] | None, typer.Option("--obs", help="Observations to verify against: CSV, BUFR. Repeatable.")] = None,
    obs_map: Annotated[Path | None, typer.Option(help="TOML file that maps CSV columns to variables and units.")] = None,
    feedback: Annotated[Path | None, typer.Option(help="Feedback file of the analysis: departures, chi2, error estimates.")] = None,
    time: Annotated[str | None, typer.Option(help="Valid time, where the file has several. The others must have it too.")] = None,
    window: Annotated[float, typer.Option(min=0, help="Compare with observations within so many hours.")] = 3.0,
    plot: Annotated[Path | None, typer.Option(help="Draw increment, spread and stations here (PNG).")] = None,
    field: Annotated[str | None, typer.Option(help="Field to draw, such as z500 or msl. [default: t850 if it is there]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing picture.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Score an analysis against fields, stations and its own feedback.

    Examples:

      phyda verify analysis.nc --truth era5.nc

      phyda verify analysis.nc --obs metar.csv --obs-map metar.toml --json

      phyda verify analysis.nc --feedback feedback.nc --plot increment.png --field z500
    """
    from phyda_cli.observations.feedback import read_feedback
    from phyda_cli.verification.analysis_file import read_analysis
    from phyda_cli.verification.fields_scores import score_fields
    from phyda_cli.verification.pictures import draw_channel
    from phyda_cli.verification.station_scores import summarise_feedback

    if not any((truth, obs, feedback, plot)):
        raise UsageError("nothing to verify against", hint="give --truth FILE, --obs FILE or --feedback FILE (or --plot FILE.png)")
    file = read_analysis(analysis, parse_time(time, "--time"))
    first = file.background if background is None else _at_same_time(background, file.fields.time)
    result: dict[str, Any] = {"schema": 1, "analysis": str(analysis), "valid_time": str(file.fields.time.astype("datetime64[s]"))}
    tables = []
    if truth is not None:
        scores = score_fields(file.fields, _at_same_time(truth, file.fields.time), first, file.spread, file.members)
        ratio = mean_ratio(s.ratio for s in scores)
        result |= {"truth": str(truth), "fields": [s.as_dict() for s in scores], "mean_ratio": ratio}
        tables.append(field_table(scores, f"{analysis.name} against {truth.name}"))
    if obs:
        report = _against_stations(obs, obs_map, window, file.fields, first)
        result["stations"] = {"account": report.account, "scores": [d.as_dict() for d in report.scores], "notes": report.notes}
        compared = f"{sum(d.n for d in report.scores)} of {report.account['in']} observations compared"
        tables.append(departure_table(report.scores, f"{analysis.name} against stations, {compared}{_rejected(report.account)}"))
    rows = None
    if feedback is not None:
        rows = read_feedback(feedback)
        summary = summarise_feedback(rows)
        kinds = {"used": summary.used, "passive": summary.passive}
        result["feedback"] = {"account": summary.account, **{k: [d.as_dict() for d in v] for k, v in kinds.items()}}
        counts = {k: f"{summary.account[k]} {k} of {summary.account['in']} observations" for k in kinds}
        tables += [departure_table(v, f"{feedback.name}, {counts[k]}{_rejected(summary.account)}") for k, v in kinds.items() if v]
    if plot is not None:
        draw_channel(plot, file, first, field, rows, overwrite)
        say(f"wrote {plot}")
    if as_json:
        emit_json(result)
        return
    for table in tables:
        emit(table)


def _at_same_time(path: Path, time: np.datetime64) -> Fields:
    from phyda_cli.fields.background import read_background

    return read_background(path, time).fields


def _rejected(account: dict[str, Any]) -> str:
    reasons = ", ".join(f"{n} {reason}" for reason, n in account["rejected"].items())
    return f" (rejected: {reasons})" if reasons else ""


def _against_stations(obs: list[Path], mapping: Path | None, window: float, analysis: Fields, background: Fields | None) -> StationReport:
    import numpy as np

    from phyda_cli.observations.prepare import prepare
    from phyda_cli.observations.readers import read_observations
    from phyda_cli.verification.station_scores import score_stations

    table = prepare(read_observations(obs, mapping).table, analysis, window=np.timedelta64(round(window * 3600), "s"))
    return score_stations(table, analysis, background)
