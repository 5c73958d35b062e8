"""The fine stage on the user's own grid: what the surface observations say beyond the model grid.

Stage 1 sees the errors R + H B_small H' already: the default errors of surface observations hold
their representativeness. Here they are parted again, by the residuals, after what these have in
common everywhere (the drift).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from phyda_cli.analysis import fine_groups as groups
from phyda_cli.analysis.analyse import Analysis, check_plausible
from phyda_cli.analysis.companions import companions, followers
from phyda_cli.analysis.fine_covariance import Points, SmallScale
from phyda_cli.analysis.fine_draws import prior_draws
from phyda_cli.analysis.fine_drift import drift
from phyda_cli.analysis.fine_estimate import estimate
from phyda_cli.analysis.fine_solve import interpolate, one_thread
from phyda_cli.constants import EARTH_RADIUS
from phyda_cli.fields.earth import unit_vectors
from phyda_cli.fields.grid import Fields
from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.atmosphere import most_humidity
from phyda_cli.observations.operators import build_operator
from phyda_cli.observations.surface_air import surface_pressure
from phyda_cli.observations.table import QC
from phyda_cli.settings.fine import FineSettings

__all__ = ["FineStage", "fine_stage", "refine"]

_ENOUGH = 200_000  # points to tell a share of the area from


@dataclass(frozen=True, eq=False)
class FineStage:
    """``increment`` and ``variance`` left (H, W) of surface variables, in their units and squared,
    and ``draws`` (K, H, W) of the error that is left.

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
    draws: dict[str, np.ndarray] = field(default_factory=dict)
    estimates: dict[str, SmallScale] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@one_thread()
def fine_stage(
    background: Fields,
    table: pd.DataFrame,
    residual: np.ndarray,
    error: np.ndarray,
    used: np.ndarray,
    settings: FineSettings,
    prior: Mapping[str, SmallScale] | None = None,
    draws: int = 0,
    seed: int = 0,
) -> FineStage:
    """The small scales of every surface variable of ``background`` that is observed.

    Args:
        residual: y - H(x_b) - H dx of stage 1 (P,), NaN where there is none.
        error: standard deviations (P,) that the analysis uses, weights of a robust norm included.
        used: which rows (P,) are analysed; the others get ``at_rows`` too.
        prior: in a cycle, the estimates of the analysis before, by group.
        draws: how many of the posterior to draw with ``seed``.
    """
    result = FineStage(np.zeros(len(table)), np.zeros(len(table)), np.full(len(table), np.nan))
    analysed, rng = table["value"].to_numpy() - residual, np.random.default_rng(seed)
    for group, names in groups.GROUPS.items():
        if not any(name in background.surface for name in names):
            continue
        rows = groups.reports(table, np.isfinite(residual), names, together=group == "wind")
        mask = used[rows].all(axis=1)
        if mask.sum() < settings.min_stations:
            continue
        unit = groups.unit(group, analysed)[rows]
        places, ground = groups.stations(background, table.iloc[rows[:, 0]])
        shape = groups.predictors(group, places, analysed[rows], ground)
        weight = (error[rows] / np.median(error[rows[mask]])).max(axis=1)
        start = (prior or {}).get(group)
        found = _Group.of(
            group, places, residual[rows] / unit, shape, weight, mask, settings, start
        )
        if found is None:
            result.notes.append(f"fine stage: {group} has no small scales that stations can tell")
            continue
        result.estimates[group] = found.small
        result.notes.append(_said(group, found.small))
        increment, variance, _ = found.at(places, shape, found.values[:, None][:, :0])
        result.at_rows[rows] = increment * unit
        result.sigma_rows[rows] = np.sqrt(variance)[:, None] * unit
        result.noise[rows] = np.sqrt(float(found.small.noise)) * unit
        _on_grid(result, background, found, names, draws, rng)
    return result


@dataclass(frozen=True, eq=False)
class _Group:
    """What ``stations`` (m,) say of a group: ``values`` (m, V) without their drift, which has the
    ``coefficients`` (K,), and the variance (m,) of their ``noise``."""

    name: str
    small: SmallScale
    stations: Points
    values: np.ndarray
    noise: np.ndarray
    coefficients: np.ndarray
    settings: FineSettings

    @classmethod
    def of(
        cls,
        name: str,
        places: Points,
        residual: np.ndarray,
        shape: np.ndarray,
        weight: np.ndarray,
        mask: np.ndarray,
        settings: FineSettings,
        start: SmallScale | None,
    ) -> _Group | None:
        """From the scaled ``residual`` (m, V) of all ``places`` (m,), of which those of ``mask``
        (m,) are used; ``shape`` (m, V, K) is that of the drift and ``weight`` (m,) of the
        errors."""
        coefficients = drift(shape[mask], residual[mask])
        values = groups.vectors(places.position, residual - shape @ coefficients, name)[mask]
        stations, values, weight = groups.one_a_place(
            places.take(np.flatnonzero(mask)), values, weight[mask]
        )
        if len(values) < settings.min_stations:
            return None
        small = estimate(stations, values, settings.radius_km, residual.shape[1], start)
        if small is None:
            return None
        noise = float(small.noise) * weight**2
        return cls(name, small, stations, values, noise, coefficients, settings)

    def at(
        self, targets: Points, shape: np.ndarray, seen: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """At ``targets`` (n,), scaled: increments (n, V), the variance left (n,), and what the same
        analysis makes (n, K, V) of other values ``seen`` (m, K, V) at the stations."""
        several = np.concatenate([self.values[:, None], seen], axis=1)
        many = self.settings.neighbours, self.settings.radius_km
        found = interpolate(
            *(self.small, targets, self.stations, several.reshape(len(several), -1), self.noise),
            *many,
        )
        made = found.increment.reshape(len(found.increment), *several.shape[1:])
        parts = groups.components(targets.position, made[:, 0], self.name)
        return (
            parts + found.fading[:, None] * (shape @ self.coefficients),
            found.variance,
            made[:, 1:],
        )

    def draw(
        self, targets: Points, count: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """``count`` draws of the errors at ``targets`` (n, count, V), and as the stations see them
        (m, count, V), with noise."""
        size = self.values.shape[1]
        drawn, seen = prior_draws(self.small, (targets, self.stations), count * size, rng)
        seen = seen + np.sqrt(self.noise)[:, None] * rng.standard_normal(seen.shape)
        shape = (count, size)
        return drawn.reshape(len(drawn), *shape), seen.reshape(len(seen), *shape)


def _on_grid(
    result: FineStage,
    background: Fields,
    found: _Group,
    names: tuple[str, ...],
    draws: int,
    rng: np.random.Generator,
) -> None:
    """Add the surface variables ``names`` of ``background`` to ``result``. A draw of the error left
    is what the analysis of a drawn error, seen by the stations, leaves of it."""
    grid, surface, size = groups.grid_points(background), background.surface, background.grid.shape
    fields = [surface[n].ravel() if n in surface else np.zeros(np.prod(size)) for n in names]
    wind = np.stack(fields, axis=1) if found.name == "wind" else np.zeros((len(fields[0]), 1))
    drawn, seen = found.draw(grid, draws, rng)
    parts, variance, analysed = found.at(grid, groups.predictors(found.name, grid, wind), seen)
    drawn -= analysed
    left = [groups.components(grid.position, drawn[:, k], found.name) for k in range(draws)]
    for k, name in enumerate(names):
        if name in surface:
            scale, part = groups.unit(found.name, surface[name]), min(k, parts.shape[1] - 1)
            result.increment[name] = (parts[:, part].reshape(size) * scale).astype(np.float32)
            result.variance[name] = (variance.reshape(size) * scale**2).astype(np.float32)
            if draws:
                one = np.stack([each[:, part].reshape(size) for each in left])
                result.draws[name] = one * scale


def _share_far(background: Fields, table: pd.DataFrame, used: np.ndarray, radius: float) -> float:
    """The share of the area that is farther than ``radius`` [km] from every used row; of a fine
    grid every n-th point says it."""
    if not used.any():
        return 1.0
    latitude, longitude = (table[k].to_numpy()[used] for k in ("latitude", "longitude"))
    every = int(np.ceil(np.sqrt(background.grid.size / _ENOUGH)))
    some = np.s_[::every, ::every]
    mesh = unit_vectors(*(a[some] for a in background.grid.mesh))
    nearest = cKDTree(unit_vectors(latitude, longitude)).query(mesh)[0]
    weight = background.grid.point_weights[some]
    return float(np.average(nearest * EARTH_RADIUS / 1e3 > radius, weights=weight))


def refine(
    background: Fields, analysis: Analysis, settings: FineSettings, seed: int = 0
) -> Analysis:
    """``analysis`` with the fine stage on top: fields, increments, spreads, members and O-A. Each
    member gets the increment and a draw with ``seed`` of the error that it leaves.

    Surface pressure and 2 m humidity, which the model grid does not have, take the increments of
    mean sea level pressure and of humidity aloft first; dew point and relative humidity at 2 m
    follow the analysed ones. With the stage off nothing changes.
    """
    if settings.stage == "off" or analysis.status != "ok":
        return analysis
    feedback = analysis.feedback
    # of a superobservation the value that stands for all
    start = feedback.hofx0 if feedback.corrected is None else feedback.corrected
    table = feedback.table.assign(value=start + feedback.innovation)
    used = (table["qc"] == QC.PASS).to_numpy()
    residual = table["value"].to_numpy() - feedback.hofx1
    stage = fine_stage(
        *(analysis.fields, table, residual, feedback.error, used, settings),
        draws=len(analysis.members),
        seed=seed,
    )
    large, spread = (
        dict(part.surface) | followers(background, part)
        for part in (analysis.increment, analysis.spread)
    )
    small = {n: large.get(n, 0.0) + v for n, v in stage.increment.items()}
    wide = {n: np.hypot(spread.get(n, 0.0), np.sqrt(v)) for n, v in stage.variance.items()}
    surface = large | small
    added = {n: v for n, v in surface.items() if n not in analysis.increment.surface}

    def with_fine(fields: Fields, member: int | None = None) -> Fields:
        changes = added | {n: v for n, v in stage.increment.items() if n not in added}
        if member is not None:
            changes |= {n: changes[n] + drawn[member] for n, drawn in stage.draws.items()}
        surface = _changed(background, fields, changes)
        return replace(
            fields, surface=surface | companions(background, replace(fields, surface=surface))
        )

    fields = with_fine(analysis.fields)
    surface |= {
        name: fields.surface[name] - background.surface[name]
        for name in companions(background, fields)
    }
    far = _percent(_share_far(background, table, used, settings.far_km))
    notes = [
        *stage.notes,
        f"{far} of the area is farther than {settings.far_km:g} km from every used observation",
        *_not_updated(background, {*surface, *analysis.increment.upper}),
    ]
    check_plausible(background, fields)
    return replace(
        analysis,
        fields=fields,
        increment=replace(analysis.increment, surface=surface),
        spread=replace(analysis.spread, surface=spread | wide),
        members=[with_fine(m, k) for k, m in enumerate(analysis.members)],
        feedback=replace(
            feedback, hofx1=feedback.hofx1 + stage.at_rows + _speeds(table, analysis.fields, fields)
        ),
        notes=[*analysis.notes, *notes],
    )


def _speeds(table: pd.DataFrame, before: Fields, after: Fields) -> np.ndarray:
    """What speeds without a direction at 10 m change (P,) from ``before`` to ``after``; zero in
    other rows."""
    change = np.zeros(len(table))
    surface = table["pressure"].isna() & table["height"].isna()
    rows = np.flatnonzero((surface & (table["variable"] == "wind_speed")).to_numpy())
    if rows.size and {"u10", "v10"} <= {*before.surface}:
        of = table.iloc[rows].reset_index(drop=True)
        old, new = (build_operator(fields, of, None).of(fields) for fields in (before, after))
        change[rows] = np.nan_to_num(new - old)
    return change


def _changed(
    background: Fields, fields: Fields, changes: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The surface of ``fields`` with ``changes`` (H, W) added; humidity stays non-negative and not
    beyond saturation, where the background's is not."""
    surface = dict(fields.surface)
    for name, change in changes.items():
        surface[name] = surface[name] + change
        if name == "q2m":
            surface[name] = np.maximum(surface[name], np.minimum(background.surface[name], 0.0))
    pressure = surface_pressure(replace(fields, surface=surface))
    if "q2m" in changes and "t2m" in surface and pressure is not None:
        first = background.surface
        most = most_humidity(first["q2m"], first["t2m"], surface["t2m"], pressure)
        surface["q2m"] = np.fmin(surface["q2m"], most)
    return surface


def _not_updated(background: Fields, updated: set[str]) -> list[str]:
    left = sorted({*background.surface, *background.upper} - updated - {"orography", "lsm"})
    return [f"not updated: {', '.join(left)}"] if left else []


def _said(group: str, small: SmallScale) -> str:
    units = OBSERVABLES[groups.GROUPS[group][0]].units
    near, far, noise = (
        f"{float(f'{np.sqrt(float(v)):.2g}'):g} {units}"
        for v in (small.near_variance, small.far_variance, small.noise)
    )
    return (
        f"fine stage, {group}: errors of {near} within {small.near_km:.0f} km, of {far} within "
        f"{small.far_km:.0f} km, and of observations {noise}"
    )


def _percent(share: float) -> str:
    """A share in whole percent; only all of it is 100 %."""
    return "more than 99 %" if 0.995 <= share < 1 else f"{100 * share:.0f} %"
