"""``phyda train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phyda_cli.commands.arguments import INPUT, OUTPUT
from phyda_cli.commands.console import emit, say
from phyda_cli.settings.options import RUNNING, Chosen, Flag, takes_settings
from phyda_cli.settings.presets import Preset, preset_settings
from phyda_cli.settings.training import TrainingSettings

__all__ = ["train"]

TRAINING = "Training"


@takes_settings(
    {
        TrainingSettings: (
            Flag("samples", TRAINING),
            Flag("members", TRAINING),
            Flag("max_minutes", TRAINING),
            Flag("physics", TRAINING),
            Flag("seed", TRAINING),
        )
    },
    (INPUT, TRAINING, OUTPUT, RUNNING),
)
def train(
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            metavar="FOLDER",
            help="Training store made by phyda preprocess.",
            rich_help_panel=INPUT,
            readable=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Run folder; an interrupted run continues there. The model is OUT/checkpoint.",
            rich_help_panel=OUTPUT,
            readable=False,
        ),
    ],
    chosen: Chosen,
    preset: Annotated[
        Preset | None,
        typer.Option(
            help="Settings for a usual grid, listed in docs/reference/training.md.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    init_from: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Checkpoint whose networks, of the same sizes, the training starts from; "
            "channels it lacks start as stage 1.",
            rich_help_panel=INPUT,
            readable=False,
        ),
    ] = None,
    nature: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Nature run of the validation season: keep the encoder that does best in a cycle "
            "of its own over it, and calibrate its spread there.",
            rich_help_panel=INPUT,
            readable=False,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="auto|cpu|cuda",
            help="Where to train.",
            envvar="PHYDA_DEVICE",
            show_envvar=False,
            rich_help_panel=RUNNING,
        ),
    ] = "auto",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Measure some steps, show parameters, memory and time; write nothing.",
            rich_help_panel=RUNNING,
        ),
    ] = False,
) -> None:
    """Train a model: background-error members, their spread of the day, the encoder and the
    diffusion denoiser.

    Processes that torchrun or srun starts divide every batch among them; the result stays the same.

    ```
    phyda train --data data/train.zarr --out runs/speedy-64x32
    phyda train --data data/weurope.zarr --out runs/weurope --config examples/weurope.toml
    torchrun --nproc-per-node 4 -m phyda_cli train --data era5.zarr --out runs/era5 --preset 240x121
    ```
    """
    from phyda_cli.analysis.prior import choose_device
    from phyda_cli.commands.progress import estimate_table, estimate_text, training_monitor
    from phyda_cli.model.checkpoint import Checkpoint
    from phyda_cli.parallel.training import own_device, together
    from phyda_cli.training.estimate import Estimate, estimate
    from phyda_cli.training.run import Run
    from phyda_cli.training.train import train as run

    settings = chosen.settings(TrainingSettings, preset_settings(preset) if preset else None)
    if "physics" in chosen.flags and settings.physics == 0:  # the flag is for both networks
        settings = settings.model_copy(update={"encoder_physics": 0.0})
    start = Checkpoint.open(init_from) if init_from else None
    with together() as ranks, training_monitor(ranks.rank == 0) as monitor:
        own = own_device(choose_device(device), ranks)
        training = Run(out, settings, ranks, own, monitor, start, nature=nature)
        result: Estimate | Path
        if dry_run:
            result = estimate(training, data)
        elif ranks.first((out / "run.json").exists):  # one that goes on
            result = run(training, data)
        else:
            found = estimate(training, data)
            if ranks.rank == 0:
                monitor.say(estimate_text(found, settings.max_minutes))
            result = run(training, data, found)
    if ranks.rank > 0:
        return
    if isinstance(result, Path):
        say(f"checkpoint in {result}; use it with phyda assimilate --checkpoint {result}")
    else:
        emit(estimate_table(result))
