"""Agreement with MetPy on a limited area of smooth weather."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flows import vorticity

from phyda_cli.constants import EARTH_RADIUS
from phyda_cli.fields.grid import Grid
from phyda_cli.physics.residuals import Residuals

metpy = pytest.importorskip("metpy.calc")
units = pytest.importorskip("metpy.units").units
xarray = pytest.importorskip("xarray")

GRID = Grid(np.linspace(35, 65, 31), np.linspace(-20, 30, 51))


def weather() -> dict[str, np.ndarray]:
    lat, lon = np.deg2rad(GRID.mesh)
    return {
        "z": 55000 - 4000 * np.sin(lat) + 900 * np.cos(6 * lon) * np.sin(4 * lat),
        "u": 20 * np.cos(lat) + 8 * np.sin(6 * lon) * np.cos(3 * lat),
        "v": 10 * np.cos(6 * lon + 1) * np.sin(2 * lat),
    }


def as_metpy(values: np.ndarray, units: str):  # type: ignore[no-untyped-def]
    coordinates = {"latitude": GRID.latitude, "longitude": GRID.longitude}
    array = xarray.DataArray(values, coordinates, ("latitude", "longitude"), attrs={"units": units})
    array["latitude"].attrs["units"], array["longitude"].attrs["units"] = (
        "degrees_north",
        "degrees_east",
    )
    dataset = array.to_dataset(name="f").metpy.assign_crs(
        grid_mapping_name="latitude_longitude", earth_radius=EARTH_RADIUS
    )
    return dataset["f"].metpy.quantify()


def test_vorticity_and_divergence() -> None:
    state = weather()
    u, v = (torch.tensor(state[n]) for n in "uv")
    mu, mv = (as_metpy(state[n], "m/s") for n in "uv")
    sphere = Residuals(np.array([5e4]), GRID).sphere
    for ours, theirs in (
        (vorticity(sphere, u, v), metpy.vorticity(mu, mv)),
        (sphere.divergence(u, v), metpy.divergence(mu, mv)),
    ):
        expected = theirs.metpy.dequantify().values
        assert np.abs(ours.numpy() - expected)[1:-1, 1:-1].max() < 2e-3 * np.abs(expected).max()


def test_geostrophic_wind() -> None:
    """The departure of no wind is minus the geostrophic wind."""
    z = torch.tensor(weather()["z"])[None]
    departure = Residuals(np.array([5e4]), GRID).balance(
        z, torch.zeros_like(z), torch.zeros_like(z)
    )
    theirs = metpy.geostrophic_wind(as_metpy(z[0].numpy(), "m^2/s^2"))
    for name, wind in zip(("geostrophic_u", "geostrophic_v"), theirs, strict=True):
        expected = wind.metpy.dequantify().values
        assert (
            np.abs(-departure[name][0].numpy() - expected)[1:-1, 1:-1].max()
            < 2e-3 * np.abs(expected).max()
        )


def test_gradient_departure() -> None:
    """V - s.V_g + n.(V.grad)V/f of MetPy's geostrophic wind, vector derivatives and f; s along the
    wind, n to its left."""
    state = weather()
    ours = (
        Residuals(np.array([5e4]), GRID)
        .balance(*(torch.tensor(state[n])[None] for n in "zuv"))["gradient"][0]
        .numpy()
    )
    mu, mv = (as_metpy(state[n], "m/s") for n in "uv")
    ug, vg = (
        w.metpy.dequantify().values for w in metpy.geostrophic_wind(as_metpy(state["z"], "m^2/s^2"))
    )
    u_x, u_y, v_x, v_y = (d.to("1/s").m for d in metpy.vector_derivative(mu, mv))
    f = np.asarray(metpy.coriolis_parameter(GRID.latitude * units.degrees_north).to("1/s").m)[
        :, None
    ]
    u, v = state["u"], state["v"]
    speed = np.hypot(u, v)
    centripetal = (u * (u * v_x + v * v_y) - v * (u * u_x + v * u_y)) / speed
    expected = speed - (u * ug + v * vg) / speed + centripetal / f
    assert np.abs(ours - expected)[1:-1, 1:-1].max() < 5e-3 * np.abs(expected).max()
