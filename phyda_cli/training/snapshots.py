"""Files from which a phase continues: written whole or not at all, the last few and the best are
kept."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from phyda_cli.errors import InputError
from phyda_cli.files.publish import publish

__all__ = ["newest", "save"]

DAMAGED = (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, ValueError)


def save(folder: Path, name: str, state: dict[str, Any], keep: int) -> Path:
    """Write ``state`` as that of its ``step``; of the files of ``name`` the last ``keep`` stay, and
    that of its ``best_step``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{state['step']:07d}.pt"
    with publish(path, overwrite=True) as temporary:
        torch.save(state, temporary)
    best = folder / f"{name}-{state['best_step']:07d}.pt"
    for old in sorted(folder.glob(f"{name}-*.pt"))[:-keep]:
        if old != best:
            old.unlink()
    return path


def newest(folder: Path, name: str) -> dict[str, Any] | None:
    """The last state of ``name`` that can be read, on the CPU; none where there is no file. Raises
    InputError where none can be read."""
    files = sorted(folder.glob(f"{name}-*.pt"), reverse=True)
    for path in files:
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return state
        except DAMAGED:
            continue
    if files:
        raise InputError(
            f"{files[0]} cannot be read, nor any older state",
            hint=f"remove {folder} to train again from the start",
        )
    return None
