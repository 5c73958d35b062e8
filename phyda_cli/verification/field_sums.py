"""Fields against fields as sums, by variable, level and region, on the coarser of the two grids,
weighted by area.

S1 is that of Teweles and Wobus (1954), of mean sea level pressure between neighbouring points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.remap import to_grid
from phyda_cli.names import Channel
from phyda_cli.verification.channels import coarser, common_channels, level_name
from phyda_cli.verification.ranks import gaussian_counts, rank_counts
from phyda_cli.verification.regions import ALL
from phyda_cli.verification.scores import crps_ensemble, crps_gaussian
from phyda_cli.verification.sums import COLUMNS, Key, Sums

__all__ = ["add_fields"]


def add_fields(
    sums: Sums,
    analysis: Fields,
    truth: Fields,
    background: Fields | None = None,
    spread: Fields | None = None,
    members: Sequence[Fields] = (),
    masks: Mapping[str, np.ndarray] | None = None,
    groups: Sequence[str] = ("",),
    independence: str = "unknown",
    time: int | None = None,
) -> list[Channel]:
    """Add one analysis to ``sums`` and return the channels it was compared in.

    ``masks`` (H, W) are the regions on the coarser grid; each of ``groups`` gets the sums; at
    ``time`` [s] the whole area's are kept as a series. Raises InputError as :func:`score_fields`.
    """
    channels = common_channels(analysis, truth)
    if background is not None:
        wanted = {c.key for c in common_channels(background, truth)}
        channels = [c for c in channels if c.key in wanted] or channels
    grid = coarser(analysis.grid, truth.grid)
    target = to_grid(truth, channels, grid)[0]
    after = to_grid(analysis, channels, grid)[0]
    if not np.isfinite(after - target).any():
        raise InputError("the two cover no common area", hint="compare files of the same region")
    before = None if background is None else to_grid(background, channels, grid)[0]
    widths = None if spread is None else to_grid(spread, channels, grid)[0]
    ensemble = np.stack([to_grid(m, channels, grid)[0] for m in members]) if members else None
    state = _States(target, after, before, widths, ensemble)
    weights = np.asarray(grid.point_weights).ravel()
    regions = {ALL: np.ones(grid.shape, bool)} if masks is None else masks
    inside = np.array([mask.ravel() for mask in regions.values()])
    rows = _sums(state, channels, inside * weights, inside)
    names = [(c.variable, level_name(c)) for c in channels]
    _file(sums, names, rows, list(regions), groups, independence, time)
    counts = state.ranks()
    if counts is not None:
        inside_counts = np.einsum("gp,kcp->gck", inside.astype(float), counts, optimize=True)
        for i, region in enumerate(regions):
            for j, (variable, level) in enumerate(names):
                for group in groups:
                    key = Key("fields", variable, level, region, group, independence)
                    sums.add_ranks(key, inside_counts[i, j])
    winds = _wind_pairs(channels)
    if winds:
        vectors = _wind_sums(state, winds, inside * weights, inside)
        names = [("wind10" if level == "" else "wind", level) for _, _, level in winds]
        _file(sums, names, vectors, list(regions), groups, independence, time)
    return channels


def _file(
    sums: Sums,
    names: Sequence[tuple[str, str]],
    rows: np.ndarray,
    regions: Sequence[str],
    groups: Sequence[str],
    independence: str,
    time: int | None,
) -> None:
    """Add ``rows`` (regions, names, columns) under their keys."""
    for i, region in enumerate(regions):
        for j, (variable, level) in enumerate(names):
            if rows[i, j, 0] <= 0:
                continue
            for group in groups:
                key = Key("fields", variable, level, region, group, independence)
                sums.add_row(key, rows[i, j])
            if time is not None and region == ALL:
                key = Key("fields", variable, level, region, "", independence)
                sums.add_time(key, time, rows[i, j])


@dataclass(frozen=True, eq=False)
class _States:
    """Values (C, H, W) of truth, analysis, background and spread, and of members (M, C, H, W)."""

    truth: np.ndarray
    analysis: np.ndarray
    background: np.ndarray | None
    spread: np.ndarray | None
    members: np.ndarray | None

    @property
    def variance(self) -> np.ndarray | None:
        """Of the state's distribution; of M members times 1 + 1/M, for their mean has an error of
        its own (Fortin et al. 2014)."""
        if self.members is not None and len(self.members) > 1:
            return self.members.var(axis=0, ddof=1) * (1 + 1 / len(self.members))
        return None if self.spread is None else self.spread**2

    def crps(self) -> np.ndarray | None:
        """Fair CRPS of the members, else that of the Gaussian."""
        if self.members is not None and len(self.members) > 1:
            return crps_ensemble(self.members, self.truth)
        if self.spread is None:
            return None
        return crps_gaussian(self.analysis, self.spread, self.truth)

    def ranks(self) -> np.ndarray | None:
        """The part of each point in each rank (K, C, HW)."""
        if self.members is not None and len(self.members) > 1:
            counts = rank_counts(self.members, self.truth)
        elif self.spread is not None:
            wide = np.where(self.spread > 0, self.spread, np.nan)
            counts = gaussian_counts((self.truth - self.analysis) / wide, _GAUSSIAN_BINS)
        else:
            return None
        return counts.reshape(*counts.shape[:2], -1)


_GAUSSIAN_BINS = 10


def _summed(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sums (G, C) of ``values`` (C, HW) with ``weights`` (G, HW), NaN left out."""
    return weights @ np.nan_to_num(values.reshape(len(values), -1)).T


def _put(rows: np.ndarray, name: str, values: np.ndarray, weights: np.ndarray) -> None:
    rows[..., COLUMNS.index(name)] = _summed(values, weights)


def _sums(
    state: _States, channels: Sequence[Channel], weights: np.ndarray, inside: np.ndarray
) -> np.ndarray:
    """Sums (G, C, columns) over regions with ``weights`` (G, HW)."""
    a = state.analysis - state.truth
    rows = np.zeros((len(weights), len(channels), len(COLUMNS)))
    _put_errors(
        rows,
        a,
        None if state.background is None else state.background - state.truth,
        weights,
        inside,
    )
    _put(rows, "a_absolute", np.abs(a), weights)
    crps, variance = state.crps(), state.variance
    if crps is not None:
        _put(rows, "crps", crps, weights)
        _put(rows, "weight_crps", np.isfinite(crps).astype(float), weights)
    if variance is not None:
        _put_variance(rows, a**2, variance, weights)
    for i, channel in enumerate(channels):
        if channel.variable != "msl":
            continue
        truth = _differences(state.truth[i])
        for suffix, field in (("", state.analysis), ("_b", state.background)):
            if field is not None:
                own = _differences(field[i])
                error = np.abs(own - truth).sum(axis=0)
                size = np.maximum(np.abs(own), np.abs(truth)).sum(axis=0)
                known = np.isfinite(error) & np.isfinite(size)
                for name, values in (("s1_error", error), ("s1_size", size)):
                    part = np.where(known, values, 0.0).ravel()
                    rows[:, i, COLUMNS.index(name + suffix)] = weights @ part
    return rows


def _put_errors(
    rows: np.ndarray,
    a: np.ndarray,
    b: np.ndarray | None,
    weights: np.ndarray,
    inside: np.ndarray,
) -> None:
    """Sums of the errors of analysis and background (C, H, W) and of their squares."""
    known = np.isfinite(a).astype(float)
    _put(rows, "count", known, inside.astype(float))
    for name, values in (("weight", known), ("a", a), ("a_squared", a**2)):
        _put(rows, name, values, weights)
    if b is None:
        return
    both = np.isfinite(a) & np.isfinite(b)
    for name, values in (
        ("weight_b", both.astype(float)),
        ("b", np.where(both, b, np.nan)),
        ("b_squared", np.where(both, b**2, np.nan)),
        ("ab", a * b),
        ("a_b", np.where(both, a, np.nan)),
        ("a_squared_b", np.where(both, a**2, np.nan)),
    ):
        _put(rows, name, values, weights)


def _put_variance(
    rows: np.ndarray, a_squared: np.ndarray, variance: np.ndarray, weights: np.ndarray
) -> None:
    known = np.isfinite(variance) & np.isfinite(a_squared)
    for name, values in (
        ("variance", np.where(known, variance, np.nan)),
        ("a_squared_v", np.where(known, a_squared, np.nan)),
        ("weight_v", known.astype(float)),
    ):
        _put(rows, name, values, weights)


def _differences(values: np.ndarray) -> np.ndarray:
    """Differences (2, H, W) of a field (H, W) to the next point in either direction, NaN at the
    end."""
    found = np.full((2, *values.shape), np.nan)
    found[0, :-1] = np.diff(values, axis=0)
    found[1, :, :-1] = np.diff(values, axis=1)
    return found


def _wind_pairs(channels: Sequence[Channel]) -> list[tuple[int, int, str]]:
    """Where both components of a wind stand in ``channels``, and its level."""
    place = {(c.variable, level_name(c)): i for i, c in enumerate(channels)}
    pairs = []
    for (variable, level), i in place.items():
        other = {"u": "v", "u10": "v10"}.get(variable)
        if other is not None and (other, level) in place:
            pairs.append((i, place[other, level], level))
    return pairs


def _wind_sums(
    state: _States,
    winds: Sequence[tuple[int, int, str]],
    weights: np.ndarray,
    inside: np.ndarray,
) -> np.ndarray:
    """As :func:`_sums` of wind vectors: ``a`` is the error of the speed, ``a_squared`` that of the
    vector."""
    u, v = [first for first, _, _ in winds], [second for _, second, _ in winds]

    def errors(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        speed = np.hypot(field[u], field[v]) - np.hypot(state.truth[u], state.truth[v])
        vector = (field[u] - state.truth[u]) ** 2 + (field[v] - state.truth[v]) ** 2
        return speed, vector

    rows = np.zeros((len(weights), len(winds), len(COLUMNS)))
    speed, vector = errors(state.analysis)
    known = np.isfinite(vector).astype(float)
    _put(rows, "count", known, inside.astype(float))
    for name, values in (
        ("weight", known),
        ("a", speed),
        ("a_squared", vector),
        ("a_absolute", np.sqrt(vector)),
    ):
        _put(rows, name, values, weights)
    if state.background is not None:
        speed_b, vector_b = errors(state.background)
        both = np.isfinite(vector) & np.isfinite(vector_b)
        for name, values in (
            ("weight_b", both.astype(float)),
            ("b", speed_b),
            ("b_squared", vector_b),
            ("a_squared_b", vector),
        ):
            _put(rows, name, np.where(both, values, np.nan), weights)
    if state.variance is not None:
        _put_variance(rows, vector, state.variance[u] + state.variance[v], weights)
    return rows
