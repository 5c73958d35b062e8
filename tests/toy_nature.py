"""A small linear model in the place of the climate model: every field turns eastwards with time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from phyda_cli.fields.grid import Grid
from phyda_cli.simulation import incremental_update, jcm, nature_files, speedy_link, twin_cycle
from phyda_cli.simulation.jcm import SIGMA, Native

__all__ = ["START", "Toy", "install", "toy", "turned"]

START = np.datetime64("2000-03-01", "s")
SMALL = Grid(np.array([-67.5, -22.5, 22.5, 67.5]), 45.0 * np.arange(8))
TURN = 0.1  # radians in 6 h
CLIMATE = 215 + 70 * SIGMA[:, None, None]  # K
PREDICTED = ("u", "v", "t", "q", "ps")


def toy(value: float, grid: Grid = SMALL) -> Native:
    """A plausible state that ``value`` (any number) tells from others: a wave, ``value`` radians
    east of its place for zero."""
    shape = (SIGMA.size, *grid.shape[::-1])
    wave = np.sin(np.deg2rad(grid.longitude) - value)[None, :, None] * np.ones(shape)
    moisture = 1e-3 * SIGMA[:, None, None] * (2 + wave)
    return _completed(
        {
            "u": 10 * wave,
            "v": 5 * wave,
            "t": CLIMATE + wave,
            "q": moisture,
            "ps": 1e5 + 500 * wave[0],
        }
    )


def _completed(state: Native) -> Native:
    """``state`` with what a model derives of wind, temperature and humidity: geopotential and
    near-surface fields."""
    height = 7400 * np.log(1 / SIGMA)[:, None, None]
    derived = {"z": 9.8 * height + 100 * (state["t"] - CLIMATE), "t2m": state["t"][-1] + 6.5}
    derived |= {"u10": 0.3 * state["u"][-1], "v10": 0.2 * state["v"][-1]}
    return {k: np.asarray(v, np.float32) for k, v in (state | derived).items()}


def turned(field: np.ndarray, angle: float) -> np.ndarray:
    """``field`` (..., lon, lat) moved east by ``angle`` radians, exactly for every wave the grid
    resolves."""
    waves = np.fft.rfft(field, axis=-2)
    waves *= np.exp(-1j * angle * np.arange(waves.shape[-2]))[:, None]
    return np.fft.irfft(waves, field.shape[-2], axis=-2).astype(np.float32)


class Toy:
    """The interface of ``SpeedyModel``. What an analysis puts into a state travels with it;
    ``made`` counts the models."""

    made: ClassVar[int] = 0

    def __init__(self, start: np.datetime64, days: float, saved_per_day: int = 4) -> None:
        self.days, self.saved_per_day = days, saved_per_day
        Toy.made += 1

    def cold_start(self, seed: int) -> Native:
        return toy(float(seed))

    def forecast(self, state: Native, time: np.datetime64) -> list[Native]:
        each, count = 4 * TURN / self.saved_per_day, round(self.saved_per_day * self.days)
        angles = each * (1 + np.arange(count))
        return [_completed({k: turned(state[k], float(a)) for k in PREDICTED}) for a in angles]

    def nudged(
        self, state: Native, towards: Native, time: np.datetime64, parts: int
    ) -> list[Native]:
        share = {k: (towards[k] - state[k]) / parts for k in PREDICTED}
        states: list[Native] = []
        for _ in range(parts):
            states += self.forecast({k: state[k] + share[k] for k in PREDICTED}, time)
            state = states[-1]
        return states


def install(monkeypatch: pytest.MonkeyPatch, grid: Grid = SMALL, height: float = 0.0) -> None:
    """Let nature runs and cycles use :class:`Toy` on ``grid``, at one ``height`` [m] and without
    land."""
    ground = {"latitude": grid.latitude, "longitude": grid.longitude}
    ground |= {"orography": np.full(grid.shape, height), "land_sea_mask": np.zeros(grid.shape)}
    for module in (jcm, twin_cycle, incremental_update):
        monkeypatch.setattr(module, "SpeedyModel", Toy)
    for module in (nature_files, speedy_link):
        monkeypatch.setattr(module, "statics", lambda: ground)
    Toy.made = 0
