"""``phyda preprocess`` and ``phyda preprocess inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from phyda_cli.commands.console import emit_json, say

__all__ = ["preprocess"]

MAKE = "make"
_STATES, _PAIRS, _RUN = "States", "Pairs", "Running"


class _MakeUnlessTold(TyperGroup):
    """``phyda preprocess INPUTS…`` is ``make``, which needs no name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args and args[0] in self.commands else [MAKE, *args])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return ("" if name == MAKE else name), command, rest


preprocess = typer.Typer(
    cls=_MakeUnlessTold,
    add_help_option=False,
    help="Regrid analyses and forecasts and pair them for training.",
)


@preprocess.command(MAKE, hidden=True)
def make(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="NetCDF and GRIB files, Zarr stores, or folders of them: analyses and "
            "forecasts, in any mix."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Training store to write (Zarr); an interrupted call goes on where it was.",
        ),
    ],
    config: Annotated[
        Path | None, typer.Option(help="TOML file with settings; flags win.", envvar="PHYDA_CONFIG")
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(
            help="Columns x rows of a global grid such as 64x32 or 240x121, or as-is: that of "
            "the analyses. [default: 64x32]",
            rich_help_panel=_STATES,
        ),
    ] = None,
    variables: Annotated[
        str | None,
        typer.Option(help="[default: z,t,q,u,v,msl,t2m,u10,v10]", rich_help_panel=_STATES),
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option(
            help="Pressure levels in hPa. [default: 50,100,200,300,500,700,850,925]",
            rich_help_panel=_STATES,
        ),
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(
            help="Channels such as z500,t850,msl, instead of variables and levels.",
            rich_help_panel=_STATES,
        ),
    ] = None,
    first: Annotated[
        str | None, typer.Option(help="Use valid times from this one on.", rich_help_panel=_STATES)
    ] = None,
    last: Annotated[
        str | None, typer.Option(help="Use valid times before this one.", rich_help_panel=_STATES)
    ] = None,
    packing: Annotated[
        str | None,
        typer.Option(
            help="float32, or int16: about half the size, to 1/131068 of a field's range.",
            rich_help_panel=_STATES,
        ),
    ] = None,
    missing: Annotated[
        str | None,
        typer.Option(
            help="States with missing values or channels: error, or skip to leave them out.",
            rich_help_panel=_STATES,
        ),
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            help="Of cycled (by phyda cycle), forecast (all forecasts), lagged (earlier "
            "analyses), twin (forecasts of the model that made "
            "the analyses); several with commas. [default: forecast]",
            rich_help_panel=_PAIRS,
        ),
    ] = None,
    lag: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Hours between background and truth of lagged pairs. [default: 24]",
            rich_help_panel=_PAIRS,
        ),
    ] = None,
    lag_scale: Annotated[
        float | None,
        typer.Option(help="Factor on lagged differences. [default: 1]", rich_help_panel=_PAIRS),
    ] = None,
    train_years: Annotated[
        str | None,
        typer.Option(
            help="Years such as 2000-2006,2009. [default: those not in the other two]",
            rich_help_panel=_PAIRS,
        ),
    ] = None,
    validation_years: Annotated[
        str | None,
        typer.Option(
            help="[default without any years: the latest 8 % of the times]", rich_help_panel=_PAIRS
        ),
    ] = None,
    test_years: Annotated[
        str | None, typer.Option(help="Years that training never sees.", rich_help_panel=_PAIRS)
    ] = None,
    memory_limit: Annotated[
        str | None,
        typer.Option(
            help="Most memory to take; fewer threads work where it is small. [default: 4GB]",
            rich_help_panel=_RUN,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads. [default: one a core]", rich_help_panel=_RUN)
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Dask scheduler such as tcp://host:8786, whose workers see the same files.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing store.", rich_help_panel=_RUN)
    ] = False,
) -> None:
    """Regrid analyses and forecasts, pair them, measure them: one store for training.

    `phyda preprocess inspect STORE` shows what a store holds.

    Examples:

      phyda preprocess data/era5 --pairs lagged --out data/train.zarr

      phyda preprocess data/nature data/cycle --pairs cycled --out data/train-cycled.zarr

      phyda preprocess era5.zarr hres.zarr --grid 240x121 --validation-years 2020 --test-years 2021
      --packing int16 --out data/hres.zarr

      phyda preprocess era-interim.nc --grid as-is --channels z500,t850,msl --pairs lagged --last
      2008-01-01 --out data/weurope.zarr
    """
    from phyda_cli.preprocessing.preprocess import preprocess as run
    from phyda_cli.settings.base import load_settings
    from phyda_cli.settings.data import ExecutionSettings, PreprocessSettings

    wishes: dict[str, Any] = {
        "grid": "as-is" if grid == "own" else grid,
        "channels": channels,
        "variables": variables,
        "levels": levels,
        "first": first,
        "last": last,
        "packing": packing,
        "missing": missing,
        "pairs": pairs,
        "lag_hours": lag,
        "lag_scale": lag_scale,
        "train_years": train_years,
        "validation_years": validation_years,
        "test_years": test_years,
    }
    settings = load_settings(PreprocessSettings, config, wishes)
    how = load_settings(
        ExecutionSettings,
        None,
        {"memory_limit": memory_limit, "workers": workers, "scheduler": scheduler},
    )
    count = run(inputs, out, settings, say, how, overwrite)
    say(f"{count} pairs in {out}; next: phyda train --data {out} --out runs/{out.stem}")


@preprocess.command()
def inspect(
    store: Annotated[Path, typer.Argument(help="Training store made by phyda preprocess.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show what a training store holds: grid, variables, span, pairs, split, statistics, missing
    values, size."""
    from phyda_cli.preprocessing.inspect import inspect_store

    found = inspect_store(store)
    if json:
        emit_json(found)
        return
    from phyda_cli.commands.store_tables import show

    show(found)
