"""Small synthetic weather for tests: slowly changing waves close to geostrophic balance, and
reports of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from safetensors.torch import save_file
from scipy import sparse

from phyda_cli.analysis.reconstruction import Observations
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.fields.state import StateSpec, equiangular
from phyda_cli.model.mean_error import N_SEASON

__all__ = [
    "CHANNELS",
    "FINE",
    "FINE_LEVELS",
    "GRID",
    "LEVELS",
    "TIME",
    "WAVES",
    "amplitudes",
    "dataset",
    "fields_at",
    "history",
    "observations",
    "reports",
    "select",
    "spec",
    "with_mean_error",
    "with_vector",
]

GRID = equiangular(16, 8)
LEVELS = (300, 500, 850)
FINE = Grid(np.linspace(90, -90, 13), 15.0 * np.arange(24))
FINE_LEVELS = (200, 300, 500, 700, 850, 925)
CHANNELS = (*(f"{v}{p}" for v in "ztuvq" for p in LEVELS), "msl")
TIME = np.datetime64("2011-01-20T12:00", "s")
WAVES = np.array([(k, m) for k in (0, 1, 2, 3) for m in (1, 2)])  # zonal and meridional wavenumbers
BACKGROUND_STD = {"z": 300.0, "t": 1.5, "u": 2.5, "v": 2.5, "q": 4e-4, "msl": 300.0}


def wave_history(n: int, rng: np.random.Generator, memory: float = 0.97) -> np.ndarray:
    """Wave amplitudes (n, waves, 2) of a stationary red process with unit variance."""
    out = np.empty((n, len(WAVES), 2))
    out[0] = rng.standard_normal(out.shape[1:])
    for i in range(1, n):
        out[i] = memory * out[i - 1] + np.sqrt(1 - memory**2) * rng.standard_normal(out.shape[1:])
    return out


def history() -> tuple[np.ndarray, np.ndarray]:
    """Times (240,) every 6 h and wave amplitudes of the nature that everything is drawn from."""
    times = np.datetime64("2010-12-01", "s") + np.timedelta64(6, "h") * np.arange(240)
    return times, wave_history(240, np.random.default_rng(1))


def amplitudes(hours_before: int = 0) -> np.ndarray:
    """Wave amplitudes so many hours before ``TIME``."""
    times, waves = history()
    return waves[int(np.flatnonzero(times == TIME - np.timedelta64(hours_before, "h"))[0])]


def fields_at(
    amplitude: np.ndarray, grid: Grid = GRID, levels: tuple[int, ...] = LEVELS
) -> dict[str, np.ndarray]:
    """``z t u v q`` (L, H, W) and ``msl`` (H, W) of wave amplitudes (waves, 2) [SI]; the wind is
    close to geostrophic."""
    lat, lon = (np.deg2rad(m) for m in grid.mesh)
    phi, phi_x, phi_y = (np.zeros(grid.shape) for _ in range(3))
    for (k, m), (a, b) in zip(WAVES, amplitude, strict=True):
        profile = np.cos(lat) ** 2 * np.sin(m * lat)
        slope = np.cos(lat) * (
            m * np.cos(lat) * np.cos(m * lat) - 2 * np.sin(lat) * np.sin(m * lat)
        )
        wave, wave_x = (
            a * np.cos(k * lon) + b * np.sin(k * lon),
            k * (b * np.cos(k * lon) - a * np.sin(k * lon)),
        )
        phi, phi_x, phi_y = phi + profile * wave, phi_x + profile * wave_x, phi_y + slope * wave
    f = 1.4e-4 * np.where(lat < 0, -1, 1) * np.maximum(np.abs(np.sin(lat)), 0.4)
    p = np.array(levels, float)[:, None, None]
    weight = 1.2 - 0.8 * p / 1000
    height = 7400 * np.log(1013.25 / p)
    size = 500.0  # m2 s-2
    u, v = -phi_y / (f * 6.371e6), phi_x / (f * 6.371e6 * np.maximum(np.cos(lat), 0.2))
    return {
        "z": 9.80665 * height + size * weight * phi,
        "t": 288 - 0.0065 * np.minimum(height, 11000) - 25 * np.sin(lat) ** 2 + 2.0 * phi,
        "u": 15 * np.cos(lat) * weight + size * weight * u,
        "v": size * weight * v,
        "q": 0.012 * (p / 1000) ** 3 * np.cos(lat) ** 2 * (1 + 0.2 * np.tanh(phi)) + 1e-5,
        "msl": 101300 + 400 * phi,
    }


def dataset(
    amplitudes: np.ndarray, times: np.ndarray, grid: Grid = GRID, levels: tuple[int, ...] = LEVELS
) -> xr.Dataset:
    """Fields of (time,) amplitudes as a reanalysis would hold them, with orography and land."""
    each = [fields_at(a, grid, levels) for a in amplitudes]
    upper, surface = ("time", "level", "latitude", "longitude"), ("time", "latitude", "longitude")
    units = {"z": "m2 s-2", "t": "K", "u": "m s-1", "v": "m s-1", "q": "kg kg-1", "msl": "Pa"}
    data = {
        n: (
            surface if n == "msl" else upper,
            np.stack([e[n] for e in each]).astype(np.float32),
            {"units": units[n]},
        )
        for n in units
    }
    lat, lon = grid.mesh
    land = ((lon > 40) & (lon < 160) & (lat > -30)).astype(np.float32)
    data |= {
        "orography": (surface[1:], 300 * land, {"units": "m"}),
        "lsm": (surface[1:], land, {"units": "1"}),
    }
    described = {
        "latitude": ("latitude", grid.latitude, {"units": "degrees_north"}),
        "longitude": ("longitude", grid.longitude, {"units": "degrees_east"}),
        "level": ("level", np.array(levels, np.int32), {"units": "hPa"}),
        "time": np.asarray(times, "datetime64[ns]"),
    }
    return xr.Dataset(data, described)


def spec(channels: tuple[str, ...] = CHANNELS, grid: Grid = GRID) -> StateSpec:
    """A state with round statistics."""
    std = tuple(BACKGROUND_STD[c.rstrip("0123456789")] for c in channels)
    mean = tuple(
        float(fields_at(np.zeros((len(WAVES), 2)), grid)[c.rstrip("0123456789")].mean())
        for c in channels
    )
    return StateSpec(
        channels=channels,
        latitude=tuple(grid.latitude.tolist()),
        longitude=tuple(grid.longitude.tolist()),
        mean=mean,
        std=tuple(3 * s for s in std),
        background_std=std,
    )


def reports(
    path: Path, amplitude: np.ndarray, stations: int = 24, seed: int = 5, time: np.datetime64 = TIME
) -> Path:
    """A long CSV of soundings (t u v at the levels) and pressures drawn from the waves
    ``amplitude`` with small errors."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(stations):
        lat = float(np.rad2deg(np.arcsin(rng.choice([-1, 1]) * rng.uniform(0.35, 0.95))))
        lon = float(rng.uniform(0, 358))
        here = fields_at(amplitude, Grid(np.array([lat, lat + 1e-3]), np.array([lon, lon + 1e-3])))
        base = (f"S{i:03d}", f"{time}Z", round(lat, 4), round(lon, 4))
        for name, error in (("t", 0.5), ("u", 1.0), ("v", 1.0)):
            values = here[name][:, 0, 0] + error * rng.standard_normal(len(LEVELS))
            rows += [
                (*base, name, 100.0 * p, round(float(x), 4), error)
                for p, x in zip(LEVELS, values, strict=True)
            ]
        rows.append(
            (
                *base,
                "msl",
                "",
                round(float(here["msl"][0, 0] + 50 * rng.standard_normal()), 1),
                50.0,
            )
        )
    columns = [
        "station_id",
        "time",
        "latitude",
        "longitude",
        "variable",
        "pressure",
        "value",
        "error",
    ]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


def observations(
    matrix: sparse.csr_matrix,
    innovation: np.ndarray,
    error: np.ndarray,
    latitude: np.ndarray | None = None,
    longitude: np.ndarray | None = None,
) -> Observations:
    """Observations (P,) of the normalised increment, all of temperature; anywhere where the place
    does not matter."""
    anywhere = np.zeros(innovation.size)
    return Observations(
        matrix=matrix,
        innovation=innovation,
        error=error,
        variable=np.full(innovation.size, "t", object),
        latitude=anywhere if latitude is None else latitude,
        longitude=anywhere if longitude is None else longitude,
    )


def with_mean_error(checkpoint: Path, folder: Path, shift: dict[str, float]) -> Path:
    """A copy of ``checkpoint`` in ``folder`` that expects every background to be off by ``shift``
    [SI units] in the channels that it names."""
    shutil.copytree(checkpoint, folder)
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    channels = model["state"]["channels"]
    shape = (len(channels), len(model["state"]["latitude"]), len(model["state"]["longitude"]))
    weights = torch.zeros(N_SEASON + 1, *shape)
    for channel, value in shift.items():
        weights[0, channels.index(channel)] = value
    known = {"origin": torch.zeros(shape), "patterns": torch.zeros(1, *shape), "weights": weights}
    file = folder / "mean_error.safetensors"
    save_file(known, str(file))
    model["files"][file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / "model.json").write_text(json.dumps(model), encoding="utf-8")
    return folder


def with_vector(fields: Fields, vector: np.ndarray) -> Fields:
    """``fields`` with other values: the inverse of ``Fields.vector``."""
    parts = np.split(vector, np.cumsum([v.size for v in _arrays(fields)])[:-1])
    shaped = [part.reshape(old.shape) for part, old in zip(parts, _arrays(fields), strict=True)]
    upper = dict(zip(fields.upper, shaped, strict=False))
    surface = dict(zip(fields.surface, shaped[len(upper) :], strict=True))
    return replace(fields, upper=upper, surface=surface)


def select(fields: Fields, names: list[str]) -> Fields:
    """Only the variables in ``names``."""
    upper = {k: v for k, v in fields.upper.items() if k in names}
    return replace(
        fields, upper=upper, surface={k: v for k, v in fields.surface.items() if k in names}
    )


def _arrays(fields: Fields) -> list[np.ndarray]:
    return [*fields.upper.values(), *fields.surface.values()]
