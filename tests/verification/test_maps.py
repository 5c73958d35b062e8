"""The picture: that it is drawn, whole, for any grid; what counts as a used station."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from phyda_cli.errors import OutputError
from phyda_cli.fields.grid import Grid
from phyda_cli.verification.maps import Stations, View, area_of, stations_of
from phyda_cli.verification.plots import draw_increment

GLOBE = Grid(np.linspace(-87, 87, 30), np.arange(60) * 6.0)
REGION = Grid(np.linspace(60, 30, 21), np.linspace(340, 374.5, 24))


@pytest.mark.parametrize("grid", [GLOBE, REGION])
@pytest.mark.parametrize("with_spread", [True, False])
def test_draws_a_png(tmp_path: Path, grid: Grid, with_spread: bool) -> None:
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.1, 1, grid.shape) if with_spread else None
    some = np.array([45.0, 50.0]), np.array([2.0, 359.0])
    draw_increment(
        tmp_path / "a.png",
        rng.normal(size=grid.shape),
        spread,
        grid,
        Stations(some, some, some),
        "title",
        "K",
    )
    picture = imread(tmp_path / "a.png")
    assert picture.shape[1] > (1200 if with_spread else 600)
    assert np.ptp(picture[..., :3]) > 0.9  # black text on white


def test_the_sign_of_an_increment_shows(tmp_path: Path) -> None:
    increment = np.where(GLOBE.mesh[0] > 0, 1.0, -1.0)
    draw_increment(tmp_path / "a.png", increment, None, GLOBE, Stations(), "", "K")
    red, _, blue, _ = np.moveaxis(imread(tmp_path / "a.png"), -1, 0)
    height, width = red.shape
    north, south = (slice(round(f * height), round(f * height) + 5) for f in (0.25, 0.55))
    middle = slice(width // 2 - 40, width // 2 - 20)
    assert red[north, middle].mean() > blue[north, middle].mean() + 0.2
    assert blue[south, middle].mean() > red[south, middle].mean() + 0.2


def test_nothing_but_zeros_and_nan_still_draws(tmp_path: Path) -> None:
    increment = np.zeros(GLOBE.shape)
    increment[0] = np.nan
    draw_increment(
        tmp_path / "a.png", increment, np.full(GLOBE.shape, np.nan), GLOBE, Stations(), "", "K"
    )
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_existing_picture_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        draw_increment(path, np.zeros(GLOBE.shape), None, GLOBE, Stations(), "", "K")
    assert path.read_bytes() == b"mine"


def test_the_globe_is_drawn_from_180_west_without_a_seam() -> None:
    view = View(GLOBE)
    assert (view.west, view.east) == (-180.0, 180.0)
    assert view.longitude[0] < view.west
    assert view.longitude[-1] > view.east - 6
    assert np.allclose(np.diff(view.longitude), 6.0)
    np.testing.assert_allclose(view.roll(GLOBE.mesh[1])[0] % 360, view.longitude % 360)


def test_a_region_across_greenwich_stays_together() -> None:
    view = View(REGION)
    np.testing.assert_allclose(view.fold(np.array([350.0, -10.0, 5.0])), [350.0, 350.0, 365.0])


def test_a_place_is_used_when_anything_there_is() -> None:
    latitude, longitude = np.array([10.0, 10, 20, 20, 30, np.nan]), np.array([5.0, 5, 5, 5, 5, 5])
    stations = stations_of(latitude, longitude, np.array([19, 0, 12, 1, 40, 0]))
    assert (
        stations.used[0].tolist(),
        stations.passive[0].tolist(),
        stations.rejected[0].tolist(),
    ) == ([10.0], [20.0], [30.0])


def test_few_stations_are_shown_in_their_area_and_many_on_the_globe() -> None:
    iberia = area_of(np.array([37.0, 43.0]), np.array([352.0, 3.0]))
    assert iberia == (349.0, 34.0, 366.0, 46.0)
    view = View(GLOBE, iberia)
    assert (view.east - view.west, view.south, view.north) == (17.0, 34.0, 46.0)
    assert view.west <= view.fold(np.array([355.0]))[0] <= view.east
    assert area_of(np.array([-30.0, 60.0]), np.array([0.0, 180.0])) is None
    assert area_of(np.array([np.nan]), np.array([0.0])) is None


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        increment = np.sin(np.deg2rad(GLOBE.mesh[1]))
        draw_increment(tmp_path / name, increment, None, GLOBE, Stations(), "title", "K")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
