"""The factor on background error: known answers, gross errors, few observations, and the groups."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from phyda_cli.analysis.background_scale import (
    AGREEING,
    BOUNDS,
    CUT,
    CUT_VARIANCE,
    DEVIATION,
    FAR_OFF,
    NEAR_SURFACE,
    OF_GROUPS,
    BackgroundScale,
    estimate_scale,
)
from phyda_cli.analysis.departures import scaled_as
from phyda_cli.names import parse_channel

Case = tuple[np.ndarray, ...]


def case(n: int, alpha: float, variables: tuple[str, ...] = ("t",), seed: int = 0) -> Case:
    """``n`` reports, spread over the globe, of a background whose errors are ``alpha`` times
    sigma_b."""
    rng = np.random.default_rng(seed)
    error, sigma_b = rng.uniform(0.5, 1.5, n), rng.uniform(0.5, 2.0, n)
    innovation = rng.standard_normal(n) * np.hypot(error, alpha * sigma_b)
    latitude, longitude = np.rad2deg(np.arcsin(rng.uniform(-1, 1, n))), rng.uniform(0, 360, n)
    return np.resize(variables, n), innovation, error, sigma_b, latitude, longitude


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_known_factor_is_found(alpha: float, seed: int) -> None:
    found = estimate_scale(*case(2000, alpha, seed=seed))
    assert found.groups["temperature"] == pytest.approx(alpha, rel=0.1)


@pytest.mark.parametrize("alpha", [0.5, 2.0])
@pytest.mark.parametrize("variables", [("t",), ("t", "u"), ("t", "u", "z", "q")])
def test_the_common_factor_is_the_mean_given_its_groups(
    alpha: float, variables: tuple[str, ...]
) -> None:
    """With groups that know their factor well: normal prior and normal likelihoods."""
    found = estimate_scale(*case(4000, alpha, variables))
    share = len(variables) / OF_GROUPS**2 / (1 / DEVIATION**2 + len(variables) / OF_GROUPS**2)
    mean = np.mean(np.log(list(found.groups.values())))
    assert np.log(found.pooled) == pytest.approx(share * mean, rel=0.1)


@pytest.mark.parametrize("variable", ["t2m", "q2m", "u10"])
def test_the_air_near_the_surface_says_nothing_of_the_rest(variable: str) -> None:
    near, far = case(1000, 3.0, (variable,), 1), case(1000, 1.0, ("z",), 2)
    alone = estimate_scale(*near)
    assert alone.pooled == 1
    assert alone.of([variable, "t", "u", "q"]) == pytest.approx([3, 1, 1, 1], rel=0.1)
    both = [np.concatenate(pair) for pair in zip(near, far, strict=True)]
    assert estimate_scale(*both).pooled == pytest.approx(estimate_scale(*far).pooled)
    assert set(alone.groups) <= set(NEAR_SURFACE)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("size", [5.0, 10.0, 100.0], ids=lambda s: f"{s:g} sigma")
def test_gross_errors_change_little(alpha: float, size: float) -> None:
    variable, innovation, error, sigma_b, *where = case(2000, alpha)
    clean = estimate_scale(variable, innovation, error, sigma_b, *where).groups["temperature"]
    rng = np.random.default_rng(9)
    gross = rng.choice(2000, 100, replace=False)
    spoilt = innovation.copy()
    spoilt[gross] += size * rng.choice([-1, 1], 100) * np.hypot(error, alpha * sigma_b)[gross]
    found = estimate_scale(variable, spoilt, error, sigma_b, *where).groups["temperature"]
    assert found == pytest.approx(clean, rel=0.1)


def test_five_observations_leave_it_near_one() -> None:
    found = [estimate_scale(*case(5, 1.0, seed=s)).pooled for s in range(100)]
    assert np.median(np.abs(np.log(found))) < 0.2
    assert np.max(np.abs(np.log(found))) < np.log(2)
    doubled = [estimate_scale(*case(5, 2.0, seed=s)).pooled for s in range(100)]
    assert 1.0 < np.median(doubled) < 1.8


def test_at_the_maximum_chi_square_is_one() -> None:
    """With the weights of the module's docstring and next to no prior."""
    variable, d, error, sigma_b, _, _ = case(2000, 1.4)
    apart = np.linspace(-89, 89, 2000), np.linspace(0, 359, 2000) * 37 % 360
    alpha = estimate_scale(variable, d, error, sigma_b, *apart).groups["temperature"]
    total = error**2 + alpha**2 * sigma_b**2
    kept = d**2 < CUT**2 * total
    weight = alpha**2 * sigma_b**2 / total
    assert np.average((d**2 / total)[kept] / CUT_VARIANCE, weights=weight[kept]) == pytest.approx(
        1.0, abs=0.02
    )


def test_the_variance_within_the_cut_is_that_of_a_normal_variable() -> None:
    z = np.random.default_rng(0).standard_normal(4_000_000)
    assert np.mean(z[np.abs(z) < CUT] ** 2) == pytest.approx(CUT_VARIANCE, abs=3e-3)


def test_bounds_hold() -> None:
    assert BOUNDS[0] <= estimate_scale(*case(2000, 0.0)).groups["temperature"] < 0.35
    largest = estimate_scale(*case(2000, 20.0))
    assert largest.groups["temperature"] == BOUNDS[1]
    assert BOUNDS[0] < estimate_scale(*case(2000, 20.0), prior=0.3).pooled < BOUNDS[1]
    assert largest.at_bound
    assert not estimate_scale(*case(2000, 1.0)).at_bound


def test_groups_have_their_own_factor_and_the_unobserved_take_the_pooled() -> None:
    winds, temperatures = case(1000, 2.0, ("u", "v"), 1), case(1000, 0.7, ("t",), 2)
    both = [np.concatenate(pair) for pair in zip(winds, temperatures, strict=True)]
    found = estimate_scale(*both)
    assert found.groups.keys() == {"wind", "temperature"}
    assert found.groups["wind"] == pytest.approx(2.0, rel=0.15)
    assert found.groups["temperature"] == pytest.approx(0.7, rel=0.15)
    assert found.groups["temperature"] < found.pooled < found.groups["wind"]
    np.testing.assert_array_equal(
        found.of(["v", "t", "q", "msl", "w"]),
        [found.groups["wind"], found.groups["temperature"], *[found.pooled] * 3],
    )


def test_a_crowd_in_one_place_counts_as_one() -> None:
    variable, innovation, error, sigma_b, latitude, longitude = case(500, 3.0)
    together = estimate_scale(
        variable, innovation, error, sigma_b, np.full(500, 45.3), np.full(500, 10.0)
    )
    apart = estimate_scale(variable, innovation, error, sigma_b, latitude, longitude)
    assert 1.0 < together.pooled < together.groups["temperature"] < 1.6
    assert apart.groups["temperature"] > 2.7


def test_without_evidence_it_is_the_prior() -> None:
    nothing = [a[:0] for a in case(3, 1.0)]
    assert estimate_scale(*nothing) == BackgroundScale(1.0)
    assert estimate_scale(*nothing, prior=1.7).pooled == 1.7
    few = case(3, 1.0)
    assert estimate_scale(*few, prior=2.0).pooled > estimate_scale(*few).pooled


def test_the_wider_bound_takes_hundreds_of_observations() -> None:
    many = estimate_scale(*case(2000, 9.0), largest=FAR_OFF)
    assert many.groups["temperature"] == pytest.approx(9.0, rel=0.1)
    few = estimate_scale(*case(AGREEING - 1, 9.0), largest=FAR_OFF)
    assert few.groups["temperature"] == pytest.approx(BOUNDS[1])
    usual = estimate_scale(*case(2000, 1.0), largest=FAR_OFF)
    assert usual.pooled == pytest.approx(estimate_scale(*case(2000, 1.0)).pooled, rel=1e-3)


def test_a_lone_speed_is_of_the_wind_at_its_height() -> None:
    table = pd.DataFrame(
        {
            "variable": ["wind_speed", "wind_speed", "wind_speed", "t2m"],
            "pressure": [np.nan, 5e4, np.nan, np.nan],
            "height": [np.nan, np.nan, 3000.0, np.nan],
        }
    )
    assert scaled_as(table).tolist() == ["u10", "u", "u", "t2m"]


def test_the_lowest_level_stands_in_for_a_variable_that_the_state_lacks() -> None:
    scale = BackgroundScale(1.5, {"humidity_2m": 3.0, "humidity": 2.0, "temperature_2m": 4.0})
    keys = ["q850", "q1000", "q925", "t1000", "u1000", "t2m"]
    without = scale.of_channels([parse_channel(key) for key in keys])
    np.testing.assert_array_equal(without, [2.0, 3.0, 2.0, 1.5, 1.5, 4.0])
    unseen = BackgroundScale(1.5, {"humidity": 2.0}).of_channels([parse_channel("q1000")])
    np.testing.assert_array_equal(unseen, [2.0])
    with_it = scale.of_channels([parse_channel(key) for key in [*keys, "q2m"]])
    np.testing.assert_array_equal(with_it, [2.0, 2.0, 2.0, 1.5, 1.5, 4.0, 3.0])
