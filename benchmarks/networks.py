"""The observing networks that methods are compared on: the commonest users', from dense to poor, at
any noise.

All positions are drawn anew for every case. Errors: soundings and aircraft 1 m/s, 0.8 K, 0.5 g/kg
and 1 hPa; surface stations those of the default table. ``noise`` multiplies errors and what the
analysis is told of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from phyda_cli.fields.state import StateSpec
from phyda_cli.simulation.observing_network import (
    AIRCRAFT_LEVELS,
    Network,
    channel_errors,
    observe_channels,
    uniform_positions,
)

__all__ = ["NETWORKS", "Draw", "draw", "soundings", "surface"]

SOUNDING_ERRORS = {"u": 1.0, "v": 1.0, "t": 0.8, "q": 5e-4, "msl": 100.0}
CLUSTERS, CLUSTER_WIDTH = (
    6,
    8.0,
)  # of the mix: around so many land points, with so many degrees of standard deviation
Positions = tuple[np.ndarray, np.ndarray]
Draw = Callable[[StateSpec, np.ndarray, np.random.Generator], Network]


def soundings(spec: StateSpec, n: int, rng: np.random.Generator) -> Network:
    """``n`` soundings anywhere: u, v, t, q at all levels and msl."""
    return _reports(spec, _sounding_channels(spec), uniform_positions(spec.grid, n, rng))


def surface(spec: StateSpec, n: int, rng: np.random.Generator) -> Network:
    """``n`` surface stations anywhere with all surface channels."""
    return _reports(spec, _surface_channels(spec), uniform_positions(spec.grid, n, rng))


def aircraft(spec: StateSpec, n: int, rng: np.random.Generator) -> Network:
    """``n`` aircraft reports anywhere of u, v, t at a cruising level."""
    return _at_one_level(spec, uniform_positions(spec.grid, n, rng), rng)


def mix(spec: StateSpec, land: np.ndarray, rng: np.random.Generator) -> Network:
    """60 soundings, 500 surface stations and 200 aircraft reports, four in five of them around a
    few places on land."""
    clusters = rng.choice(np.flatnonzero(land.ravel() > 0.5), CLUSTERS)
    parts = [
        _reports(spec, _sounding_channels(spec), _clustered(spec, clusters, 60, rng)),
        _reports(spec, _surface_channels(spec), _clustered(spec, clusters, 500, rng)),
        _at_one_level(spec, _clustered(spec, clusters, 200, rng), rng),
    ]
    return _joined(spec, parts)


NETWORKS: dict[str, Draw] = {
    "400 soundings": lambda spec, land, rng: soundings(spec, 400, rng),
    "100 soundings": lambda spec, land, rng: soundings(spec, 100, rng),
    "1000 surface": lambda spec, land, rng: surface(spec, 1000, rng),
    "1000 aircraft": lambda spec, land, rng: aircraft(spec, 1000, rng),
    "mix over land": mix,
}


def draw(
    name: str, noise: float, spec: StateSpec, land: np.ndarray, rng: np.random.Generator
) -> Network:
    """The network called ``name`` with errors ``noise`` times the usual; ``land`` is the land
    fraction (H, W)."""
    network = NETWORKS[name](spec, land, rng)
    return Network(
        network.matrix,
        network.error * np.float32(noise),
        network.latitude,
        network.longitude,
        network.channel,
    )


def _sounding_channels(spec: StateSpec) -> list[int]:
    return [i for i, c in enumerate(spec.channel_list) if c.variable in SOUNDING_ERRORS]


def _surface_channels(spec: StateSpec) -> list[int]:
    return [i for i, c in enumerate(spec.channel_list) if c.level is None]


def _reports(spec: StateSpec, channels: list[int], positions: Positions) -> Network:
    """One report of all ``channels`` at each position."""
    n = positions[0].size
    latitude, longitude = (np.repeat(a, len(channels)) for a in positions)
    index = np.tile(channels, n)
    return observe_channels(spec, latitude, longitude, index, _errors(spec, index))


def _at_one_level(spec: StateSpec, positions: Positions, rng: np.random.Generator) -> Network:
    cruising = sorted(
        {
            c.level
            for c in spec.channel_list
            if c.level and AIRCRAFT_LEVELS[0] <= c.level <= AIRCRAFT_LEVELS[1]
        }
    )
    table = np.array(
        [
            [i for i, c in enumerate(spec.channel_list) if c.level == level and c.variable in "tuv"]
            for level in cruising
        ]
    )
    index = table[rng.integers(0, len(cruising), positions[0].size)]
    latitude, longitude = (np.repeat(a, table.shape[1]) for a in positions)
    return observe_channels(spec, latitude, longitude, index.ravel(), _errors(spec, index.ravel()))


def _errors(spec: StateSpec, index: np.ndarray) -> np.ndarray:
    own = {
        i: SOUNDING_ERRORS[c.variable]
        for i, c in enumerate(spec.channel_list)
        if c.variable in SOUNDING_ERRORS
    }
    return np.array(
        [own.get(i, e) for i, e in zip(index.tolist(), channel_errors(spec, index), strict=True)]
    )


def _clustered(
    spec: StateSpec, centres: np.ndarray, n: int, rng: np.random.Generator, uniform: float = 0.2
) -> Positions:
    latitude, longitude = uniform_positions(spec.grid, n, rng)
    lat_c, lon_c = (m.ravel()[rng.choice(centres, n)] for m in spec.grid.mesh)
    lat = np.clip(lat_c + CLUSTER_WIDTH * rng.standard_normal(n), -89.0, 89.0)
    lon = lon_c + CLUSTER_WIDTH * rng.standard_normal(n) / np.cos(np.deg2rad(np.clip(lat, -80, 80)))
    inside = rng.random(n) >= uniform
    return np.where(inside, lat, latitude), np.where(inside, lon % 360, longitude)


def _joined(spec: StateSpec, parts: list[Network]) -> Network:
    index = np.concatenate([p.channel for p in parts])
    latitude, longitude, error = (
        np.concatenate([getattr(p, k) for p in parts]) for k in ("latitude", "longitude", "error")
    )
    return observe_channels(spec, latitude, longitude, index, error)
