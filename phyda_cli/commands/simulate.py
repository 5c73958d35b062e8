"""``phyda simulate``: training data from a model instead of an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phyda_cli.commands.arguments import INPUT, METHOD, OUTPUT, Checkpoint
from phyda_cli.commands.console import say
from phyda_cli.settings.data import TwinSettings
from phyda_cli.settings.options import RUNNING, Chosen, Flag, SettingsCommand, takes_settings

__all__ = ["simulate"]

EVERY = 20  # cycles between messages
SIMULATION = "Simulation"

simulate = typer.Typer(
    no_args_is_help=True,
    help="Training data with the errors of a cycle, made with a climate model.",
)


@simulate.callback()
def _group() -> None:
    """Keeps ``twin`` a subcommand while it is the only one."""


@simulate.command(cls=SettingsCommand)
@takes_settings(
    {
        TwinSettings: (
            Flag("seed", SIMULATION),
            Flag("method", SIMULATION),
            Flag("forecast_hours", SIMULATION),
            Flag("regime_days", SIMULATION),
            Flag("lagged", SIMULATION),
            Flag("iau_parts", SIMULATION, "--iau"),
            Flag("reports", SIMULATION),
            Flag("first", SIMULATION),
            Flag("last", SIMULATION),
        )
    },
    (INPUT, METHOD, SIMULATION, OUTPUT, RUNNING),
)
def twin(
    nature: Annotated[
        Path,
        typer.Option(
            "--nature",
            metavar="FOLDER",
            help="Nature run made by phyda download: the truth.",
            rich_help_panel=INPUT,
            readable=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder for the forecasts; an interrupted cycle continues there.",
            rich_help_panel=OUTPUT,
            readable=False,
        ),
    ],
    chosen: Chosen,
    checkpoint: Checkpoint = None,
    max_cycles: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Stop after this many cycles; the same command goes on from there.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
) -> None:
    """Cycle jcm over a nature run: analyses every 6 h of random observing networks, forecasts for
    training pairs.

    ```
    phyda simulate twin --nature data/nature --out data/cycle --seed 11
    phyda simulate twin --nature data/nature --out data/sparse --reports 20 200 --max-cycles 400
    ```
    """
    from itertools import islice

    from phyda_cli.model.checkpoint import BUNDLED
    from phyda_cli.model.checkpoint import Checkpoint as Model
    from phyda_cli.simulation.twin_cycle import rms, run_twin_cycle

    settings = chosen.settings(TwinSettings)
    model = Model.open(checkpoint or BUNDLED)
    done = 0
    for done, step in enumerate(
        islice(run_twin_cycle(nature, out, model, settings), max_cycles), 1
    ):
        if done % EVERY == 0:
            scales = {"pooled": step.scale.pooled, **step.scale.groups}
            say(
                f"{step.path.name}: {done} cycles; background-error scale "
                f"{', '.join(f'{k} {v:.2f}' for k, v in scales.items())}; RMSE over the usual "
                f"background's: background {rms(step.background):.3f}, analysis "
                f"{rms(step.analysis):.3f}"
            )
    say(
        f"{done} cycles in {out}; next: phyda preprocess {nature} {out} --pairs forecast --out "
        f"{out}.zarr"
    )
