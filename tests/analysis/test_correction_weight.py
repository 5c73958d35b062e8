"""The weight of the learned correction: known answers, few observations, noise, wrong signs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from phyda_cli.analysis.background_scale import GROUPS
from phyda_cli.analysis.correction_weight import (
    ENOUGH,
    FOLDS,
    CorrectionWeight,
    HeldOut,
    estimate_weight,
    held_out,
)
from phyda_cli.analysis.reconstruction import Observations
from phyda_cli.model.checkpoint import BUNDLED
from phyda_cli.model.metadata import read_metadata
from phyda_cli.settings.model import CorrectionSettings

PRIOR = CorrectionSettings(expected=0.6, deviation=0.3)


def places(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return np.rad2deg(np.arcsin(rng.uniform(-1, 1, n))), rng.uniform(0, 360, n)


def case(n: int, weight: float, variable: str = "t", noise: float = 1.0, seed: int = 0) -> HeldOut:
    """``n`` departures of which ``weight`` times the correction is the signal."""
    rng = np.random.default_rng(seed)
    correction, deviation = rng.standard_normal(n), noise * rng.uniform(0.5, 1.5, n)
    residual = weight * correction + deviation * rng.standard_normal(n)
    return HeldOut(np.full(n, variable, object), residual, correction, deviation, *places(n, rng))


def test_without_observations_it_is_what_was_expected() -> None:
    found = estimate_weight(HeldOut(), PRIOR)
    assert found.groups == pytest.approx(dict.fromkeys(GROUPS, 0.6))
    assert found.places == 0
    trained = CorrectionSettings(groups={"wind": (0.9, 0.1)})
    assert estimate_weight(HeldOut(), trained).groups["wind"] == pytest.approx(0.9)


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.8, 1.0])
def test_a_known_weight_is_found(weight: float) -> None:
    found = estimate_weight(case(20_000, weight, noise=0.1), PRIOR)
    assert found.groups["temperature"] == pytest.approx(weight, abs=0.01)


def test_one_observation_of_one_group_is_the_ridge_of_the_formula() -> None:
    """With one group observed, w = w0 + v c (r - w0 c) / (s^2 + v c^2), and half of the change for
    the others, as the groups are correlated by a half."""
    where = np.zeros(1)
    held = HeldOut(
        np.array(["u"], object), np.ones(1), np.full(1, 2.0), np.full(1, 3.0), *[where] * 2
    )
    change = 0.09 * 2.0 * (1.0 - 0.6 * 2.0) / (9.0 + 0.09 * 4.0)
    found = estimate_weight(held, PRIOR).groups
    assert found["wind"] == pytest.approx(0.6 + change)
    assert found["mass"] == pytest.approx(0.6 + change / 2)


def test_a_correction_that_is_noise_goes() -> None:
    found = [
        estimate_weight(case(20_000, 0.0, seed=s), PRIOR).groups["temperature"] for s in (1, 2)
    ]
    assert max(found) < 0.1


def test_a_correction_of_the_wrong_sign_is_nothing() -> None:
    assert estimate_weight(case(2000, -0.5), PRIOR).groups["temperature"] == 0.0


def test_more_than_all_of_it_is_all() -> None:
    assert estimate_weight(case(2000, 2.0), PRIOR).groups["temperature"] == 1.0


def test_five_observations_say_little() -> None:
    cases = [case(5, 0.0, noise=3.0, seed=seed) for seed in range(100)]
    found = [estimate_weight(held, PRIOR).groups["temperature"] for held in cases]
    assert np.mean(np.abs(np.array(found) - 0.6)) < 0.1


def test_gross_errors_do_not_count() -> None:
    clean = case(2000, 0.4)
    residual = clean.residual.copy()
    residual[::20] += 40.0 * np.sign(clean.correction[::20])
    spoilt = HeldOut(
        clean.variable,
        residual,
        *(getattr(clean, n) for n in ("correction", "deviation", "latitude", "longitude")),
    )
    ours, theirs = (estimate_weight(h, PRIOR).groups["temperature"] for h in (clean, spoilt))
    assert theirs == pytest.approx(ours, abs=0.05)


def test_observations_of_one_cell_count_as_one() -> None:
    one = case(1, 1.0)
    many = HeldOut(
        *(
            np.repeat(getattr(one, f), 50)
            for f in ("variable", "residual", "correction", "deviation", "latitude", "longitude")
        )
    )
    assert estimate_weight(many, PRIOR).groups == pytest.approx(estimate_weight(one, PRIOR).groups)


def test_variables_find_their_group() -> None:
    weight = CorrectionWeight({"mass": 0.1, "temperature": 0.2, "wind": 0.3, "humidity": 0.4})
    np.testing.assert_allclose(weight.of(["msl", "u10", "w"]), [0.1, 0.3, 0.25])
    np.testing.assert_allclose(CorrectionWeight.uniform(0.5).of(["t", "q"]), 0.5)


def observations(count: int, per_place: int = 2) -> Observations:
    """Point observations of a field of ``count`` values, ``per_place`` of them at each place."""
    latitude, longitude = places(count // per_place, np.random.default_rng(3))
    value = np.arange(count, dtype=float)
    return Observations(
        matrix=sparse.identity(count, format="csr"),
        innovation=value,
        error=np.full(count, 3.0),
        variable=np.full(count, "t", object),
        latitude=np.repeat(latitude, per_place),
        longitude=np.repeat(longitude, per_place),
    )


def test_every_place_is_withheld_once_and_nobody_sees_what_is_withheld() -> None:
    every, shown = observations(40), []

    def repeat(some: Observations) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        shown.append(some.innovation)
        known = np.zeros(40)
        known[some.innovation.astype(int)] = 1000.0
        return known, np.full(40, 4.0), np.arange(40.0) / 2

    held = held_out(every, repeat)
    assert len(shown) == FOLDS
    np.testing.assert_array_equal(held.residual, np.arange(40.0))  # 1000 less where it was shown
    np.testing.assert_array_equal(held.correction, np.arange(40.0) / 2)
    np.testing.assert_array_equal(held.deviation, np.full(40, 5.0))
    for values in shown:  # both observations of a place, or none
        assert set(values) == {v + d for v in values[values % 2 == 0] for d in (0, 1)}


def test_one_fold_is_enough_of_many_places_and_one_place_is_too_few() -> None:
    calls = []

    def repeat(some: Observations) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        calls.append(some.error.size)
        return (np.zeros(some.matrix.shape[1]),) * 3

    many = FOLDS * ENOUGH
    assert held_out(observations(many, 1), repeat).residual.size == ENOUGH
    assert calls == [many - ENOUGH]
    assert held_out(observations(2), repeat).residual.size == 0
    assert len(calls) == 1


def test_a_checkpoint_without_the_field_opens_and_expects_the_default(tmp_path: Path) -> None:
    described = json.loads((BUNDLED / "model.json").read_text())
    assert read_metadata(BUNDLED).correction != CorrectionSettings()
    del described["correction"]
    shutil.copytree(BUNDLED, tmp_path / "older")
    (tmp_path / "older" / "model.json").write_text(json.dumps(described))
    assert read_metadata(tmp_path / "older").correction == CorrectionSettings()
