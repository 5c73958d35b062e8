"""A model, a forecast and reports so small that a whole cycle of them takes a fraction of a
second: what happens around an analysis is then what takes the time."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

from phyda_cli.fields.grid import Grid
from phyda_cli.fields.state import StateSpec, equiangular
from phyda_cli.model.checkpoint import build_networks, save_checkpoint
from phyda_cli.settings.model import NetworkSettings, SamplerSettings, SolverSettings

__all__ = ["forecast", "observations", "tiny_checkpoint"]

SPREAD = {"t850": 1.5, "u850": 2.5, "v850": 2.5, "msl": 300.0}
MEAN = {"t850": 278.0, "u850": 5.0, "v850": 0.0, "msl": 101300.0}
UNITS = {"t": "K", "u": "m s-1", "v": "m s-1", "msl": "Pa"}
MEMBERS = 24
FINE = Grid(np.linspace(90, -90, 13), 15.0 * np.arange(24))
SIZES = NetworkSettings(encoder=(8, 16), denoiser=(8, 16), spread=())


def waves(grid: Grid, generator: np.random.Generator) -> np.ndarray:
    """One smooth random field (H, W) with about unit variance."""
    lat, lon = (np.deg2rad(m) for m in grid.mesh)
    a = generator.standard_normal((3, 2, 2))
    parts = [
        np.cos(lat) ** 2 * np.sin(m * lat) * (a[k, m - 1, 0] * np.cos(k * lon) + a[k, m - 1, 1])
        for k in range(3)
        for m in (1, 2)
    ]
    return np.asarray(sum(parts))


def tiny_checkpoint(folder: Path) -> Path:
    """An untrained model of four channels on 16x8 points."""
    grid, generator = equiangular(16, 8), np.random.default_rng(0)
    spec = StateSpec(
        channels=tuple(SPREAD),
        latitude=tuple(grid.latitude.tolist()),
        longitude=tuple(grid.longitude.tolist()),
        mean=tuple(MEAN.values()),
        std=tuple(3 * s for s in SPREAD.values()),
        background_std=tuple(SPREAD.values()),
    )
    members = [[waves(grid, generator) for _ in SPREAD] for _ in range(MEMBERS)]
    torch.manual_seed(0)
    metadata: dict[str, object] = {
        "name": "tiny",
        "state": spec,
        "solver": SolverSettings(radius_km=8000, column_stride=1),
        "sampler": SamplerSettings(),
        "network": SIZES,
        "member_times": tuple(f"2010-01-{i + 1:02d}T00:00:00" for i in range(MEMBERS)),
        "physics_scale": {},
        "training": {},
    }
    statics = {name: np.zeros(grid.shape) for name in ("orography", "lsm")}
    networks = build_networks(spec, SIZES)
    return save_checkpoint(folder, metadata, statics, torch.tensor(np.array(members)), *networks)


def state(seed: str, grid: Grid) -> dict[str, np.ndarray]:
    """Fields (H, W) by channel of the weather ``seed``, the same on every grid."""
    generator = np.random.default_rng(_number(seed))
    return {name: MEAN[name] + SPREAD[name] * waves(grid, generator) for name in SPREAD}


def _number(seed: str) -> int:
    return int.from_bytes(seed.encode(), "little")


def forecast(path: Path, start: datetime, when: datetime) -> Path:
    """Write a forecast of ``start``, valid at ``when``."""
    fields = state(f"{start:%Y%m%d%H}", FINE)
    data: dict[str, object] = {}
    for name, values in fields.items():
        variable = name.rstrip("0123456789")
        surface = variable == "msl"
        dims = ("time", *(() if surface else ("level",)), "latitude", "longitude")
        shaped = values[None] if surface else values[None, None]
        data[variable] = (dims, shaped.astype(np.float32), {"units": UNITS[variable]})
    described = {
        "time": [pd.Timestamp(when).tz_localize(None)],
        "level": ("level", [850], {"units": "hPa"}),
        "latitude": ("latitude", FINE.latitude, {"units": "degrees_north"}),
        "longitude": ("longitude", FINE.longitude, {"units": "degrees_east"}),
    }
    xr.Dataset(data, described).to_netcdf(path)
    return path


def observations(path: Path, when: datetime, stations: int = 24) -> Path:
    """Write reports of the weather at ``when`` as a long table."""
    truth = state(f"{when:%Y%m%d%H}", FINE)
    generator = np.random.default_rng(_number(f"{when:%Y%m%d%H}"))
    lines = ["station_id,time,latitude,longitude,variable,pressure,value,error"]
    for number in range(stations):
        i, j = int(generator.integers(1, 12)), int(generator.integers(24))
        place = f"S{number:03d},{when:%Y-%m-%dT%H:%M:%SZ},{FINE.latitude[i]},{FINE.longitude[j]}"
        for name, values in truth.items():
            error = 0.3 * SPREAD[name]
            value = values[i, j] + error * generator.standard_normal()
            pressure = "" if name == "msl" else "85000"
            variable = name.rstrip("0123456789")
            lines.append(f"{place},{variable},{pressure},{value:.3f},{error:.3f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
