"""What an analysis changes in the atmosphere as a whole: numbers for the gates of a cycle."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from phyda_cli.constants import EPSILON, GRAVITY, R_D
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.layered import plane
from phyda_cli.physics.column import layer_edges

__all__ = ["dry_mass_change", "hydrostatic_excess", "rms_by_variable"]

_ONE_METRE = GRAVITY  # m2 s-2 of thickness, counted in both states: no state is exact


def dry_mass_change(background: Fields, analysis: Fields) -> float | None:
    """Change of the global mean pressure of dry air at the surface [hPa]; None on a limited area,
    where air comes and goes, and without a pressure.

    Sea-level pressure stands for surface pressure where that is missing.
    """
    name = next((n for n in ("sp", "msl") if n in background.surface), None)
    if name is None or not all(background.grid.covers_poles):
        return None
    change = analysis.surface[name] - np.asarray(background.surface[name], float)
    if "q" in background.upper and background.levels.size > 1:
        order = np.argsort(background.levels)
        water = np.zeros(background.grid.shape)
        for k, depth in zip(order, np.diff(layer_edges(background.levels[order])), strict=True):
            after, before = (plane(f.upper, "q", int(k)) for f in (analysis, background))
            water += np.nan_to_num((after - np.asarray(before, float)) * depth)
        change = change - water
    return _mean(background, change) / 100


def hydrostatic_excess(background: Fields, analysis: Fields) -> float | None:
    """Root mean square of what is left of hydrostatic balance, dPhi + R_d T_v dln p over each
    layer, in the analysis over that in the background; None without temperature and
    geopotential."""
    before, after = (_imbalance(fields) for fields in (background, analysis))
    if before is None or after is None:
        return None
    floor = _ONE_METRE**2
    return float(np.sqrt((after + floor) / (before + floor)))


def _imbalance(fields: Fields) -> float | None:
    """Mean square over layers and area [m4 s-4]."""
    if not {"z", "t"} <= set(fields.upper):
        return None
    squares: list[float] = []
    above: tuple[float, np.ndarray, np.ndarray] | None = None
    for k in np.argsort(fields.levels):
        z, t = (np.asarray(plane(fields.upper, n, int(k)), float) for n in ("z", "t"))
        if not np.isfinite(z + t).any():
            continue
        if "q" in fields.upper:
            t = t * (1 + (1 / EPSILON - 1) * np.nan_to_num(plane(fields.upper, "q", int(k))))
        log_p = float(np.log(fields.levels[k]))
        if above is not None:
            left = z - above[1] + R_D * (t + above[2]) / 2 * (log_p - above[0])
            squares.append(_mean(fields, left**2))
        above = log_p, z, t
    return float(np.mean(squares)) if squares else None


def _mean(fields: Fields, values: np.ndarray) -> float:
    """Mean over the area of ``values`` (H, W), where they are known."""
    weights = np.where(np.isfinite(values), fields.grid.point_weights, 0.0)
    return float((np.nan_to_num(values) * weights).sum() / max(weights.sum(), 1e-30))


def rms_by_variable(increment: Fields) -> dict[str, float]:
    """The root mean square of each field, over the points that it has."""
    levels = range(increment.levels.size)
    found = {n: _mean_square(plane(increment.upper, n, k) for k in levels) for n in increment.upper}
    found |= {name: _mean_square([values]) for name, values in increment.surface.items()}
    return {name: float(np.sqrt(square)) for name, square in found.items()}


def _mean_square(planes: Iterable[np.ndarray]) -> float:
    total, count = 0.0, 0
    for values in planes:
        known = values[~np.isnan(values)]
        total, count = total + float(known @ known), count + known.size
    return total / count if count else 0.0
