"""The picture of residuals: a row for each equation, a column for each state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from phyda_cli.errors import InputError, OutputError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.verification.physics import assess
from phyda_cli.verification.physics_plots import draw_physics

GLOBE = Grid(np.linspace(-87, 87, 30), np.arange(60) * 6.0)
REGION = Grid(np.linspace(60, 30, 16), np.linspace(340, 374.5, 24))


def noise(grid: Grid, seed: int, levels: tuple[float, ...] = (3e4, 5e4, 7e4, 8.5e4)) -> Fields:
    rng = np.random.default_rng(seed)
    upper = {
        name: size * rng.normal(size=(len(levels), *grid.shape))
        for name, size in {"z": 100.0, "u": 5.0, "v": 5.0, "q": 1e-4}.items()
    }
    return Fields(
        grid,
        np.datetime64("2020-01-01", "ns"),
        np.array(levels),
        upper | {"t": 260 + upper["u"]},
        {},
    )


def size(path: Path) -> tuple[int, int]:
    height, width = imread(path).shape[:2]
    return height, width


@pytest.mark.parametrize("grid", [GLOBE, REGION])
def test_draws_every_equation_for_every_state(tmp_path: Path, grid: Grid) -> None:
    alone, all_three = tmp_path / "one.png", tmp_path / "three.png"
    draw_physics(
        alone,
        assess(noise(grid, 0)),
        "title",
    )
    draw_physics(all_three, assess(noise(grid, 0), noise(grid, 1), noise(grid, 2)), "title")
    assert size(all_three)[1] > 2 * size(alone)[1]
    assert size(all_three)[0] > 1000


def test_equations_that_the_state_lacks_have_no_row(tmp_path: Path) -> None:
    state = noise(GLOBE, 0)
    draw_physics(tmp_path / "all.png", assess(state), "title")
    draw_physics(
        tmp_path / "part.png",
        assess(replace(state, upper={v: state.upper[v] for v in "zt"})),
        "title",
    )
    assert size(tmp_path / "part.png")[0] < size(tmp_path / "all.png")[0] / 4
    single = noise(GLOBE, 0, levels=(5e4,))
    draw_physics(tmp_path / "single.png", assess(single), "title")
    assert (
        size(tmp_path / "part.png")[0]
        < size(tmp_path / "single.png")[0]
        < size(tmp_path / "all.png")[0]
    )


def test_nothing_to_draw(tmp_path: Path) -> None:
    only_q = replace(noise(GLOBE, 0), upper={"q": noise(GLOBE, 0).upper["q"]})
    with pytest.raises(InputError, match="no residual can be drawn"):
        draw_physics(tmp_path / "a.png", assess(only_q), "title")
    assert not list(tmp_path.iterdir())


def test_existing_picture_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        draw_physics(path, assess(noise(REGION, 0)), "title")
    assert path.read_bytes() == b"mine"
