"""What a training store holds, as plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from phyda_cli.names import VARIABLES, parse_channel
from phyda_cli.preprocessing.pairs import KINDS, SPLITS
from phyda_cli.preprocessing.store import PairStore

__all__ = ["inspect_store"]


def inspect_store(path: Path) -> dict[str, Any]:
    """Everything ``phyda preprocess inspect`` shows. Raises InputError."""
    store = PairStore.open(path)
    group = zarr.open_group(str(path), mode="r")
    missing = np.asarray(group["missing"][:])  # type: ignore[index]
    grid, truths = store.grid, store.time[store.pairs[:, 1]]
    every = np.unique(store.time)
    steps = np.diff(every).astype("timedelta64[s]").astype(int)
    return {
        "path": str(path),
        "format": store.attributes.get("format"),
        "source": store.attributes.get("source", ""),
        "files": store.attributes.get("files"),
        "bytes": sum(f.stat().st_size for f in path.rglob("*") if f.is_file()),
        "grid": {
            "columns": grid.shape[1],
            "rows": grid.shape[0],
            "latitude": _ends(grid.latitude),
            "longitude": _ends(grid.longitude),
            "global": bool(grid.periodic and all(grid.covers_poles)),
            "regridding": store.attributes.get("regridding"),
        },
        "variables": _variables(store.channels),
        "states": {
            "count": store.states.shape[0],
            "packing": "int16" if "offset" in group else "float32",
            "first": str(store.time.min()),
            "last": str(store.time.max()),
            "step_hours": float(np.median(steps)) / 3600 if steps.size else None,
            "gaps": int((steps > 1.5 * np.median(steps)).sum()) if steps.size else 0,
            "with_missing_values": int((missing > 0).sum()),
            "missing_values": int(missing.sum()),
        },
        "pairs": {
            "count": len(store.pairs),
            "kinds": _kinds(store),
            "leads": {f"{h:g}": n for h, n in _counts(store.lead)},
            "split": _split(store, truths),
        },
        "statistics": _statistics(store),
    }


def _ends(x: np.ndarray) -> list[float]:
    return [round(float(x[0]), 5), round(float(x[-1]), 5)]


def _counts(values: np.ndarray) -> list[tuple[Any, int]]:
    return [
        (v, int(n))
        for v, n in zip(*(x.tolist() for x in np.unique(values, return_counts=True)), strict=True)
    ]


def _variables(channels: tuple[str, ...]) -> dict[str, list[float]]:
    """Levels [hPa] of each variable, none at the surface."""
    found: dict[str, list[float]] = {}
    for channel in map(parse_channel, channels):
        found.setdefault(channel.variable, []).extend(
            [] if channel.level is None else [channel.level]
        )
    return found


def _kinds(store: PairStore) -> dict[str, int]:
    return {KINDS[k]: n for k, n in _counts(store.kind)}


def _split(store: PairStore, truths: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for code, name in (*enumerate(SPLITS), (-1, "unused")):
        own = truths[store.split == code]
        if own.size or code == 0:
            found[name] = {
                "pairs": int(own.size),
                "first": str(own.min()) if own.size else None,
                "last": str(own.max()) if own.size else None,
            }
    return found


def _statistics(store: PairStore) -> dict[str, Any]:
    names = ("mean", "std", "background_std")
    return {
        key: {"units": VARIABLES[parse_channel(key).variable].units}
        | {n: float(f"{store.statistics[n][i]:.6g}") for n in names}
        for i, key in enumerate(store.channels)
    }
