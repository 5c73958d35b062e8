"""The state's description and the names of its channels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from synthetic import CHANNELS, GRID, spec

from phyda_cli.fields.state import DEFAULT_CHANNELS, StateSpec, equiangular
from phyda_cli.names import VARIABLES, Channel, parse_channel


def test_round_trip_through_json() -> None:
    made = spec()
    again = StateSpec.model_validate_json(made.model_dump_json())
    assert again == made
    assert again.n_channels == len(CHANNELS) == len(again.channel_list)
    assert again.grid.same_as(GRID)
    assert again.column("std").shape == (len(CHANNELS), 1, 1)
    assert again.column("std").dtype == np.float32
    assert again.is_vector.tolist() == [c[0] in "uv" for c in CHANNELS]


@pytest.mark.parametrize("name", ["mean", "std", "background_std"])
def test_lengths_must_agree(name: str) -> None:
    values = spec().model_dump()
    values[name] = values[name][:-1]
    with pytest.raises(ValidationError, match=rf"{name} has 15 entries for 16 channels"):
        StateSpec.model_validate(values)


def test_unknown_channels_and_fields_are_refused() -> None:
    values = spec().model_dump()
    with pytest.raises(ValidationError, match="'ozone500' is no channel"):
        StateSpec.model_validate(values | {"channels": ("ozone500", *values["channels"][1:])})
    with pytest.raises(ValidationError, match="Extra inputs"):
        StateSpec.model_validate(values | {"colour": 1})
    with pytest.raises(ValidationError, match="frozen"):
        spec().mean = ()  # type: ignore[misc]


def test_default_state() -> None:
    assert len(DEFAULT_CHANNELS) == len(set(DEFAULT_CHANNELS)) == 44
    grid = equiangular(64, 32)
    assert grid.shape == (32, 64)
    np.testing.assert_allclose(grid.latitude[[0, -1]], [-87.1875, 87.1875])
    assert grid.periodic
    assert grid.covers_poles == (True, True)


@given(
    st.sampled_from(sorted(v for v in VARIABLES if not VARIABLES[v].surface)),
    st.sampled_from([1, 10, 50, 92.5, 500, 1000]),
)
def test_keys_of_levels_parse_back(variable: str, level: float) -> None:
    channel = parse_channel(Channel(variable, level).key)
    assert channel == Channel(variable, float(level))
    assert channel.pressure == 100 * level
    assert parse_channel(f"{variable}{level}hPa") == channel


def test_the_wind_at_10_hpa_is_not_that_at_10_m() -> None:
    assert parse_channel("u10") == Channel("u10")
    assert Channel("u", 10.0).key == "u10hPa"
    assert Channel("t", 10.0).key == "t10"


@pytest.mark.parametrize("name", [v for v in VARIABLES if VARIABLES[v].surface])
def test_surface_names_are_channels(name: str) -> None:
    channel = parse_channel(name)
    assert (channel.key, channel.level, channel.pressure) == (name, None, None)


@pytest.mark.parametrize(
    "key", ["", "z", "500", "zz500", "msl500", "t2m850", "z.", "z5.0.0", "u10m", "z-500", "z500Pa"]
)
def test_what_is_no_channel(key: str) -> None:
    with pytest.raises(ValueError, match="is no channel"):
        parse_channel(key)
