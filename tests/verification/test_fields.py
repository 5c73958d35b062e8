"""Scores between fields: area weights, grids, levels and what they share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.verification.channels import common_channels
from phyda_cli.verification.fields import FieldScore, score_fields
from phyda_cli.verification.scores import crps_gaussian

TIME = np.datetime64("2020-01-01T00", "ns")
LEVELS = np.array([50000.0, 85000.0])
GLOBE = Grid(np.array([-60.0, 0.0, 60.0]), np.arange(8) * 45.0)


def fields(
    grid: Grid = GLOBE, t: float = 280.0, msl: float = 1e5, levels: np.ndarray = LEVELS
) -> Fields:
    return Fields(
        grid,
        TIME,
        levels,
        {"t": np.full((levels.size, *grid.shape), t)},
        {"msl": np.full(grid.shape, msl)},
    )


def by_name(scores: list[FieldScore]) -> dict[str, FieldScore]:
    return {s.channel: s for s in scores}


def test_area_weights_by_hand() -> None:
    error = np.array([1.0, 2.0, 3.0])[:, None] * np.ones(8)
    analysis = replace(fields(), surface={"msl": 1e5 + error})
    score = by_name(score_fields(analysis, fields()))["msl"]
    polar, tropical = (
        1 - np.sin(np.deg2rad(30)),
        2 * np.sin(np.deg2rad(30)),
    )  # areas of rows that end at 90 and 30 degrees
    total = 2 * polar + tropical
    assert score.rmse == pytest.approx(np.sqrt((polar * 1 + tropical * 4 + polar * 9) / total))
    assert score.bias == pytest.approx((polar * 1 + tropical * 2 + polar * 3) / total)
    assert score.mae == pytest.approx(score.bias)
    assert (score.n, score.units) == (24, "Pa")


def test_background_and_ratio() -> None:
    score = by_name(score_fields(fields(t=280.5), fields(t=280), background=fields(t=278)))["t850"]
    assert (score.rmse, score.background_rmse, score.background_bias, score.ratio) == pytest.approx(
        (0.5, 2.0, -2.0, 0.25)
    )


def test_a_perfect_background_has_no_ratio() -> None:
    assert by_name(score_fields(fields(t=281), fields(), background=fields()))["t500"].ratio is None


@pytest.mark.parametrize("swapped", [False, True])
def test_different_grids_meet_on_the_coarser(swapped: bool) -> None:
    fine = Grid(np.linspace(87, -87, 30), np.arange(60) * 6.0 - 180)
    a, b = fields(fine, t=283), fields(t=280)
    score = by_name(score_fields(b, a) if swapped else score_fields(a, b))["t500"]
    assert score.n == GLOBE.size
    assert score.bias == pytest.approx(-3 if swapped else 3)


def test_only_the_common_area_counts() -> None:
    region = Grid(np.linspace(-70, 10, 9), np.linspace(0, 100, 11))
    score = by_name(score_fields(fields(region, t=281), fields()))["t850"]
    assert score.n == 2 * 3  # rows -60 and 0; longitudes 0, 45 and 90
    assert score.rmse == pytest.approx(1.0)


def test_no_common_area() -> None:
    with pytest.raises(InputError, match="no common area"):
        score_fields(
            fields(Grid(np.array([10.0, 12.0]), np.array([0.0, 2.0]))),
            fields(Grid(np.array([50.0, 55.0]), np.array([90.0, 95.0]))),
        )


def test_only_common_levels_and_variables() -> None:
    other = fields(levels=np.array([85010.0, 20000.0]))  # 0.01 % off is the same level
    other = replace(other, surface={"t2m": np.full(GLOBE.shape, 280.0)})
    assert [c.key for c in common_channels(fields(), other)] == ["t850"]


def test_absent_levels_and_static_fields_do_not_count() -> None:
    t = np.full((2, *GLOBE.shape), 280.0)
    t[0] = np.nan
    there = replace(
        fields(),
        upper={"t": t},
        surface={"lsm": np.ones(GLOBE.shape), "orography": np.ones(GLOBE.shape)},
    )
    assert [c.key for c in common_channels(there, there)] == ["t850"]


def test_nothing_in_common_lists_both() -> None:
    with pytest.raises(InputError, match=r"one has t500, t850; the other msl"):
        score_fields(replace(fields(), surface={}), replace(fields(), upper={}))


def test_spread_that_tells_the_error() -> None:
    grid = Grid(np.linspace(-88, 88, 45), np.arange(90) * 4.0)
    rng = np.random.default_rng(0)
    truth = replace(fields(grid), surface={})
    draw = lambda: replace(truth, upper={"t": 280 + 2 * rng.normal(size=(2, *grid.shape))})  # noqa: E731
    spread = replace(truth, upper={"t": np.full((2, *grid.shape), 2.0)})
    gaussian = by_name(score_fields(draw(), truth, spread=spread))["t500"]
    assert gaussian.spread == pytest.approx(2.0)
    assert gaussian.spread_skill == pytest.approx(1.0, abs=0.05)

    drawn = (
        draw()
    )  # the truth is one more member: mean and truth differ by sqrt(1 + 1/M) standard deviations
    members = [draw() for _ in range(5)]
    mean = replace(truth, upper={"t": np.mean([m.upper["t"] for m in members], axis=0)})
    ensemble = by_name(score_fields(mean, drawn, spread=spread, members=members))["t500"]
    assert ensemble.spread_skill == pytest.approx(1.0, abs=0.05)
    z = np.linspace(-6, 6, 4001)  # expected CRPS of N(0, 2) against its own draws
    expected = np.trapezoid(
        crps_gaussian(np.zeros(z.size), np.full(z.size, 2.0), 2 * z)
        * np.exp(-(z**2) / 2)
        / np.sqrt(2 * np.pi),
        z,
    )
    assert ensemble.crps == pytest.approx(expected, rel=0.05)


def test_a_variable_without_spread_has_none() -> None:
    spread = replace(fields(), upper={}, surface={"msl": np.full(GLOBE.shape, 10.0)})
    scores = by_name(score_fields(fields(t=281, msl=1e5 + 20), fields(), spread=spread))
    assert scores["t500"].spread is None
    assert scores["t500"].crps is None
    assert scores["msl"].spread_skill == pytest.approx(0.5)
