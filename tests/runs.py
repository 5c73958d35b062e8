"""A training run of one process on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.parallel.ranks import Ranks
from phyda_cli.settings.training import TrainingSettings
from phyda_cli.training.monitor import Lines
from phyda_cli.training.run import Run


def quiet(_: str) -> None:
    """Show nothing."""


def alone(
    folder: Path,
    settings: TrainingSettings,
    say: Callable[[str], None] = quiet,
    start: Checkpoint | None = None,
    ranks: Ranks | None = None,
) -> Run:
    return Run(folder, settings, ranks or Ranks(), torch.device("cpu"), Lines(say), start)
