"""Increments into native states and back, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import synthetic
import toy_nature
from toy_nature import toy

from phyda_cli.errors import UsageError
from phyda_cli.fields.state import DEFAULT_CHANNELS, StateSpec, equiangular
from phyda_cli.simulation.jcm import Native
from phyda_cli.simulation.nature_files import sea_level_pressure
from phyda_cli.simulation.speedy_link import SpeedyLink

NATIVE, MODEL = equiangular(96, 48), equiangular(32, 16)
ONES = (1.0,) * len(DEFAULT_CHANNELS)
SPEC = StateSpec(
    channels=DEFAULT_CHANNELS,
    latitude=tuple(MODEL.latitude),
    longitude=tuple(MODEL.longitude),
    mean=ONES,
    std=ONES,
    background_std=ONES,
)
SIZE = {"u": 3.0, "v": 2.0, "t": 1.0, "q": 5e-6}
VALUES = np.array([SIZE.get(c.variable, 0.0) for c in SPEC.channel_list])[:, None, None]
PROFILES = np.flatnonzero(VALUES)
MSL = SPEC.channels.index("msl")


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> SpeedyLink:
    toy_nature.install(monkeypatch, NATIVE)
    return SpeedyLink(SPEC)


@pytest.fixture
def state() -> Native:
    return toy(0.4, NATIVE)


def wave() -> np.ndarray:
    """A smooth field of size one that is zero at the poles (H, W)."""
    lat, lon = (np.deg2rad(x) for x in MODEL.mesh)
    field = np.cos(lat) ** 2 * np.sin(2 * lat) * np.cos(2 * lon + 0.3)
    return field / np.abs(field).max()


def test_no_increment_changes_nothing(link: SpeedyLink, state: Native) -> None:
    after = link.add(state, np.zeros((SPEC.n_channels, *MODEL.shape)))
    assert set(after) == set(state)
    for name, values in state.items():
        np.testing.assert_array_equal(after[name], values)


def test_a_uniform_increment_of_a_scalar_is_exact(link: SpeedyLink, state: Native) -> None:
    scalar = np.array([c.variable in "tq" and c.pressure is not None for c in SPEC.channel_list])[
        :, None, None
    ]
    increment = np.broadcast_to(VALUES * scalar, (SPEC.n_channels, *MODEL.shape))
    change = (link.stack([link.add(state, increment)]) - link.stack([state]))[0, PROFILES]
    np.testing.assert_allclose(
        change / VALUES[PROFILES], (scalar * np.ones(MODEL.shape))[PROFILES], atol=2e-3
    )


@pytest.mark.parametrize(("slope", "highest"), [(0.0, 5e3), (0.5, 2e4)])
def test_smooth_increments_come_back(
    link: SpeedyLink, state: Native, slope: float, highest: float
) -> None:
    """Two interpolations on an 11 degree grid take 5 % off waves of this length; above, the model's
    levels are too far apart."""
    pressure = np.array([c.pressure or 5e4 for c in SPEC.channel_list])
    increment = VALUES * (1 + slope * np.log(pressure / 5e4))[:, None, None] * wave()
    change = (link.stack([link.add(state, increment)]) - link.stack([state]))[0]
    error = np.abs(change - increment).max(axis=(1, 2))
    inside = PROFILES[pressure[PROFILES] >= highest]
    assert (error[inside] < 0.06 * np.abs(increment[inside]).max(axis=(1, 2))).all()
    assert not change[MSL].any()


def test_a_pressure_increment_comes_back_and_leaves_the_rest(
    link: SpeedyLink, state: Native
) -> None:
    increment = np.zeros((SPEC.n_channels, *MODEL.shape))
    increment[MSL] = 200 * wave()
    change = (link.stack([link.add(state, increment)]) - link.stack([state]))[0]
    assert np.abs(change[MSL] - increment[MSL]).max() < 0.06 * 200
    wind = [i for i, c in enumerate(SPEC.channel_list) if c.variable in "uv"]
    assert not change[wind].any()


@pytest.mark.parametrize("height", [-400.0, 1500.0])
def test_warming_over_a_plateau_leaves_mean_sea_level_pressure(
    monkeypatch: pytest.MonkeyPatch, height: float
) -> None:
    """Warmer air under the surface weighs less: surface pressure moves so that msl has its own
    increment and no other."""
    toy_nature.install(monkeypatch, NATIVE, height)
    link, before = SpeedyLink(SPEC), toy(0.4, NATIVE)
    increment = np.zeros((SPEC.n_channels, *MODEL.shape))
    increment[[i for i, c in enumerate(SPEC.channel_list) if c.variable == "t"]] = 2.0
    increment[MSL] = 100.0
    after = link.add(before, increment)
    change = sea_level_pressure(after) - sea_level_pressure(before)
    np.testing.assert_allclose(change, 100.0, atol=0.02)
    share = after["ps"] / before["ps"] - 100.0 / sea_level_pressure(before).T - 1
    assert (np.sign(share) == np.sign(height)).all()


def test_drying_counts_in_full(link: SpeedyLink, state: Native) -> None:
    """Where it ended at zero, increments that take moisture from one place to another would bring
    some. The channels that an analysis sees have none below zero."""
    drier = np.zeros((SPEC.n_channels, *MODEL.shape))
    drier[[c.variable == "q" for c in SPEC.channel_list]] = -2 * state["q"][0].max()
    found = link.add(state, drier)
    np.testing.assert_allclose(
        found["q"], state["q"] - 2 * state["q"][0].max(), rtol=1e-4, atol=1e-9
    )
    assert found["q"].min() < 0
    humidity = link.stack([found])[0, [c.variable == "q" for c in SPEC.channel_list]]
    assert humidity.min() == 0


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (synthetic.CHANNELS[:-1], "needs a model of msl"),
        (("msl", "t2m"), "needs a model of msl and pressure levels"),
        (
            tuple(c for c in synthetic.CHANNELS if c != "v500"),
            "needs v on every level of the model; it lacks 500 hPa",
        ),
        ((*synthetic.CHANNELS, "d2m"), "does not have d2m"),
        ((*synthetic.CHANNELS, *(f"{v}20" for v in "tuvq")), "top is at 28 hPa, the model's at 20"),
    ],
)
def test_states_that_jcm_cannot_be_cycled_with(
    monkeypatch: pytest.MonkeyPatch, channels: tuple[str, ...], expected: str
) -> None:
    toy_nature.install(monkeypatch)
    ones = (1.0,) * len(channels)
    spec = SPEC.model_copy(
        update={"channels": channels, "mean": ones, "std": ones, "background_std": ones}
    )
    spec = StateSpec.model_validate(spec.model_dump())
    with pytest.raises(UsageError, match=expected) as caught:
        SpeedyLink(spec)
    assert caught.value.hint
