"""Forecasts whose names or units say one thing and the rest of the file another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from phyda_cli.errors import InputError

from .test_conventions import (
    LAT,
    LEVELS,
    LON,
    MSL,
    SINGLE,
    TIME,
    K,
    Read,
    T,
    U,
    dataset,
    read,
    used,
)

__all__ = ["read"]  # a fixture
SCREEN = T[0] - 1
MS = {"units": "m s-1"}


def test_an_axis_that_reaches_below_the_ground_has_other_units(read: Read) -> None:
    data = dataset(t=(T, K), msl=(MSL, {"units": "Pa"}))
    data["level"] = ("level", LEVELS * 100, {"units": "hPa"})
    found = read(data)
    assert used(found) == {"msl": "msl"}
    assert any("correct its units attribute" in n for n in found.notes)
    data["level"].attrs["units"] = "Pa"
    assert used(read(data)) == {"msl": "msl", "t": "t"}


def test_hectopascals_called_pascals(read: Read) -> None:
    data = dataset(t=(T, K))
    data["level"].attrs["units"] = "Pa"
    with pytest.raises(InputError, match="cannot be an atmosphere"):
        read(data)


@pytest.mark.parametrize("levels", [[0.995, 0.9, 0.7, 0.5, 0.3], [10.0, 20.0, 50.0, 100.0, 150.0]])
def test_an_axis_without_units_that_holds_no_pressure(read: Read, levels: list[float]) -> None:
    data = dataset(t=(T, K), u=(U, MS)).drop_vars("level").rename(level="lev")
    data["lev"] = ("lev", levels)  # fractions of the surface pressure, and heights
    with pytest.raises(InputError):
        read(data)


def test_an_axis_without_units_is_told(read: Read) -> None:
    assert any("level in hPa" in n for n in read(dataset(units="", t=(T, K))).notes)
    assert not any("level in hPa" in n for n in read(dataset(t=(T, K))).notes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("percentile", 90.0),
        ("quantile", 0.1),
        ("statistic", "std"),
        ("ensemble_statistic", "spread"),
    ],
)
@pytest.mark.parametrize("along", [False, True])
def test_statistics_that_a_coordinate_states(
    read: Read, name: str, value: Any, along: bool
) -> None:
    data = dataset(t=(T, K))
    data = data.expand_dims({name: [value]}) if along else data.assign_coords({name: value})
    with pytest.raises(InputError) as caught:
        read(data)
    assert name.rpartition("_")[2] in str(caught.value.hint)
    centre = {"percentile": 50.0, "quantile": 0.5}.get(name, "mean")
    data = data.assign_coords({name: [centre] if along else centre})
    assert used(read(data)) == {"t": "t"}


def test_a_lone_level_belongs_to_the_fields_of_levels(read: Read) -> None:
    """Merged by xarray, every variable has the scalar coordinate."""
    single = {"t": T[3], "t2m": SCREEN, "u10": U[0], "msl": MSL}
    units = {"t": "K", "t2m": "K", "u10": "m s-1", "msl": "Pa"}
    data = dataset(**{n: (v, {"units": units[n]}) for n, v in single.items()})
    found = read(data.assign_coords(level=((), 500.0, {"units": "hPa"})))
    assert used(found) == {n: n for n in single}
    assert found.fields.levels.tolist() == [50000]
    np.testing.assert_allclose(found.fields.surface["t2m"], SCREEN)


@pytest.mark.parametrize("first", ["80", "10"])
def test_heights_in_an_attribute_of_ncl(read: Read, first: str) -> None:
    second = {"80": "10", "10": "80"}[first]
    wind = {"80": U[0] * 2, "10": U[0]}
    names = {"UGRD_P0_L103_GLL0": first, "UGRD_P0_L103_GLL0_1": second}
    data = dataset(**{n: (wind[h], MS | {"level": h}) for n, h in names.items()})
    found = read(data)
    assert list(used(found).values()) == ["u10"]
    np.testing.assert_allclose(found.fields.surface["u10"], U[0])


def test_a_second_field_of_the_same_is_told(read: Read) -> None:
    found = read(dataset(t2m=(SCREEN, K), TREFHT=(SCREEN + 5, K)))
    np.testing.assert_allclose(found.fields.surface["t2m"], SCREEN)
    assert any("TREFHT" in n and "already" in n for n in found.notes)


def test_radians_are_no_degrees(read: Read) -> None:
    data = dataset(t=(T, K))
    degrees = data["lat"].attrs
    data = data.assign_coords(lat=("lat", np.deg2rad(LAT), {"units": "radians"}))
    with pytest.raises(InputError) as caught:
        read(data)
    factor = float(str(caught.value.hint).split("*")[1].split(";")[0])
    data = data.assign_coords(lat=("lat", np.deg2rad(LAT) * factor, degrees))
    np.testing.assert_allclose(read(data).fields.grid.latitude, LAT)


@pytest.mark.parametrize("text", ["2024-07-15T12:00:00Z", "2024-07-15 12:00", "2024-07-15_12:00"])
@pytest.mark.parametrize("kind", ["S", "O"])
def test_times_as_text(read: Read, text: str, kind: str) -> None:
    fields = {"t2m": (SINGLE, SCREEN[None], K)}
    coords = {"time": ("time", np.array([text], dtype=kind)), "lat": LAT, "lon": LON}
    assert read(xr.Dataset(fields, coords)).fields.time == TIME
