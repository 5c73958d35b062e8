"""Seconds of the fine stage's interpolation beside gridpp's optimal interpolation.

    python -m benchmarks.fine_cost [--points 1000000] [--stations 10000] [--json FILE]
    python -m benchmarks.fine_cost --quick

Stations and points at random over 20 x 40 degrees with hills; the same stations, neighbours and
cores for both, in turn, each after a first call on a few points. Both give one variable; phyda
also gives the variance that is left. ``--quick``: a fiftieth of the points. Bar: phyda takes no
longer by the clock.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import gridpp
import numpy as np

from benchmarks.outcome import finish
from phyda_cli.analysis.fine_covariance import Points, SmallScale
from phyda_cli.analysis.fine_solve import interpolate

NEIGHBOURS, RADIUS_KM, NOISE, ROUNDS = 40, 1000.0, 0.4, 2
SMALL = SmallScale(1.0, 0.5, 60.0, 250.0, 300.0, 1000.0, 0.5, NOISE)
Place = tuple[np.ndarray, np.ndarray, np.ndarray]


def places(count: int, rng: np.random.Generator) -> Place:
    """Latitude, longitude [degrees] and elevation [m] (n,)."""
    latitude, longitude = rng.uniform(40, 60, count), rng.uniform(-10, 30, count)
    return latitude, longitude, 800 + 800 * np.sin(2 * latitude) * np.cos(longitude)


def phyda(points: Place, stations: Place, values: np.ndarray) -> np.ndarray:
    at = Points.at(*points), Points.at(*stations)
    noise = np.full(values.size, NOISE)
    return interpolate(SMALL, *at, values[:, None], noise, NEIGHBOURS, RADIUS_KM).increment[:, 0]


def barnes(points: Place, stations: Place, values: np.ndarray) -> np.ndarray:
    at = [gridpp.Points(*place, np.zeros(place[0].size)) for place in (points, stations)]
    nothing = [np.zeros(place[0].size, np.float32) for place in (points, stations)]
    return np.asarray(
        gridpp.optimal_interpolation(
            at[0],
            nothing[0],
            at[1],
            values.astype(np.float32),
            nothing[1] + np.float32(NOISE),
            nothing[1],
            gridpp.BarnesStructure(60e3, 300.0),
            NEIGHBOURS,
        )
    )


def seconds(run: Callable[[Place, Place, np.ndarray], np.ndarray], *given: object) -> float:
    began = time.perf_counter()
    assert np.isfinite(run(*given)).all()  # type: ignore[arg-type]
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--stations", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    count = arguments.points // 50 if arguments.quick else arguments.points
    gridpp.set_omp_threads(os.cpu_count() or 1)
    rng = np.random.default_rng(0)
    points, stations = places(count, rng), places(arguments.stations, rng)
    values = rng.standard_normal(arguments.stations)
    few = tuple(a[:100] for a in points)
    found: dict[str, list[float]] = {"phyda": [], "gridpp": []}
    for run in (phyda, barnes):
        run(few, stations, values)  # type: ignore[arg-type]
    for _ in range(ROUNDS):
        found["phyda"].append(seconds(phyda, points, stations, values))
        found["gridpp"].append(seconds(barnes, points, stations, values))
    best = {name: min(times) for name, times in found.items()}
    ratio = best["phyda"] / best["gridpp"]
    print(
        f"{count} points, {arguments.stations} stations: phyda {best['phyda']:.1f} s, gridpp "
        f"{best['gridpp']:.1f} s, ratio {ratio:.2f}"
    )
    missed = [f"phyda takes {ratio:.2f} times as long"] if ratio > 1 else []
    finish(missed, {"points": count, "ratio": ratio, **best}, arguments.json)


if __name__ == "__main__":
    main()
