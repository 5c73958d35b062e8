"""The nearest increment without excess: hydrostatic and column-mass residuals stay the
background's, humidity within its limits.

Nearest in the metric sum of area (dx / sigma)^2 over points and variables. A linear constraint A x
= b then has the projection x - S A' (A S A')^-1 (A x - b) with S = sigma^2 / area (Simon & Chia
2002, IEEE Trans. Aerosp. Electron. Syst. 38, 128-136), which moves x no farther from any state that
satisfies the constraint. All fields are float64 tensors (L, H, W) on the CPU.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from phyda_cli.constants import EPSILON, R_D
from phyda_cli.physics.column import Column
from phyda_cli.physics.equations import hydrostatic
from phyda_cli.physics.sphere import VECTOR, Sphere
from phyda_cli.physics.thermodynamics import saturation_specific_humidity

__all__ = [
    "Air",
    "MassProjection",
    "divergence_matrix",
    "limit_humidity",
    "project_columns",
    "project_hydrostatic",
]

MOIST = 1 / EPSILON - 1
ROUNDS = 60
SETTLED = 1e-15  # kg kg-1
# of a unit diagonal: the potential of a limited area has one chequerboard that moves no wind
RIDGE = 1e-14
REFINEMENTS = 2


class Air(NamedTuple):
    """Geopotential [m2 s-2], temperature [K] and specific humidity [kg kg-1] of a state, an
    increment or an error, (L, H, W)."""

    z: Tensor
    t: Tensor
    q: Tensor


def limit_humidity(column: Column, t: Tensor, q: Tensor, dt: Tensor, dq: Tensor) -> Tensor:
    """The increment nearest to ``dq`` with 0 <= q + dq <= q_sat(t + dt, p) [kg kg-1].

    Where the background ``t`` [K], ``q`` is itself outside, the analysis may be as negative, or
    have as high a relative humidity, but no more. Nothing changes where both increments are zero.
    """
    p = column.pressure(q)
    saturation = (q / saturation_specific_humidity(t, p)).clamp(min=1.0)
    highest = saturation * saturation_specific_humidity(t + dt, p) - q
    limited = torch.minimum(torch.maximum(dq, -q.clamp(min=0.0)), highest)
    return torch.where((dt == 0) & (dq == 0), dq, limited)


def project_hydrostatic(column: Column, background: Air, increment: Air, sigma: Air) -> Air:
    """``increment`` with z and T moved so that the analysis has the background's hydrostatic
    residual; q stays.

    With the analysis' q given, the increment of virtual temperature, (1 + c q) dT + c T_b dq, is
    linear in dT: the L-1 constraints of each column are met exactly, not to first order.
    """
    identity = torch.eye(column.levels.size, dtype=torch.float64)[:, :, None, None]
    thickness = column.thickness(identity)[:, :, 0, 0].T
    warmth = R_D * column.log_pressure_integral(identity)[:, :, 0, 0].T
    slope = 1 + MOIST * (background.q + increment.q)
    s_z, s_t = sigma.z.square(), sigma.t.square()
    excess = hydrostatic(
        column, increment.z, slope * increment.t + MOIST * background.t * increment.q
    )
    normal = _gram(thickness, s_z) + _gram(warmth, s_t * slope.square())
    force = torch.cholesky_solve(excess.movedim(0, -1)[..., None], torch.linalg.cholesky(normal))
    dz, dt = (torch.einsum("kl,hwkx->lhw", rows, force) for rows in (thickness, warmth))
    return Air(increment.z - s_z * dz, increment.t + s_t * slope * dt, increment.q)


def _gram(rows: Tensor, variance: Tensor) -> Tensor:
    """A S A' (H, W, K, K) of ``rows`` A (K, L) and ``variance`` S (L, H, W)."""
    return torch.einsum("kl,ml,lhw->hwkm", rows, rows, variance)


def project_columns(column: Column, background: Air, increment: Air, sigma: Air) -> Air:
    """``increment`` with humidity limited and the hydrostatic excess removed, both at once.

    Saturation moves with temperature, and temperature with humidity by less than half as much, so
    that the two are repeated, in the columns where humidity still moves, until they agree.
    """
    size, shape = column.levels.size, increment.t.shape
    background, increment, sigma = (
        Air(*(f.reshape(size, 1, -1) for f in air)) for air in (background, increment, sigma)
    )
    moved = project_hydrostatic(column, background, increment, sigma)
    moving = torch.arange(moved.t.shape[-1])
    for _ in range(ROUNDS):
        b, given, s, now = (
            Air(*(f[..., moving] for f in air)) for air in (background, increment, sigma, moved)
        )
        q = limit_humidity(column, b.t, b.q, now.t, given.q)
        changed = ((q - now.q).abs() > SETTLED).any(0)[0]
        if not changed.any():
            break
        moving = moving[changed]
        b, given, s = (Air(*(f[..., changed] for f in air)) for air in (b, given._replace(q=q), s))
        for field, values in zip(moved, project_hydrostatic(column, b, given, s), strict=True):
            field[..., moving] = values
    return Air(*(f.reshape(shape) for f in moved))


class MassProjection:
    """Takes the divergence of column mass out of wind increments, everywhere but in the rows at
    covered poles.

    ``sigma_u`` and ``sigma_v`` (L, H, W) [m s-1] are the metric. The correction is the gradient of
    a potential, at each level in proportion to sigma^2 and the layer's depth. Its sparse normal
    equations are factorised once for all increments.
    """

    def __init__(self, sphere: Sphere, column: Column, sigma_u: Tensor, sigma_v: Tensor) -> None:
        identity = torch.eye(column.levels.size, dtype=torch.float64)[:, :, None, None]
        self._depth = column.integral(identity)[:, 0]
        area = torch.from_numpy(sphere.area_weights)[:, None]
        self._share = torch.stack([sigma_u, sigma_v]).square() * self._depth / area
        self._divergence = divergence_matrix(sphere)[sphere.interior_mask.ravel()]
        variance = (self._share * self._depth).sum(1).ravel().numpy()
        normal = self._divergence @ sparse.diags_array(variance) @ self._divergence.T
        self._scale = sparse.diags_array(1 / np.sqrt(normal.diagonal()))
        self._normal = self._scale @ normal @ self._scale
        ridged = self._normal + RIDGE * sparse.eye_array(normal.shape[0])
        symmetric = {
            "permc_spec": "MMD_AT_PLUS_A",
            "diag_pivot_thresh": 0.0,
            "options": {"SymmetricMode": True},
        }
        self._factor = splu(ridged.tocsc(), **symmetric)

    def __call__(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The wind increments nearest to ``u``, ``v`` [m s-1] whose column-mass divergence is
        zero."""
        wind = torch.stack([u, v])
        excess = self._scale @ (self._divergence @ (wind * self._depth).sum(1).ravel().numpy())
        potential = self._factor.solve(excess)
        for _ in range(REFINEMENTS):
            potential += self._factor.solve(excess - self._normal @ potential)
        gradient = torch.from_numpy(self._divergence.T @ (self._scale @ potential)).reshape(
            2, 1, *u.shape[-2:]
        )
        corrected = wind - self._share * gradient
        return corrected[0], corrected[1]


def divergence_matrix(sphere: Sphere) -> sparse.csr_matrix:
    """:meth:`Sphere.divergence` as a matrix (H*W, 2*H*W) [m-1] on flattened u and v, one after the
    other, found by applying it to impulses.

    An impulse in longitude serves every row at once. One in latitude, at the first longitude,
    serves every other one: a limited area has no derivative that leaves its column, and a grid that
    closes the circle is evenly spaced.
    """
    n_lat, n_lon = sphere.grid.shape
    along = sphere.ddx(
        torch.eye(n_lon, dtype=torch.float64)[:, None, :].expand(-1, n_lat, -1)
    ).numpy()  # of, row, at
    of, row, at = np.nonzero(along)
    zonal = sparse.coo_matrix(
        (along[of, row, at], (row * n_lon + at, row * n_lon + of)), shape=(sphere.grid.size,) * 2
    )

    impulses = torch.zeros(n_lat, n_lat, n_lon, dtype=torch.float64)
    impulses[range(n_lat), range(n_lat), 0] = 1.0
    across = (sphere.ddy(impulses, VECTOR) - impulses * sphere.curvature(impulses)).numpy()
    of, row, offset = np.nonzero(across)
    shift = np.arange(n_lon)[:, None]
    value = np.broadcast_to(across[of, row, offset], (n_lon, of.size))
    index = (row * n_lon + (offset + shift) % n_lon).ravel(), (of * n_lon + shift).ravel()
    meridional = sparse.coo_matrix((value.ravel(), index), shape=(sphere.grid.size,) * 2)
    return sparse.hstack([zonal, meridional]).tocsr()
