"""Residuals of the primitive equations at one time: how physical a state is, compared with the
truth's own residuals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Grid
from phyda_cli.physics.column import Column
from phyda_cli.physics.equations import (
    geostrophic_departure,
    gradient_departure,
    hydrostatic,
    mass,
    momentum,
    thermodynamic,
    transport,
)
from phyda_cli.physics.sphere import SCALAR, VECTOR, Sphere
from phyda_cli.physics.stencils import Terms
from phyda_cli.physics.thermodynamics import virtual_temperature

__all__ = ["BALANCE", "RESIDUAL_UNITS", "Residuals"]

RESIDUAL_UNITS = {
    "hydrostatic": "m2 s-2",
    "mass": "Pa s-1",
    "momentum_u": "m s-2",
    "momentum_v": "m s-2",
    "thermodynamic": "K s-1",
    "moisture": "kg kg-1 s-1",
    "geostrophic_u": "m s-1",
    "geostrophic_v": "m s-1",
    "gradient": "m s-1",
}
BALANCE = ("geostrophic_u", "geostrophic_v", "gradient")
TROPICS = 20.0  # degrees: no geostrophic balance nearer to the equator


class Residuals:
    """All residuals of states on ``levels`` (L,) [Pa], in the state's own order, and ``grid``.

    ``mask`` (H, W) is False in the rows at covered poles; ``weights`` (H, W) are area weights
    within the mask that sum to one. Works in the type (at least float32) and on the device of the
    state, also under autocast.
    """

    def __init__(self, levels: np.ndarray, grid: Grid) -> None:
        self.sphere = Sphere(grid.latitude, grid.longitude)
        self.column = Column(levels)
        self.shape = (self.column.levels.size, *grid.shape)
        mask = self.sphere.interior_mask
        area = self.sphere.area_weights[:, None] * mask
        if not area.any():
            raise InputError(
                f"a grid of {grid.shape[0]} latitudes has no row away from the poles to compute "
                "residuals on"
            )
        self._extratropics = mask & (np.abs(grid.latitude) >= TROPICS)[:, None]
        extratropics = area * self._extratropics
        self._terms = Terms(
            all=area / area.sum(), extratropics=extratropics / max(extratropics.sum(), 1e-30)
        )
        self.mask = torch.from_numpy(mask)
        self.weights = torch.from_numpy(area / area.sum())

    def __call__(
        self,
        z: Tensor | None = None,
        t: Tensor | None = None,
        u: Tensor | None = None,
        v: Tensor | None = None,
        q: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Residual fields (..., layers, H, W) of states (..., L, H, W), in RESIDUAL_UNITS, those
        that the inputs allow.

        z geopotential [m2 s-2], t [K], u and v [m s-1], q [kg kg-1]. ``hydrostatic`` has L-1 layers
        and needs z and t (air is dry without q), ``mass`` one and needs u and v; neither exists
        with a single level, for which the others are horizontal. ``momentum_u``, ``momentum_v``
        need z, ``thermodynamic`` t and ``moisture`` q beside the wind. InputError when a shape is
        not the grid's.
        """
        state = self._checked(z=z, t=t, u=u, v=v, q=q)
        fields: dict[str, Tensor] = {}
        if self.shape[0] > 1 and "z" in state and "t" in state:
            tv = virtual_temperature(state["t"], state["q"]) if "q" in state else state["t"]
            fields["hydrostatic"] = hydrostatic(self.column, state["z"], tv)
        if "u" in state and "v" in state:
            fields |= self._of_motion(state)
        return fields

    def balance(self, z: Tensor, u: Tensor, v: Tensor) -> dict[str, Tensor]:
        """Departures of the wind from geostrophic and of its speed from gradient balance, BALANCE
        [m s-1] (..., L, H, W)."""
        state = self._checked(z=z, u=u, v=v)
        wind_and_slope = self.sphere, state["u"], state["v"], *self.sphere.gradient(state["z"])
        return dict(
            zip(
                BALANCE,
                (*geostrophic_departure(*wind_and_slope), gradient_departure(*wind_and_slope)),
                strict=True,
            )
        )

    def counted(self, name: str) -> np.ndarray:
        """Where the residual ``name`` has a meaning (H, W): away from the poles, and for BALANCE
        outside 20 degrees."""
        return self._extratropics if name in BALANCE else self.mask.numpy()

    def mean_square(
        self, fields: Mapping[str, Tensor], by_layer: bool = False
    ) -> dict[str, Tensor]:
        """Area-weighted mean square of each residual where it is :meth:`counted` [units squared],
        (...,) or (..., layers)."""
        result = {}
        for name, field in fields.items():
            weights = self._terms.like(field)["extratropics" if name in BALANCE else "all"]
            layers = (field.square() * weights).sum((-2, -1))
            result[name] = layers if by_layer else layers.mean(-1)
        return result

    def _of_motion(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The residuals that need the wind; one pass of stencils over all variables stacked."""
        names = [n for n in ("u", "v", "t", "q", "z") if n in state]
        carried = len(names) - ("z" in state)
        stack = torch.stack([state[n] for n in names])
        parity = stack.new_tensor([VECTOR if n in ("u", "v") else SCALAR for n in names]).reshape(
            -1, *(1,) * (stack.dim() - 1)
        )
        f_x, f_y = self.sphere.gradient(stack, parity)
        u, v = state["u"], state["v"]
        divergence = f_x[0] + f_y[1] - v * self.sphere.curvature(v)
        omega = self.column.omega(divergence)
        moved = transport(
            u, v, omega, f_x[:carried], f_y[:carried], self.column.ddp(stack[:carried])
        )
        tendency = dict(zip(names, moved.unbind(), strict=False))

        fields = {"mass": mass(self.column, divergence)} if self.shape[0] > 1 else {}
        if "z" in state:
            wind = momentum(self.sphere, u, v, tendency["u"], tendency["v"], f_x[-1], f_y[-1])
            fields["momentum_u"], fields["momentum_v"] = wind
        if "t" in state:
            fields["thermodynamic"] = thermodynamic(self.column, state["t"], omega, tendency["t"])
        if "q" in state:
            fields["moisture"] = tendency["q"]
        return fields

    def _checked(self, **state: Tensor | None) -> dict[str, Tensor]:
        """The given variables, in float32 or better, after a check of their shapes."""
        given = {name: f for name, f in state.items() if f is not None}
        for name, f in given.items():
            if f.shape[-3:] != self.shape:
                raise InputError(
                    f"{name}: expected shape (..., {', '.join(map(str, self.shape))}), found "
                    f"{tuple(f.shape)}"
                )
        return {
            name: f.float() if f.dtype in (torch.float16, torch.bfloat16) else f
            for name, f in given.items()
        }
