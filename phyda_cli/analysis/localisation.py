"""Where observations count: tapers in the horizontal and in log pressure, and the columns where
weights are solved.

Shapes: N members, C channels, H x W grid points, P observations, M columns, S boxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch

from phyda_cli.constants import EARTH_RADIUS
from phyda_cli.fields.earth import unit_vectors
from phyda_cli.fields.grid import Grid
from phyda_cli.fields.interpolate import grid_to_grid
from phyda_cli.fields.state import StateSpec
from phyda_cli.settings.model import SolverSettings

__all__ = ["Columns", "Draws", "Layer", "Localisation", "Observed", "gaspari_cohn"]

SURFACE_PRESSURE = 1e5  # Pa, where surface channels count
THICKNESS = 0.2  # of radius_log_p: levels within it share their weights


def gaspari_cohn(distance: torch.Tensor, radius: float) -> torch.Tensor:
    """Fifth-order compact taper (Gaspari and Cohn 1999, eq. 4.10); one at zero, zero from
    ``radius`` on."""
    r = (distance * (2.0 / radius)).clamp(max=2.0)
    near = 1 + r**2 * (-5 / 3 + r * (5 / 8 + r * (1 / 2 - r / 4)))
    far = (
        4
        - 5 * r
        + r**2 * (5 / 3 + r * (5 / 8 + r * (-1 / 2 + r / 12)))
        - 2 / (3 * r.clamp(min=1e-6))
    )
    taper = torch.where(r <= 1, near, far).clamp(min=0.0)
    return torch.where(r < 2, taper, 0.0)  # where float32 leaves 1e-7


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Great-circle distance [m] between unit vectors (A, 3) and (B, 3): (A, B)."""
    return EARTH_RADIUS * np.arccos(np.clip(a @ b.T, -1.0, 1.0))


class Columns:
    """Every ``stride``-th grid point, where weights are solved, and the interpolation back to all
    points."""

    def __init__(self, grid: Grid, stride: int) -> None:
        n_lat, n_lon = grid.shape
        stride = max(1, min(stride, n_lat // 2, n_lon // 2))
        rows = np.unique(
            np.round(np.linspace(0, n_lat - 1, max(2, -(-n_lat // stride)))).astype(int)
        )
        if grid.periodic:
            columns = np.arange(0, n_lon, stride)
        else:
            columns = np.unique(
                np.round(np.linspace(0, n_lon - 1, max(2, -(-n_lon // stride)))).astype(int)
            )
        coarse = Grid(grid.latitude[rows], grid.longitude[columns])
        lat, lon = coarse.mesh
        self.unit_vectors = unit_vectors(lat.ravel(), lon.ravel())
        self.points = (rows[:, None] * n_lon + columns).ravel()
        to_grid = grid_to_grid(coarse, grid).tocoo()
        index = torch.from_numpy(np.stack([to_grid.row, to_grid.col]).astype(np.int64))
        values = torch.from_numpy(to_grid.data)
        self.to_grid = torch.sparse_coo_tensor(
            index, values, to_grid.shape, check_invariants=True
        ).coalesce()

    def for_points(self, points: slice) -> Columns:
        """The columns that interpolation to the grid ``points`` needs, and that interpolation."""
        point, column = self.to_grid.indices()
        inside = (point >= points.start) & (point < points.stop) & (self.to_grid.values() != 0)
        needed, own = column[inside].unique(return_inverse=True)
        part = copy(self)
        part.unit_vectors, part.points = (
            self.unit_vectors[needed.numpy()],
            self.points[needed.numpy()],
        )
        index, size = (
            torch.stack([point[inside] - points.start, own]),
            (points.stop - points.start, needed.numel()),
        )
        part.to_grid = torch.sparse_coo_tensor(
            index, self.to_grid.values()[inside], size, check_invariants=True
        ).coalesce()
        return part


@dataclass(frozen=True, eq=False)
class Observed:
    """P observations in units of their error sigma_o.

    ``members`` (N, P) the members' observed equivalents, ``innovation`` (P,) = (y - H(x_b)) /
    sigma_o, position (P,) [degrees]; ``log_pressure`` (P,) [ln Pa] is needed for localisation in
    the vertical only.
    """

    members: torch.Tensor
    innovation: torch.Tensor
    latitude: np.ndarray
    longitude: np.ndarray
    log_pressure: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Draws:
    """Standard normal numbers of K draws from the posterior: ``prior`` (N, K) of the members,
    ``noise`` (P, K) of the observations."""

    prior: torch.Tensor
    noise: torch.Tensor

    @classmethod
    def none(cls, observed: Observed) -> Draws:
        """K = 0."""
        return cls.random(observed, 0, 0)

    @classmethod
    def random(cls, observed: Observed, count: int, seed: int) -> Draws:
        """``count`` draws; drawn on the CPU, so a seed means the same on every device."""
        generator = torch.Generator().manual_seed(seed)
        prior, noise = (
            torch.randn(size, count, generator=generator) for size in observed.members.shape
        )
        return cls(prior.to(observed.members), noise.to(observed.members))


@dataclass(frozen=True, eq=False)
class Layer:
    """Channels that see the same observations with the same weights, and those observations.

    ``members`` (N, P') and ``innovation`` (P',) are multiplied by the root of the vertical taper:
    in the algebra that is the division of R by the taper. ``draws`` are of the same observations.
    ``box`` (P',), increasing, is each one's column of ``rho`` (M, S'), the horizontal taper.
    """

    channels: np.ndarray
    members: torch.Tensor
    innovation: torch.Tensor
    draws: Draws
    box: np.ndarray
    rho: torch.Tensor


@dataclass(frozen=True, eq=False)
class Localisation:
    """Observation-space localisation on ``grid``: weights are solved on ``columns``.

    An observation's influence ends at ``radius`` [m] (infinite: never), and, where ``radius_log_p``
    is given, at that distance in log pressure from each channel's ``log_pressure`` (C,) [ln Pa].
    """

    grid: Grid
    columns: Columns
    radius: float
    log_pressure: np.ndarray | None = None
    radius_log_p: float | None = None

    @classmethod
    def of(cls, spec: StateSpec, solver: SolverSettings) -> Localisation:
        """That of a checkpoint's state and settings; surface channels count at 1000 hPa."""
        log_pressure = np.log(
            [SURFACE_PRESSURE if c.pressure is None else c.pressure for c in spec.channel_list]
        )
        return cls(
            spec.grid,
            Columns(spec.grid, solver.column_stride),
            solver.radius_km * 1e3,
            log_pressure,
            solver.radius_log_p,
        )

    def for_rows(self, rows: slice) -> Localisation:
        """The same for some ``rows`` of the grid alone."""
        n_lon = self.grid.shape[1]
        if rows == slice(0, self.grid.shape[0]):
            return self
        return replace(
            self, columns=self.columns.for_points(slice(rows.start * n_lon, rows.stop * n_lon))
        )

    def order(self, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
        """The order (P,) of observations that :meth:`layers` works in, and need not copy them
        for."""
        return (
            np.argsort(_boxes(self.grid, latitude, longitude)[0], kind="stable")
            if latitude.size
            else np.zeros(0, int)
        )

    def layers(self, observed: Observed, draws: Draws, channels: int) -> Iterator[Layer]:
        """The state's ``channels`` in groups, without those that no observation reaches; one group
        where there is no vertical taper.

        Neighbouring levels share a group where the taper hardly differs, so the cost is at most
        some 15 times that without.
        """
        box, centre = _boxes(self.grid, observed.latitude, observed.longitude)
        order = np.argsort(box, kind="stable")
        members, innovation, noise = observed.members, observed.innovation, draws.noise
        if not np.array_equal(
            order, np.arange(order.size)
        ):  # a copy of what may be most of the memory
            box, members, innovation, noise = (
                box[order],
                members[:, order],
                innovation[order],
                noise[order],
            )
        distance = torch.as_tensor(_distance(self.columns.unit_vectors, centre)).to(
            observed.members
        )
        rho = (
            gaspari_cohn(distance, self.radius)
            if np.isfinite(self.radius)
            else torch.ones_like(distance)
        )
        if self.radius_log_p is None:
            yield Layer(
                np.arange(channels), members, innovation, Draws(draws.prior, noise), box, rho
            )
            return
        assert self.log_pressure is not None
        assert observed.log_pressure is not None
        for group in _groups(self.log_pressure, THICKNESS * self.radius_log_p):
            own = self.log_pressure[group]
            away = np.abs(observed.log_pressure[order] - (own.min() + own.max()) / 2)
            taper = gaspari_cohn(torch.from_numpy(away), self.radius_log_p).numpy()
            near = np.flatnonzero(taper)
            if near.size:
                root = torch.from_numpy(np.sqrt(taper[near])).to(observed.members)
                used, here = np.unique(box[near], return_inverse=True)
                ours = (members if near.size == box.size else members[:, near]) * root
                yield Layer(
                    group,
                    ours,
                    innovation[near] * root,
                    Draws(draws.prior, noise[near]),
                    here,
                    rho[:, used],
                )


def _groups(log_pressure: np.ndarray, thickness: float) -> list[np.ndarray]:
    """Indices of ``log_pressure`` (C,) in groups that span no more than ``thickness``, from the top
    down."""
    groups, rest = [], np.unique(log_pressure)
    while rest.size:
        inside = rest <= rest[0] + thickness
        groups.append(np.flatnonzero(np.isin(log_pressure, rest[inside])))
        rest = rest[~inside]
    return groups


def _boxes(
    grid: Grid, latitude: np.ndarray, longitude: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Group observations by the nearest grid point; returns each one's box (P,) and the boxes' mean
    unit vectors (S, 3).

    The taper is evaluated once per box: the cost no longer grows with the number of observations
    times columns, and co-located observations (a sounding) are tapered exactly as before.
    """
    row = np.abs(latitude[:, None] - grid.latitude[None]).argmin(axis=1)
    offset = np.abs((longitude[:, None] - grid.longitude[None] + 180) % 360 - 180)
    _, box = np.unique(_along_a_curve(row, offset.argmin(axis=1)), return_inverse=True)
    centre = np.zeros((box.max() + 1, 3))
    np.add.at(centre, box, unit_vectors(latitude, longitude))
    return box, centre / np.linalg.norm(centre, axis=1, keepdims=True)


def _along_a_curve(row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Numbers of grid points that keep neighbours together: the bits of ``row`` and ``column`` in
    turn (Morton 1966)."""
    bits = range(int(max(row.max(), column.max())).bit_length())
    twice = ((row >> b & 1) << 2 * b + 1 | (column >> b & 1) << 2 * b for b in bits)
    return np.sum([np.zeros_like(row), *twice], axis=0)
