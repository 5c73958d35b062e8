"""``phyda train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from phyda_cli.commands.console import emit, say
from phyda_cli.settings.presets import Preset, preset_settings

__all__ = ["train"]


def train(
    data: Annotated[Path, typer.Option("--data", help="Training store made by phyda preprocess.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Run folder; an interrupted run continues there. The model is OUT/checkpoint.",
        ),
    ],
    config: Annotated[
        Path | None, typer.Option(help="TOML file with settings; flags win.", envvar="PHYDA_CONFIG")
    ] = None,
    preset: Annotated[
        Preset | None,
        typer.Option(
            help="Settings for a usual grid (docs/training.md lists them); the configuration "
            "file and flags win."
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Analysis cases to simulate. [default: 8000]")
    ] = None,
    members: Annotated[
        int | None, typer.Option(min=2, help="Static background-error members. [default: 128]")
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="Limit for each of the networks; the schedule fits itself to it."
        ),
    ] = None,
    physics: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Strength of the physics term on the denoiser, 0 to train both networks "
            "without. [default: 0.2]",
        ),
    ] = None,
    init_from: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint whose networks, of the same sizes, the training starts from; "
            "channels it lacks start as stage 1."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of everything random. [default: 0]")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.", envvar="PHYDA_DEVICE")] = "auto",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show parameters, memory and time, from some measured steps; write "
            "nothing to OUT.",
        ),
    ] = False,
) -> None:
    """Train a model: background-error members, their spread of the day, the encoder and the
    diffusion denoiser.

    Started by torchrun or srun, the processes divide every batch among them and the result stays
    the same.

    Examples:

      phyda train --data data/train.zarr --out runs/speedy-64x32

      phyda train --data data/weurope.zarr --out runs/weurope --config examples/weurope.toml
      --max-minutes 5

      torchrun --nproc-per-node 4 -m phyda_cli train --data data/era5.zarr --out runs/era5 --preset
      240x121
    """
    from phyda_cli.analysis.departures import choose_device
    from phyda_cli.commands.training_table import estimate_table, training_watch
    from phyda_cli.model.checkpoint import Checkpoint
    from phyda_cli.parallel.training import World
    from phyda_cli.settings.base import load_settings
    from phyda_cli.settings.training import TrainingSettings
    from phyda_cli.training.estimate import estimate
    from phyda_cli.training.run import train as run

    overrides: dict[str, Any] = {
        "samples": samples,
        "members": members,
        "max_minutes": max_minutes,
        "physics": physics,
        "seed": seed,
    }
    if physics == 0:
        overrides["encoder_physics"] = 0.0
    settings = load_settings(
        TrainingSettings, config, overrides, preset_settings(preset) if preset else None
    )
    start = Checkpoint.open(init_from) if init_from else None
    world = World(choose_device(device), settings.strategy)
    with world.together(), training_watch(world.rank == 0) as watch:
        found = (
            estimate(data, settings, world, watch, start)
            if dry_run
            else run(data, out, settings, world, watch, start)
        )
    if world.rank > 0:
        return
    if isinstance(found, Path):
        say(f"checkpoint in {found}; use it with phyda assimilate --checkpoint {found}")
    else:
        emit(estimate_table(found))
