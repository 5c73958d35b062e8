"""What an analysis costs as the background gets finer: CPU seconds, memory and output.

    python -m benchmarks.resolution [--cases 2.5 1 0.5 0.25 0.25-fine lambert] [--keep FOLDER]
    python -m benchmarks.resolution --quick

Global backgrounds of 13 levels (gh t r u v) and five surface fields with 16 000 values of 3 200
stations, and a Lambert grid of 1799 x 1059 points at 3 km with 3 levels and 5 000 stations;
``--method oi``, all else at its defaults; ``fine`` and ``lambert`` with ``--fine auto``. The fields
are smooth with noise in every point, which compress like a model's. CPU seconds are those of the
process and all its children, memory is the most that they hold together at one time. ``--quick``:
2.5 and 1 degree. Bars on two cores at 0.25 degree: 25 s and 2 GB, with the fine stage 45 s; on the
Lambert grid 60 s and 2.5 GB.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyproj
import xarray as xr

from benchmarks.outcome import finish
from phyda_cli.constants import GRAVITY, R_D, STANDARD_PRESSURE
from phyda_cli.fields.grid import Grid
from phyda_cli.fields.interpolate import bilinear
from phyda_cli.fields.mesh import Mesh

LEVELS = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)  # hPa
LOW_LEVELS = (700, 850, 925)
NOISE = {"t": 0.2, "u": 0.3, "v": 0.3, "r": 2.0, "gh": 0.5}
SURFACE_NOISE = {"msl": 10.0, "t2m": 0.3, "q2m": 1e-4, "u10": 0.3, "v10": 0.3}
OBSERVED = {"t2m": (1.5, 0.8), "q2m": (1e-3, 5e-4), "u10": (1.5, 1.0), "v10": (1.5, 1.0)} | {
    "msl": (150.0, 50.0)
}  # standard deviations of the background's error and of the observation's
SHARE = 0.5  # of the error's variance in small scales
TIME = "2020-06-15T12:00:00"
HRRR = "+proj=lcc +lat_1=38.5 +lat_2=38.5 +lat_0=38.5 +lon_0=-97.5 +R=6371229"
INTERVAL = 0.05  # s


@dataclass(frozen=True)
class Case:
    """``step`` [degrees] of a global grid, zero for Lambert; bars in CPU seconds and megabytes."""

    step: float
    stations: int
    fine: bool = False
    seconds: float | None = None
    megabytes: float | None = None


CASES = {
    "2.5": Case(2.5, 3200),
    "1": Case(1.0, 3200),
    "0.5": Case(0.5, 3200),
    "0.25": Case(0.25, 3200, False, 25.0, 2000.0),
    "0.25-fine": Case(0.25, 3200, True, 45.0, 2000.0),
    "lambert": Case(0.0, 5000, True, 60.0, 2500.0),
}


def lambert() -> tuple[xr.Dataset, Mesh]:
    """HRRR's grid: a data set of its coordinates and the mesh."""
    columns, rows = 1799, 1059
    x, y = 3000.0 * (np.arange(columns) - columns // 2), 3000.0 * (np.arange(rows) - rows // 2)
    crs = pyproj.CRS(HRRR)
    lon, lat = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(
        *np.meshgrid(x, y)
    )
    mapping = {k: v for k, v in crs.to_cf().items() if k != "crs_wkt"}
    coords = {
        "latitude": (("y", "x"), lat, {"units": "degrees_north", "standard_name": "latitude"}),
        "longitude": (("y", "x"), lon, {"units": "degrees_east", "standard_name": "longitude"}),
        "x": ("x", x, {"units": "m", "standard_name": "projection_x_coordinate"}),
        "y": ("y", y, {"units": "m", "standard_name": "projection_y_coordinate"}),
    }
    return xr.Dataset({"crs": ((), np.int32(0), mapping)}, coords), Mesh(lat, lon)


def regular(step: float) -> tuple[xr.Dataset, Grid]:
    """A global grid with its poles."""
    grid = Grid(np.linspace(90, -90, round(180 / step) + 1), np.arange(0, 360, step))
    coords = {
        "latitude": ("latitude", grid.latitude, {"units": "degrees_north"}),
        "longitude": ("longitude", grid.longitude, {"units": "degrees_east"}),
    }
    return xr.Dataset(coords=coords), grid


def write_background(path: Path, step: float, rng: np.random.Generator) -> Grid:
    """An atmosphere in hydrostatic balance, warm at the equator, with waves and noise."""
    dataset, grid = lambert() if step == 0 else regular(step)
    levels = np.array(LOW_LEVELS if step == 0 else LEVELS, float)
    lat, lon = (np.deg2rad(a).astype(np.float32) for a in grid.mesh)
    wave = np.cos(lat) ** 2 * np.sin(4 * lon)
    warm = 30 * np.cos(lat) ** 2 - 15 + 3 * wave
    depth = np.log(STANDARD_PRESSURE / 100 / levels)
    fields: dict[str, tuple[np.ndarray, str]] = {
        "t": (np.stack([np.maximum(288 - 45 * d, 210) + warm for d in depth]), "K"),
        "gh": (np.stack([_height(d, warm) for d in depth]), "gpm"),
        "r": (np.stack([50 - 10 * d + 20 * wave for d in depth]), "%"),
        "u": (np.stack([(5 + 10 * d) * np.sin(2 * lat) ** 2 for d in depth]), "m s-1"),
        "v": (np.stack([(3 + 3 * d) * wave for d in depth]), "m s-1"),
        "msl": (101300 + 1500 * wave, "Pa"),
        "t2m": (288 + warm, "K"),
        "q2m": (0.008 + 0.0002 * warm, "kg kg-1"),
        "u10": (5 * np.sin(2 * lat) ** 2, "m s-1"),
        "v10": (3 * wave, "m s-1"),
    }
    mapping = {"grid_mapping": "crs"} if step == 0 else {}
    horizontal = ("y", "x") if step == 0 else ("latitude", "longitude")
    for name, (values, units) in fields.items():
        noise = rng.standard_normal(values.shape, np.float32)
        values = values + (NOISE | SURFACE_NOISE)[name] * noise
        dims = (*(("level",) if values.ndim == 3 else ()), *horizontal)
        dataset[name] = (
            ("time", *dims),
            values.astype(np.float32)[None],
            {"units": units} | mapping,
        )
    dataset = dataset.assign_coords(
        time=[np.datetime64(TIME, "ns")], level=("level", levels, {"units": "hPa"})
    )
    dataset.to_netcdf(path)
    return grid


def _height(depth: float, warm: np.ndarray) -> np.ndarray:
    """Of the pressure at ``depth`` in log pressure [m]: from the temperature."""
    bend = (288 - 210) / 45
    mean = 288 * depth - 45 * depth**2 / 2
    if depth > bend:
        mean = 288 * bend - 45 * bend**2 / 2 + 210 * (depth - bend)
    return np.asarray(R_D / GRAVITY * (mean + warm * depth))


def write_stations(path: Path, count: int, background: Path, grid: Grid, seed: int) -> None:
    """``count`` stations at random that report the background with errors of large and small
    scale."""
    rng = np.random.default_rng(seed)
    if isinstance(grid, Mesh):
        y, x = (rng.uniform(0.02, 0.98, count) * n for n in grid.shape)
        at = y.astype(int), x.astype(int)
        latitude, longitude = grid.latitude[at], grid.longitude[at]
    else:
        latitude = np.rad2deg(np.arcsin(rng.uniform(-0.95, 0.95, count)))
        longitude = rng.uniform(-180, 180, count)
    weights = bilinear(grid, latitude, longitude)
    table = {
        "station_id": [f"S{i:05d}" for i in range(count)],
        "time": [f"{TIME}Z"] * count,
        "latitude": latitude.round(4),
        "longitude": longitude.round(4),
    }
    with xr.open_dataset(background) as data:
        for name, (error, noise) in OBSERVED.items():
            scales = (1 - SHARE) ** 0.5 * _waves(latitude, longitude, 8, rng)
            scales += SHARE**0.5 * _waves(latitude, longitude, 150, rng)
            value = weights @ data[name].values.ravel() + error * scales
            table[name] = value + noise * rng.standard_normal(count)
    pd.DataFrame(table).to_csv(path, index=False)


def _waves(
    latitude: np.ndarray, longitude: np.ndarray, number: float, rng: np.random.Generator
) -> np.ndarray:
    """A random field (n,) of unit variance whose waves have the wave ``number``."""
    lat, lon = np.deg2rad(latitude), np.deg2rad(longitude)
    place = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], 1)
    phase = place @ (number * rng.standard_normal((3, 64))) + rng.uniform(0, 2 * np.pi, 64)
    return np.asarray(np.cos(phase).sum(axis=1) / 32**0.5)


def measure(arguments: list[str]) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak megabytes of a phyda process and its children."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "phyda_cli", *arguments], stdout=subprocess.DEVNULL
    )
    peak, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(INTERVAL):
            peak[0] = max(peak[0], _held(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    ended.set()
    watcher.join()
    if status:
        raise SystemExit(f"phyda {' '.join(arguments)} failed with status {status}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - began, peak[0]


def _held(pid: int) -> float:
    """Megabytes that a process and its children hold now."""
    try:
        tree = psutil.Process(pid)
        return sum(p.memory_info().rss for p in (tree, *tree.children(recursive=True))) / 1e6
    except psutil.Error:
        return 0.0


def run(name: str, folder: Path) -> list[str]:
    """Print the line of a case; the bars that it misses."""
    case = CASES[name]
    background, stations, out = (folder / f for f in ("background.nc", "stations.csv", "out.nc"))
    grid = write_background(background, case.step, np.random.default_rng(0))
    write_stations(stations, case.stations, background, grid, seed=1)
    arguments = ["--obs", str(stations), "--background", str(background), "--out", str(out)]
    fine = ["--fine", "auto" if case.fine else "off"]
    seconds, wall, megabytes = measure(
        ["assimilate", *arguments, "--method", "oi", "--device", "cpu", "--overwrite", *fine]
    )
    size = out.stat().st_size / 1e6
    print(
        f"{name:10} {grid.size:8d} points {seconds:7.1f} s CPU {wall:7.1f} s {megabytes:7.0f} MB "
        f"{size:6.0f} MB written, {background.stat().st_size / 1e6:.0f} MB read",
        flush=True,
    )
    found = {"s of CPU": (seconds, case.seconds), "MB": (megabytes, case.megabytes)}
    return [
        f"{name}: {value:.0f} {unit}, more than {bar:g}"
        for unit, (value, bar) in found.items()
        if bar is not None and value > bar
    ]


def main() -> None:
    """Print a line for each case; exit 1 when a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep", type=Path, help="folder for the files of the last case")
    args = parser.parse_args()
    names = ["2.5", "1"] if args.quick else args.cases
    missed = []
    for name in names:
        with tempfile.TemporaryDirectory() as temporary:
            folder = args.keep or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            missed += run(name, folder)
    finish(missed)


if __name__ == "__main__":
    main()
