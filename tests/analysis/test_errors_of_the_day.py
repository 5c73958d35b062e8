"""Members scaled to the errors of the day."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy import sparse
from synthetic import GRID, observations, spec

from phyda_cli.analysis.errors_of_the_day import with_errors_of_the_day
from phyda_cli.analysis.localisation import Localisation
from phyda_cli.analysis.prior import Prior
from phyda_cli.analysis.reconstruction import Ensemble, Observations, reconstruct
from phyda_cli.model.background_spread import MAX_LOG_FACTOR, BackgroundSpread
from phyda_cli.model.encoder import N_CONDITIONS
from phyda_cli.settings.model import SolverSettings

C = spec().n_channels
N = 12


def static() -> Ensemble:
    members = torch.randn(N, C, *GRID.shape, generator=torch.Generator().manual_seed(3)) / N**0.5
    return Ensemble(
        members, Localisation.of(spec(), SolverSettings(radius_km=4000, column_stride=2))
    )


def network(climate: torch.Tensor) -> BackgroundSpread:
    torch.manual_seed(0)
    made = BackgroundSpread(C, GRID.shape, (8, 16), sphere=True)
    made.climate.copy_(climate)
    return made.eval().requires_grad_(False)


def today(net: BackgroundSpread, of: Observations) -> Ensemble:
    """The static members with the spread that ``net`` finds for the mean state."""
    state = spec()
    prior = Prior(
        spec=state,
        state=np.broadcast_to(state.column("mean"), (C, *GRID.shape)),
        conditions=np.zeros((N_CONDITIONS, *GRID.shape), np.float32),
        available=np.ones(C, bool),
        unit=state.column("background_std"),
        ensemble=static(),
    )
    return with_errors_of_the_day(prior, of, net).ensemble


def reports(count: int = 30) -> Observations:
    rng = np.random.default_rng(1)
    columns = rng.integers(0, C * GRID.size, count)
    matrix = sparse.csr_matrix(
        (np.ones(count, np.float32), (np.arange(count), columns)), shape=(count, C * GRID.size)
    )
    return observations(
        matrix,
        rng.standard_normal(count).astype(np.float32),
        np.full(count, 0.5, np.float32),
        longitude=np.linspace(0, 350, count),
    )


def test_an_untrained_network_gives_the_spread_of_the_climate() -> None:
    climate = torch.rand(C, *GRID.shape, generator=torch.Generator().manual_seed(0)) + 0.5
    found = today(network(climate), reports())
    torch.testing.assert_close(
        found.members.square().sum(dim=0).sqrt(), climate, rtol=1e-4, atol=1e-5
    )


def test_it_changes_variances_and_no_correlation() -> None:
    net = network(torch.ones(C, *GRID.shape))
    torch.nn.init.normal_(net.net.head.conv.weight, std=0.5)
    before, after = static(), today(net, reports())

    def correlation(members: torch.Tensor) -> torch.Tensor:
        flat = members.flatten(1)[:, ::37].double()
        return (flat / flat.norm(dim=0)).T @ (flat / flat.norm(dim=0))

    spread = after.members.square().sum(dim=0).sqrt()
    assert float(spread.std()) > 0.1
    torch.testing.assert_close(
        correlation(after.members), correlation(before.members), rtol=1e-4, atol=1e-5
    )


def test_the_factor_is_bounded() -> None:
    net = network(torch.ones(C, *GRID.shape))
    torch.nn.init.normal_(net.net.head.conv.weight, std=1e4)
    spread = today(net, reports()).members.square().sum(dim=0).sqrt()
    assert float(spread.log().abs().max()) <= MAX_LOG_FACTOR + 1e-4


def test_the_sign_of_the_innovations_turns_the_increment_only() -> None:
    net = network(torch.ones(C, *GRID.shape))
    torch.nn.init.normal_(net.net.head.conv.weight, std=0.5)
    plain = reports()
    one, other = (
        reconstruct(today(net, each), each)
        for each in (plain, replace(plain, innovation=-plain.innovation))
    )
    torch.testing.assert_close(one.increment, -other.increment)
    torch.testing.assert_close(one.spread, other.spread)


def test_without_observations() -> None:
    found = today(network(torch.ones(C, *GRID.shape)), Observations.none(C * GRID.size))
    assert bool(torch.isfinite(found.members).all())
