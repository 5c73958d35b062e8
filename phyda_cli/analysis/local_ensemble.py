r"""Stage 1: the linear-Gaussian analysis in a local ensemble space.

With background-error anomalies X (columns scaled so that B = X X^T), Y = R^{-1/2} H X and normalised innovations
d = R^{-1/2} (y - H x_b), the analysis of one column whose observations are tapered by rho is

.. math:: w = (I + Y^T \rho Y)^{-1} Y^T \rho d, \qquad \delta x = X w, \qquad P_a = X (I + Y^T \rho Y)^{-1} X^T

(LETKF, Hunt et al. 2007, with observation-space localisation). It is solved in the smaller of the two spaces, on a
coarse grid of columns whose weights are then interpolated (Yang et al. 2009).

Shapes: N members, C channels, H x W grid points, P observations, M columns, S boxes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from phyda_cli.fields.grid import EARTH_RADIUS, Grid
from phyda_cli.fields.regrid import grid_to_grid

__all__ = ["Columns", "Reconstruction", "gaspari_cohn", "normal_equations", "solve", "solve_members", "solve_observations"]

BOX_CHUNK = 256


@dataclass(frozen=True)
class Reconstruction:
    """``increment`` and ``spread`` (C, H, W) in the units of the members, and the background's own ``prior_spread``."""

    increment: torch.Tensor
    spread: torch.Tensor
    prior_spread: torch.Tensor


def gaspari_cohn(distance: torch.Tensor, radius: float) -> torch.Tensor:
    """Fifth-order compact taper (Gaspari and Cohn 1999, eq. 4.10); one at zero, zero from ``radius`` on."""
    r = (distance * (2.0 / radius)).clamp(max=2.0)
    near = 1 + r**2 * (-5 / 3 + r * (5 / 8 + r * (1 / 2 - r / 4)))
    far = 4 - 5 * r + r**2 * (5 / 3 + r * (5 / 8 + r * (-1 / 2 + r / 12))) - 2 / (3 * r.clamp(min=1e-6))
    return torch.where(r <= 1, near, far).clamp(min=0.0)


def _unit_vectors(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    lat, lon = np.deg2rad(latitude), np.deg2rad(longitude)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Great-circle distance [m] between unit vectors (A, 3) and (B, 3): (A, B)."""
    return EARTH_RADIUS * np.arccos(np.clip(a @ b.T, -1.0, 1.0))


class Columns:
    """Every ``stride``-th grid point, where weights are solved, and the interpolation back to all points."""

    def __init__(self, grid: Grid, stride: int) -> None:
        n_lat, n_lon = grid.shape
        stride = max(1, min(stride, n_lat // 2, n_lon // 2))
        rows = np.unique(np.round(np.linspace(0, n_lat - 1, max(2, -(-n_lat // stride)))).astype(int))
        if grid.periodic:
            columns = np.arange(0, n_lon, stride)
        else:
            columns = np.unique(np.round(np.linspace(0, n_lon - 1, max(2, -(-n_lon // stride)))).astype(int))
        self.grid = Grid(grid.latitude[rows], grid.longitude[columns])
        lat, lon = self.grid.mesh
        self.unit_vectors = _unit_vectors(lat.ravel(), lon.ravel())
        self.points = (rows[:, None] * n_lon + columns).ravel()
        to_grid = grid_to_grid(self.grid, grid).tocoo()
        index = torch.from_numpy(np.stack([to_grid.row, to_grid.col]).astype(np.int64))
        values = torch.from_numpy(to_grid.data).float()
        self.to_grid = torch.sparse_coo_tensor(index, values, to_grid.shape, check_invariants=True).coalesce()


def _boxes(grid: Grid, latitude: np.ndarray, longitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Group observations by the nearest grid point; returns each one's box (P,) and the boxes' mean unit vectors (S, 3).

    The taper is evaluated once per box: the cost no longer grows with the number of observations times columns, and
    co-located observations (a sounding) are tapered exactly as before.
    """
    row = np.abs(latitude[:, None] - grid.latitude[None]).argmin(axis=1)
    offset = np.abs((longitude[:, None] - grid.longitude[None] + 180) % 360 - 180)
    _, box = np.unique(row * grid.shape[1] + offset.argmin(axis=1), return_inverse=True)
    centre = np.zeros((box.max() + 1, 3))
    np.add.at(centre, box, _unit_vectors(latitude, longitude))
    return box, centre / np.linalg.norm(centre, axis=1, keepdims=True)


def normal_equations(y: torch.Tensor, d: torch.Tensor, box: np.ndarray, rho: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gram matrices Y^T rho Y (M, N, N) and pulls Y^T rho d (M, N) of all columns.

    Args:
        y: observed members (N, P) and ``d`` innovations (P,), both divided by the observation error.
        box: which of S boxes each observation is in (P,); ``rho`` (M, S) each column's taper at each box.

    For all columns it is one matrix product of the tapers with the boxes' Gram matrices.
    """
    n, m = y.shape[0], rho.shape[0]
    order = np.argsort(box, kind="stable")
    y, d = y[:, order], d[order]
    ends = np.searchsorted(box[order], np.arange(rho.shape[1]), side="right")
    starts = np.concatenate([[0], ends[:-1]])
    a = torch.zeros(m, n * n, dtype=y.dtype, device=y.device)
    b = torch.zeros(m, n, dtype=y.dtype, device=y.device)
    for first in range(0, rho.shape[1], BOX_CHUNK):
        chunk = range(first, min(first + BOX_CHUNK, rho.shape[1]))
        pieces = [(y[:, starts[s] : ends[s]], d[starts[s] : ends[s]]) for s in chunk]
        gram = torch.stack([p @ p.T for p, _ in pieces]).reshape(len(pieces), -1)
        weight = rho[:, chunk.start : chunk.stop]
        a.addmm_(weight, gram)
        b.addmm_(weight, torch.stack([p @ e for p, e in pieces]))
    return a.reshape(m, n, n), b


def solve_members(gram: torch.Tensor, pull: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Ensemble-space solve of :func:`normal_equations`; ``x`` (M, N, C). Returns weights (M, N) and variance (M, C)."""
    a = gram + torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    factor = torch.linalg.cholesky(a)
    w = torch.cholesky_solve(pull[:, :, None], factor)[:, :, 0]
    half = torch.linalg.solve_triangular(factor, x, upper=False)
    return w, half.square().sum(dim=1)


def solve_observations(y: torch.Tensor, d: torch.Tensor, root: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Observation-space solve; ``root`` (M, P) is the square root of the taper. Same results as the member space."""
    s = root[:, :, None] * (y.T @ y) * root[:, None, :]
    s.diagonal(dim1=1, dim2=2).add_(1.0)
    factor = torch.linalg.cholesky(s)
    w = (root * torch.cholesky_solve((root * d)[:, :, None], factor)[:, :, 0]) @ y.T
    z = root[:, :, None] * torch.matmul(y.T, x)
    half = torch.linalg.solve_triangular(factor, z, upper=False)
    return w, x.square().sum(dim=1) - half.square().sum(dim=1)


def solve(
    members: torch.Tensor,
    observed: torch.Tensor,
    innovation: torch.Tensor,
    latitude: np.ndarray,
    longitude: np.ndarray,
    grid: Grid,
    columns: Columns,
    radius: float,
) -> Reconstruction:
    """Analyse P observations.

    Args:
        members: anomalies (N, C, H, W) with B = sum_n x_n x_n^T.
        observed: their observed equivalents divided by the observation error, (N, P).
        innovation: (y - H(x_b)) / sigma_o, (P,).
        latitude, longitude: of the observations [degrees], (P,).
        radius: distance [m] at which an observation's influence ends; infinite for no localisation.

    The algebra runs in the dtype of ``observed``; the result has the dtype of ``members``.
    """
    n, c, h, w_ = members.shape
    prior = members.square().sum(dim=0)
    if innovation.numel() == 0:
        return Reconstruction(torch.zeros_like(prior), prior.sqrt(), prior.sqrt())
    x = members.reshape(n, c, h * w_)[:, :, columns.points].permute(2, 0, 1).to(observed)
    box, centre = _boxes(grid, latitude, longitude)
    distance = torch.as_tensor(_distance(columns.unit_vectors, centre)).to(observed)
    rho = gaspari_cohn(distance, radius) if np.isfinite(radius) else torch.ones_like(distance)
    if innovation.numel() <= n:
        weights, variance = solve_observations(observed, innovation, rho[:, box].sqrt(), x)
    else:
        weights, variance = solve_members(*normal_equations(observed, innovation, box, rho), x)
    ratio = (variance / x.square().sum(dim=1).clamp(min=1e-30)).clamp(0.0, 1.0)
    to_grid = columns.to_grid.to(members)
    full = torch.sparse.mm(to_grid, torch.cat([weights, ratio], dim=1).to(members))
    by_channel = members.reshape(n, c, -1).unbind(dim=1)
    increment = torch.stack([(x_c * full[:, :n].T).sum(dim=0) for x_c in by_channel]).reshape(c, h, w_)
    ratio_full = full[:, n:].T.reshape(c, h, w_)
    return Reconstruction(increment, (ratio_full * prior).sqrt(), prior.sqrt())
