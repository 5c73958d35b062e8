"""What a checkpoint is, for ``phyda model``: facts from ``model.json`` and the files beside it, and
what it does not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from phyda_cli.fields.grid import Grid
from phyda_cli.fields.state import StateSpec
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.names import VARIABLES

__all__ = ["SCORES", "describe"]

SCORES = {
    "oi": "stage 1 alone: mean square error of the increment over the background's",
    "encoder": "with the encoder: the same",
    "oi in a cycle": "RMSE of stage 1's analyses in a cycle of its own over the usual background's",
    "encoder in a cycle": "with the encoder: the same",
}
RECORDED = {
    "source": "source of the training data",
    "data_license": "licence of the training data",
    "references": "references of the training data",
    "first": "start of the training data",
    "last": "end of the training data",
    "pairs": "number of training pairs",
    "pairs_kind": "kind of training pairs",
    "hardware": "hardware",
}
NATURE_RUN = "jcm nature run"
SIMULATED = {
    "data_license": "simulated with the boundary fields that jcm brings, without other data",
    "references": "jcm, https://pypi.org/project/jcm",
}


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """Facts of a checkpoint whose files have been verified, one JSON object; ``not_recorded`` names
    what older checkpoints do not say.

    Raises InputError when the weights do not fit the state.
    """
    metadata, training = checkpoint.metadata, dict(checkpoint.metadata.training)
    if str(training.get("source", "")).startswith(NATURE_RUN):
        training = training | {name: training.get(name) or text for name, text in SIMULATED.items()}
    known = {name: training.get(name) or None for name in RECORDED}
    scores = _scores(training.get("validation"))
    encoder, denoiser = checkpoint.networks()
    spread = checkpoint.background_spread()
    missing = [text for name, text in RECORDED.items() if known[name] is None]
    return {
        "schema": 1,
        "name": metadata.name,
        "bundled": checkpoint.path == BUNDLED,
        "path": str(checkpoint.path),
        "sha256": checkpoint.sha256,
        "format": metadata.format,
        "license": metadata.license,
        "channels": checkpoint.state.n_channels,
        "variables": _variables(checkpoint.state),
        "grid": _grid(checkpoint.state.grid),
        "background": _needs(checkpoint.state),
        "members": {"count": len(metadata.member_times), **_span(metadata.member_times)},
        "solver": metadata.solver.model_dump(mode="json"),
        "sampler": metadata.sampler.model_dump(mode="json"),
        "networks": {
            "encoder": {
                "widths": list(metadata.network.encoder),
                "odd": metadata.network.odd,
                "parameters": _parameters(encoder),
            },
            "denoiser": {
                "kind": metadata.network.denoiser_kind,
                "widths": list(metadata.network.denoiser),
                "parameters": _parameters(denoiser),
            },
            **(
                {}
                if spread is None
                else {
                    "spread": {
                        "widths": list(metadata.network.spread),
                        "parameters": _parameters(spread),
                    }
                }
            ),
        },
        "mean_error": _mean_error(checkpoint),
        "training": known | {"settings": training.get("settings")},
        "scores": scores,
        "files": {
            name: {"sha256": known_as, "bytes": (checkpoint.path / name).stat().st_size}
            for name, known_as in metadata.files.items()
        },
        "not_recorded": missing + ([] if scores else ["validation scores"]),
    }


def _variables(spec: StateSpec) -> list[dict[str, Any]]:
    """Each variable once, with its levels [hPa] from the top down; none at the surface."""
    levels: dict[str, list[float]] = {}
    for channel in spec.channel_list:
        levels.setdefault(channel.variable, []).extend(
            [] if channel.pressure is None else [round(channel.pressure / 100, 3)]
        )
    return [
        {
            "name": name,
            "long_name": VARIABLES[name].long_name,
            "units": VARIABLES[name].units,
            "levels_hPa": sorted(each) or None,
        }
        for name, each in levels.items()
    ]


def _grid(grid: Grid) -> dict[str, Any]:
    def axis(values: np.ndarray) -> dict[str, float | int]:
        return {
            "count": values.size,
            "first": float(values[0]),
            "last": float(values[-1]),
            "step": round(float(np.diff(values).mean()), 6),
        }

    whole = grid.periodic and all(grid.covers_poles)
    return {"global": whole, "latitude": axis(grid.latitude), "longitude": axis(grid.longitude)}


def _needs(spec: StateSpec) -> dict[str, Any]:
    """What a background must hold for this state."""
    surface = [c.key for c in spec.channel_list if c.pressure is None]
    pressures = [c.pressure / 100 for c in spec.channel_list if c.pressure is not None]
    return {
        "required": "one variable of the model at least, on a regular latitude-longitude grid "
        "that overlaps the model's",
        "complete": list(spec.channels),
        "levels": f"levels that reach from {min(pressures):g} to {max(pressures):g} hPa; those "
        "between are interpolated"
        if pressures
        else None,
        "surface": surface,
        "helpful": ["orography", "lsm", "sp"],
        "without": "what it lacks or does not cover is climatology to the networks; variables "
        "that the model lacks pass through unchanged",
    }


def _span(times: tuple[str, ...]) -> dict[str, str | None]:
    return {"first": min(times, default=None), "last": max(times, default=None)}


def _scores(validation: object) -> dict[str, float]:
    """The finite numbers among the validation scores."""
    found = validation if isinstance(validation, Mapping) else {}
    return {
        str(name): float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and np.isfinite(value)
    }


def _mean_error(checkpoint: Checkpoint) -> dict[str, int] | None:
    """The correction of the background's mean error, where the checkpoint has one."""
    known = checkpoint.mean_error
    if known is None:
        return None
    return {"patterns": len(known.patterns), "products": known.products}


def _parameters(network: nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())
