"""Differential operators on the sphere for regular and Gaussian grids, global or limited."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from phyda_cli.constants import EARTH_RADIUS, OMEGA
from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Grid
from phyda_cli.physics.stencils import Derivative, Terms

__all__ = ["VECTOR", "Sphere"]

SCALAR, VECTOR = (
    1.0,
    -1.0,
)  # what a field is multiplied by when a meridian is followed across the pole
POLE_ROWS = 1.25  # rows nearer to a covered pole than this many spacings are masked


class Sphere:
    """Operators on fields (..., H, W) over ``latitude`` (H,), in either direction, and increasing
    ``longitude`` (W,) [degrees].

    Longitude derivatives are fourth order and periodic where the grid closes the circle (it must
    then be evenly spaced, else InputError), second order and one-sided at the edges of a limited
    area. Latitude derivatives are second order; beyond a covered pole the row is the nearest one at
    longitude + 180 degrees, with the sign changed for wind components. At a pole itself the metric
    terms are set to zero: such rows are outside ``interior_mask``.
    """

    def __init__(self, latitude: np.ndarray, longitude: np.ndarray) -> None:
        self.grid = grid = Grid(latitude, longitude)
        phi, lam = np.deg2rad(grid.latitude), np.deg2rad(grid.longitude)
        steps = np.diff(np.append(lam, lam[0] + 2 * np.pi) if grid.periodic else lam)
        if grid.periodic and np.ptp(steps) > 0.01 * steps.mean():
            raise InputError(
                "a grid that closes the circle needs evenly spaced longitudes, found steps of "
                f"{np.rad2deg(steps.min()):g} to "
                f"{np.rad2deg(steps.max()):g} degrees",
                hint="regrid the field to evenly spaced longitudes",
            )
        at_pole = np.abs(phi) > np.pi / 2 - 1e-6
        cosine = np.where(at_pole, 1.0, np.cos(phi))
        per_radian = np.where(at_pole, 0.0, 1 / (EARTH_RADIUS * cosine))
        self._terms = Terms(
            per_radian=per_radian[:, None],
            per_span=(per_radian / (1.5 * steps.mean()))[:, None],
            curvature=(per_radian * np.sin(phi))[:, None],
            coriolis=2 * OMEGA * np.sin(phi)[:, None],
        )
        self._ghosts = _ghost_rows(grid)
        self._d_lambda = Derivative(lam, -1)
        ends = self._ghosts[0] is None, self._ghosts[1] is None
        self._d_y = Derivative(
            EARTH_RADIUS * np.deg2rad(_with_ghosts(grid, self._ghosts)), -2, ends
        )

    @property
    def area_weights(self) -> np.ndarray:
        """Area of each row's cells divided by the mean (H,)."""
        return self.grid.area_weights

    @property
    def interior_mask(self) -> np.ndarray:
        """False on the last row at a covered pole, and on the last two where one of them is the
        pole (H, W)."""
        latitude = self.grid.latitude
        limit = POLE_ROWS * abs(float(np.median(np.diff(latitude))))
        south, north = self.grid.covers_poles
        masked = (south & (latitude + 90 < limit)) | (north & (90 - latitude < limit))
        return np.broadcast_to(~masked[:, None], self.grid.shape).copy()

    def coriolis(self, like: Tensor) -> Tensor:
        """f = 2 Omega sin(phi) (H, 1) [s-1]."""
        return self._terms.like(like)["coriolis"]

    def curvature(self, like: Tensor) -> Tensor:
        """tan(phi) / a (H, 1) [m-1], zero at a pole."""
        return self._terms.like(like)["curvature"]

    def ddx(self, f: Tensor) -> Tensor:
        """1/(a cos phi) df/dlambda [units of f per m]."""
        terms = self._terms.like(f)
        if not self.grid.periodic:
            return self._d_lambda(f) * terms["per_radian"]
        span = torch.roll(f, -1, -1) - torch.roll(f, 1, -1)
        return (
            torch.sub(span, torch.roll(span, -1, -1) + torch.roll(span, 1, -1), alpha=1 / 8)
            * terms["per_span"]
        )

    def ddy(self, f: Tensor, parity: float | Tensor = SCALAR) -> Tensor:
        """1/a df/dphi [units of f per m]; ``parity`` is VECTOR for wind components, or a tensor
        that broadcasts to (..., 1, W)."""
        first, last = self._ghosts
        parts = [f]
        if first is not None:
            parts.insert(0, parity * self._across(f, first))
        if last is not None:
            parts.append(parity * self._across(f, last))
        return self._d_y(torch.cat(parts, -2) if len(parts) > 1 else f)

    def gradient(self, f: Tensor, parity: float | Tensor = SCALAR) -> tuple[Tensor, Tensor]:
        """(df/dx, df/dy) [units of f per m]."""
        return self.ddx(f), self.ddy(f, parity)

    def divergence(self, u: Tensor, v: Tensor) -> Tensor:
        """u_x + v_y - v tan(phi)/a [s-1] for ``u``, ``v`` in m s-1."""
        return self.ddx(u) + self.ddy(v, VECTOR) - v * self.curvature(v)

    def _across(self, f: Tensor, row: int) -> Tensor:
        """Row ``row`` seen from across the pole, at longitude + 180 degrees; cubic between points
        if W is odd (..., 1, W)."""
        line, half = f.narrow(-2, row, 1), f.shape[-1] // 2
        if f.shape[-1] % 2 == 0:
            return torch.roll(line, half, -1)
        near = torch.roll(line, half, -1) + torch.roll(line, half + 1, -1)
        far = torch.roll(line, half - 1, -1) + torch.roll(line, half + 2, -1)
        return (9 * near - far) / 16


def _ghost_rows(grid: Grid) -> tuple[int | None, int | None]:
    """Which row continues the grid across the pole before its first and after its last row; None
    where no pole is covered."""
    south, north = grid.covers_poles
    ascending = grid.latitude[0] < grid.latitude[-1]
    first, last = (south, north) if ascending else (north, south)
    on_pole = np.abs(grid.latitude) > 90 - 1e-4
    n = grid.latitude.size
    return (int(on_pole[0]) if first else None), (n - 1 - int(on_pole[-1]) if last else None)


def _with_ghosts(grid: Grid, ghosts: tuple[int | None, int | None]) -> np.ndarray:
    """Latitudes with those of the ghost rows, which lie beyond 90 degrees."""
    lat = grid.latitude
    first, last = (
        np.array([] if row is None else [np.sign(lat[row]) * 180 - lat[row]]) for row in ghosts
    )
    return np.concatenate([first, lat, last])
