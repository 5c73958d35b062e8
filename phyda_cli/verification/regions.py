"""The parts of the globe that scores are told apart by: for fields as weights, for observations as
rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.fields.interpolate import regrid
from phyda_cli.fields.remap import to_grid
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.names import Channel
from phyda_cli.verification.maps import Area

__all__ = ["ALL", "land_fraction", "observation_regions", "region_masks", "surface_height"]

ALL = "all"
BANDS = {"north": (20.0, 91.0), "tropics": (-20.0, 20.0), "south": (-91.0, -20.0)}
HEIGHTS = {"below 300 m": (-1e4, 300.0), "300-1000 m": (300.0, 1000.0), "above 1000 m": (1e3, 1e5)}


def land_fraction(fields: Fields, grid: Grid) -> np.ndarray | None:
    """Land fraction (H, W) on ``grid``: the file's own, else that of the bundled model."""
    return _static("lsm", fields, grid)


def surface_height(fields: Fields, grid: Grid) -> np.ndarray | None:
    """Height of the surface [m], likewise."""
    return _static("orography", fields, grid)


def _static(name: str, fields: Fields, grid: Grid) -> np.ndarray | None:
    if name in fields.surface:
        return to_grid(fields, [Channel(name)], grid)[0][0]
    if not (BUNDLED / "model.json").is_file():
        return None
    model = Checkpoint.open(BUNDLED)
    inside = model.state.grid.contains(*grid.mesh)
    return np.where(inside, regrid(model.state.grid, grid, model.statics[name]), np.nan)


def region_masks(fields: Fields, grid: Grid, box: Area | None = None) -> dict[str, np.ndarray]:
    """Which points (H, W) belong to each region that has some, but is not all of the grid."""
    latitude, longitude = grid.mesh
    found = {ALL: np.ones(grid.shape, bool)}
    for name, (low, high) in BANDS.items():
        found[name] = (latitude > low) & (latitude <= high)
    land, height = land_fraction(fields, grid), surface_height(fields, grid)
    if land is not None:
        found |= {"land": land >= 0.5, "sea": land < 0.5}
    if height is not None:
        for name, (low, high) in HEIGHTS.items():
            over = np.ones(grid.shape, bool) if land is None else found["land"]
            found[name] = (height >= low) & (height < high) & over
    if box is not None:
        found["box"] = _inside(latitude, longitude, box)
    return {
        name: mask
        for name, mask in found.items()
        if name in (ALL, "box") or (mask.any() and not mask.all())
    }


def observation_regions(
    latitude: np.ndarray,
    longitude: np.ndarray,
    elevation: np.ndarray,
    box: Area | None = None,
    names: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Which rows (P,) belong to each region that has some, but not all; ``names`` limits them."""
    found = {ALL: np.ones(latitude.shape, bool)}
    for name, (low, high) in BANDS.items():
        found[name] = (latitude > low) & (latitude <= high)
    for name, (low, high) in HEIGHTS.items():
        found[name] = (elevation >= low) & (elevation < high)
    if box is not None:
        found["box"] = _inside(latitude, longitude, box)
    return {
        name: rows
        for name, rows in found.items()
        if (names is None or name in names)
        and (name in (ALL, "box") or (rows.any() and not rows.all()))
    }


def _inside(latitude: np.ndarray, longitude: np.ndarray, box: Area) -> np.ndarray:
    west, south, east, north = box
    return (latitude >= south) & (latitude <= north) & ((longitude - west) % 360 <= east - west)
