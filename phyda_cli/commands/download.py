"""``phyda download``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phyda_cli.commands.console import say
from phyda_cli.errors import UsageError

__all__ = ["download"]

SOURCES = ("weatherbench2", "arco", "cds", "nature")
FORECASTS = ("hres", "pangu", "graphcast")
_ARCHIVE, _NATURE = "From an archive", "Nature run"


def download(
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder to fill; an interrupted download continues there. [default: data/era5, "
            "data/nature for a nature run]",
        ),
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            "--source",
            help="weatherbench2 (ERA5 and forecasts, no key), arco (ERA5 at 0.25 degrees, "
            "hourly, no key), cds (ERA5, needs a key),"
            " or nature: a nature run made here with jcm (SPEEDY physics), no network.",
        ),
    ] = "weatherbench2",
    years: Annotated[
        str | None,
        typer.Option(help="Years such as 2015-2020 or 2015,2018.", rich_help_panel=_ARCHIVE),
    ] = None,
    resolution: Annotated[
        str | None,
        typer.Option(
            help="weatherbench2: 64x32, 240x121 or 1440x721; cds: 1440x721 or 240x121. [default: "
            "64x32, else 1440x721]",
            rich_help_panel=_ARCHIVE,
        ),
    ] = None,
    variables: Annotated[
        str | None,
        typer.Option(
            help="[default: z,t,q,u,v,msl,t2m,u10,v10; orography and lsm always come]",
            rich_help_panel=_ARCHIVE,
        ),
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option(
            help="Pressure levels in hPa. [default: the 13 of WeatherBench 2]",
            rich_help_panel=_ARCHIVE,
        ),
    ] = None,
    hours: Annotated[
        str | None,
        typer.Option(help="Hours of the day, UTC. [default: 0,6,12,18]", rich_help_panel=_ARCHIVE),
    ] = None,
    area: Annotated[
        str | None,
        typer.Option(
            help="north,west,south,east in degrees. [default: the globe]", rich_help_panel=_ARCHIVE
        ),
    ] = None,
    forecasts: Annotated[
        str | None,
        typer.Option(
            help="hres, pangu or graphcast: their forecasts too, as backgrounds to learn from.",
            rich_help_panel=_ARCHIVE,
        ),
    ] = None,
    leads: Annotated[
        str | None,
        typer.Option(
            help="Lead times of the forecasts in hours. [default: 6,12,18,24,36,48]",
            rich_help_panel=_ARCHIVE,
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="A mirror of the archive.", envvar="PHYDA_DOWNLOAD_URL", rich_help_panel=_ARCHIVE
        ),
    ] = None,
    attempts: Annotated[
        int,
        typer.Option(
            min=1,
            help="Times a failing request is made, with growing waits.",
            rich_help_panel=_ARCHIVE,
        ),
    ] = 10,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Compare files that are there with their checksums.",
            rich_help_panel=_ARCHIVE,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Tell size, requests and free disk; fetch no fields.",
            rich_help_panel=_ARCHIVE,
        ),
    ] = False,
    days: Annotated[
        int,
        typer.Option(
            "--days", min=1, help="Length in days, from --start.", rich_help_panel=_NATURE
        ),
    ] = 30,
    start: Annotated[
        str,
        typer.Option(
            "--start",
            help="First day; runs of other dates and seeds are other atmospheres.",
            rich_help_panel=_NATURE,
        ),
    ] = "2000-03-01",
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            min=0,
            help="Seed of the initial perturbation and of the twins.",
            rich_help_panel=_NATURE,
        ),
    ] = 1,
    twins: Annotated[
        int,
        typer.Option(
            "--twins",
            min=0,
            help="Perturbed 48 h forecasts from each start, for background pairs.",
            rich_help_panel=_NATURE,
        ),
    ] = 0,
    twins_every: Annotated[
        int,
        typer.Option(
            "--twins-every",
            min=6,
            help="Hours between the starts of twins, a multiple of 6.",
            rich_help_panel=_NATURE,
        ),
    ] = 24,
) -> None:
    """Get training data: analyses and forecasts as NetCDF files.

    Examples:

      phyda download --years 2015-2020

      phyda download --years 2018-2020 --forecasts hres --resolution 240x121 --out data/era5-hres

      phyda download --source cds --years 2021 --area 72,-25,34,45 --levels 500,850 --out
      data/europe

      phyda download --source nature --days 360 --twins 3 --out data/nature
    """
    if source not in SOURCES:
        raise UsageError(f"--source {source}: expected one of {', '.join(SOURCES)}")
    if source == "nature":
        _nature(out or Path("data/nature"), days, start, seed, twins, twins_every)
        return
    if years is None:
        raise UsageError("--years is missing, such as --years 2015-2020")
    if forecasts is not None and forecasts not in FORECASTS:
        raise UsageError(f"--forecasts {forecasts}: expected one of {', '.join(FORECASTS)}")
    from phyda_cli.commands.progress import download_progress
    from phyda_cli.settings.base import load_settings
    from phyda_cli.settings.data import DownloadSettings, RetrySettings
    from phyda_cli.sources.archive import Origin, download_archive
    from phyda_cli.sources.http import Client

    wishes = {
        "years": years,
        "variables": variables,
        "levels": levels,
        "hours": hours,
        "area": area,
        "leads": leads,
    }
    settings = load_settings(DownloadSettings, None, dict(wishes))
    out = out or Path("data/era5")
    with (
        Client(RetrySettings(attempts=attempts), say) as client,
        download_progress(lambda: client.received) as progress,
    ):
        files = download_archive(
            out,
            Origin(source, resolution, forecasts, url),
            settings,
            client,
            progress,
            say,
            dry_run,
            verify,
        )
    if files:
        say(
            f"{len(files)} files in {out}; next: phyda preprocess {out} --pairs "
            f"{'forecast' if forecasts else 'lagged'} --out {out}.zarr"
        )


def _nature(out: Path, days: int, start: str, seed: int, twins: int, twins_every: int) -> None:
    from phyda_cli.commands.assimilate import parse_time
    from phyda_cli.simulation.nature_files import download_nature
    from phyda_cli.sources.folder import MANIFEST

    if twins_every % 6:
        raise UsageError(f"--twins-every {twins_every}: expected a multiple of 6 hours")
    if (out / MANIFEST).exists():
        raise UsageError(
            f"{out} holds files of an archive",
            hint="one folder holds one source; choose another folder with --out",
        )
    first = parse_time(start, "--start")
    assert first is not None
    paths = download_nature(out, days, first, seed, twins, twins_every, report=say)
    say(
        f"{len(paths)} files in {out}; next: phyda preprocess {out} --pairs "
        f"{'twin' if twins else 'lagged'} --out {out}.zarr"
    )
