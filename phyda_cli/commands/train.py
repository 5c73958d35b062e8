"""``phyda train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from phyda_cli.commands.console import say

__all__ = ["train"]


def train(
    data: Annotated[Path, typer.Option("--data", help="Training store made by phyda preprocess.")],
    out: Annotated[Path, typer.Option("--out", help="Run folder; an interrupted run continues there. The model is OUT/checkpoint.")],
    config: Annotated[Path | None, typer.Option(help="TOML file with settings; flags win.", envvar="PHYDA_CONFIG")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Analysis cases to simulate. [default: 8000]")] = None,
    members: Annotated[int | None, typer.Option(min=2, help="Static background-error members. [default: 128]")] = None,
    max_minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Limit for each of the two networks; the schedule fits itself to it.")
    ] = None,
    physics: Annotated[
        float | None,
        typer.Option(min=0.0, help="Strength of the physics term on the denoiser, 0 to train both networks without. [default: 0.2]"),
    ] = None,
    init_from: Annotated[
        Path | None, typer.Option(help="Checkpoint whose networks the training starts from; of the same channels, grid and sizes.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random. [default: 0]")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.", envvar="PHYDA_DEVICE")] = "auto",
) -> None:
    """Train a model: background-error members, the encoder and the diffusion denoiser.

    Examples:

      phyda train --data data/train.zarr --out runs/speedy-64x32

      phyda train --data data/weurope.zarr --out runs/weurope --config examples/weurope.toml --max-minutes 5
    """
    from phyda_cli.analysis.departures import choose_device
    from phyda_cli.config import TrainingSettings, load_settings
    from phyda_cli.model.checkpoint import Checkpoint
    from phyda_cli.training.run import train as run

    overrides: dict[str, Any] = {"samples": samples, "members": members, "max_minutes": max_minutes, "physics": physics, "seed": seed}
    if physics == 0:
        overrides["encoder_physics"] = 0.0
    settings = load_settings(TrainingSettings, config, overrides)
    start = Checkpoint.open(init_from) if init_from else None
    checkpoint = run(data, out, settings, choose_device(device), say, start)
    say(f"checkpoint in {checkpoint}; use it with phyda assimilate --checkpoint {checkpoint}")
