"""Simulated observing networks: exact operators, positions within the grid, and draws that
repeat."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import CHANNELS, GRID, spec

from phyda_cli.fields.grid import Grid
from phyda_cli.fields.state import StateSpec
from phyda_cli.names import default_error
from phyda_cli.simulation.observing_network import channel_errors, draw_network, observe_channels

AREA = Grid(np.linspace(60, 30, 11), np.linspace(350, 380, 13))
LAND = (np.indices(GRID.shape).sum(0) % 3 == 0).astype(float)


def spec_of(channels: tuple[str, ...]) -> StateSpec:
    """A state of any channels; the statistics do not matter here."""
    ones = {name: (1.0,) * len(channels) for name in ("mean", "std", "background_std")}
    return StateSpec.model_validate(spec().model_dump() | {"channels": channels} | ones)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(-2, 2), st.floats(-2, 2))
def test_linear_fields_are_observed_exactly(seed: int, north: float, east: float) -> None:
    rng = np.random.default_rng(seed)
    n = 40
    lat, lon, channel = (
        rng.uniform(-78, 78, n),
        rng.uniform(0, 337, n),
        rng.integers(0, len(CHANNELS), n),
    )
    mesh_lat, mesh_lon = GRID.mesh
    fields = np.stack([i + north * mesh_lat + east * mesh_lon for i in range(len(CHANNELS))])
    network = observe_channels(spec(), lat, lon, channel, np.ones(n))
    np.testing.assert_allclose(
        network.matrix @ fields.ravel(), channel + north * lat + east * lon, atol=2e-4
    )


def test_each_row_sees_its_channel_only() -> None:
    network = draw_network(spec(), LAND, np.random.default_rng(3), (200, 300))
    for row in range(0, network.channel.size, 17):
        columns = network.matrix[row].indices
        assert set(columns // GRID.size) == {network.channel[row]}
    scalar = ~spec().is_vector[network.channel]
    np.testing.assert_allclose(np.asarray(network.matrix.sum(axis=1)).ravel()[scalar], 1, atol=1e-5)


@settings(max_examples=25)
@given(st.integers(0, 100_000), st.booleans())
def test_positions_lie_within_the_grid(seed: int, limited: bool) -> None:
    grid = AREA if limited else GRID
    land = np.ones(grid.shape) if limited else LAND
    network = draw_network(spec(grid=grid), land, np.random.default_rng(seed), (5, 400))
    assert grid.contains(network.latitude, network.longitude).all()
    assert np.abs(network.latitude).max(initial=0) <= 90
    sizes = {
        a.shape[0]
        for a in (
            network.matrix,
            network.error,
            network.latitude,
            network.longitude,
            network.channel,
        )
    }
    assert len(sizes) == 1
    assert (network.matrix.getnnz(axis=1) > 0).all()


def test_a_draw_repeats() -> None:
    first, again, other = (
        draw_network(spec(), LAND, np.random.default_rng(s), (50, 100), 0.0) for s in (4, 4, 5)
    )
    assert (first.matrix != again.matrix).nnz == 0
    np.testing.assert_array_equal(first.error, again.error)
    assert first.matrix.shape != other.matrix.shape or (first.matrix != other.matrix).nnz > 0


def test_numbers_of_reports_and_errors() -> None:
    table = np.array(
        [float(default_error(c.variable, np.array(c.pressure or 1e5))) for c in spec().channel_list]
    )
    for seed in range(20):
        network = draw_network(spec(), LAND, np.random.default_rng(seed), (30, 60), 0.0)
        positions = len(
            set(zip(network.latitude.tolist(), network.longitude.tolist(), strict=True))
        )
        assert 10 <= positions <= 61
        factor = network.error / table[network.channel]
        assert 0.399 < factor.min() <= factor.max() < 2.501
        assert np.ptp(factor) < 1e-4


def test_sometimes_nothing_is_observed() -> None:
    network = draw_network(spec(), LAND, np.random.default_rng(0), empty=1.0)
    assert network.matrix.shape == (0, len(CHANNELS) * GRID.size)
    counts = [
        draw_network(spec(), LAND, np.random.default_rng(s), (20, 30), 0.5).error.size
        for s in range(40)
    ]
    assert 8 < sum(c == 0 for c in counts) < 32


@pytest.mark.parametrize(("kind", "factor"), [("mixed", 2.5), ("complete", 1.6)])
def test_errors_are_within_the_factor_of_the_default_ones(
    kind: Literal["mixed", "complete"], factor: float
) -> None:
    ratios = []
    for seed in range(20):
        network = draw_network(spec(), LAND, np.random.default_rng(seed), (20, 30), 0.0, kind)
        ratios.append(network.error / channel_errors(spec(), network.channel))
        if kind == "complete":
            each = np.bincount(network.channel, minlength=len(CHANNELS))
            assert set(each) == {each[0]}
    assert np.concatenate(ratios).min() >= 1 / (factor + 0.001)
    assert np.concatenate(ratios).max() <= factor + 0.001
    assert np.ptp(np.concatenate(ratios)) > 0.3


@pytest.mark.parametrize(
    "channels", [("msl",), ("z500", "t850"), ("z500", "msl"), ("u250", "v250", "t250")]
)
def test_states_of_few_channels(channels: tuple[str, ...]) -> None:
    sizes = [
        draw_network(spec_of(channels), LAND, np.random.default_rng(s), (50, 60), 0.0)
        for s in range(12)
    ]
    seen = set(np.concatenate([n.channel for n in sizes]).tolist())
    assert seen == set(range(len(channels)))
