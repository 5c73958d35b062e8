"""The physics projection: exact, idempotent, the nearest, and nothing where nothing is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from phyda_cli.constants import EPSILON, R_D
from phyda_cli.fields.grid import Grid
from phyda_cli.physics.column import Column
from phyda_cli.physics.equations import mass
from phyda_cli.physics.projection import (
    Air,
    MassProjection,
    divergence_matrix,
    limit_humidity,
    project_columns,
    project_hydrostatic,
)
from phyda_cli.physics.residuals import Residuals
from phyda_cli.physics.sphere import Sphere
from phyda_cli.physics.thermodynamics import saturation_specific_humidity, virtual_temperature

LEVELS = np.array([50.0, 100, 200, 300, 500, 700, 850, 925]) * 100
GRIDS = {
    "cells": Grid(np.linspace(-84.375, 84.375, 16), np.arange(32) * 11.25),
    "poles, odd": Grid(np.linspace(90, -90, 17), np.arange(31) * 360 / 31),
    "limited": Grid(np.linspace(60, 35, 11), np.linspace(-10, 20, 13)),
    "uneven": Grid(np.array([61.5, 60.0, 57.0, 55.5, 52.0]), np.array([-10.0, -8.5, -6.0, -4.0])),
    "equatorial": Grid(np.linspace(-12, 12, 9), np.linspace(100, 124, 9)),
}
Winds = tuple[Tensor, Tensor]


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def atmosphere(levels: np.ndarray = LEVELS, grid: Grid = GRIDS["cells"]) -> Air:
    """A standard atmosphere, here and there above saturation and below zero humidity."""
    shape = (levels.size, *grid.shape)
    height = torch.tensor(-7400 * np.log(levels / 1e5))[:, None, None].expand(shape)
    t = (300 - 0.0065 * height).clamp(min=200) + 4 * noise(1, *shape)
    saturation = saturation_specific_humidity(t, torch.tensor(levels)[:, None, None])
    return Air(9.8 * height, t, saturation * (0.8 + 0.25 * noise(2, *shape)).clamp(-0.01, 1.4))


def increment(background: Air, seed: int = 3) -> Air:
    shape = background.t.shape
    return Air(
        300 * noise(seed, *shape),
        2 * noise(seed + 1, *shape),
        0.3 * background.q.abs() * noise(seed + 2, *shape),
    )


def errors(shape: torch.Size, *sizes: float) -> list[Tensor]:
    return [s * noise(9 + i, *shape).exp() for i, s in enumerate(sizes)]


def air_errors(background: Air) -> Air:
    return Air(*errors(background.t.shape, 150.0, 0.8, 1e-3))


def added(background: Air, change: Air) -> Air:
    return Air(*(b + d for b, d in zip(background, change, strict=True)))


def excess(levels: np.ndarray, grid: Grid, background: Air, change: Air) -> Tensor:
    """Hydrostatic residual of the analysis less the background's, of the full states."""
    residuals = Residuals(levels, grid)
    ours, theirs = (
        residuals(**a._asdict())["hydrostatic"] for a in (added(background, change), background)
    )
    return ours - theirs


def saturation(levels: np.ndarray, t: Tensor) -> Tensor:
    return saturation_specific_humidity(t, torch.tensor(levels)[:, None, None])


@pytest.mark.parametrize("levels", [LEVELS, LEVELS[::-1].copy(), LEVELS[4:6]])
def test_columns_keep_the_backgrounds_residual_and_the_limits_of_humidity(
    levels: np.ndarray,
) -> None:
    grid, background = GRIDS["cells"], atmosphere(levels)
    change = increment(background)
    projected = project_columns(Column(levels), background, change, air_errors(background))
    before, after = (excess(levels, grid, background, c).abs().max() for c in (change, projected))
    assert before > 100
    assert after < 1e-10 * before
    analysis = added(background, projected)
    assert (analysis.q >= background.q.clamp(max=0)).all()
    assert (background.q < 0).any()
    humidity, allowed = (
        analysis.q / saturation(levels, analysis.t),
        (background.q / saturation(levels, background.t)).clamp(min=1),
    )
    assert (humidity <= allowed * (1 + 1e-10)).all()
    assert (humidity > 1.01).any()  # where the background was


def test_humidity_and_balance_need_each_other() -> None:
    """One after the other they would leave air above saturation: temperature moves after its limit
    was set."""
    background, column = atmosphere(), Column(LEVELS)
    change, sigma = increment(background), air_errors(background)
    once = change._replace(q=limit_humidity(column, background.t, background.q, change.t, change.q))
    once = project_hydrostatic(column, background, once, sigma)
    both = project_columns(column, background, change, sigma)
    wet = [
        float((limit_humidity(column, background.t, background.q, c.t, c.q) - c.q).abs().max())
        for c in (once, both)
    ]
    assert wet[0] > 1e-4
    assert wet[1] <= 1e-15


def test_two_levels_by_hand() -> None:
    """Excess e = dz1 - dz2 - (R_d ln(p2/p1) / 2)(dT1 + dT2) of dry air is shared in proportion to
    the variances."""
    levels = np.array([50000.0, 85000.0])
    h = R_D * np.log(85 / 50) / 2
    zero = torch.zeros(2, 1, 1, dtype=torch.float64)
    change = Air(
        torch.tensor([[[100.0]], [[20.0]]]).double(),
        torch.tensor([[[1.0]], [[-2.0]]]).double(),
        zero,
    )
    sigma = Air(
        torch.tensor([[[30.0]], [[10.0]]]).double(), torch.tensor([[[0.5]], [[2.0]]]).double(), zero
    )
    force = (80 + h) / (900 + 100 + h**2 * 4.25)
    projected = project_hydrostatic(Column(levels), Air(zero, zero + 280, zero), change, sigma)
    assert projected.z.ravel().tolist() == pytest.approx([100 - 900 * force, 20 + 100 * force])
    assert projected.t.ravel().tolist() == pytest.approx([1 + 0.25 * h * force, -2 + 4 * h * force])


def balanced(background: Air, dt: Tensor, dq: Tensor, levels: np.ndarray = LEVELS) -> Tensor:
    """The geopotential increment of hydrostatic balance over an unchanged lowest level, by adding
    up layers."""
    tv = virtual_temperature(background.t + dt, background.q + dq) - virtual_temperature(
        background.t, background.q
    )
    dz = torch.zeros_like(tv)
    for k in range(levels.size - 2, -1, -1):
        dz[k] = dz[k + 1] + R_D * np.log(levels[k + 1] / levels[k]) * (tv[k] + tv[k + 1]) / 2
    return dz


def test_balanced_columns_do_not_change() -> None:
    background = atmosphere()
    background = background._replace(
        q=background.q.clamp(min=0).minimum(0.8 * saturation(LEVELS, background.t))
    )
    dt, dq = 1.5 * noise(5, *background.t.shape).clamp(-1, 1), -0.3 * background.q
    change = Air(balanced(background, dt, dq), dt, dq)
    projected = project_columns(Column(LEVELS), background, change, air_errors(background))
    for ours, theirs in zip(projected, change, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-9)


def distance(change: Air, other: Air, sigma: Air) -> float:
    return sum(
        float(((a - b) / s).square().sum())
        for a, b, s in zip(change[:2], other[:2], sigma[:2], strict=True)
    )


def test_no_balanced_column_is_nearer() -> None:
    """Among increments of z and T with the same humidity: every feasible direction is orthogonal to
    what was taken away."""
    background = atmosphere()
    change, sigma = increment(background), air_errors(background)
    projected = project_columns(Column(LEVELS), background, change, sigma)
    least = distance(change, projected, sigma)
    assert least > 0
    for seed in range(5):
        dt = 0.05 * noise(20 + seed, *background.t.shape)
        dz = balanced(background, projected.t + dt, projected.q) - balanced(
            background, projected.t, projected.q
        )
        direction = Air(
            dz + 10 * noise(30 + seed, 1, *background.t.shape[1:]), dt, torch.zeros_like(dt)
        )
        there, back = (
            distance(change, added(projected, Air(*(s * d for d in direction))), sigma)
            for s in (1.0, -1.0)
        )
        assert min(there, back) > least
        assert there == pytest.approx(back, rel=1e-9)


def test_no_humidity_within_the_limits_is_nearer() -> None:
    background, column = atmosphere(), Column(LEVELS)
    change = increment(background)
    limited = limit_humidity(column, background.t, background.q, change.t, change.q)
    moved = limited != change.q
    assert 0.05 < moved.double().mean() < 0.6
    assert torch.equal(limited[~moved], change.q[~moved])
    nearer = limited + 1e-3 * (change.q - limited)
    q = background.q + nearer
    highest = (background.q / saturation(LEVELS, background.t)).clamp(min=1) * saturation(
        LEVELS, background.t + change.t
    )
    assert ((q < background.q.clamp(max=0)) | (q > highest))[moved].all()


def test_projecting_columns_again_changes_nothing() -> None:
    background = atmosphere()
    sigma = air_errors(background)
    once = project_columns(Column(LEVELS), background, increment(background), sigma)
    for ours, theirs in zip(
        project_columns(Column(LEVELS), background, once, sigma), once, strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_columns_without_increment_stay_as_they_are() -> None:
    """Also where the background breaks the limits, and beside columns that move."""
    background = atmosphere()
    change = Air(*(f.clone() for f in increment(background)))
    for f in change:
        f[:, 3:9] = 0
    projected = project_columns(Column(LEVELS), background, change, air_errors(background))
    assert all(not f[:, 3:9].any() for f in projected)
    assert all(f[:, :3].any() for f in projected)


def test_order_of_levels_does_not_matter() -> None:
    background = atmosphere()
    change, sigma = increment(background), air_errors(background)
    down = project_columns(Column(LEVELS), background, change, sigma)
    flipped = [Air(*(f.flip(0) for f in a)) for a in (background, change, sigma)]
    for ours, theirs in zip(
        project_columns(Column(LEVELS[::-1].copy()), *flipped), down, strict=True
    ):
        torch.testing.assert_close(ours.flip(0), theirs)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_matrix_is_the_operator(grid: Grid) -> None:
    sphere, wind = Sphere(grid.latitude, grid.longitude), noise(0, 2, *grid.shape)
    expected = sphere.divergence(*wind).numpy().ravel()
    np.testing.assert_allclose(
        divergence_matrix(sphere) @ wind.numpy().ravel(),
        expected,
        rtol=0,
        atol=1e-14 * np.abs(expected).max(),
    )


def mass_projection(grid: Grid, levels: np.ndarray = LEVELS) -> tuple[MassProjection, Winds]:
    """With the errors that are its metric."""
    sigma_u, sigma_v = errors(torch.Size((levels.size, *grid.shape)), 1.2, 1.5)
    return MassProjection(
        Sphere(grid.latitude, grid.longitude), Column(levels), sigma_u, sigma_v
    ), (sigma_u, sigma_v)


def mass_divergence(grid: Grid, u: Tensor, v: Tensor, levels: np.ndarray = LEVELS) -> Tensor:
    sphere = Sphere(grid.latitude, grid.longitude)
    return mass(Column(levels), sphere.divergence(u, v))[0] * torch.from_numpy(sphere.interior_mask)


def wind_distance(grid: Grid, sigma: Winds, *winds: Tensor) -> float:
    area = torch.from_numpy(grid.area_weights)[:, None]
    return sum(float((area * (w / s).square()).sum()) for w, s in zip(winds, sigma, strict=True))


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("levels", [LEVELS, LEVELS[::-1].copy()])
def test_column_mass_divergence_is_gone(grid: Grid, levels: np.ndarray) -> None:
    project, _ = mass_projection(grid, levels)
    u, v = noise(7, 2, levels.size, *grid.shape) * 3
    projected = project(u, v)
    before, after = (mass_divergence(grid, *w, levels).abs().max() for w in ((u, v), projected))
    assert after < 1e-10 * before
    near = (
        1e-7 if grid.covers_poles == (False, False) else 1e-11
    )  # m s-1: limited areas have a nearly undetermined potential
    for ours, once in zip(project(*projected), projected, strict=True):
        torch.testing.assert_close(ours, once, rtol=0, atol=near)
    assert not any(w.any() for w in project(torch.zeros_like(u), torch.zeros_like(v)))


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_no_wind_without_mass_divergence_is_nearer(grid: Grid) -> None:
    """Feasible directions: winds that turn over between two levels, and projected noise."""
    project, sigma = mass_projection(grid)
    u, v = noise(7, 2, LEVELS.size, *grid.shape)
    pu, pv = project(u, v)
    least = wind_distance(grid, sigma, pu - u, pv - v)
    depth = Column(LEVELS).integral(torch.eye(8, dtype=torch.float64)[:, :, None, None])[:, 0]
    turning = torch.zeros(2, *u.shape, dtype=torch.float64)
    turning[:, 2], turning[:, 5] = (
        noise(8, 2, *grid.shape) / depth[2],
        -noise(8, 2, *grid.shape) / depth[5],
    )
    for du, dv in (turning * depth.mean(), project(*noise(11, 2, *u.shape))):
        there, back = (
            wind_distance(grid, sigma, pu - u + s * du, pv - v + s * dv) for s in (0.1, -0.1)
        )
        assert min(there, back) > least
        assert there == pytest.approx(back, rel=1e-7)


def test_winds_without_mass_divergence_do_not_change() -> None:
    grid = GRIDS["cells"]
    project, _ = mass_projection(grid)
    depth = Column(LEVELS).integral(torch.eye(8, dtype=torch.float64)[:, :, None, None])[:, 0]
    u, v = torch.zeros(2, 8, *grid.shape, dtype=torch.float64)
    for w, seed in ((u, 1), (v, 2)):
        w[1] = 10 * noise(seed, *grid.shape) * depth.mean() / depth[1]
        w[6] = -w[1] * depth[1] / depth[6]
    u += torch.tensor(np.cos(np.deg2rad(grid.latitude)))[:, None] * noise(3, 8, 1, 1)
    for ours, theirs in zip(project(u, v), (u, v), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["cells", "poles, odd", "limited"])
def test_winds_that_are_nothing_but_a_potential_vanish(name: str) -> None:
    """S A' of any potential, with A' the adjoint of the operator itself."""
    grid = GRIDS[name]
    project, sigma = mass_projection(grid)
    u, v = torch.zeros(2, 8, *grid.shape, dtype=torch.float64).requires_grad_().unbind()
    adjoint = torch.autograd.grad(
        (mass_divergence(grid, u, v) * noise(4, *grid.shape)).sum(), (u, v)
    )
    area = torch.from_numpy(grid.area_weights)[:, None]
    winds = [s.square() * a / area for s, a in zip(sigma, adjoint, strict=True)]
    size = max(float(w.abs().max()) for w in winds)
    assert all((w.abs() < 1e-9 * size).all() for w in project(*winds))


def test_virtual_temperature_of_large_increments_is_exact() -> None:
    """20 K and 10 g/kg at once, where a linear T_v would be off by 0.12 K."""
    background = Air(*(f.clone() for f in atmosphere()))
    zero = torch.zeros_like(background.t)
    change = Air(zero, zero + 20, zero + 0.01)
    projected = project_hydrostatic(Column(LEVELS), background, change, air_errors(background))
    left = excess(LEVELS, GRIDS["cells"], background, projected).abs().max()
    assert left < 1e-9
    assert (1 / EPSILON - 1) * 20 * 0.01 > 0.12
