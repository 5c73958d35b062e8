"""jcm as the forecast model of a cycle: its native states as a checkpoint's channels, and
increments back into them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy import sparse

from phyda_cli.errors import UsageError
from phyda_cli.fields.grid import Grid
from phyda_cli.fields.interpolate import grid_to_grid
from phyda_cli.fields.remap import regridder
from phyda_cli.fields.state import StateSpec
from phyda_cli.names import VARIABLES
from phyda_cli.simulation.jcm import DIAGNOSTIC, SIGMA, Native, statics
from phyda_cli.simulation.nature_files import UPPER, pressure_level_fields, sea_level_pressure
from phyda_cli.simulation.sigma import increments_to_sigma

__all__ = ["SpeedyLink"]

PROFILES = ("u", "v", "t", "q")
LOWEST_TOP = 1.1e5 * SIGMA[0]  # Pa, where surface pressure is highest


class SpeedyLink:
    """Between native states (see :mod:`phyda_cli.simulation.jcm`) and channel stacks (C, H, W) of
    ``spec`` [SI units]."""

    def __init__(self, spec: StateSpec) -> None:
        self.spec = spec
        ground = statics()
        self.native = Grid(ground["latitude"], ground["longitude"])
        self._down = regridder(self.native, spec.grid)
        self.levels = np.array(
            sorted({c.pressure for c in spec.channel_list if c.pressure is not None})
        )
        self._check()

    def _check(self) -> None:
        """Raise UsageError for a state that jcm lacks a part of, or that lacks a part of jcm's."""
        hint = "use the bundled checkpoint"
        if "msl" not in self.spec.channels or not self.levels.size:
            raise UsageError("cycling with jcm needs a model of msl and pressure levels", hint=hint)
        keys = {(c.variable, c.pressure) for c in self.spec.channel_list}
        for name in PROFILES:
            if missing := [p for p in self.levels.tolist() if (name, p) not in keys]:
                raise UsageError(
                    f"cycling with jcm needs {name} on every level of the model; it lacks "
                    f"{missing[0] / 100:g} hPa",
                    hint=hint,
                )
        if foreign := sorted({n for n, _ in keys} - {*UPPER, "msl", *DIAGNOSTIC}):
            raise UsageError(f"jcm does not have {', '.join(foreign)}", hint=hint)
        if self.levels[0] < LOWEST_TOP:
            raise UsageError(
                f"jcm's top is at {LOWEST_TOP / 100:.0f} hPa, the model's at "
                f"{self.levels[0] / 100:g}",
                hint=hint,
            )

    @cached_property
    def _up(self) -> dict[bool, sparse.csr_matrix]:
        return {
            vector: grid_to_grid(self.spec.grid, self.native, vector) for vector in (False, True)
        }

    def stack(self, states: list[Native]) -> np.ndarray:
        """Native states as (T, C, H, W) float32, the way the training store holds them."""
        fields = pressure_level_fields(states, self.levels)
        channels = [
            fields[c.variable]
            if c.pressure is None
            else fields[c.variable][:, np.searchsorted(self.levels, c.pressure)]
            for c in self.spec.channel_list
        ]
        return self._down(np.stack(channels, axis=1)).astype(np.float32)

    def add(self, state: Native, increment: np.ndarray) -> Native:
        """``state`` plus an increment (C, H, W): profiles at the model's levels, then the surface
        pressure that has the new msl over the new temperature.

        What jcm derives itself (geopotential, near-surface fields) is left as it is. Humidity may
        fall below zero, as jcm's own does: increments that end there would bring moisture.
        """
        pressure = state["ps"].T  # native arrays are (lon, lat)
        out = dict(state)
        for name in PROFILES:
            change = increments_to_sigma(
                self._profile(increment, name), self.levels, SIGMA, pressure
            )
            out[name] = (state[name] + change.swapaxes(-1, -2)).astype(np.float32)
        change = self._to_native(increment[[self.spec.channels.index("msl")]], False)[0]
        wanted = sea_level_pressure(state) + change
        out["ps"] = (state["ps"] * (wanted / sea_level_pressure(out)).T).astype(np.float32)
        return out

    def _profile(self, increment: np.ndarray, name: str) -> np.ndarray:
        """Increments (L, lat, lon) of one variable on the native grid."""
        own = {c.pressure: i for i, c in enumerate(self.spec.channel_list) if c.variable == name}
        return self._to_native(
            increment[[own[p] for p in self.levels.tolist()]], VARIABLES[name].vector
        )

    def _to_native(self, values: np.ndarray, vector: bool) -> np.ndarray:
        flat = np.asarray(values, np.float64).reshape(len(values), -1)
        return np.ascontiguousarray((self._up[vector] @ flat.T).T).reshape(-1, *self.native.shape)
