"""From the user's fields to the model's channels and the operator's columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from synthetic import CHANNELS, GRID, LEVELS, TIME, amplitudes, fields_at, spec

from phyda_cli.analysis.prior import (
    add,
    as_fields,
    ensemble_anomalies,
    in_channel_order,
    model_background,
)
from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields
from phyda_cli.observations.atmosphere import saturation


@pytest.fixture
def fields() -> Fields:
    values = fields_at(amplitudes())
    return Fields(
        GRID,
        TIME,
        np.array(LEVELS) * 100.0,
        {k: values[k] for k in "qztuv"},
        {"msl": values["msl"]},
    )


def test_stack_and_back(fields: Fields) -> None:
    stack, available, notes = model_background(fields, spec())
    assert stack.shape == (len(CHANNELS), *GRID.shape)
    assert available.all()
    assert notes == []
    again = as_fields(stack, spec(), fields, available)
    for name in "ztuvq":
        np.testing.assert_allclose(again.upper[name], fields.upper[name], rtol=1e-6)
    np.testing.assert_allclose(again.surface["msl"], fields.surface["msl"], rtol=1e-6)


def test_what_is_missing_is_climatology_and_said(fields: Fields) -> None:
    less = replace(fields, upper={k: v for k, v in fields.upper.items() if k != "q"}, surface={})
    stack, available, notes = model_background(less, spec())
    absent = [i for i, key in enumerate(CHANNELS) if key.startswith("q") or key == "msl"]
    assert np.flatnonzero(~available).tolist() == absent
    np.testing.assert_array_equal(
        stack[absent], np.broadcast_to(spec().column("mean")[absent], stack[absent].shape)
    )
    assert notes == [
        "not in the background, climatology used as network input: q300, q500, q850, msl"
    ]
    layout = as_fields(stack, spec(), less, available)
    assert set(layout.upper) == {"z", "t", "u", "v"}
    assert layout.surface == {}


def test_one_missing_level_is_a_slice_of_nan(fields: Fields) -> None:
    upper = dict(fields.upper) | {
        "t": np.where(np.array(LEVELS)[:, None, None] == 300, np.nan, fields.upper["t"])
    }
    stack, available, _ = model_background(replace(fields, upper=upper), spec())
    assert [CHANNELS[i] for i in np.flatnonzero(~available)] == ["t300"]
    layout = as_fields(stack, spec(), fields, available)
    assert np.isnan(layout.upper["t"][0]).all()
    assert np.isfinite(layout.upper["t"][1:]).all()


def test_nothing_in_common(fields: Fields) -> None:
    other = replace(fields, levels=np.array([10.0, 20.0, 30.0]) * 100, surface={})
    with pytest.raises(
        InputError, match=r"shares no level and variable.*found q10.*works on z300"
    ) as caught:
        model_background(other, spec())
    assert caught.value.exit_code == 3


def test_columns_follow_the_channels(fields: Fields) -> None:
    """The same numbers come out of an operator whichever order the channels are in."""
    rng = np.random.default_rng(0)
    _, available, _ = model_background(fields, spec())
    stack = rng.standard_normal((len(CHANNELS), *GRID.shape)).astype(np.float32)
    layout = as_fields(stack, spec(), fields, available)
    matrix = sparse.random(40, layout.vector().size, 0.02, "csr", rng=rng)
    ours = in_channel_order(matrix, layout, spec())
    assert ours.shape == (40, stack.size)
    np.testing.assert_allclose(ours @ stack.ravel(), matrix @ layout.vector(), rtol=1e-12)


def test_an_ensemble_says_nothing_where_a_member_has_no_value(fields: Fields) -> None:
    rng = np.random.default_rng(0)

    def member(k: int) -> Fields:
        t = fields.upper["t"] + rng.standard_normal()
        if k < 2:
            t[:, 3:6, 4:9] = np.nan
        return replace(fields, upper={**fields.upper, "t": t})

    anomalies, notes = ensemble_anomalies([member(k) for k in range(6)], spec())
    t = anomalies[:, [i for i, key in enumerate(CHANNELS) if key.startswith("t")]]
    assert (t[:, :, 3:6, 4:9] == 0).all()
    spread = np.sqrt((t**2).sum(axis=0))
    outside = np.ones(GRID.shape, bool)
    outside[2:7, 3:10] = False
    np.testing.assert_allclose(
        spread[:, outside], spread[0, 0, 0] * np.ones_like(spread[:, outside]), rtol=1e-4
    )
    assert len(notes) == 1
    assert ensemble_anomalies([fields, fields], spec())[1] == []


def test_humidity_ends_at_saturation_where_the_backgrounds_does(fields: Fields) -> None:
    pressure = fields.levels[:, None, None]
    before, colder = (saturation(fields.upper["t"] + c, pressure) for c in (0.0, -3.0))
    wet = 0.9 * before
    wet[:, 0] = 1.5 * before[:, 0]
    background = replace(fields, upper={**fields.upper, "q": wet})
    for more in (0.0, 0.5):  # without an increment too: colder air holds less
        warmer = {"t": np.full_like(wet, -3.0), "q": np.full_like(wet, more)}
        change = replace(fields, upper=warmer, surface={})
        found = add(background, change).upper["q"]
        np.testing.assert_allclose(found[:, 1:], np.minimum(colder, wet + more)[:, 1:], rtol=1e-6)
        np.testing.assert_allclose(found[:, 0], 1.5 * colder[:, 0], rtol=1e-6)
    free = add(background, change, humid=False).upper["q"]
    np.testing.assert_allclose(free, wet + 0.5, rtol=1e-6)
    without = replace(background, upper={"q": wet})
    np.testing.assert_allclose(add(without, change).upper["q"], wet + 0.5, rtol=1e-6)
