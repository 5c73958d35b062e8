"""Starting from other weights, whose channels may be fewer, more or others: they are matched by
variable and level.

A new channel starts with zeros where it enters a network and where it leaves it: nothing else feels
it, and its own analysis is stage 1's until training changes it. What a channel that is gone had to
say is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from phyda_cli.errors import UsageError
from phyda_cli.fields.state import StateSpec
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.model.denoiser import Denoiser
from phyda_cli.model.encoder import N_CONDITIONS, Encoder
from phyda_cli.settings.model import NetworkSettings

__all__ = ["fitted", "require_fit"]

INPUTS, OUTPUTS = (
    5,
    2,
)  # fields of C channels each that enter the encoder, before the conditions, and that leave it


def require_fit(start: Checkpoint, spec: StateSpec, network: NetworkSettings) -> None:
    """Raise UsageError when encoder and denoiser of ``start`` have other sizes than ``network`` or
    no channel of the state ``spec``."""
    old, new = start.state.channels, spec.channels
    if start.metadata.network.model_copy(update={"spread": network.spread}) != network:
        raise UsageError(
            f"training cannot start from {start.path}: its network is {start.metadata.network}, "
            f"that of the settings {network}",
            hint="give the checkpoint's sizes in [network] of `phyda train --config`, or train "
            "from the beginning",
        )
    if not set(old) & set(new):
        raise UsageError(
            f"training cannot start from {start.path}: it has none of the channels of the data",
            hint=f"it has {', '.join(old)}; the data has {', '.join(new)}",
        )


def fitted(
    start: Checkpoint,
    spec: StateSpec,
    network: NetworkSettings,
    encoder: Encoder,
    denoiser: Denoiser,
) -> str:
    """Load the weights of ``start`` into the networks of the state ``spec``; returns what was
    matched. Raises as :func:`require_fit`."""
    require_fit(start, spec, network)
    old, new = start.state.channels, spec.channels
    before = start.networks()
    for target, source, inputs, outputs, others in (
        (encoder, before[0], INPUTS, OUTPUTS, N_CONDITIONS),
        (denoiser, before[1], 1, 1, 0),
    ):
        _copy(target, source, (old, new), inputs, outputs, others)
    return _summary(start, spec)


def _copy(
    target: nn.Module,
    source: nn.Module,
    channels: tuple[tuple[str, ...], tuple[str, ...]],
    inputs: int,
    outputs: int,
    others: int,
) -> None:
    old, new = channels
    weights = source.state_dict()
    for name, own in target.state_dict().items():
        if name == "net.stem.weight":
            weights[name] = _matched(weights[name], 1, old, new, inputs, others)
        elif name.startswith("net.head."):
            weights[name] = _matched(weights[name], 0, old, new, outputs)
        elif name == "calibration":
            weights[name] = torch.where(
                _is_old(old, new), _matched(weights[name], 0, old, new, 1), torch.ones_like(own)
            )
    target.load_state_dict(weights)


def _is_old(old: tuple[str, ...], new: tuple[str, ...]) -> Tensor:
    return torch.tensor([key in old for key in new])


def _matched(
    weights: Tensor,
    axis: int,
    old: tuple[str, ...],
    new: tuple[str, ...],
    fields: int,
    others: int = 0,
) -> Tensor:
    """``weights``, along ``axis`` ``fields`` times the channels ``old``, then ``others``, for the
    channels ``new``; zero if new."""
    stacks = weights.movedim(axis, 0).split([*[len(old)] * fields, others])
    made = []
    for stack in stacks[:fields]:
        fresh = stack.new_zeros(len(new), *stack.shape[1:])
        for index, key in enumerate(new):
            if key in old:
                fresh[index] = stack[old.index(key)]
        made.append(fresh)
    return torch.cat([*made, stacks[-1]]).movedim(0, axis).contiguous()


def _summary(start: Checkpoint, spec: StateSpec) -> str:
    old, new = start.state.channels, spec.channels
    kept = [c for c in new if c in old]
    added, gone = [c for c in new if c not in old], [c for c in old if c not in new]
    facts = [f"{len(kept)} of {len(new)} channels start from {start.path}"]
    if added:
        facts.append(f"new, from zero: {', '.join(added)}")
    if gone:
        facts.append(f"left out: {', '.join(gone)}")
    if not start.state.grid.same_as(spec.grid):
        facts.append("on another grid")
    return "; ".join(facts)
