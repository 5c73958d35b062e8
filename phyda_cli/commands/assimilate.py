"""``phyda assimilate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phyda_cli.commands.console import emit, emit_json, files_of, say, silence, warn
from phyda_cli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table


__all__ = ["assimilate", "observation_table", "parse_time"]


def parse_time(text: str | None, option: str) -> np.datetime64 | None:
    """An ISO 8601 time, taken as UTC. Raises UsageError naming ``option``."""
    import numpy as np

    if text is None:
        return None
    try:
        return np.datetime64(text.strip().removesuffix("Z"), "s")
    except ValueError as error:
        raise UsageError(
            f"{option}: {text!r} is not a time", hint=f"for example {option} 2020-10-01T06:00"
        ) from error


def assimilate(
    obs: Annotated[
        list[Path],
        typer.Option(
            "--obs",
            help="Observations: CSV, BUFR, NetCDF (IODA, MADIS, feedback), ODB-2. A file or a "
            "quoted pattern such as 'synop/*.bufr'; "
            "may be given several times.",
        ),
    ],
    background: Annotated[
        Path | None,
        typer.Option(
            "--background",
            help="Forecast to correct: NetCDF or GRIB. [default: the mean of --ensemble]",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", help="Analysis to write (NetCDF, on the background's grid).")
    ] = Path("analysis.nc"),
    feedback: Annotated[
        Path | None,
        typer.Option(help="Write every observation with O-B, O-A and its quality control here."),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="phyda; the linear analysis alone with static members (oi), an ensemble (letkf) "
            "or both (hybrid); the diffusion guided "
            "by the observations (guidance); or none. [default: phyda]",
            envvar="PHYDA_METHOD",
        ),
    ] = None,
    ensemble: Annotated[
        list[str] | None,
        typer.Option(
            help="Members of your ensemble: a file or a quoted pattern such as 'ens/*.nc'. "
            "Several times."
        ),
    ] = None,
    hybrid_weight: Annotated[
        float | None,
        typer.Option(help="Share of the ensemble in B, static members the rest. [default: 0.5]"),
    ] = None,
    rtps: Annotated[
        float | None,
        typer.Option(
            help="Relaxation of analysis members to the prior spread, 0 to 1. [default: 0.6]"
        ),
    ] = None,
    guidance: Annotated[
        str | None, typer.Option(help="mmps or dps, for the method guidance. [default: mmps]")
    ] = None,
    members: Annotated[
        int | None, typer.Option(min=1, help="Members drawn by phyda and guidance. [default: 16]")
    ] = None,
    physics: Annotated[
        str | None,
        typer.Option(
            help="project (balance the increments exactly), train (as the networks learned) or "
            "off. [default: train]"
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the members. [default: 0]")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda. [default: auto]", envvar="PHYDA_DEVICE")
    ] = None,
    background_error_scale: Annotated[
        str | None,
        typer.Option(
            help="Factor on the background error, or auto: from the innovations. [default: auto]"
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Model folder. [default: the bundled one]", envvar="PHYDA_CHECKPOINT"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with settings; flags win.", envvar="PHYDA_CONFIG")
    ] = None,
    obs_map: Annotated[
        Path | None, typer.Option(help="TOML file that maps CSV columns to variables and units.")
    ] = None,
    withhold_file: Annotated[
        Path | None, typer.Option(help="Stations, one a line, to compare with but not to use.")
    ] = None,
    withhold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.99,
            help="Fraction of the stations to withhold likewise, chosen by the seed. [default: 0]",
        ),
    ] = None,
    blacklist: Annotated[
        Path | None, typer.Option(help="Stations, one a line with or without variables, to reject.")
    ] = None,
    whitelist: Annotated[
        Path | None,
        typer.Option(help="Stations, likewise, outside of which everything is rejected."),
    ] = None,
    thinning: Annotated[
        str | None,
        typer.Option(
            help="Of the reports in a 100 km box use all (none), one (thin) or their mean "
            "(superob). [default: none]"
        ),
    ] = None,
    robust: Annotated[
        str | None,
        typer.Option(
            help="huber weights observations down that do not fit, or none. [default: none]"
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(help="Which time of the background. [default: nearest to the observations]"),
    ] = None,
    valid_time: Annotated[
        str | None,
        typer.Option(
            help="Treat the background as valid at this time, whatever it says; recorded in "
            "the output."
        ),
    ] = None,
    member: Annotated[int | None, typer.Option(help="Which member of an ensemble file.")] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(help="NAME=CANONICAL for a variable the name table does not know."),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(help="Use observations within so many hours of the valid time. [default: 3]"),
    ] = None,
    save_members: Annotated[
        bool, typer.Option("--save-members", help="Write each member too.")
    ] = False,
    allow_no_obs: Annotated[
        bool,
        typer.Option(
            "--allow-no-obs", help="Without usable observations write the background as analysis."
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first unreadable row.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing outputs.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Read and check everything, write nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of tables.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only warnings and errors.")
    ] = False,
) -> None:
    """Correct a forecast with observations.

    Examples:

      phyda assimilate --obs stations.csv --background fc.nc --out analysis.nc

      phyda assimilate --obs metar.csv --obs-map metar.toml --background gfs.grib2 --out an.nc
      --feedback fb.nc

      phyda assimilate --obs 'synop/*.csv' --obs temp.bufr --background fc.nc --blacklist bad.txt
      --withhold 0.1

      phyda assimilate --obs stations.csv --background fc.nc --method oi --dry-run

      phyda assimilate --obs stations.csv --ensemble 'ens/*.nc' --method letkf --save-members --out
      analysis.nc

      torchrun --nproc-per-node 4 -m phyda_cli assimilate --obs stations.csv --background fc.nc
      --out analysis.nc
    """
    from phyda_cli.analysis.assimilate import Request, assist
    from phyda_cli.analysis.assimilate import assimilate as run
    from phyda_cli.model.checkpoint import BUNDLED
    from phyda_cli.parallel.ranks import ranks
    from phyda_cli.settings.analysis import AnalysisSettings
    from phyda_cli.settings.base import load_settings

    with ranks() as place:
        if place.rank > 0:
            silence()
            assist(place)
            return
        overrides: dict[str, Any] = {
            "method": method,
            "members": members,
            "physics": physics,
            "seed": seed,
            "device": device,
        }
        overrides["qc"] = {
            "window_hours": window,
            "withhold": withhold,
            "thinning": thinning,
            "robust": robust,
        }
        overrides["guidance"] = {"rule": guidance}
        overrides["background_error_scale"] = background_error_scale
        overrides["ensemble"] = {"hybrid_weight": hybrid_weight, "rtps": rtps}
        settings = load_settings(AnalysisSettings, config, overrides)
        request = Request(
            obs=files_of(obs),
            background=background,
            ensemble=files_of(ensemble or []),
            out=out,
            feedback=feedback,
            checkpoint=checkpoint or BUNDLED,
            obs_map=obs_map,
            withhold_file=withhold_file,
            blacklist=blacklist,
            whitelist=whitelist,
            time=parse_time(time, "--time"),
            valid_time=parse_time(valid_time, "--valid-time"),
            member=member,
            rename=_renames(rename or []),
            strict=strict,
            overwrite=overwrite,
            allow_no_obs=allow_no_obs,
            save_members=save_members,
        )
        result = run(request, settings, dry_run, place)
    if as_json:
        emit_json(result.report)
        return
    for problem in result.report.get("problems", []):
        warn(problem)
    if result.report["status"] == "background_only":
        warn("no usable observation: the background is published as the analysis")
    if quiet:
        return
    if result.report["status"] == "up to date":
        say(f"{out} is up to date (made from the same inputs)")
        return
    for note in result.report["notes"]:
        say(note)
    emit(observation_table(result.report))
    factors = ", ".join(
        f"{name} {factor:.2f}" for name, factor in result.report["background_error_scale"].items()
    )
    say(f"factor on the background error: {factors}")
    if not dry_run:
        emit(departure_table(result.report))
        files = f"{out} and {feedback}" if feedback else str(out)
        by = f" by {place.size} ranks" if place.size > 1 else ""
        say(f"wrote {files} in {result.report['seconds']} s{by} ({result.report['status']})")


def _renames(pairs: list[str]) -> dict[str, str]:
    out = {}
    for pair in pairs:
        name, separator, canonical = pair.partition("=")
        if not (name and separator and canonical):
            raise UsageError(
                f"--rename {pair!r}: expected NAME=CANONICAL",
                hint="for example --rename TMP_P0_L100=t",
            )
        out[name] = canonical
    return out


def observation_table(report: dict[str, Any]) -> Table:
    """Counts by variable: in, used, passive, and rejected by reason, and the rows of the files they
    came from."""
    from rich.table import Table

    rows, counts = report["rows"], report["observations"]
    reasons = list(counts["rejected"])
    title = (
        f"{rows['read']} rows read: {rows['with_values']} with values, "
        f"{rows['without_values']} without, {rows['unreadable']} unreadable"
    )
    table = Table(title=title, title_justify="left")
    for name in ("observations", "in", "used", "passive", *reasons):
        table.add_column(name, justify="left" if name == "observations" else "right")
    for name, c in [*counts["variables"].items(), ("all", counts)]:
        cells = [c["in"], c["used"], c["passive"], *(c["rejected"].get(r, 0) for r in reasons)]
        table.add_row(
            name,
            *map(str, cells),
            end_section=name != "all" and name == list(counts["variables"])[-1],
        )
    return table


def departure_table(report: dict[str, Any]) -> Table:
    """rms of O-B and O-A by variable, for used and passive observations."""
    from rich.table import Table

    table = Table(title="Departures (rms)", title_justify="left")
    for name in ("observations", "variable", "n", "O-B", "O-A", "ratio"):
        table.add_column(name, justify="left" if name in ("observations", "variable") else "right")
    for kind, variables in report["departures"].items():
        for name, d in variables.items():
            ratio = d["oman_rms"] / d["ombg_rms"] if d["ombg_rms"] else 1.0
            table.add_row(
                kind,
                name,
                str(d["n"]),
                f"{d['ombg_rms']:.4g}",
                f"{d['oman_rms']:.4g}",
                f"{ratio:.3f}",
            )
    return table
