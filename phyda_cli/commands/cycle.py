"""``phyda cycle``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from phyda_cli.commands.console import say

__all__ = ["cycle"]

EVERY = 20  # cycles between messages

cycle = typer.Typer(no_args_is_help=True, help="Analyses and forecasts in turn.")


@cycle.callback()
def _group() -> None:
    """Keeps ``twin`` a subcommand while it is the only one."""


@cycle.command()
def twin(
    nature: Annotated[
        Path,
        typer.Option("--nature", help="Folder of a nature run made by phyda download: the truth."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="Folder for the forecasts; an interrupted cycle continues there."
        ),
    ],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="Model folder. The bundled one is the default.", envvar="PHYDA_CHECKPOINT"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of networks and observation errors.")] = 0,
    method: Annotated[
        str, typer.Option(help="oi: stage 1 alone; phyda: the mean of the checkpoint's networks.")
    ] = "oi",
    forecast_hours: Annotated[
        int,
        typer.Option(min=6, help="Length of the forecast from every analysis, a multiple of 6."),
    ] = 24,
    regime_days: Annotated[
        int, typer.Option(min=1, help="A network keeps its size for so many days.")
    ] = 6,
    reports: Annotated[
        tuple[int, int],
        typer.Option(metavar="LOW HIGH", help="Fewest and most reports of a network."),
    ] = (20, 2000),
    max_cycles: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after so many cycles; the same command goes on from there."),
    ] = None,
) -> None:
    """Cycle jcm over a nature run: analyses every 6 h of random networks, forecasts for training
    pairs.

    Examples:

      phyda cycle twin --nature data/nature --out data/cycle --seed 11

      phyda cycle twin --nature data/nature --out data/sparse --seed 12 --reports 20 200
      --max-cycles 400
    """
    from itertools import islice

    from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
    from phyda_cli.settings.base import load_settings
    from phyda_cli.settings.data import TwinSettings
    from phyda_cli.simulation.twin_cycle import run_twin_cycle

    values: dict[str, Any] = {
        "seed": seed,
        "method": method,
        "forecast_hours": forecast_hours,
        "regime_days": regime_days,
        "reports": reports,
    }
    settings = load_settings(TwinSettings, None, values)
    model = Checkpoint.open(checkpoint or BUNDLED)
    done = 0
    for done, (path, alpha) in enumerate(
        islice(run_twin_cycle(nature, out, model, settings), max_cycles), 1
    ):
        if done % EVERY == 0:
            say(
                f"{path.name}: {done} cycles; background-error scale "
                f"{', '.join(f'{k} {v:.2f}' for k, v in alpha.items())}"
            )
    say(
        f"{done} cycles in {out}; next: phyda preprocess {nature} {out} --pairs forecast --out "
        f"{out}.zarr"
    )
