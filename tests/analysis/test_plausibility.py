"""What an analysis changes as a whole: dry mass and hydrostatic balance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from phyda_cli.analysis.plausibility import dry_mass_change, hydrostatic_excess
from phyda_cli.constants import R_D
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.fields.state import equiangular

LEVELS = np.array([85000.0, 70000.0, 50000.0])
GLOBE = equiangular(16, 8)
AREA = Grid(np.linspace(60, 40, 8), np.arange(16.0))


def fields(grid: Grid = GLOBE, temperature: float = 270.0) -> Fields:
    """Dry, isothermal and in hydrostatic balance."""
    shape = (3, *grid.shape)
    z = -R_D * temperature * np.log(LEVELS / 1e5)[:, None, None] * np.ones(shape)
    upper = {"z": z, "t": np.full(shape, temperature), "q": np.zeros(shape)}
    time = np.datetime64("2021-01-01")
    return Fields(grid, time, LEVELS, upper, {"sp": np.full(grid.shape, 1e5)})


def changed(before: Fields, **changes: object) -> Fields:
    """``before`` with increments."""
    upper = {n: v + changes.get(n, 0.0) for n, v in before.upper.items()}
    surface = {n: v + changes.get(n, 0.0) for n, v in before.surface.items()}
    return replace(before, upper=upper, surface=surface)


def test_dry_mass_is_pressure_without_water() -> None:
    before = fields()
    assert dry_mass_change(before, before) == 0
    assert dry_mass_change(before, changed(before, sp=150.0)) == pytest.approx(1.5)
    wetter = changed(before, q=1e-3, sp=52.5)  # layers from 400 to 925 hPa
    assert dry_mass_change(before, wetter) == pytest.approx(0, abs=1e-12)
    upside_down = replace(
        wetter, levels=LEVELS[::-1], upper={n: v[::-1] for n, v in wetter.upper.items()}
    )
    first = replace(before, levels=LEVELS[::-1])
    assert dry_mass_change(first, upside_down) == pytest.approx(0, abs=1e-12)


def test_what_moves_is_no_change_of_mass() -> None:
    before = fields()
    wave = 500 * np.sin(np.deg2rad(GLOBE.mesh[1]))
    assert dry_mass_change(before, changed(before, sp=wave)) == pytest.approx(0, abs=1e-9)


def test_a_limited_area_has_no_mass_to_keep() -> None:
    before = fields(AREA)
    assert dry_mass_change(before, changed(before, sp=900.0)) is None


def test_balanced_changes_are_no_excess() -> None:
    before, warmer = fields(), fields(temperature=275.0)
    assert hydrostatic_excess(before, warmer) == pytest.approx(1)
    unbalanced = changed(before, t=10.0)
    layers = R_D * 10 * np.diff(np.log(LEVELS[::-1]))
    expected = np.sqrt((layers**2).mean() / 9.80665**2 + 1)
    assert hydrostatic_excess(before, unbalanced) == pytest.approx(expected)
    assert expected > 80


def test_missing_points_are_left_out() -> None:
    before = fields()
    t = before.upper["t"].copy()
    t[0, 0, 0] = np.nan
    with_hole = replace(before, upper=dict(before.upper) | {"t": t})
    assert hydrostatic_excess(with_hole, with_hole) == 1
    assert hydrostatic_excess(before, replace(before, upper={"t": t})) is None
