"""``phyda verify``: its options. What it does is in :mod:`phyda_cli.commands.verify_run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from phyda_cli.commands.arguments import (
    INPUT,
    METHOD,
    OUTPUT,
    AsJson,
    Decimal,
    ObsMap,
    Overwrite,
    files_of,
    parse_time,
)
from phyda_cli.settings.analysis import AnalysisSettings
from phyda_cli.settings.options import RUNNING, Chosen, Flag, takes_settings
from phyda_cli.settings.verification import VerificationSettings

__all__ = ["verify"]


def _file(help_text: str, panel: str, option: str | None = None) -> Any:
    names = [option] if option else []
    return typer.Option(
        *names, metavar="FILE", help=help_text, rich_help_panel=panel, readable=False
    )


@takes_settings(
    {
        AnalysisSettings: (Flag("qc.window_hours", INPUT, "--window"),),
        VerificationSettings: (
            Flag("by", METHOD),
            Flag("box", METHOD),
            Flag("truth_is", METHOD),
        ),
    },
    (INPUT, METHOD, OUTPUT, RUNNING),
)
def verify(
    chosen: Chosen,
    analysis: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Analyses (or any forecasts) to verify: NetCDF or GRIB files, quoted patterns. "
            "None is needed with --feedback or --from-sums.",
            readable=False,
        ),
    ] = None,
    truth: Annotated[
        list[Path] | None, _file("Fields to verify against. Repeatable.", INPUT)
    ] = None,
    background: Annotated[
        list[Path] | None,
        _file(
            "First guess to compare with. Repeatable. [default: the analysis minus its increments]",
            INPUT,
        ),
    ] = None,
    obs: Annotated[
        list[Path] | None,
        _file(
            "Observations to verify against: a file of any format, or a quoted pattern. "
            "Repeatable.",
            INPUT,
            "--obs",
        ),
    ] = None,
    obs_map: ObsMap = None,
    decimal: Decimal = None,
    feedback: Annotated[
        list[Path] | None,
        _file("Feedback of the analyses: departures, chi2, error estimates. Repeatable.", INPUT),
    ] = None,
    against: Annotated[
        list[Path] | None,
        _file("Analyses of another run over the same times to compare with. Repeatable.", INPUT),
    ] = None,
    against_feedback: Annotated[
        list[Path] | None, _file("Feedback of the other run. Repeatable.", INPUT)
    ] = None,
    from_sums: Annotated[
        list[Path] | None,
        _file("Sums that --sums has written, to add to what is read. Repeatable.", INPUT),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            help="Valid time, where the file has several; the others must have it too.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    regrid: Annotated[
        bool,
        typer.Option(
            "--regrid",
            help="Interpolate where analysis and truth are on different grids.",
            rich_help_panel=METHOD,
        ),
    ] = False,
    limits: Annotated[
        Path | None,
        _file("TOML file of limits; exit 5 where one is broken.", METHOD),
    ] = None,
    stations: Annotated[
        bool,
        typer.Option(
            "--stations", help="Judge every station of the feedback.", rich_help_panel=OUTPUT
        ),
    ] = False,
    spectra: Annotated[
        bool,
        typer.Option(
            "--spectra", help="Power, coherence and error by wavelength.", rich_help_panel=OUTPUT
        ),
    ] = False,
    single_observation: Annotated[
        bool,
        typer.Option(
            "--single-observation",
            help="Response, half widths and depth, where one observation was used.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    physics: Annotated[
        bool,
        typer.Option(
            "--physics",
            help="Say how physical it is: residuals, balance, humidity.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    report: Annotated[
        Path | None, _file("Write one offline page (HTML) with everything here.", OUTPUT)
    ] = None,
    csv: Annotated[Path | None, _file("Write every number here (CSV).", OUTPUT)] = None,
    netcdf: Annotated[Path | None, _file("Write every number here (NetCDF).", OUTPUT)] = None,
    sums: Annotated[
        Path | None, _file("Write the sums here, to be added with --from-sums.", OUTPUT)
    ] = None,
    verif: Annotated[
        Path | None,
        _file("Write withheld observations of --field in WFRT/verif's layout here.", OUTPUT),
    ] = None,
    suggest: Annotated[
        Path | None,
        _file("Write the observation errors that departures suggest here (TOML).", OUTPUT),
    ] = None,
    scorecard: Annotated[
        Path | None, _file("Draw the scorecard of --against here (PNG).", OUTPUT)
    ] = None,
    physics_plot: Annotated[
        Path | None,
        _file("Draw maps of the residuals here (PNG); implies --physics.", OUTPUT),
    ] = None,
    plot: Annotated[
        Path | None, _file("Draw increment, spread and stations here (PNG).", OUTPUT)
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
    """Score analyses against fields, stations and their own feedback.

    ```
    phyda verify analysis.nc --truth era5.nc --report report.html
    phyda verify 'an/*.nc' --truth era5.nc --feedback 'fb/*.nc' --by month --csv scores.csv
    phyda verify analysis.nc --obs metar.csv --obs-map metar.toml --json
    phyda verify 'run1/*.nc' --against 'run2/*.nc' --truth era5.nc --scorecard card.png
    phyda verify --feedback 'fb/*.nc' --stations --suggest errors.toml
    ```
    """
    from phyda_cli.commands.verify_run import Request, run
    from phyda_cli.observations.read.read import TextTables

    settings = chosen.settings(VerificationSettings)
    if regrid:
        settings = settings.model_copy(update={"regrid": True})
    run(
        Request(
            analyses=files_of(analysis or []),
            truths=files_of(truth or []),
            backgrounds=files_of(background or []),
            observations=files_of(obs or []),
            feedbacks=files_of(feedback or []),
            against=files_of(against or []),
            against_feedback=files_of(against_feedback or []),
            from_sums=files_of(from_sums or []),
            tables=TextTables(tuple(obs_map or ()), tuple(decimal or ())),
            time=parse_time(time, "--time"),
            limits=limits,
            stations=stations,
            spectra=spectra,
            single_observation=single_observation,
            physics=physics or physics_plot is not None,
            report=report,
            csv=csv,
            netcdf=netcdf,
            sums=sums,
            verif=verif,
            suggest=suggest,
            scorecard=scorecard,
            physics_plot=physics_plot,
            plot=plot,
            field=field,
            overwrite=overwrite,
            as_json=as_json,
        ),
        settings,
        chosen.settings(AnalysisSettings).qc,
    )
