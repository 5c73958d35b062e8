"""Synthetic atmospheres for the tests of readers and writers."""

from __future__ import annotations

import numpy as np

from phyda_cli.fields.grid import Fields, Grid

TIME = np.datetime64("2020-02-29T06:00", "ns")
LEVELS = np.array([1000.0, 850.0, 500.0, 200.0]) * 100


def atmosphere(grid: Grid | None = None, levels: np.ndarray = LEVELS, seed: int = 0) -> Fields:
    """Plausible, different at every point; float32."""
    grid = grid or Grid(np.linspace(80, -80, 9), np.arange(12) * 30.0)
    rng = np.random.default_rng(seed)
    shape = (levels.size, *grid.shape)
    height = 7000 * np.log(101325 / levels)[:, None, None]

    def noise(scale: float, mean: float | np.ndarray = 0.0) -> np.ndarray:
        return (mean + scale * rng.normal(size=shape)).astype(np.float32)

    upper = {
        "z": noise(300, 9.80665 * height),
        "t": noise(3, 288 - 0.006 * np.minimum(height, 11000)),
        "u": noise(10),
        "v": noise(10),
        "q": (0.008 * (levels / 1e5)[:, None, None] ** 3 * rng.uniform(0.2, 1, shape)).astype(
            np.float32
        ),
    }
    surface = {"msl": (101300 + 500 * rng.normal(size=grid.shape)).astype(np.float32)}
    surface["t2m"] = (288 + 5 * rng.normal(size=grid.shape)).astype(np.float32)
    return Fields(grid, TIME, levels, upper, surface)
