"""Grids: what they accept, which points they contain, their areas."""

from __future__ import annotations

import numpy as np
import pytest

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.names import Channel

GLOBAL = Grid(np.linspace(90, -90, 19), np.arange(36) * 10.0)
REGION = Grid(np.linspace(60, 30, 21), np.linspace(-20, 14.5, 24))


@pytest.mark.parametrize(
    ("latitude", "longitude", "words"),
    [
        ([0.0], [0.0, 1.0], "2x2"),
        ([0.0, 95.0], [0.0, 1.0], "95"),
        ([0.0, 1.0, 0.5], [0.0, 1.0], "monotone"),
        ([0.0, 1.0], [0.0, 360.0], "360"),
        ([0.0, 1.0], [10.0, 5.0], "increase"),
    ],
)
def test_rejects_what_is_no_grid(latitude: list[float], longitude: list[float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Grid(np.array(latitude), np.array(longitude))


def test_periodic_and_poles() -> None:
    assert GLOBAL.periodic
    assert GLOBAL.covers_poles == (True, True)
    assert not REGION.periodic
    assert REGION.covers_poles == (False, False)
    centred = Grid(np.linspace(-87.1875, 87.1875, 32), np.arange(64) * 5.625)
    assert centred.covers_poles == (True, True)
    tropics = Grid(np.linspace(-30, 30, 13), np.arange(72) * 5.0)
    assert tropics.periodic
    assert tropics.covers_poles == (False, False)


def test_contains_folds_longitude() -> None:
    latitude, longitude = np.array([45.0, 45.0, 45.0, 61.0]), np.array([350.0, -10.0, 20.0, 0.0])
    assert REGION.contains(latitude, longitude).tolist() == [True, True, False, False]
    assert GLOBAL.contains(np.array([90.0, -90.0]), np.array([725.0, -355.0])).all()


def test_area_weights_integrate_the_sphere() -> None:
    assert GLOBAL.area_weights.mean() == pytest.approx(1)
    exact = np.average(np.sin(np.deg2rad(GLOBAL.latitude)) ** 2, weights=GLOBAL.area_weights)
    assert exact == pytest.approx(1 / 3, abs=0.003)


def test_vector_round_trip_and_order() -> None:
    rng = np.random.default_rng(1)
    fields = Fields(
        REGION,
        np.datetime64("2020-01-01"),
        np.array([5e4, 8.5e4]),
        {"z": rng.normal(size=(2, 21, 24)), "t": rng.normal(size=(2, 21, 24))},
        {"msl": rng.normal(size=(21, 24))},
    )
    assert fields.channels == [
        Channel("z", 500),
        Channel("z", 850),
        Channel("t", 500),
        Channel("t", 850),
        Channel("msl"),
    ]
    vector = fields.vector()
    assert vector.size == 5 * REGION.size
    np.testing.assert_array_equal(
        vector[2 * REGION.size : 4 * REGION.size].reshape(2, 21, 24), fields.upper["t"]
    )
    np.testing.assert_array_equal(vector[-REGION.size :].reshape(21, 24), fields.surface["msl"])
