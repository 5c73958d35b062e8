"""Encoder, denoiser and U-Net: where they start, and how they treat the globe and limited areas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from synthetic import GRID, spec
from torch import Tensor, nn

from phyda_cli.fields.grid import Grid
from phyda_cli.model.checkpoint import build_networks
from phyda_cli.model.denoiser import Denoiser
from phyda_cli.model.encoder import MIN_SPREAD, N_CONDITIONS, Encoder, conditions
from phyda_cli.model.unet import SphereConv, UNet, pad
from phyda_cli.settings.model import NetworkSettings

C = 3
WIDTHS = (8, 16, 24)


def started(network: nn.Module) -> nn.Module:
    """With every weight away from its start, so that nothing is zero by construction."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return network.eval()


def inputs(h: int = 8, w: int = 16, batch: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    fields = [torch.randn(batch, C, h, w, generator=generator) for _ in range(5)]
    fields[2] = fields[2].abs()
    return [*fields, torch.randn(batch, N_CONDITIONS, h, w, generator=generator)]


@pytest.mark.parametrize("sphere", [True, False])
def test_an_untrained_encoder_is_the_linear_analysis(sphere: bool) -> None:
    given = inputs()
    given[2][0, 0, 0, :3] = torch.tensor([0.0, 1e-3, MIN_SPREAD])
    posterior = Encoder(C, WIDTHS, sphere)(*given)
    assert torch.equal(posterior.mean, given[1])
    assert torch.equal(posterior.std, given[2].clamp(min=MIN_SPREAD))
    assert [tuple(z.shape[1:]) for z in posterior.latent] == [(8, 8, 16), (16, 4, 8), (24, 2, 4)]


def test_a_channel_that_is_left_to_stage_one_has_its_mean_and_spread() -> None:
    encoder, given = started(Encoder(C, WIDTHS, True)), inputs()
    assert isinstance(encoder, Encoder)
    before = encoder(*given)
    encoder.leave_to_stage_one(torch.tensor([False, True, False]))
    after = encoder(*given)
    assert torch.equal(after.mean[:, 1], given[1][:, 1])
    assert torch.equal(after.std[:, 1], given[2][:, 1].clamp(min=MIN_SPREAD))
    assert torch.equal(after.mean[:, [0, 2]], before.mean[:, [0, 2]])
    assert not torch.equal(before.mean[:, 1], given[1][:, 1])


def test_the_spread_is_a_bounded_calibrated_factor() -> None:
    encoder = started(Encoder(C, WIDTHS, True))
    assert isinstance(encoder, Encoder)
    given = inputs()
    before = encoder(*given).std
    factor = before / given[2].clamp(min=MIN_SPREAD)
    assert factor.max() <= np.exp(2.0) * 1.001
    assert (before >= MIN_SPREAD).all()
    encoder.calibration.copy_(torch.tensor([2.0, 1.0, 0.5]))
    after = encoder(*given)
    free = before[:, 0] > MIN_SPREAD
    torch.testing.assert_close(after.std[:, 0][free], 2 * before[:, 0][free])
    torch.testing.assert_close(after.std[:, 2], (0.5 * before[:, 2]).clamp(min=MIN_SPREAD))


def test_an_odd_encoder_turns_its_mean_with_the_innovations() -> None:
    encoder = started(Encoder(C, WIDTHS, True, odd=True))
    given = inputs()
    turned = [-x if i in (1, 3) else x for i, x in enumerate(given)]
    nothing = [torch.zeros_like(x) if i in (1, 3) else x for i, x in enumerate(given)]
    one, other, none = encoder(*given), encoder(*turned), encoder(*nothing)
    torch.testing.assert_close(one.mean, -other.mean)
    torch.testing.assert_close(one.std, other.std)
    assert torch.equal(none.mean, torch.zeros_like(none.mean))
    assert (one.mean - given[1]).abs().max() > 1e-3
    free = Encoder(C, WIDTHS, True).eval()
    free.load_state_dict(encoder.state_dict())
    assert free(*nothing).mean.abs().max() > 1e-3
    assert torch.equal(encoder.train()(*given).mean, free(*given).mean)


@pytest.mark.parametrize("sigma", [0.05, 1.0, 10.0])
def test_an_untrained_denoiser_shrinks_by_the_gaussian_factor(sigma: float) -> None:
    denoiser = Denoiser(C, WIDTHS, WIDTHS, True)
    x, latent = inputs()[0], Encoder(C, WIDTHS, True)(*inputs()).latent
    levels = torch.full((2,), sigma)
    torch.testing.assert_close(denoiser.conditioned(latent)(x, levels), x / (sigma**2 + 1))


def test_the_denoiser_looks_at_noise_level_and_latent() -> None:
    denoiser = started(Denoiser(C, WIDTHS, WIDTHS, True))
    assert isinstance(denoiser, Denoiser)
    x, latent = inputs()[0], Encoder(C, WIDTHS, True)(*inputs()).latent

    def residual(sigma: float, z: list[Tensor]) -> Tensor:
        return (
            denoiser.conditioned(z)(x * (sigma**2 + 1) ** 0.5, torch.full((2,), sigma))
            - x / (sigma**2 + 1) ** 0.5
        ) / sigma

    base = residual(1.0, latent)
    assert (residual(3.0, latent) * 10**0.5 - base * 2**0.5).abs().max() > 1e-3
    for level in range(len(latent)):
        other = [z + 1 if i == level else z for i, z in enumerate(latent)]
        assert (residual(1.0, other) - base).abs().max() > 1e-4


def test_one_latent_serves_every_member() -> None:
    denoiser = started(Denoiser(C, WIDTHS, WIDTHS, True))
    assert isinstance(denoiser, Denoiser)
    x, latent = inputs()[0], [z[:1] for z in Encoder(C, WIDTHS, True)(*inputs()).latent]
    sigma = torch.tensor([0.3, 2.0])
    both = denoiser.conditioned(latent)(x, sigma)
    for i in range(2):
        torch.testing.assert_close(
            both[i : i + 1], denoiser.conditioned(latent)(x[i : i + 1], sigma[i : i + 1])
        )


def test_padding_of_the_globe_crosses_the_poles() -> None:
    x = torch.arange(2 * 4 * 6.0).reshape(1, 2, 4, 6)
    y = pad(x, sphere=True)
    assert y.shape == (1, 2, 6, 8)
    assert torch.equal(y[..., 1:-1, 1:-1], x)
    assert torch.equal(y[..., 1:-1, 0], x[..., -1])
    assert torch.equal(y[..., 1:-1, -1], x[..., 0])
    for edge, row in ((0, 0), (-1, -1)):
        assert torch.equal(y[..., edge, 1:-1], x[..., row, [3, 4, 5, 0, 1, 2]])


def test_padding_of_a_limited_area_repeats_the_edge() -> None:
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    assert torch.equal(
        pad(x, sphere=False)[0, 0], torch.from_numpy(np.pad(x[0, 0].numpy(), 1, mode="edge"))
    )


def test_a_convolution_sees_over_the_pole_and_the_date_line() -> None:
    torch.manual_seed(0)
    conv = SphereConv(1, 1, sphere=True)
    x = torch.zeros(1, 1, 4, 8)
    x[0, 0, 0, 0] = 1.0
    touched = (conv(x) - conv(torch.zeros_like(x)))[0, 0].abs() > 1e-9
    assert {tuple(p) for p in touched.nonzero().tolist()} == {
        (i, j) for i in (0, 1) for j in (7, 0, 1)
    } | {(0, 3), (0, 4), (0, 5)}


@pytest.mark.parametrize("cells", [1, 3])
def test_turning_the_globe_turns_the_output(cells: int) -> None:
    """By multiples of the coarsest cell: four points with three levels."""
    encoder, denoiser = (
        started(Encoder(C, WIDTHS, True)),
        started(Denoiser(C, WIDTHS, WIDTHS, True)),
    )
    assert isinstance(denoiser, Denoiser)
    given, sigma, turn = inputs(), torch.tensor([0.2, 2.0]), 4 * cells
    here, there = encoder(*given), encoder(*(a.roll(turn, -1) for a in given))
    torch.testing.assert_close(there.mean, here.mean.roll(turn, -1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(there.std, here.std.roll(turn, -1), rtol=1e-4, atol=1e-5)
    x = denoiser.conditioned(here.latent)(given[0], sigma)
    torch.testing.assert_close(
        denoiser.conditioned(there.latent)(given[0].roll(turn, -1), sigma),
        x.roll(turn, -1),
        rtol=1e-4,
        atol=1e-5,
    )
    moved = encoder(*(a.roll(1, -1) for a in given)).mean.roll(-1, -1)
    assert (moved - here.mean).abs().max() > 1e-4  # the test would notice


@pytest.mark.parametrize(("h", "w"), [(21, 24), (9, 13), (7, 5)])
def test_limited_areas_of_any_size(h: int, w: int) -> None:
    given = inputs(h, w)
    encoder, denoiser = (
        started(Encoder(C, WIDTHS, False)),
        started(Denoiser(C, WIDTHS, WIDTHS, False)),
    )
    assert isinstance(denoiser, Denoiser)
    posterior = encoder(*given)
    assert posterior.mean.shape == posterior.std.shape == (2, C, h, w)
    out = denoiser.conditioned(posterior.latent)(given[0], torch.ones(2))
    assert out.shape == (2, C, h, w)
    assert torch.isfinite(out).all()


def test_features_only() -> None:
    net = UNet(4, 0, (8, 16), True)
    out, features = net(torch.randn(1, 4, 8, 16))
    assert net.head is None
    assert torch.equal(out, features[0])


def test_the_globe_is_told_from_a_limited_area() -> None:
    sizes = NetworkSettings(encoder=(8,), denoiser=(8,))
    part = Grid(np.linspace(35, 60, 6), np.linspace(0, 20, 5))
    for grid, sphere in ((GRID, True), (part, False)):
        encoder, denoiser = build_networks(spec(("t500", "msl"), grid), sizes)
        assert {
            m.sphere for n in (encoder, denoiser) for m in n.modules() if isinstance(m, SphereConv)
        } == {sphere}


def test_conditions_tell_place_season_and_hour() -> None:
    oro, land = np.full(GRID.shape, 500.0), np.ones(GRID.shape)
    noon = conditions(GRID, oro, land, np.datetime64("2011-01-01T12:00"), 36.0)
    assert noon.shape == (N_CONDITIONS, *GRID.shape)
    assert noon.dtype == np.float32
    np.testing.assert_allclose(noon[0], 0.5)
    np.testing.assert_allclose(noon[2] ** 2 + noon[3] ** 2, 1, atol=1e-6)
    np.testing.assert_allclose(noon[-1], 1.5)
    later = conditions(GRID, oro, land, np.datetime64("2011-01-01T18:00"), 36.0)
    np.testing.assert_allclose(
        later[8:10], np.roll(noon[8:10], -4, axis=-1), atol=1e-5
    )  # six hours are a quarter of the circle
    summer = conditions(GRID, oro, land, np.datetime64("2011-07-02T12:00"), 36.0)
    np.testing.assert_allclose(summer[7], -noon[7], atol=0.03)
