"""The table of (background, truth) pairs: cycled and archived forecasts, lagged analyses, twins;
and how it is split by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from phyda_cli.errors import InputError
from phyda_cli.preprocessing.plan import Plan
from phyda_cli.settings.data import PreprocessSettings

__all__ = ["KINDS", "SPLITS", "PairTable", "boundary", "make_pairs"]

KINDS = ("cycled", "forecast", "lagged", "twin")
SPLITS = ("training", "validation", "test")


@dataclass(frozen=True, eq=False)
class PairTable:
    """Rows: ``pairs`` (P, 2) of states, ``scale``, ``lead`` [hours], ``kind`` (index into KINDS),
    ``split`` (into SPLITS, -1: none)."""

    pairs: np.ndarray
    scale: np.ndarray
    lead: np.ndarray
    kind: np.ndarray
    split: np.ndarray


def make_pairs(plan: Plan, settings: PreprocessSettings, bad: np.ndarray) -> PairTable:
    """All pairs of the kinds asked for, without ``bad`` states (S,). Raises InputError when there
    are none."""
    index = {t: i for i, t in enumerate(plan.time[: plan.analyses])}
    pairs, scale, lead, kind = (
        [np.zeros((0, 2), np.int64)],
        [np.zeros(0)],
        [np.zeros(0)],
        [np.zeros(0, np.uint8)],
    )
    for name in settings.pairs:
        if name == "lagged":
            found, factor = _lagged(index, settings.lag_hours), settings.lag_scale
            scales, leads, kinds = (
                np.full(len(found), factor),
                np.full(len(found), float(settings.lag_hours)),
                np.full(len(found), 2),
            )
        elif name == "twin":
            found, scales = _twins(plan, index)
            leads, kinds = plan.lead[found].max(axis=1), np.full(len(found), 3)
        else:
            ids = np.flatnonzero((plan.lead > 0) & (plan.cycled if name == "cycled" else True))
            if name == "forecast" and "cycled" in settings.pairs:
                ids = ids[~plan.cycled[ids]]
            found = np.array([(i, index[plan.time[i]]) for i in ids], np.int64).reshape(-1, 2)
            scales, leads, kinds = (
                np.ones(ids.size),
                plan.lead[ids],
                np.where(plan.cycled[ids], 0, 1),
            )
        pairs, scale, lead, kind = (
            [*pairs, found],
            [*scale, scales],
            [*lead, leads],
            [*kind, kinds.astype(np.uint8)],
        )
    table = np.concatenate(pairs)
    keep = ~bad[table].any(axis=1)
    if not keep.any():
        raise _no_pairs(plan, settings, bool(len(table)))
    table, leads = table[keep], np.concatenate(lead)[keep]
    split = _split(plan.time[table[:, 1]], leads, settings)
    return PairTable(table, np.concatenate(scale)[keep], leads, np.concatenate(kind)[keep], split)


def _lagged(index: dict[np.datetime64, int], hours: int) -> np.ndarray:
    lag = np.timedelta64(hours, "h")
    return np.array(
        [(index[t - lag], i) for t, i in index.items() if t - lag in index], np.int64
    ).reshape(-1, 2)


def _twins(plan: Plan, index: dict[np.datetime64, int]) -> tuple[np.ndarray, np.ndarray]:
    """Ordered pairs among exchangeable states of one time: the members of a forecast and the truth,
    all of one model.

    Two members differ by the difference of two errors, so their difference counts with scale 1 /
    sqrt(2).
    """
    pairs: list[tuple[int, int]] = []
    scale: list[float] = []
    groups: dict[int, list[int]] = {}
    for i in np.flatnonzero(plan.lead > 0).tolist():
        groups.setdefault(int(plan.group[i]), []).append(i)
    for members in groups.values():
        truth = index[plan.time[members[0]]]
        among = [(i, j) for i in members for j in members if i != j]
        pairs += [pair for f in members for pair in ((f, truth), (truth, f))] + among
        scale += [1.0] * (2 * len(members)) + [2**-0.5] * len(among)
    return np.array(pairs, np.int64).reshape(-1, 2), np.array(scale)


def boundary(valid: np.ndarray, fraction: float) -> np.datetime64:
    """The valid time from which on the latest ``fraction`` of the distinct times lies."""
    times = np.unique(valid)
    found: np.datetime64 = times[int((1 - fraction) * times.size)]
    return found


def _split(valid: np.ndarray, lead: np.ndarray, settings: PreprocessSettings) -> np.ndarray:
    """By year where years are given: a pair counts where its truth and the start of its background
    lie in years of the same part."""
    years = (settings.train_years, settings.validation_years, settings.test_years)
    if not any(years):
        return (valid >= boundary(valid, settings.validation_fraction)).astype(np.int8)
    start = valid - np.round(lead * 3600).astype(np.int64) * np.timedelta64(1, "s")
    parts = [_part(t, years) for t in (valid, start)]
    split = np.where(parts[0] == parts[1], parts[0], -1).astype(np.int8)
    for i, (name, wanted) in enumerate(zip(SPLITS, years, strict=True)):
        if (wanted or i == 0) and not np.any(split == i):
            found = np.unique(_year(valid))
            raise InputError(
                f"no pair lies in the {name} years "
                f"{','.join(map(str, wanted)) or '(those left over)'}; the truths are of "
                f"{found[0]} to {found[-1]}",
                hint="see --train-years, --validation-years and --test-years",
            )
    return split


def _year(times: np.ndarray) -> np.ndarray:
    return times.astype("datetime64[Y]").astype(int) + 1970


def _part(times: np.ndarray, years: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Index into SPLITS by year; without years for training, all that are left are."""
    year = _year(times)
    chosen = [np.isin(year, wanted) for wanted in years]
    if not years[0]:
        chosen[0] = ~(chosen[1] | chosen[2])
    return np.select(chosen, (0, 1, 2), -1)


def _no_pairs(plan: Plan, settings: PreprocessSettings, some: bool) -> InputError:
    what = (
        f"{plan.analyses} analyses and {plan.time.size - plan.analyses} forecasts valid at "
        "their times"
    )
    reason = "all have missing values" if some else f"found {what}"
    hint = (
        "give forecast files too, or --pairs lagged"
        if "lagged" not in settings.pairs
        else "see --lag"
    )
    return InputError(
        f"no (background, truth) pairs of kind {', '.join(settings.pairs)}: {reason}", hint=hint
    )
