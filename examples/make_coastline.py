"""Derive the coastlines that maps show from the countries of Natural Earth 1:110 million.

Natural Earth is in the public domain. The shapefile ``naturalearth_lowres.shp`` lies in the Python
package geopandas 0.14.4 under ``geopandas/datasets/naturalearth_lowres``. A side of a country's
polygon that a second polygon shares is a border; what is left is coast.

    python examples/make_coastline.py naturalearth_lowres.shp phyda_cli/verification/coastline.npz
"""

from __future__ import annotations

import struct
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

Point = tuple[int, int]
SCALE = 100  # points are stored in hundredths of a degree, 1 km


def rings(path: Path) -> Iterator[list[Point]]:
    """The closed rings of all polygons in a shapefile, in hundredths of a degree."""
    data = path.read_bytes()
    start = 100
    while start < len(data):
        length = struct.unpack_from(">i", data, start + 4)[0] * 2
        record = start + 8
        parts, points = struct.unpack_from("<2i", data, record + 36)
        first = [*struct.unpack_from(f"<{parts}i", data, record + 44), points]
        xy = np.frombuffer(data, "<f8", 2 * points, record + 44 + 4 * parts).reshape(-1, 2)
        whole = np.round(xy * SCALE).astype(int)
        for low, high in pairwise(first):
            yield [(int(x), int(y)) for x, y in whole[low:high]]
        start = record + length


def coast(path: Path) -> list[tuple[Point, Point]]:
    """Sides that one polygon alone has, without those along the cuts at 180° and the pole."""
    sides = [(a, b) for ring in rings(path) for a, b in pairwise(ring) if a != b]
    count = Counter(frozenset(side) for side in sides)
    edge = 180 * SCALE - 1
    return [
        (a, b)
        for a, b in sides
        if count[frozenset((a, b))] == 1
        and not (abs(a[0]) >= edge and abs(b[0]) >= edge)
        and not (a[1] <= -89 * SCALE and b[1] <= -89 * SCALE)
    ]


def chained(sides: list[tuple[Point, Point]]) -> list[list[Point]]:
    """The sides joined end to end."""
    after: dict[Point, list[Point]] = {}
    for a, b in sides:
        after.setdefault(a, []).append(b)
    starts = set(after) - {b for _, b in sides}
    lines = []
    while after:
        point = min(starts & set(after), default=None) or min(after)
        line = [point]
        while point in after:
            following = after[point].pop()
            if not after[point]:
                del after[point]
            line.append(following)
            point = following
        lines.append(line)
    return lines


def main(source: Path, target: Path) -> None:
    lines = chained(coast(source))
    points = np.array([p for line in lines for p in line], np.int16)
    lengths = np.array([len(line) for line in lines], np.int16)
    np.savez_compressed(target, points=points, lengths=lengths)
    print(f"{len(lines)} lines, {len(points)} points, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
