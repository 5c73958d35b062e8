"""The physics term: zero where it should be, in the right units, and felt by the weights of the
denoiser."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from synthetic import CHANNELS, GRID, LEVELS, WAVES, fields_at, spec
from torch import Tensor

from phyda_cli.model.denoiser import Denoiser
from phyda_cli.model.diffusion import DiffusionLoss, diffusion_loss, noise_level, physics_weight
from phyda_cli.physics.state_physics import StatePhysics

WIDTHS = (8, 16)


def weather(n: int, seed: int = 0) -> Tensor:
    """States (n, C, H, W) in physical units."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(n):
        fields = fields_at(rng.standard_normal((len(WAVES), 2)))
        out.append(np.concatenate([*(fields[v] for v in "ztuvq"), fields["msl"][None]]))
    return torch.from_numpy(np.stack(out).astype(np.float32))


@pytest.fixture(scope="module")
def physics() -> StatePhysics:
    return StatePhysics(spec())


@pytest.fixture(scope="module")
def scale(physics: StatePhysics) -> dict[str, list[float]]:
    return {
        k: v.mean(0).tolist() for k, v in physics.difference(weather(4, 1), weather(4, 2)).items()
    }


def test_has_every_equation_of_the_design(physics: StatePhysics) -> None:
    names = set(physics.difference(weather(1), weather(1, 1)))
    assert {"hydrostatic", "mass", "momentum_u", "momentum_v", "thermodynamic", "moisture"} <= names
    assert physics.levels.tolist() == [100.0 * p for p in LEVELS]


def test_equal_states_cost_nothing(physics: StatePhysics, scale: dict[str, list[float]]) -> None:
    state = weather(3)
    assert torch.equal(physics.objective(state, state.clone(), scale), torch.zeros(3))
    assert (physics.objective(state, weather(3, 1), scale) > 0).all()


def test_one_means_as_unphysical_as_the_background(physics: StatePhysics) -> None:
    state, truth = weather(1, 1), weather(1, 2)
    own = {k: v[0].tolist() for k, v in physics.difference(state, truth).items()}
    torch.testing.assert_close(physics.objective(state, truth, own), torch.ones(1))
    fourfold = {k: [4 * x for x in v] for k, v in own.items()}
    torch.testing.assert_close(physics.objective(state, truth, fourfold), torch.full((1,), 0.25))


def test_is_differentiable_in_every_variable(
    physics: StatePhysics, scale: dict[str, list[float]]
) -> None:
    state = weather(2, 1).requires_grad_()
    physics.objective(state, weather(2, 2), scale).sum().backward()
    assert state.grad is not None
    assert torch.isfinite(state.grad).all()
    size = dict(zip(CHANNELS, state.grad.abs().amax(dim=(0, 2, 3)).tolist(), strict=True))
    assert all(size[f"{v}{p}"] > 0 for v in "ztuvq" for p in LEVELS)
    assert size["msl"] == 0


def test_gradient_matches_finite_differences(
    physics: StatePhysics, scale: dict[str, list[float]]
) -> None:
    state, truth = weather(1, 1).double().requires_grad_(), weather(1, 2).double()
    direction = torch.randn(state.shape, generator=torch.Generator().manual_seed(0)).double()
    direction = direction * torch.from_numpy(spec().column("background_std")).double()
    slope = (
        torch.autograd.grad(physics.objective(state, truth, scale).sum(), state)[0] * direction
    ).sum()
    step = 1e-4
    with torch.no_grad():
        up, down = (
            physics.objective(state + s * step * direction, truth, scale).sum() for s in (1, -1)
        )
    torch.testing.assert_close((up - down) / (2 * step), slope, rtol=1e-4, atol=0)


def started_denoiser() -> Denoiser:
    """One whose last layers are no longer zero, as after its first steps."""
    torch.manual_seed(0)
    denoiser = Denoiser(len(CHANNELS), WIDTHS, WIDTHS, sphere=True)
    with torch.no_grad():
        for p in denoiser.parameters():
            p.add_(0.02 * torch.randn_like(p))
    return denoiser


def loss_of(
    denoiser: Denoiser, strength: float, physics: StatePhysics, scale: dict[str, list[float]]
) -> DiffusionLoss:
    generator = torch.Generator().manual_seed(1)
    truth, unit = weather(2, 3), torch.from_numpy(spec().column("background_std"))
    clean, noise = (torch.randn(truth.shape, generator=generator) for _ in range(2))
    latent = [
        torch.randn(2, 8, 8, 16, generator=generator),
        torch.randn(2, 16, 4, 8, generator=generator),
    ]
    area = torch.from_numpy(GRID.area_weights[:, None].astype(np.float32))

    def objective(denoised: Tensor) -> Tensor:
        return physics.objective(truth + unit * (denoised - clean), truth, scale)

    return diffusion_loss(
        denoiser.conditioned(latent),
        clean,
        torch.tensor([0.2, 0.4]),
        noise,
        area,
        objective,
        strength,
    )


def test_the_physics_term_alone_changes_the_denoiser(
    physics: StatePhysics, scale: dict[str, list[float]]
) -> None:
    denoiser = started_denoiser()
    loss = loss_of(denoiser, 0.2, physics, scale)
    torch.testing.assert_close(loss.total, loss.denoising + loss.physics)
    assert loss.physics > 0
    before = {k: v.detach().clone() for k, v in denoiser.named_parameters()}
    optimizer = torch.optim.SGD(denoiser.parameters(), lr=0.1)
    loss.physics.backward()
    optimizer.step()
    moved = {k: float((v.detach() - before[k]).abs().max()) for k, v in denoiser.named_parameters()}
    parts = (
        "net.stem net.down.0 net.down.1 net.middle net.up.0 net.head.conv net.context.0 "
        "net.context.1 embed.0 embed.2"
    )
    for part in parts.split():
        assert max(m for k, m in moved.items() if k.startswith(part)) > 0, part
    assert all(np.isfinite(m) for m in moved.values())
    assert np.mean([m > 0 for m in moved.values()]) > 0.9


def test_an_untrained_denoiser_feels_it_too(
    physics: StatePhysics, scale: dict[str, list[float]]
) -> None:
    torch.manual_seed(0)
    denoiser = Denoiser(len(CHANNELS), WIDTHS, WIDTHS, sphere=True)
    loss_of(denoiser, 0.2, physics, scale).physics.backward()
    assert denoiser.net.head is not None
    gradient = denoiser.net.head.conv.weight.grad
    assert gradient is not None
    assert gradient.norm() > 0


def test_a_step_against_its_gradient_lowers_it(
    physics: StatePhysics, scale: dict[str, list[float]]
) -> None:
    denoiser = started_denoiser()
    loss = loss_of(denoiser, 0.2, physics, scale)
    loss.physics.backward()
    with torch.no_grad():
        length = (
            sum(p.grad.square().sum() for p in denoiser.parameters() if p.grad is not None) ** 0.5
        )
        for p in denoiser.parameters():
            if p.grad is not None:
                p -= 1e-3 * p.grad / length
    assert loss_of(denoiser, 0.2, physics, scale).physics < loss.physics


def test_strength_zero_is_plain_denoising(
    physics: StatePhysics, scale: dict[str, list[float]]
) -> None:
    with_term, without = (loss_of(started_denoiser(), s, physics, scale) for s in (0.2, 0.0))
    assert without.physics == 0
    assert torch.equal(without.total, without.denoising)
    assert torch.equal(without.denoising, with_term.denoising)


def test_acts_at_low_noise_only() -> None:
    sigma = torch.tensor([1e-3, 0.1, 0.5, 1.0, 5.0])
    weight = physics_weight(sigma, 0.2)
    assert (weight.diff() < 0).all()
    torch.testing.assert_close(weight[[0, 2]], torch.tensor([0.2, 0.1]))
    assert weight[-1] < 1e-4
    drawn = noise_level(20000, torch.Generator().manual_seed(0))
    assert drawn.min() > 0
    torch.testing.assert_close(drawn.log().mean(), torch.tensor(-0.6), rtol=0, atol=0.05)


@pytest.mark.parametrize("channels", [("msl",), ("z500", "t850"), ("z300", "u500", "msl")])
def test_states_without_a_common_level_have_no_term(channels: tuple[str, ...]) -> None:
    physics = StatePhysics(spec(channels))
    state = torch.zeros(2, len(channels), *GRID.shape, requires_grad=True)
    value = physics.objective(state, state + 1, {})
    assert value.tolist() == [0.0, 0.0]
    assert physics.residuals(state) == {}
