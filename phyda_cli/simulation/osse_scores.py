"""What an observing-system simulation experiment has found: errors of background and analyses by
variable and level, their ratios, and how sure these are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from phyda_cli.errors import InputError
from phyda_cli.simulation.osse import TRUTH_IS, Outcome
from phyda_cli.verification.ratios import mean_ratio
from phyda_cli.verification.regions import ALL
from phyda_cli.verification.significance import (
    FEWEST_TIMES,
    bounds_of,
    independent_blocks,
    resampled_ratios,
)
from phyda_cli.verification.sums import Key, Sums
from phyda_cli.verification.tidy import Row, tidy_rows, units_of

__all__ = ["BASELINE", "NETWORK", "FieldGain", "Gains", "Ratio", "gains_of", "scores_of"]

NETWORK, BASELINE = "network", "baseline"
_VECTORS = ("wind", "wind10")  # which the components count for


@dataclass(frozen=True)
class Ratio:
    """Of two RMSEs, with 95 % bounds over dates; None without enough of these."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class FieldGain:
    """RMSEs of one variable and level in its ``units``, and the ratios of the network's to the
    background's, of the baseline's to that, and of the network's to the baseline's."""

    variable: str
    level: str
    units: str
    background: float
    network: float
    ratio: Ratio
    baseline: float | None = None
    baseline_ratio: Ratio | None = None
    to_baseline: Ratio | None = None

    @property
    def name(self) -> str:
        """``t850``."""
        return f"{self.variable}{self.level}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Gains:
    """``fields``, and the mean ratios over those that are no vector; ``lacking`` names the fields
    that only some dates have, which are in neither."""

    fields: list[FieldGain]
    ratio: Ratio
    baseline_ratio: Ratio | None
    to_baseline: Ratio | None
    dates: int
    lacking: tuple[str, ...] = ()

    @property
    def scalars(self) -> list[FieldGain]:
        """The fields that the means are taken over."""
        return [f for f in self.fields if f.variable not in _VECTORS]


def gains_of(outcome: Outcome, seed: int = 0) -> Gains:
    """The gains of the network, and of the baseline where there is one.

    A ratio is that of root mean squares over the whole area, all dates and repeats. Its bounds come
    from a bootstrap over dates, the mean of whose repeats counts; consecutive ones are resampled in
    blocks. Raises InputError where background and truth are the same.
    """
    squares = {name: _Squares.of(sums, outcome.dates) for name, sums in outcome.sums.items()}
    own = squares[NETWORK]
    keys = [k for k in own.background if own.background[k].sum() > 0]
    keys.sort(key=lambda k: (k.variable, float(k.level or "inf")))
    if not keys:
        raise InputError(
            "the background is the truth itself: there is nothing to gain",
            hint="give a forecast that is not exact as --background",
        )
    block = independent_blocks(np.array(outcome.dates))
    network = _Ratios(keys, own.analysis, own.background, block, seed)
    baseline = to_baseline = None
    if (other := squares.get(BASELINE)) is not None:
        keys = [k for k in keys if k in other.analysis and other.analysis[k].sum() > 0]
        baseline = _Ratios(keys, other.analysis, other.background, block, seed)
        to_baseline = _Ratios(keys, own.analysis, other.analysis, block, seed)
    fields = [
        FieldGain(
            variable=key.variable,
            level=key.level,
            units=units_of(key.variable),
            background=_rmse(outcome.sums[NETWORK], key, "b_squared", "weight_b"),
            network=_rmse(outcome.sums[NETWORK], key, "a_squared", "weight"),
            ratio=network.of(key),
            baseline=None
            if baseline is None
            else _rmse(outcome.sums[BASELINE], key, "a_squared", "weight"),
            baseline_ratio=None if baseline is None else baseline.of(key),
            to_baseline=None if to_baseline is None else to_baseline.of(key),
        )
        for key in keys
    ]
    return Gains(
        fields,
        network.mean(),
        None if baseline is None else baseline.mean(),
        None if to_baseline is None else to_baseline.mean(),
        len(outcome.dates),
        tuple(
            f"{k.variable}{k.level}"
            for k in sorted({*outcome.sums[NETWORK].series} - {*own.background})
        ),
    )


def _rmse(sums: Sums, key: Key, square: str, weight: str) -> float:
    return float(np.sqrt(sums.value(key, square) / sums.value(key, weight)))


Series = Mapping[Key, np.ndarray]


@dataclass(frozen=True, eq=False)
class _Squares:
    """Sums of squared errors (T,) at each date, over its repeats, of every field that has all
    dates."""

    analysis: Series
    background: Series

    @classmethod
    def of(cls, sums: Sums, dates: Sequence[np.datetime64]) -> _Squares:
        seconds = np.array(dates).astype("datetime64[s]").astype(float)
        found: dict[str, dict[Key, np.ndarray]] = {"a_squared": {}, "b_squared": {}}
        for key in sorted(sums.series):
            columns = sums.series_of(key)
            if set(columns["time"]) != set(seconds):
                continue
            at = np.searchsorted(seconds, columns["time"])
            for name, series in found.items():
                series[key] = np.bincount(at, columns[name], seconds.size)
        return cls(found["a_squared"], found["b_squared"])


class _Ratios:
    """Ratios of RMSEs by field, and draws of all of them in the same resamples of the dates."""

    def __init__(
        self, keys: Sequence[Key], above: Series, below: Series, block: int, seed: int
    ) -> None:
        a, b = (np.stack([series[k] for k in keys], axis=1) for series in (above, below))
        with np.errstate(divide="ignore", invalid="ignore"):
            self._value = np.sqrt(a.sum(axis=0) / b.sum(axis=0))
            self._draws = (
                resampled_ratios(a, b, block, seed=seed) if len(a) >= FEWEST_TIMES else None
            )
        self._at = {key: i for i, key in enumerate(keys)}
        self._scalar = np.array([k.variable not in _VECTORS for k in keys])

    def of(self, key: Key) -> Ratio:
        """That of one field."""
        i = self._at[key]
        draws = None if self._draws is None else self._draws[:, i]
        return _ratio(self._value[i], draws)

    def mean(self) -> Ratio:
        """The mean over all fields that are no vector."""
        draws = None if self._draws is None else self._draws[:, self._scalar].mean(axis=1)
        value = mean_ratio(self._value[self._scalar].tolist())
        return _ratio(float("nan") if value is None else value, draws)


def _ratio(value: float, draws: np.ndarray | None) -> Ratio:
    if draws is None or not np.isfinite(draws).all():
        return Ratio(float(value))
    low, high = bounds_of(draws)
    return Ratio(float(value), float(low), float(high))


def scores_of(outcome: Outcome, gains: Gains) -> Iterator[Row]:
    """Every score as a tidy row: its state is background, network or baseline; ratios over all
    regions have bounds."""
    known = {(f.variable, f.level): f for f in gains.fields}
    for name, sums in outcome.sums.items():
        for row in tidy_rows(sums):
            if row.state == "background":
                if name == NETWORK:
                    yield row
                continue
            row = replace(row, state=name)
            found = known.get((row.variable, row.level))
            if row.score == "ratio" and row.region == ALL and found is not None:
                ratio = found.ratio if name == NETWORK else found.baseline_ratio
                row = row if ratio is None else replace(row, low=ratio.low, high=ratio.high)
            yield row
    for f in gains.fields:
        if f.to_baseline is not None:
            key = Key("fields", f.variable, f.level, ALL, "", TRUTH_IS)
            n = round(outcome.sums[NETWORK].value(key, "count"))
            yield Row(
                *key,
                NETWORK,
                "ratio_to_baseline",
                f.to_baseline.value,
                n,
                "1",
                f.to_baseline.low,
                f.to_baseline.high,
            )
