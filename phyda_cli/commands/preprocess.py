"""``phyda preprocess``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phyda_cli.commands.console import say
from phyda_cli.errors import InputError, OutputError, UsageError

__all__ = ["preprocess"]


def preprocess(
    inputs: Annotated[list[Path], typer.Argument(help="NetCDF files, or folders of them: analyses and forecasts.")],
    out: Annotated[Path, typer.Option("--out", help="Training store to write (Zarr).")],
    grid: Annotated[
        str,
        typer.Option(
            help="NxM equiangular global grid such as 64x32, or 'own' for the first analysis'. Each file is regridded from its own."
        ),
    ] = "64x32",
    channels: Annotated[
        str | None, typer.Option(help="Comma-separated channels such as z500,t850,msl. [default: the 44 of the 64x32 preset]")
    ] = None,
    pairs: Annotated[str, typer.Option(help="forecast, twin (forecasts of the model that made the analyses) or lagged.")] = "forecast",
    lag: Annotated[int, typer.Option(min=1, help="Hours between background and truth of lagged pairs.")] = 24,
    lag_scale: Annotated[float, typer.Option(min=0.0, help="Factor on lagged differences.")] = 1.0,
    first: Annotated[str | None, typer.Option(help="Use valid times from this one on.")] = None,
    last: Annotated[str | None, typer.Option(help="Use valid times before this one.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")] = False,
) -> None:
    """Regrid analyses and forecasts and pair them for training.

    Examples:

      phyda preprocess data/nature --pairs twin --out data/train.zarr

      phyda preprocess data/nature data/cycle --pairs forecast --out data/train-cycled.zarr

      phyda preprocess era-interim.nc --grid own --channels z500,t850,msl --pairs lagged --last 2008-01-01 --out data/weurope.zarr
    """
    import numpy as np

    from phyda_cli.commands.assimilate import parse_time
    from phyda_cli.model.state import DEFAULT_CHANNELS, equiangular
    from phyda_cli.training.preprocess import preprocess as run

    if pairs not in ("forecast", "twin", "lagged"):
        raise UsageError(f"--pairs {pairs}: expected forecast, twin or lagged")
    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists already", hint="pass --overwrite to replace it")
    if not out.absolute().parent.is_dir():
        raise OutputError(f"cannot write {out}: the folder {out.absolute().parent} does not exist")
    files = [f for path in inputs for f in (sorted(path.glob("*.nc")) if path.is_dir() else [path])]
    missing = [str(f) for f in files if not f.is_file()]
    if missing or not files:
        raise InputError(f"no such file: {', '.join(missing)}" if missing else f"no NetCDF files in {', '.join(map(str, inputs))}")
    target = None
    if grid != "own":
        try:
            n_lon, n_lat = (int(n) for n in grid.split("x"))
        except ValueError:
            raise UsageError(f"--grid {grid}: expected LONxLAT such as 64x32, or own") from None
        target = equiangular(n_lon, n_lat)
    names = DEFAULT_CHANNELS if channels is None else tuple(c.strip() for c in channels.split(","))
    begin, end = parse_time(first, "--first"), parse_time(last, "--last")
    span = (begin or np.datetime64("0001-01-01", "s"), end or np.datetime64("9999-01-01", "s"))
    count = run(files, out, names, target, pairs, lag, lag_scale, span, say)
    say(f"{count} pairs in {out}; next: phyda train --data {out} --out runs/{out.stem}")
