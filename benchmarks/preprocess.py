"""Time and memory of ``phyda preprocess`` on years of 6-hourly analyses: 44 channels from T31
(96x48) to 64x32.

    python -m benchmarks.preprocess [--years 1 2 4] [--from FOLDER] [--work FOLDER] [--workers 2]
    [--memory-limit 4GB] [--quick]

The years are made from the analyses in FOLDER (``phyda download --source nature``), repeated with
other dates, or of random waves without it; ``--quick`` takes a tenth of a year as a year. Prints
seconds for each year, peak memory, and how linear the cost is.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import netCDF4
import numpy as np
import xarray as xr

from phyda_cli.fields.grid import Grid
from phyda_cli.names import VARIABLES

MEASURED = """
import re, sys
from phyda_cli.app import main
sys.argv[0] = "phyda"
try:
    main()
finally:
    print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
"""
LIMIT_SECONDS = 180.0  # a year on two cores
LEVELS = np.array([50, 100, 200, 300, 500, 700, 850, 925.0])
GRID = Grid(np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(48)[0])), 3.75 * np.arange(96))
TYPICAL = {
    "z": 5e4,
    "t": 260.0,
    "q": 4e-3,
    "u": 5.0,
    "v": 0.0,
    "msl": 101000.0,
    "t2m": 285.0,
    "u10": 1.0,
    "v10": 0.0,
}
SPREAD = {
    "z": 500.0,
    "t": 8.0,
    "q": 1e-3,
    "u": 8.0,
    "v": 6.0,
    "msl": 900.0,
    "t2m": 8.0,
    "u10": 4.0,
    "v10": 4.0,
}


def months(source: Path | None, steps: int) -> list[xr.Dataset]:
    """Pieces of analyses to repeat, in memory one after the other."""
    if source is not None:
        return [xr.open_dataset(p, engine="netcdf4") for p in sorted(source.glob("analysis_*.nc"))]
    rng = np.random.default_rng(0)
    data = {}
    for name in TYPICAL:
        shape = (steps, *(() if VARIABLES[name].surface else (LEVELS.size,)), *GRID.shape)
        values = TYPICAL[name] + SPREAD[name] * rng.standard_normal(shape, np.float32)
        if name == "z":
            values += (9.80665 * 7000 * np.log(1013.25 / LEVELS) - TYPICAL["z"])[:, None, None]
        dims = ("time", *(() if VARIABLES[name].surface else ("level",)), "latitude", "longitude")
        data[name] = (
            dims,
            np.clip(values, *VARIABLES[name].valid_range).astype(np.float32),
            {"units": VARIABLES[name].units},
        )
    for name in ("orography", "lsm"):
        data[name] = (
            ("latitude", "longitude"),
            np.zeros(GRID.shape, np.float32),
            {"units": VARIABLES[name].units},
        )
    coordinates = {
        "level": ("level", LEVELS, {"units": "hPa"}),
        "latitude": GRID.latitude,
        "longitude": GRID.longitude,
    }
    return [xr.Dataset(data, coordinates)]


def make_years(folder: Path, pieces: list[xr.Dataset], years: int, steps: int) -> int:
    """Files of one piece each with dates from 2000 on; returns the number of analyses."""
    total, made, number = years * steps, 0, 0
    while made < total:
        piece = pieces[number % len(pieces)]
        piece = piece.isel(time=slice(0, total - made))
        count = piece.sizes["time"]
        times = np.datetime64("2000-01-01", "ns") + np.timedelta64(6, "h") * np.arange(
            made, made + count
        )
        piece.drop_vars("time", errors="ignore").assign_coords(time=times).to_netcdf(
            folder / f"analysis_{number:04d}.nc"
        )
        made, number = made + count, number + 1
    return made


def cost_of(arguments: list[str]) -> tuple[float, float, float]:
    """Wall and processor seconds and peak resident megabytes of a phyda process."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", MEASURED, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    peak = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(
            f"phyda {' '.join(arguments)} failed with status {os.waitstatus_to_exitcode(status)}"
        )
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, float(peak) / 1024


def warm(folder: Path) -> None:
    """Read the files once, so that all runs find them in the same state."""
    for path in folder.glob("*.nc"):
        with netCDF4.Dataset(path) as data:
            data["t"][:]


def main() -> None:
    """Print the table; exit 1 when the limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--years", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--from", dest="source", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory-limit", default="4GB")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    steps = 146 if args.quick else 1460
    pieces = months(args.source, 73)
    results = []
    print(
        "| years | analyses | seconds | seconds a year | processor seconds | peak MB "
        "|\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        for years in args.years:
            folder, out = Path(work, "in"), Path(work, "out.zarr")
            folder.mkdir()
            count = make_years(folder, pieces, years, steps)
            warm(folder)
            flags = [
                "--pairs",
                "lagged",
                "--workers",
                str(args.workers),
                "--memory-limit",
                args.memory_limit,
                "--out",
                str(out),
            ]
            seconds, busy, peak = cost_of(["preprocess", str(folder), *flags])
            results.append((years, seconds, busy))
            print(
                f"| {years} | {count} | {seconds:.1f} | {seconds / years:.1f} | {busy:.1f} | "
                f"{peak:.0f} |",
                flush=True,
            )
            shutil.rmtree(folder)
            shutil.rmtree(out)
    x, y, work = (np.array(v, float) for v in zip(*results, strict=True))
    for what, cost in (("seconds", y), ("processor seconds", work)) if x.size > 1 else ():
        slope, start = np.polyfit(x, cost, 1)
        off = np.abs(cost - start - slope * x).max()
        print(
            f"{what}: {slope:.1f} a year and {start:.1f} to start; farthest from that line "
            f"{off:.1f}"
        )
    missed = max(y / x) > LIMIT_SECONDS
    print(f"limit of {LIMIT_SECONDS:g} s a year: {'missed' if missed else 'met'}")
    raise SystemExit(bool(missed))


if __name__ == "__main__":
    main()
