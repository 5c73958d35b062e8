"""Observations against analysis and background as sums: with the observation error in them, by
variable, layer, region, and group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from phyda_cli.fields.grid import Fields
from phyda_cli.observations.groups import layers, report_types
from phyda_cli.observations.operators import build_operator
from phyda_cli.observations.table import QC
from phyda_cli.verification.maps import Area
from phyda_cli.verification.ranks import gaussian_counts, rank_counts
from phyda_cli.verification.regions import ALL, observation_regions
from phyda_cli.verification.scores import crps_ensemble, crps_gaussian
from phyda_cli.verification.sums import COLUMNS, Key, Sums

__all__ = ["Distribution", "add_observations", "at_observations", "table_of_feedback"]

_GAUSSIAN_BINS = 10


@dataclass(frozen=True, eq=False)
class Distribution:
    """What the analysis says beside its mean, at the observations: ``variance`` (P,) without the
    observation error, and ``members`` (M, P) where there are some."""

    variance: np.ndarray
    members: np.ndarray | None = None


def table_of_feedback(feedback: pd.DataFrame) -> pd.DataFrame:
    """The rows of a feedback file as an observation table, for operators."""
    names = {
        "ObsValue": "value",
        "EffectiveError": "error",
        "EffectiveQC": "qc",
        "source_file": "file",
        "source_row": "row",
    }
    return feedback.rename(columns=names)


def at_observations(
    table: pd.DataFrame,
    analysis: Fields,
    spread: Fields | None,
    members: Sequence[Fields] = (),
) -> Distribution | None:
    """The analysis's distribution at the rows (P,) of ``table``; NaN where it has none.

    The spread is interpolated as the field itself is, without what height corrections add.
    """
    operator = build_operator(analysis, table, None)
    if len(members) > 1:
        base = analysis.vector()
        stack = np.stack([_vector(analysis, m, base) for m in members], axis=1)
        values = operator.apply(np.nan_to_num(stack)).T
        values[:, ~operator.ok] = np.nan
        return Distribution(values.var(axis=0, ddof=1) * (1 + 1 / len(members)), values)
    if spread is None:
        return None
    width = _vector(analysis, spread, np.full(analysis.vector().size, np.nan))
    known = operator.matrix @ np.isnan(width).astype(float) == 0
    here = np.abs(operator.matrix) @ np.nan_to_num(width)
    return Distribution(np.where(known & operator.ok, here**2, np.nan))


def _vector(layout: Fields, some: Fields, default: np.ndarray) -> np.ndarray:
    """``some`` in the order of ``layout.vector()``, with ``default`` for what it lacks."""
    start = 0
    out = default.copy()
    size = layout.grid.size
    for group, own, count in (
        (layout.upper, some.upper, layout.levels.size * size),
        (layout.surface, some.surface, size),
    ):
        for name in group:
            if name in own:
                out[start : start + count] = np.asarray(own[name], float).ravel()
            start += count
    return out


def independence_of(qc: np.ndarray) -> np.ndarray:
    """``used`` or ``withheld`` (P,) from the codes of a feedback file."""
    return np.where(qc == QC.PASS, "used", "withheld").astype(object)


def add_observations(
    sums: Sums,
    table: pd.DataFrame,
    a: np.ndarray,
    b: np.ndarray | None,
    independence: np.ndarray,
    groups: Sequence[np.ndarray | str] = (),
    sigma_b: np.ndarray | None = None,
    distribution: Distribution | None = None,
    innovation: np.ndarray | None = None,
    box: Area | None = None,
    time: int | None = None,
    seed: int = 0,
) -> None:
    """Add the rows (P,) of ``table`` that pass, with errors ``a`` and ``b`` (P,) of analysis and
    background (model minus observation) in the rows' units.

    ``innovation`` (P,), O-B after the correction of the background's mean error, is what chi2 is
    of; else O-B. ``groups`` are further labels, one for all or one a row (P,). Ranks among members
    have a draw of the observation error added to each, from ``seed``.
    """
    passing = (table["qc"].to_numpy() <= QC.PASSIVE) & np.isfinite(a)
    rows = np.flatnonzero(passing)
    if not rows.size:
        return
    table = table.iloc[rows]
    columns, counts = _columns(table, a, b, sigma_b, distribution, innovation, rows, seed)
    labels = {
        "variable": table["variable"].to_numpy(object),
        "layer": np.array([str(x).partition("\0")[2] for x in layers(table)], object),
        "independence": independence[rows],
    }
    latitude, longitude, elevation = (
        table[k].to_numpy(float) for k in ("latitude", "longitude", "elevation")
    )
    regions = observation_regions(latitude, longitude, elevation, box)
    every = [np.full(rows.size, ""), *(np.broadcast_to(g, passing.shape)[rows] for g in groups)]
    for region, inside in regions.items():
        for layer in (None, "layer"):
            for group in every:
                index = np.flatnonzero(inside if layer is None else inside & _aloft(labels))
                level = np.full(index.size, "") if layer is None else labels["layer"][index]
                _add(sums, labels, level, group[index], region, index, columns, counts, time)


def _aloft(labels: dict[str, np.ndarray]) -> np.ndarray:
    return labels["layer"] != "surface"


def _columns(
    table: pd.DataFrame,
    a: np.ndarray,
    b: np.ndarray | None,
    sigma_b: np.ndarray | None,
    distribution: Distribution | None,
    innovation: np.ndarray | None,
    rows: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray | None]:
    """What each row adds (n, columns), and to its rank histogram (K, n)."""
    a = a[rows]
    error = table["error"].to_numpy(float)
    found: dict[str, np.ndarray] = {"count": np.ones(rows.size), "weight": np.ones(rows.size)}
    found |= {"a": a, "a_squared": a**2, "a_absolute": np.abs(a), "error_squared": error**2}
    if b is not None:
        b = b[rows]
        known = np.isfinite(b)
        found |= {"weight_b": known, "b": b, "b_squared": b**2, "ab": a * b}
        found |= {"jo_a": a**2 / error**2, "jo_b": b**2 / error**2}
        found["signal"] = -a * (a - b) / error**2
        found |= {"a_b": np.where(known, a, 0), "a_squared_b": np.where(known, a**2, 0)}
        if sigma_b is not None:
            d = b if innovation is None else innovation[rows]
            chi2 = d**2 / (error**2 + sigma_b[rows] ** 2)
            found |= {"chi2": chi2, "weight_chi2": np.isfinite(chi2)}
    counts = None
    if distribution is not None:
        variance = distribution.variance[rows] + error**2
        known = np.isfinite(variance)
        found |= {"variance": variance, "weight_v": known, "a_squared_v": np.where(known, a**2, 0)}
        if distribution.members is None:
            width = np.sqrt(variance)
            crps = crps_gaussian(a, width, np.zeros(()))
            counts = gaussian_counts(-a / np.where(width > 0, width, np.nan), _GAUSSIAN_BINS)
        else:
            members = distribution.members[:, rows]
            rng = np.random.default_rng([seed, rows.size])
            members = members + error * rng.standard_normal(members.shape)
            value = table["value"].to_numpy(float)
            crps, counts = crps_ensemble(members, value), rank_counts(members, value)
        found |= {"crps": crps, "weight_crps": np.isfinite(crps)}
    stacked = np.zeros((rows.size, len(COLUMNS)))
    for name, values in found.items():
        stacked[:, COLUMNS.index(name)] = np.nan_to_num(np.asarray(values, float))
    return stacked, counts


def _add(
    sums: Sums,
    labels: dict[str, np.ndarray],
    level: np.ndarray,
    group: np.ndarray,
    region: str,
    index: np.ndarray,
    columns: np.ndarray,
    counts: np.ndarray | None,
    time: int | None,
) -> None:
    """Add the rows ``index`` under the keys that their labels make."""
    frame = pd.DataFrame(
        {
            "variable": labels["variable"][index],
            "level": level,
            "group": group,
            "independence": labels["independence"][index],
        }
    )
    for (variable, at, label, kind), positions in frame.groupby(
        list(frame), sort=True
    ).indices.items():
        key = Key("observations", str(variable), str(at), region, str(label), str(kind))
        own = index[positions]
        row = columns[own].sum(axis=0)
        sums.add_row(key, row)
        if counts is not None:
            sums.add_ranks(key, counts[:, own].sum(axis=1))
        if time is not None and region == ALL and not label and not at:
            sums.add_time(key, time, row)


def type_of(table: pd.DataFrame) -> np.ndarray:
    """The type of each report (P,)."""
    return report_types(table).astype(object)
