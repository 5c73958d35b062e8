"""What every part of a training needs to know of the run it belongs to."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.parallel.ranks import Ranks
from phyda_cli.settings.training import TrainingSettings
from phyda_cli.training.monitor import Monitor
from phyda_cli.training.objectives import Precision
from phyda_cli.training.plan import Plan

__all__ = ["Run"]


@dataclass(frozen=True)
class Run:
    """One training in ``folder``: its ``settings``, the processes that share it and the device of
    this one, the ``monitor`` that shows it, the checkpoint it starts from where there is one, and
    the ``plan`` that keeps it within ``max_minutes``, and the ``nature`` run to cycle over."""

    folder: Path
    settings: TrainingSettings
    ranks: Ranks
    device: torch.device
    monitor: Monitor
    start: Checkpoint | None = None
    plan: Plan | None = None
    nature: Path | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def precision(self) -> Precision:
        """The precision of the settings, chosen for the device where it is auto."""
        if self.settings.precision != "auto":
            return self.settings.precision
        bfloat16 = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return "bfloat16" if bfloat16 else "float32"
