"""What is computed of one state to tell how physical it is, and the places at which it is
averaged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from phyda_cli.physics.residuals import Residuals
from phyda_cli.physics.thermodynamics import potential_temperature, saturation_specific_humidity
from phyda_cli.verification.common_grid import CommonLayout

__all__ = [
    "BANDS",
    "INSTABILITY",
    "NEEDS",
    "NEGATIVE",
    "SUPERSATURATION",
    "VIOLATIONS",
    "Physics",
    "Place",
    "Quantities",
]

BANDS = ("90S-60S", "60S-20S", "20S-20N", "20N-60N", "60N-90N")
NEEDS = {
    "hydrostatic": "zt",
    "mass": "uv",
    "momentum_u": "zuv",
    "momentum_v": "zuv",
    "thermodynamic": "tuv",
    "moisture": "uvq",
    "geostrophic_u": "zuv",
    "geostrophic_v": "zuv",
    "gradient": "zuv",
    "negative_q": "q",
    "supersaturated": "tq",
    "unstable": "t",
}
VIOLATIONS = ("negative_q", "supersaturated", "unstable")
NEGATIVE = 1e-9  # kg kg-1: what the rounding of files leaves of zero
SUPERSATURATION = 0.05  # of q_sat: what formulas of saturation differ by
INSTABILITY = 0.1  # K: what the rounding of files makes of a neutral layer
COLUMN_SLACK = (
    7500.0  # Pa of a column that may lie below ground, or every low over the sea would be left out
)
_BETWEEN_LEVELS = ("hydrostatic", "unstable")

Quantities = dict[str, np.ndarray]


class Place(NamedTuple):
    """One quantity everywhere, at a ``level`` or layer [hPa], or in a latitude ``band``."""

    quantity: str
    level: str | None = None
    band: str | None = None


class Physics:
    """Quantities of states on a common layout, each (layers, H, W) float64 and NaN where it does
    not count."""

    def __init__(self, layout: CommonLayout) -> None:
        self.layout = layout
        self._weights = layout.grid.area_weights[:, None]
        self._residuals = Residuals(layout.levels, layout.grid)
        latitude = layout.grid.latitude
        # A row on a boundary belongs to the band towards its pole, as it does where balance is
        # looked at.
        band = np.digitize(np.abs(latitude), (20.0, 60.0)) * np.where(latitude < 0, -1, 1) + 2
        self._rows = {name: band == i for i, name in enumerate(BANDS) if (band == i).any()}

    def quantities(self, state: Mapping[str, np.ndarray]) -> Quantities:
        """Residuals [RESIDUAL_UNITS] and VIOLATIONS (1 where a state cannot be, else 0) of z t u v
        q (L, H, W) that the inputs allow.

        Violations are q < -NEGATIVE, q > (1 + SUPERSATURATION) q_sat over the IFS mix of water and
        ice, and a potential temperature that falls by more than INSTABILITY from one level up to
        the next.
        """
        tensors = {
            name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in state.items()
        }
        residuals = self._residuals(**tensors)
        if all(v in tensors for v in "zuv"):
            residuals |= self._residuals.balance(tensors["z"], tensors["u"], tensors["v"])
        found = {
            name: np.where(self._counted(name), f.numpy(), np.nan) for name, f in residuals.items()
        }
        for name, margin in self._margins(tensors).items():
            found[name] = np.where(margin.isnan().numpy(), np.nan, (margin < 0).numpy())
        return {
            name: np.where(self._above_ground(name), values, np.nan)
            for name, values in found.items()
        }

    def places(self, quantities: Quantities) -> Iterator[tuple[Place, np.ndarray, np.ndarray]]:
        """Every place of every quantity, with the values there and area weights that broadcast to
        them."""
        hpa = [f"{p / 100:g}" for p in self.layout.levels]
        for name, values in quantities.items():
            yield Place(name), values, self._weights
            if name != "mass":
                labels = [f"{a}-{b}" for a, b in pairwise(hpa)] if name in _BETWEEN_LEVELS else hpa
                for k, label in enumerate(labels):
                    yield Place(name, level=label), values[k], self._weights
            for band, rows in self._rows.items():
                yield Place(name, band=band), values[:, rows], self._weights[rows]

    def _margins(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What each of VIOLATIONS leaves until the state cannot be; negative where it cannot."""
        column, margins = self._residuals.column, {}
        if "q" in state:
            margins["negative_q"] = state["q"] + NEGATIVE
        if "q" in state and "t" in state:
            saturation = saturation_specific_humidity(state["t"], column.pressure(state["t"]))
            margins["supersaturated"] = (1 + SUPERSATURATION) * saturation - state["q"]
        if "t" in state and self.layout.levels.size > 1:
            margins["unstable"] = (
                column.thickness(potential_temperature(state["t"], column.pressure(state["t"])))
                + INSTABILITY
            )
        return margins

    def _counted(self, name: str) -> np.ndarray:
        """Where a residual has a meaning and its differences are centred (H, W): not on the
        outermost points of a limited area."""
        counted, grid = self._residuals.counted(name).copy(), self.layout.grid
        if name == "hydrostatic":
            return counted
        south, north = grid.covers_poles
        first, last = (south, north) if grid.latitude[0] < grid.latitude[-1] else (north, south)
        counted[0] &= first
        counted[-1] &= last
        counted[:, [0, -1]] &= grid.periodic
        return counted

    def _above_ground(self, name: str) -> np.ndarray:
        """Points of a quantity that lie above ground: a layer where its lower level does, a column
        where all but COLUMN_SLACK does."""
        above, levels = self.layout.above, self.layout.levels
        if name in _BETWEEN_LEVELS:
            return above[1:]
        if name == "mass":
            return above[max(0, int((levels <= levels[-1] - COLUMN_SLACK).sum()) - 1), None]
        return above
