"""``phyda preprocess`` and ``phyda preprocess inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from phyda_cli.commands.arguments import OUTPUT, Overwrite
from phyda_cli.commands.console import emit, emit_json, say
from phyda_cli.settings.data import ExecutionSettings, PreprocessSettings
from phyda_cli.settings.options import RUNNING, Chosen, Flag, SettingsCommand, takes_settings

__all__ = ["preprocess"]

MAKE = "make"
STATES, PAIRS = "States", "Pairs"


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


@preprocess.command(MAKE, hidden=True, cls=SettingsCommand)
@takes_settings(
    {
        PreprocessSettings: (
            Flag("grid", STATES),
            Flag("variables", STATES),
            Flag("levels", STATES),
            Flag("channels", STATES),
            Flag("first", STATES),
            Flag("last", STATES),
            Flag("packing", STATES),
            Flag("missing", STATES),
            Flag("pairs", PAIRS),
            Flag("lag_hours", PAIRS, "--lag"),
            Flag("lag_scale", PAIRS),
            Flag("train_years", PAIRS),
            Flag("validation_years", PAIRS),
            Flag("test_years", PAIRS),
        ),
        ExecutionSettings: (
            Flag("memory_limit", RUNNING),
            Flag("workers", RUNNING),
            Flag("scheduler", RUNNING),
        ),
    },
    (OUTPUT, STATES, PAIRS, RUNNING),
)
def make(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="NetCDF and GRIB files, Zarr stores, or folders of them: analyses and "
            "forecasts, in any mix.",
            readable=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Training store to write (Zarr); an interrupted call goes on where it was.",
            rich_help_panel=OUTPUT,
            readable=False,
        ),
    ],
    chosen: Chosen,
    overwrite: Overwrite = False,
) -> None:
    """Regrid analyses and forecasts, pair them, measure them: one store for training.

    `phyda preprocess inspect STORE` shows what a store holds.

    ```
    phyda preprocess data/era5 --pairs lagged --out data/train.zarr
    phyda preprocess data/nature data/cycle --pairs cycled --out data/train-cycled.zarr
    phyda preprocess era5.zarr hres.zarr --grid 240x121 --test-years 2021 --out data/hres.zarr
    phyda preprocess fields.nc --grid as-is --channels z500,msl --pairs lagged --out data/z.zarr
    ```
    """
    from phyda_cli.preprocessing.preprocess import preprocess as run

    settings = chosen.settings(PreprocessSettings)
    how = chosen.settings(ExecutionSettings)
    count = run(inputs, out, settings, say, how, overwrite)
    say(f"{count} pairs in {out}; next: phyda train --data {out} --out runs/{out.stem}")


@preprocess.command()
def inspect(
    store: Annotated[
        Path, typer.Argument(help="Training store made by phyda preprocess.", readable=False)
    ],
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show what a training store holds: grid, variables, span, pairs, split, statistics, missing
    values, size."""
    from phyda_cli.preprocessing.inspect import inspect_store

    found = inspect_store(store)
    if json:
        emit_json(found)
        return
    from phyda_cli.commands.tables import store_tables

    for table in store_tables(found):
        emit(table)
