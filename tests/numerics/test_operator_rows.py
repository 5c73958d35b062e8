"""Work in parts: bands of latitude give what the whole grid gives, and nothing is spread without
``ranks``."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.distributed as dist
from synthetic import CHANNELS, GRID

from phyda_cli.analysis.ensemble_filter import transform
from phyda_cli.analysis.localisation import Columns, Draws, Localisation, Observed
from phyda_cli.analysis.solver import solve
from phyda_cli.errors import InputError
from phyda_cli.parallel.ranks import Ranks, in_parts, ranks, shares

LEVELS = np.log([100.0 * float(c[1:]) if c[1:].isdigit() else 1e5 for c in CHANNELS])


def case(reports: int) -> tuple[torch.Tensor, Observed]:
    rng = np.random.default_rng(4)
    members = torch.from_numpy(rng.standard_normal((12, len(CHANNELS), *GRID.shape)))
    latitude, longitude = rng.uniform(-85, 85, reports), rng.uniform(0, 360, reports)
    y, d = (
        torch.from_numpy(rng.standard_normal((12, reports))),
        torch.from_numpy(rng.standard_normal(reports)),
    )
    return members, Observed(y, d, latitude, longitude, rng.choice(LEVELS, reports))


@pytest.mark.parametrize("reports", [0, 5, 40])
@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("size", [2, 3, 8])
def test_bands_are_those_of_the_whole(reports: int, stride: int, size: int) -> None:
    members, observed = case(reports)
    where = Localisation(GRID, Columns(GRID, stride), 6e6, LEVELS, 2.0)
    draws = Draws.random(observed, 2, 1)
    whole = solve(members, observed, where, draws)
    bands = [solve(members, observed, where, draws, rows) for rows in shares(GRID.shape[0], size)]
    for name in ("increment", "spread", "prior_spread", "perturbations"):
        joined = torch.cat([getattr(band, name) for band in bands], dim=-2)
        torch.testing.assert_close(joined, getattr(whole, name), rtol=0, atol=1e-12)
    filtered = [transform(members, observed, where, rows) for rows in shares(GRID.shape[0], size)]
    for joined, expected in zip(
        zip(*filtered, strict=True), transform(members, observed, where), strict=True
    ):
        torch.testing.assert_close(torch.cat(joined, dim=-2), expected, rtol=0, atol=1e-12)


def test_a_band_solves_only_the_columns_it_needs() -> None:
    columns = Columns(GRID, 1)
    band = columns.for_points(slice(16, 48))
    assert band.points.tolist() == list(range(16, 48))
    assert tuple(band.to_grid.shape) == (32, 32)


@pytest.mark.parametrize(("count", "size"), [(7, 2), (2, 3), (0, 2), (121, 8)])
def test_shares(count: int, size: int) -> None:
    parts = shares(count, size)
    assert len(parts) == size
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(count))
    lengths = [part.stop - part.start for part in parts]
    assert max(lengths) - min(lengths) <= 1


def test_a_process_group_of_others_spreads_nothing() -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        with ranks() as place:
            assert (place.rank, place.size) == (0, 1)
            asked: list[slice] = []
            found = in_parts(
                4, lambda part: asked.append(part) or torch.arange(4.0)[part], torch.zeros(0)
            )
        assert asked == [slice(0, 4)]
        assert found.tolist() == [0, 1, 2, 3]
        assert dist.is_initialized()
    finally:
        dist.destroy_process_group()


def test_alone_there_is_nobody_to_agree_with() -> None:
    alone = Ranks()
    assert alone.broadcast(3) == 3
    assert alone.agree("well") == ["well"]
    with pytest.raises(InputError, match="gone"), ranks():
        raise InputError("gone")
