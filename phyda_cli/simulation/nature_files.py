"""Nature runs and twin forecasts as CF NetCDF on pressure levels, the form every other part of
phyda reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from phyda_cli import (
    cf,
    libproj,  # noqa: F401  some versions of xarray load every plug-in on opening
)
from phyda_cli.files.publish import publish
from phyda_cli.names import STATICS
from phyda_cli.simulation.jcm import (
    DIAGNOSTIC,
    PROGNOSTIC,
    SIGMA,
    Native,
    chunk_paths,
    load_states,
    run_nature,
    run_twins,
    statics,
)
from phyda_cli.simulation.sigma import mean_sea_level_pressure, to_pressure_levels

__all__ = ["LEVELS_HPA", "download_nature", "pressure_level_fields", "sea_level_pressure"]

LEVELS_HPA = (50, 100, 200, 300, 500, 700, 850, 925)
UPPER = ("z", "t", "q", "u", "v")


def pressure_level_fields(states: list[Native], levels: np.ndarray) -> dict[str, np.ndarray]:
    """Native states on ``levels`` [Pa]: ``z t q u v`` (T, L, lat, lon) and ``msl t2m u10 v10`` (T,
    lat, lon), float32, SI."""
    stack = {
        k: np.stack([s[k] for s in states]).swapaxes(-1, -2) for k in states[0]
    }  # (T, [K,] lat, lon)
    stack["q"] = np.maximum(stack["q"], 0.0)  # as jcm shows it
    columns = {k: np.moveaxis(stack[k], 1, 0) for k in PROGNOSTIC if k != "ps"}
    upper = to_pressure_levels(columns, SIGMA, stack["ps"], levels)
    surface = {"msl": np.stack([sea_level_pressure(s) for s in states]).astype(np.float32)}
    surface |= {k: stack[k] for k in DIAGNOSTIC}
    return {k: np.moveaxis(upper[k], 0, 1) for k in UPPER} | surface


def sea_level_pressure(state: Native) -> np.ndarray:
    """Mean sea level pressure [Pa] (lat, lon) of a native state, reduced with the orography that
    its surface pressure belongs to."""
    pressure, lowest = state["ps"].T, state["t"][-1].T
    return mean_sea_level_pressure(pressure, lowest, float(SIGMA[-1]), statics()["orography"])


def _dataset(states: list[Native], levels: np.ndarray) -> xr.Dataset:
    """Native states stacked along a first dimension ``time``, on ``levels`` [hPa]."""
    ground = statics()
    dimensions = {
        3: ("time", "latitude", "longitude"),
        4: ("time", "level", "latitude", "longitude"),
    }
    fields = {
        k: (dimensions[v.ndim], v) for k, v in pressure_level_fields(states, levels * 100.0).items()
    }
    for name in STATICS:
        fields[name] = (
            ("latitude", "longitude"),
            ground["land_sea_mask" if name == "lsm" else name].astype(np.float32),
        )
    ds = xr.Dataset(
        fields,
        coords={"latitude": ground["latitude"], "longitude": ground["longitude"], "level": levels},
    )
    for name in map(str, ds.data_vars):
        ds[name].attrs = cf.of_variable(name)
    ds["level"].attrs, ds["latitude"].attrs = dict(cf.LEVEL), dict(cf.LATITUDE)
    ds["longitude"].attrs = dict(cf.LONGITUDE)
    ds.attrs = {
        "Conventions": cf.CONVENTIONS,
        "source": "jcm nature run: SPEEDY physics, T31, 8 sigma levels",
    }
    return ds


def write_netcdf(ds: xr.Dataset, path: Path) -> None:
    """Publish ``ds``, replacing a file of that name."""
    with publish(path, overwrite=True, check=lambda p: xr.open_dataset(p).close()) as temporary:
        ds.to_netcdf(temporary, engine="netcdf4")


def _analyses(folder: Path, levels: np.ndarray) -> Iterator[Path]:
    for native in chunk_paths(folder):
        path = folder / f"analysis_{native.stem[-4:]}.nc"
        if not path.exists() or path.stat().st_mtime < native.stat().st_mtime:
            times, states = load_states(native)
            write_netcdf(
                _dataset(states, levels).assign_coords(time=times.astype("datetime64[ns]")), path
            )
        yield path


def _forecasts(
    folder: Path, members: int, every_hours: int, hours: int, seed: int, levels: np.ndarray
) -> Iterator[Path]:
    for path, start, forecasts in run_twins(folder, members, every_hours, hours, seed):
        step = np.arange(1, len(forecasts[0]) + 1) * np.timedelta64(6, "h").astype(
            "timedelta64[ns]"
        )
        each = [
            _dataset(states, levels).rename(time="step").assign_coords(step=step)
            for states in forecasts
        ]
        number = xr.DataArray(np.arange(1, members + 1), dims="number", name="number")
        ds = xr.concat(each, number).assign_coords(time=start.astype("datetime64[ns]"))
        ds["time"].attrs, ds["step"].attrs = dict(cf.START), dict(cf.LEAD)
        write_netcdf(ds, path)
        yield path


def download_nature(
    folder: Path,
    days: int,
    start: np.datetime64,
    seed: int,
    twins: int = 0,
    twins_every_hours: int = 24,
    twin_hours: int = 48,
    levels_hpa: tuple[int, ...] = LEVELS_HPA,
    report: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Make ``days`` of nature run from ``start`` and, with ``twins`` > 0, that many twin forecasts
    of each start.

    Every file appears complete; a second call continues where the first was stopped. Returns the
    NetCDF files.
    """
    levels = np.array(levels_hpa, float)
    for path in run_nature(folder, days, start, seed):
        report(f"{path.name} done")
    paths = list(_analyses(folder, levels))
    if twins:
        for path in _forecasts(folder, twins, twins_every_hours, twin_hours, seed, levels):
            report(f"{path.name} done")
        paths += sorted(folder.glob("forecast_*.nc"))
    return paths
