"""Training that starts from weights of other channels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from phyda_cli.errors import UsageError
from phyda_cli.fields.state import StateSpec
from phyda_cli.model.checkpoint import Checkpoint, build_networks
from phyda_cli.model.denoiser import Denoiser
from phyda_cli.model.encoder import N_CONDITIONS, Encoder, Posterior
from phyda_cli.settings.model import NetworkSettings
from phyda_cli.training.warm_start import fitted


@dataclass(frozen=True)
class Started:
    """Networks of ``spec`` with the weights of ``start``, what was told, and the inputs of both by
    channel."""

    start: Checkpoint
    spec: StateSpec
    encoder: Encoder
    denoiser: Denoiser
    told: str

    def inputs(self, channels: tuple[str, ...]) -> list[Tensor]:
        """The same fields for a channel whatever the others are."""
        rng = np.random.default_rng(0)
        every = sorted({*self.start.state.channels, *self.spec.channels})
        fields = torch.from_numpy(
            rng.standard_normal((5, 2, len(every), 8, 16)).astype(np.float32)
        ).abs()
        place = torch.from_numpy(rng.standard_normal((2, N_CONDITIONS, 8, 16)).astype(np.float32))
        return [*fields[:, :, [every.index(c) for c in channels]], place]

    def posteriors(self) -> tuple[Posterior, Posterior]:
        """Of the weights started from, and of those started."""
        before = self.start.networks()[0]
        with torch.no_grad():
            return before(*self.inputs(self.start.state.channels)), self.encoder.eval()(
                *self.inputs(self.spec.channels)
            )


def started(checkpoint: Path, channels: tuple[str, ...]) -> Started:
    start = Checkpoint.open(checkpoint)
    ones = (1.0,) * len(channels)
    spec = start.state.model_copy(
        update={"channels": channels, "mean": ones, "std": ones, "background_std": ones}
    )
    spec = StateSpec.model_validate(spec.model_dump())
    encoder, denoiser = build_networks(spec, start.metadata.network)
    return Started(
        start,
        spec,
        encoder,
        denoiser,
        fitted(start, spec, start.metadata.network, encoder, denoiser),
    )


def test_a_new_channel_is_analysed_as_by_stage_1_and_changes_no_other(
    tiny_checkpoint: Path,
) -> None:
    old = Checkpoint.open(tiny_checkpoint).state.channels
    found = started(tiny_checkpoint, ("t2m", *old[::-1], "z250"))
    before, after = found.posteriors()
    for index, channel in enumerate(found.spec.channels):
        if channel in old:
            torch.testing.assert_close(
                after.mean[:, index], before.mean[:, old.index(channel)], rtol=1e-4, atol=1e-5
            )
            torch.testing.assert_close(
                after.std[:, index], before.std[:, old.index(channel)], rtol=1e-4, atol=1e-5
            )
        else:
            _, increment, spread, *_ = found.inputs((channel,))
            assert torch.equal(after.mean[:, index], increment[:, 0])
            torch.testing.assert_close(after.std[:, index], spread[:, 0].clamp(min=0.02))
    assert f"{len(old)} of {len(old) + 2} channels start from" in found.told
    assert "new, from zero: t2m, z250" in found.told
    assert "left out" not in found.told


def test_the_denoiser_leaves_a_new_channel_linear(tiny_checkpoint: Path) -> None:
    old = Checkpoint.open(tiny_checkpoint).state.channels
    found = started(tiny_checkpoint, ("t2m", *old))
    before = found.start.networks()[1]
    with torch.no_grad():
        latent = found.encoder.eval()(*found.inputs(found.spec.channels)).latent
        x, sigma = torch.randn(2, len(old) + 1, 8, 16), torch.tensor([0.2, 2.0])
        ours, theirs = (
            found.denoiser.conditioned(latent)(x, sigma),
            before.conditioned(latent)(x[:, 1:], sigma),
        )
    torch.testing.assert_close(ours[:, 1:], theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours[:, 0], x[:, 0] / (sigma[:, None, None] ** 2 + 1))


def test_a_channel_that_is_gone_leaves_the_others_their_weights(tiny_checkpoint: Path) -> None:
    old = Checkpoint.open(tiny_checkpoint).state.channels
    found = started(tiny_checkpoint, old[2:])
    before, after = found.start.networks()[0].net.head, found.encoder.net.head
    assert before is not None
    assert after is not None
    kept = before.conv.weight.unflatten(0, (2, len(old)))[:, 2:].flatten(0, 1)
    assert torch.equal(after.conv.weight, kept)
    assert f"left out: {old[0]}, {old[1]}" in found.told
    assert all(p.requires_grad for p in found.encoder.parameters())


def test_what_cannot_be_started_from(tiny_checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="none of the channels"):
        started(tiny_checkpoint, ("t2m", "z250"))
    start = Checkpoint.open(tiny_checkpoint)
    wide = NetworkSettings(encoder=(16, 24), denoiser=(16, 16))
    with pytest.raises(UsageError, match="cannot start from"):
        fitted(start, start.state, wide, *build_networks(start.state, wide))
