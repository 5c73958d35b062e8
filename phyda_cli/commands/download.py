"""``phyda download``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phyda_cli.commands.console import say
from phyda_cli.errors import UsageError

__all__ = ["download"]

SOURCES = ("nature",)


def download(
    out: Annotated[Path, typer.Option("--out", help="Folder to fill; an interrupted download continues there.")] = Path("data/nature"),
    source: Annotated[
        str, typer.Option("--source", help="nature: a nature run made here with jcm (SPEEDY physics), no network.")
    ] = "nature",
    days: Annotated[int, typer.Option("--days", min=1, help="Length in days, from --start.")] = 30,
    start: Annotated[str, typer.Option("--start", help="First day; runs of other dates and seeds are other atmospheres.")] = "2000-03-01",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the initial perturbation and of the twins.")] = 1,
    twins: Annotated[int, typer.Option("--twins", min=0, help="Perturbed 48 h forecasts from each start, for background pairs.")] = 0,
    twins_every: Annotated[int, typer.Option("--twins-every", min=6, help="Hours between the starts of twins, a multiple of 6.")] = 24,
) -> None:
    """Get training data: analyses and forecasts as NetCDF files.

    Examples:

      phyda download --source nature --days 360 --twins 3 --out data/nature

      phyda download --source nature --days 60 --start 2010-12-15 --seed 7 --twins 1 --out data/nature-test
    """
    from phyda_cli.commands.assimilate import parse_time

    if source not in SOURCES:
        raise UsageError(f"--source {source}: expected one of {', '.join(SOURCES)}")
    if twins_every % 6:
        raise UsageError(f"--twins-every {twins_every}: expected a multiple of 6 hours")
    from phyda_cli.sources.nature_files import download_nature

    first = parse_time(start, "--start")
    assert first is not None
    paths = download_nature(out, days, first, seed, twins, twins_every, report=say)
    say(f"{len(paths)} files in {out}; next: phyda preprocess {out} --pairs {'twin' if twins else 'lagged'} --out {out}.zarr")
