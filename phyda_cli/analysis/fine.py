"""The fine stage on the user's own grid: what the surface observations say beyond the model grid.

Stage 1 sees the errors R + H B_small H' already: the default errors of surface observations hold
their representativeness. Here they are parted again, by the residuals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from phyda_cli.analysis.analyse import Analysis, check_plausible
from phyda_cli.analysis.fine_covariance import Points, SmallScale
from phyda_cli.analysis.fine_estimate import estimate
from phyda_cli.analysis.fine_solve import interpolate
from phyda_cli.constants import EARTH_RADIUS, STANDARD_PRESSURE
from phyda_cli.fields.earth import east_and_north, unit_vectors
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.interpolate import bilinear, log_pressure_weights
from phyda_cli.observations.atmosphere import standard_pressure
from phyda_cli.observations.table import QC
from phyda_cli.settings.fine import FineSettings

__all__ = ["FineStage", "fine_stage", "refine"]

GROUPS: dict[str, tuple[str, ...]] = {
    "temperature": ("t2m",),
    "humidity": ("q2m",),
    "wind": ("u10", "v10"),
    "pressure": ("sp", "msl"),
}
_REPORT = ["station_id", "time", "latitude", "longitude", "elevation"]
_HUMIDITY = 5e-3  # kg kg-1, where the error of humidity is as it is estimated


@dataclass(frozen=True, eq=False)
class FineStage:
    """``increment`` and ``variance`` left (H, W) of surface variables, in their units and squared.

    Of the rows of the table: ``at_rows`` (P,) the increment, ``sigma_rows`` (P,) the standard
    deviation left, both zero where the stage has no say. ``noise`` (P,) is the standard deviation
    of the observation's own error as estimated, NaN there. ``estimates`` has the parameters by
    group.
    """

    at_rows: np.ndarray
    sigma_rows: np.ndarray
    noise: np.ndarray
    increment: dict[str, np.ndarray] = field(default_factory=dict)
    variance: dict[str, np.ndarray] = field(default_factory=dict)
    estimates: dict[str, SmallScale] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def fine_stage(
    background: Fields,
    table: pd.DataFrame,
    residual: np.ndarray,
    error: np.ndarray,
    used: np.ndarray,
    settings: FineSettings,
    prior: Mapping[str, SmallScale] | None = None,
) -> FineStage:
    """The small scales of every surface variable of ``background`` that is observed.

    Args:
        residual: y - H(x_b) - H dx of stage 1 (P,), NaN where there is none.
        error: standard deviations (P,) that the analysis uses, weights of a robust norm included.
        used: which rows (P,) are analysed; the others get ``at_rows`` too.
        prior: in a cycle, the estimates of the analysis before, by group.
    """
    result = FineStage(np.zeros(len(table)), np.zeros(len(table)), np.full(len(table), np.nan))
    for group, names in GROUPS.items():
        if not any(name in background.surface for name in names):
            continue
        rows = _reports(table, np.isfinite(residual), names, together=group == "wind")
        chosen = rows[used[rows].all(axis=1)]
        if len(chosen) < settings.min_stations:
            continue
        unit = _unit(group, table["value"].to_numpy() - residual)
        places = _stations(background, table.iloc[rows[:, 0]])
        values = _vectors(places.position, residual[rows] / unit[rows], group)
        mask = used[rows].all(axis=1)
        stations = places.take(np.flatnonzero(mask))
        start = (prior or {}).get(group)
        small = estimate(stations, values[mask], settings.radius_km, rows.shape[1], start)
        if small is None:
            result.notes.append(f"fine stage: {group} has no small scales that stations can tell")
            continue
        result.estimates[group] = small
        result.notes.append(_said(group, small))
        relative = (error[chosen] / np.median(error[chosen])).max(axis=1)
        noise = float(small.noise) * relative**2
        many = settings.neighbours, settings.radius_km
        at = interpolate(small, places, stations, values[mask], noise, *many)
        result.at_rows[rows] = _components(places.position, at.increment, group) * unit[rows]
        result.sigma_rows[rows] = np.sqrt(at.variance)[:, None] * unit[rows]
        result.noise[rows] = np.sqrt(float(small.noise)) * unit[rows]
        grid = _grid_points(background)
        on = interpolate(small, grid, stations, values[mask], noise, *many)
        parts = _components(grid.position, on.increment, group)
        for k, name in enumerate(names):
            if name not in background.surface:
                continue
            scale = _unit(group, background.surface[name])
            part = parts[:, min(k, parts.shape[1] - 1)]
            result.increment[name] = part.reshape(background.grid.shape) * scale
            result.variance[name] = on.variance.reshape(background.grid.shape) * scale**2
    return result


def _share_far(background: Fields, table: pd.DataFrame, used: np.ndarray, radius: float) -> float:
    """The share of the area that is farther than ``radius`` [km] from every used row."""
    if not used.any():
        return 1.0
    latitude, longitude = (table[k].to_numpy()[used] for k in ("latitude", "longitude"))
    mesh = unit_vectors(*background.grid.mesh)
    nearest = cKDTree(unit_vectors(latitude, longitude)).query(mesh)[0]
    weight = np.broadcast_to(background.grid.area_weights[:, None], nearest.shape)
    return float(np.average(nearest * EARTH_RADIUS / 1e3 > radius, weights=weight))


def refine(background: Fields, analysis: Analysis, settings: FineSettings) -> Analysis:
    """``analysis`` with the fine stage on top: fields, increments, spreads, members and O-A.

    Surface pressure and 2 m humidity, which the model grid does not have, take the increments of
    mean sea level pressure and of humidity aloft first. With the stage off nothing changes.
    """
    if settings.stage == "off" or analysis.status != "ok":
        return analysis
    feedback = analysis.feedback
    table, used = feedback.table, (feedback.table["qc"] == QC.PASS).to_numpy()
    residual = table["value"].to_numpy() - feedback.hofx1
    stage = fine_stage(background, table, residual, feedback.error, used, settings)
    large, spread = (
        dict(part.surface) | _followers(background, part)
        for part in (analysis.increment, analysis.spread)
    )
    small = {n: large.get(n, 0.0) + v for n, v in stage.increment.items()}
    wide = {n: np.hypot(spread.get(n, 0.0), np.sqrt(v)) for n, v in stage.variance.items()}
    surface = large | small
    added = {n: v for n, v in surface.items() if n not in analysis.increment.surface}

    def with_fine(fields: Fields) -> Fields:
        changes = added | {n: v for n, v in stage.increment.items() if n not in added}
        return replace(fields, surface=_changed(background, fields, changes))

    far = 100 * _share_far(background, table, used, settings.far_km)
    notes = [
        *stage.notes,
        f"{far:.0f} % of the area is farther than {settings.far_km:g} km from every used "
        "observation",
        *_not_updated(background, {*surface, *analysis.increment.upper}),
    ]
    fields = with_fine(analysis.fields)
    check_plausible(background, fields)
    return replace(
        analysis,
        fields=fields,
        increment=replace(analysis.increment, surface=surface),
        spread=replace(analysis.spread, surface=spread | wide),
        members=[with_fine(member) for member in analysis.members],
        feedback=replace(feedback, hofx1=feedback.hofx1 + stage.at_rows),
        notes=[*analysis.notes, *notes],
    )


def _changed(
    background: Fields, fields: Fields, changes: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The surface of ``fields`` with ``changes`` (H, W) added; humidity stays non-negative."""
    surface = dict(fields.surface)
    for name, change in changes.items():
        surface[name] = surface[name] + change
        if name == "q2m":
            surface[name] = np.maximum(surface[name], np.minimum(background.surface[name], 0.0))
    return surface


def _followers(background: Fields, part: Fields) -> dict[str, np.ndarray]:
    """What sp and q2m of ``background`` take from ``part``, increments or spreads of what the model
    has: sp that of msl, in proportion; q2m that of q at the standard pressure of the surface."""
    found, surface = {}, background.surface
    if "sp" in surface and "sp" not in part.surface and {"msl"} <= {*surface} & {*part.surface}:
        found["sp"] = part.surface["msl"] * surface["sp"] / surface["msl"]
    if "q2m" in surface and "q2m" not in part.surface and "q" in part.upper:
        height = surface.get("orography", np.zeros(background.grid.shape)).ravel()
        present = np.flatnonzero(~np.isnan(background.upper["q"]).all(axis=(1, 2)))
        index, weight, _ = log_pressure_weights(
            part.levels[present], standard_pressure(np.nan_to_num(height))
        )
        aloft = np.nan_to_num(part.upper["q"])[present].reshape(len(present), -1)
        columns = np.arange(height.size)
        both = (weight[:, k] * aloft[index[:, k], columns] for k in (0, 1))
        found["q2m"] = sum(both).reshape(background.grid.shape)
    return found


def _not_updated(background: Fields, updated: set[str]) -> list[str]:
    left = sorted({*background.surface, *background.upper} - updated - {"orography", "lsm"})
    return [f"not updated: {', '.join(left)}"] if left else []


def _said(group: str, small: SmallScale) -> str:
    near, far, noise = (
        np.sqrt(float(v)) for v in (small.near_variance, small.far_variance, small.noise)
    )
    return (
        f"fine stage, {group}: {near:.2g} within {small.near_km:.0f} km, {far:.2g} within "
        f"{small.far_km:.0f} km, observations {noise:.2g}"
    )


def _reports(
    table: pd.DataFrame, usable: np.ndarray, names: tuple[str, ...], together: bool
) -> np.ndarray:
    """Numbers of the rows (m, V) of ``names``: one of them, or with ``together`` all of a
    report."""
    passing = usable & (table["qc"] <= 1).to_numpy()
    variable = table["variable"].to_numpy(object)
    if not together:
        return np.flatnonzero(passing & np.isin(variable, names))[:, None]
    parts = [
        table.loc[passing & (variable == name), _REPORT].assign(row=lambda t: t.index)
        for name in names
    ]
    both = parts[0].merge(parts[1], on=_REPORT, suffixes=("", "_other"))
    return both[["row", "row_other"]].to_numpy()


def _unit(group: str, value: np.ndarray) -> np.ndarray:
    """What residuals near ``value`` (of the background) are divided by, so that they vary alike
    everywhere: pressure is proportional to pressure, humidity's errors grow with its root."""
    if group == "pressure":
        return np.asarray(value) / STANDARD_PRESSURE
    if group == "humidity":
        return np.sqrt(np.maximum(value, 0.04 * _HUMIDITY) / _HUMIDITY)
    return np.ones(np.shape(value))


def _vectors(position: np.ndarray, values: np.ndarray, group: str) -> np.ndarray:
    """Scalars as they are (m, 1); winds (m, 2) as vectors (m, 3) in space, which need no common
    north."""
    if group != "wind":
        return values
    east, north = east_and_north(position)
    return values[:, :1] * east + values[:, 1:] * north


def _components(position: np.ndarray, vectors: np.ndarray, group: str) -> np.ndarray:
    """The way back."""
    if group != "wind":
        return vectors
    return np.stack([(vectors * axis).sum(axis=1) for axis in east_and_north(position)], axis=1)


def _stations(background: Fields, table: pd.DataFrame) -> Points:
    latitude, longitude = table["latitude"].to_numpy(), table["longitude"].to_numpy()
    weights = bilinear(background.grid, latitude, longitude)

    def of(name: str) -> np.ndarray:
        if name not in background.surface:
            return np.zeros(len(table))
        return np.asarray(weights @ np.nan_to_num(background.surface[name]).ravel())

    elevation = table["elevation"].to_numpy()
    elevation = np.where(np.isnan(elevation), of("orography"), elevation)
    return Points.at(latitude, longitude, elevation, of("lsm"))


def _grid_points(background: Fields) -> Points:
    latitude, longitude = (a.ravel() for a in background.grid.mesh)
    fixed = (background.surface.get(name) for name in ("orography", "lsm"))
    return Points.at(latitude, longitude, *(None if f is None else f.ravel() for f in fixed))
