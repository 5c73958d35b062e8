"""Random observation networks and the observations they would make: soundings, surface reports,
aircraft."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import sparse

from phyda_cli.fields.grid import Grid
from phyda_cli.fields.interpolate import bilinear
from phyda_cli.fields.state import StateSpec
from phyda_cli.names import default_error

__all__ = ["Network", "draw_network", "observe_channels"]

AIRCRAFT_LEVELS = (180.0, 320.0)  # hPa
ERROR_FACTOR = {"mixed": 2.5, "complete": 1.6}


@dataclass(frozen=True)
class Network:
    """P observations as linear functions of a flattened state: ``matrix`` (P, C*H*W), ``error``
    (P,) [units]."""

    matrix: sparse.csr_matrix
    error: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    channel: np.ndarray


def observe_channels(
    spec: StateSpec,
    latitude: np.ndarray,
    longitude: np.ndarray,
    channel: np.ndarray,
    error: np.ndarray,
) -> Network:
    """One observation of channel index ``channel`` (P,) at each position (P,), bilinear in the
    horizontal."""
    keys = np.round(np.stack([latitude, longitude]), 9)
    unique, where = np.unique(keys, axis=1, return_inverse=True)
    parts = []
    for vector in (False, True):
        rows = np.flatnonzero(spec.is_vector[channel] == vector)
        b = bilinear(spec.grid, unique[0], unique[1], vector)[where.ravel()[rows]].tocoo()
        parts.append((b.data, rows[b.row], b.col + channel[rows][b.row] * spec.grid.size))
    data, row, column = (np.concatenate(p) for p in zip(*parts, strict=True))
    shape = (channel.size, spec.n_channels * spec.grid.size)
    matrix = sparse.coo_matrix((data.astype(np.float32), (row, column)), shape=shape).tocsr()
    return Network(matrix, error.astype(np.float32), latitude, longitude, channel)


def uniform_positions(
    grid: Grid, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """``n`` positions uniform over the area of ``grid`` [degrees]."""
    south, north = grid.covers_poles
    low = -90.0 if south else grid.latitude.min()
    high = 90.0 if north else grid.latitude.max()
    latitude = np.rad2deg(
        np.arcsin(rng.uniform(np.sin(np.deg2rad(low)), np.sin(np.deg2rad(high)), n))
    )
    span = 360.0 if grid.periodic else grid.longitude[-1] - grid.longitude[0]
    return latitude, (grid.longitude[0] + rng.uniform(0, span, n)) % 360


def _clustered_positions(
    grid: Grid, land: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Half uniform, half in clusters around land points, as the real network is."""
    latitude, longitude = uniform_positions(grid, n, rng)
    on_land = np.flatnonzero(land.ravel() > 0.5)
    if on_land.size == 0 or rng.random() < 0.4:
        return latitude, longitude
    centres = rng.choice(on_land, size=rng.integers(2, 9))
    clustered = np.flatnonzero(rng.random(n) < rng.uniform(0.2, 0.9))
    lat_c, lon_c = (m.ravel()[rng.choice(centres, clustered.size)] for m in grid.mesh)
    spread = rng.uniform(4, 15)
    lat = lat_c + spread * rng.standard_normal(clustered.size)
    lon = lon_c + spread * rng.standard_normal(clustered.size) / np.cos(
        np.deg2rad(np.clip(lat_c, -80, 80))
    )
    inside = grid.contains(lat, lon) & (np.abs(lat) <= 90)
    latitude[clustered[inside]], longitude[clustered[inside]] = lat[inside], lon[inside] % 360
    return latitude, longitude


def _reports(
    spec: StateSpec, kind: str, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Report index and channel index of every value that ``n`` reports of one kind contain."""
    channels = spec.channel_list
    index = np.arange(len(channels))
    upper = np.array([c.level is not None for c in channels])
    if kind == "surface":
        table = np.tile(index[~upper], (n, 1))
        keep = rng.random(table.shape) < rng.uniform(0.5, 1.0)
    elif kind == "aircraft":
        levels = sorted(
            {
                c.level
                for c in channels
                if c.level and AIRCRAFT_LEVELS[0] <= c.level <= AIRCRAFT_LEVELS[1]
            }
        )
        rows = [
            [i for i in index if channels[i].level == level and channels[i].variable in "tuv"]
            for level in levels
        ]
        rows = [r for r in rows if r]
        table = np.array(rows)[rng.integers(0, len(rows), n)] if rows else np.zeros((n, 0), int)
        keep = np.ones(table.shape, bool)
    else:
        table = np.tile(index[upper], (n, 1))
        with_height = rng.random() < 0.5
        keep = np.tile(
            np.array([channels[i].variable != "z" or with_height for i in index[upper]]), (n, 1)
        )
        if all(channels[i].variable == "z" for i in index[upper]):
            keep[:] = True
    report, column = np.nonzero(keep)
    return report, table[report, column]


def draw_network(
    spec: StateSpec,
    land: np.ndarray,
    rng: np.random.Generator,
    reports: tuple[int, int] = (20, 2000),
    empty: float = 0.02,
    kind: Literal["mixed", "complete"] = "mixed",
) -> Network:
    """A network of log-uniformly many reports, with errors between the default table's divided and
    multiplied by ``ERROR_FACTOR``. Against the background's errors, which are the unit here, that
    is also a background of better or worse quality.

    A ``mixed`` network has reports of different kinds in random shares, most of them around places
    on land; a ``complete`` one has stations anywhere that report every channel. ``land`` is the
    land fraction (H, W); with probability ``empty`` there is no observation at all.
    """
    total = 0 if rng.random() < empty else int(np.exp(rng.uniform(*np.log(reports))))
    if kind == "complete":
        channel = np.tile(np.arange(spec.n_channels), total)
        positions = uniform_positions(spec.grid, total, rng)
        latitude, longitude = (np.repeat(a, spec.n_channels) for a in positions)
    else:
        latitude, longitude, channel = _mixed(spec, land, total, rng)
    error = channel_errors(spec, channel) * ERROR_FACTOR[kind] ** rng.uniform(-1, 1)
    return observe_channels(spec, latitude, longitude, channel, error)


def _mixed(
    spec: StateSpec, land: np.ndarray, total: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latitude, longitude and channel of every value of ``total`` reports of all kinds."""
    kinds = ["sounding", "surface", "aircraft"]
    shares = rng.dirichlet([0.7, 0.7, 0.4])
    if total > 600:  # soundings are the expensive, rare kind
        shares[0] = min(shares[0], 600 / total)
    latitude, longitude, channel = [], [], []
    for kind, share in zip(kinds, shares, strict=True):
        n = round(total * share)
        if n == 0:
            continue
        report, index = _reports(spec, kind, n, rng)
        lat, lon = _clustered_positions(spec.grid, land, n, rng)
        latitude.append(lat[report])
        longitude.append(lon[report])
        channel.append(index)
    flat = [np.concatenate(a) if a else np.zeros(0) for a in (latitude, longitude, channel)]
    return flat[0], flat[1], flat[2].astype(int)


def channel_errors(spec: StateSpec, channel: np.ndarray) -> np.ndarray:
    """Default observation error of each channel index (P,) [units]."""
    table = [
        float(default_error(c.variable, np.array(c.pressure or 1e5))) for c in spec.channel_list
    ]
    return np.array(table)[channel]
