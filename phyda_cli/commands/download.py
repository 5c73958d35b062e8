"""``phyda download``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phyda_cli.commands.arguments import INPUT, OUTPUT
from phyda_cli.commands.console import say
from phyda_cli.errors import UsageError
from phyda_cli.settings.data import DownloadSettings, RetrySettings
from phyda_cli.settings.options import RUNNING, Chosen, Flag, takes_settings

__all__ = ["download"]

SOURCES = ("weatherbench2", "arco", "cds", "nature")
FORECASTS = ("hres", "pangu", "graphcast")
ARCHIVE, NATURE = "From an archive", "Nature run"


@takes_settings(
    {
        DownloadSettings: (
            Flag("years", ARCHIVE),
            Flag("variables", ARCHIVE),
            Flag("levels", ARCHIVE),
            Flag("hours", ARCHIVE),
            Flag("area", ARCHIVE),
            Flag("leads", ARCHIVE),
        ),
        RetrySettings: (Flag("attempts", ARCHIVE),),
    },
    (INPUT, OUTPUT, ARCHIVE, NATURE, RUNNING),
)
def download(
    chosen: Chosen,
    source: Annotated[
        str,
        typer.Option(
            "--source",
            metavar="SOURCE",
            help="weatherbench2 (ERA5 and forecasts), arco (hourly ERA5 at 0.25 degrees), cds "
            "(ERA5, needs a key), or nature: a run made here with jcm, without a network.",
            rich_help_panel=INPUT,
        ),
    ] = "weatherbench2",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder to fill; an interrupted download continues there. [default: data/era5, "
            "or data/nature for a nature run]",
            rich_help_panel=OUTPUT,
            readable=False,
        ),
    ] = None,
    resolution: Annotated[
        str | None,
        typer.Option(
            help="64x32, 240x121 or 1440x721 from weatherbench2; 1440x721 or 240x121 from cds. "
            "[default: 64x32, or 1440x721]",
            rich_help_panel=ARCHIVE,
        ),
    ] = None,
    forecasts: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(FORECASTS),
            help="Get their forecasts too, as backgrounds to learn from.",
            rich_help_panel=ARCHIVE,
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="A mirror of the archive.",
            envvar="PHYDA_DOWNLOAD_URL",
            show_envvar=False,
            rich_help_panel=ARCHIVE,
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Compare existing files with their checksums.",
            rich_help_panel=ARCHIVE,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say size, requests and free disk; fetch no fields.",
            rich_help_panel=ARCHIVE,
        ),
    ] = False,
    days: Annotated[
        int,
        typer.Option("--days", min=1, help="Length in days, from --start.", rich_help_panel=NATURE),
    ] = 30,
    start: Annotated[
        str,
        typer.Option(
            "--start",
            help="First day; runs of other dates and seeds are other atmospheres.",
            rich_help_panel=NATURE,
        ),
    ] = "2000-03-01",
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            min=0,
            help="Seed of the initial perturbation and of the twins.",
            rich_help_panel=NATURE,
        ),
    ] = 1,
    twins: Annotated[
        int,
        typer.Option(
            "--twins",
            min=0,
            help="Perturbed 48 h forecasts from each start, for background pairs.",
            rich_help_panel=NATURE,
        ),
    ] = 0,
    twins_every: Annotated[
        int,
        typer.Option(
            "--twins-every",
            min=6,
            help="Hours between the starts of twins, a multiple of 6.",
            rich_help_panel=NATURE,
        ),
    ] = 24,
) -> None:
    """Get training data: analyses and forecasts as NetCDF files.

    ```
    phyda download --years 2015-2020
    phyda download --years 2018-2020 --forecasts hres --resolution 240x121 --out data/era5-hres
    phyda download --source cds --years 2021 --area 72,-25,34,45 --levels 500,850 --out data/europe
    phyda download --source nature --days 360 --twins 3 --out data/nature
    ```
    """
    if source not in SOURCES:
        raise UsageError(f"--source {source}: expected one of {', '.join(SOURCES)}")
    if source == "nature":
        _nature(out or Path("data/nature"), days, start, seed, twins, twins_every)
        return
    if "years" not in chosen.given(DownloadSettings):
        raise UsageError("--years is missing, such as --years 2015-2020")
    if forecasts is not None and forecasts not in FORECASTS:
        raise UsageError(f"--forecasts {forecasts}: expected one of {', '.join(FORECASTS)}")
    from phyda_cli.commands.progress import download_progress
    from phyda_cli.sources.archive import Origin, download_archive
    from phyda_cli.sources.http import Client

    settings = chosen.settings(DownloadSettings)
    out = out or Path("data/era5")
    with (
        Client(chosen.settings(RetrySettings), say) as client,
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
    from phyda_cli.commands.arguments import parse_time
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
