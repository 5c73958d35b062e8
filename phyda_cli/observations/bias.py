r"""The memory of what is biased: a running mean of departures for each station and variable.

A report's departure d_k from an analysis made without it holds the station's bias, which hardly
changes, the error of the observation and that of the analysis. Their variance is r_k = sigma_o^2 +
kappa sigma_a^2: errors of a background last, and where rho is their correlation from one analysis
to the next the mean of many has kappa = (1 + rho) / (1 - rho) times the variance of independent
ones. Old departures count less, with the memory tau, so that after a step of time Delta t

.. math:: W_k = e^{-\Delta t/\tau} W_{k-1} + 1/r_k, \qquad
          m_k = m_{k-1} + (d_k - m_{k-1}) / (r_k W_k).

This is the Kalman filter of a bias that walks at random, b_k = b_{k-1} + w_k, where w_k has the
variance (e^{Delta t/tau} - 1) P_{k-1}; P = 1/W is the variance of m (a discount filter: West and
Harrison 1997, Bayesian Forecasting and Dynamic Models, section 6.3).

Most stations have no bias, and some a large one: with the probability p it is N(0, sigma^2) before
anything is known of the station, and otherwise zero (spike and slab: Mitchell and Beauchamp 1988,
J. Am. Stat. Assoc. 83, 1023). What is subtracted is the mean of the posterior,

.. math:: \hat b = q\, m W / (W + 1/\sigma^2), \qquad
          \frac{q}{1-q} = \frac{p}{1-p} (1 + W \sigma^2)^{-1/2}
          \exp\Big(\frac{m^2 W}{2} \frac{W \sigma^2}{1 + W \sigma^2}\Big),

and its variance is added to that of the observation's error: few reports or small means give almost
nothing, many that agree the mean itself. Anchors are never corrected.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.groups import report_types
from phyda_cli.observations.table import LEVEL, QC, by_position
from phyda_cli.settings.analysis import BiasSettings

__all__ = [
    "Memory",
    "account",
    "decay",
    "remember",
    "running_mean",
    "shrunk",
    "station_bias",
    "used_before",
]

_COLUMNS = ("station_id", "variable", "mean", "weight", "reports")
_FORGOTTEN = 0.01  # discounted reports
_LEARNT_FROM = (QC.PASS, QC.SUPEROBBED)
_SAME = 1e-6  # of a value


def _nothing() -> pd.DataFrame:
    return pd.DataFrame(
        {name: pd.Series(dtype=object if name in _COLUMNS[:2] else float) for name in _COLUMNS}
    )


@dataclass(frozen=True, eq=False)
class Memory:
    """What is known at ``time`` of the biases of stations.

    ``table`` has a row for each station and variable: ``station_id``, ``variable``, the ``mean`` of
    departures [units of the variable], its ``weight``, 1 / variance, and the discounted number of
    ``reports``.
    """

    time: np.datetime64 | None = None
    table: pd.DataFrame = field(default_factory=_nothing)

    def at(self, time: np.datetime64, memory_days: float) -> Memory:
        """The same at a later ``time``; what has almost decayed is forgotten."""
        if self.time is None:
            return Memory(time, self.table)
        left = decay((time - self.time) / np.timedelta64(1, "D"), memory_days)
        aged = self.table.assign(
            weight=self.table["weight"] * left, reports=self.table["reports"] * left
        )
        return Memory(time, aged[aged["reports"] >= _FORGOTTEN].reset_index(drop=True))


def decay(days: float, memory_days: float) -> float:
    """What is left of a weight after ``days``."""
    return float(np.exp(-days / memory_days))


def running_mean(
    mean: np.ndarray, weight: np.ndarray, departure: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and weight (N,) after new ``departure`` (N,) of a ``variance`` (N,); a weight is 1 /
    variance."""
    total = weight + 1 / variance
    return mean + (departure - mean) / (variance * total), total


def shrunk(
    mean: np.ndarray, weight: np.ndarray, sigma: np.ndarray, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (N,) of the bias after a running ``mean`` of this ``weight``, where the
    ``share`` of stations is biased with the standard deviation ``sigma`` (N,)."""
    ratio = weight * sigma**2
    gain = ratio / (1 + ratio)
    odds = share / (1 - share) / np.sqrt(1 + ratio)
    probability = 1 / (1 + np.exp(-0.5 * mean**2 * weight * gain) / odds)
    expected = probability * gain * mean
    variance = probability * (sigma**2 / (1 + ratio) + (gain * mean) ** 2) - expected**2
    return expected, variance


def station_bias(
    memory: Memory, table: pd.DataFrame, settings: BiasSettings
) -> tuple[np.ndarray, np.ndarray]:
    """The bias of each row of a prepared ``table`` (P,), which is to be subtracted from its value,
    and the standard deviation of what is wrong with that (P,) [units of the row]; zero where
    nothing is known, and for anchors."""
    bias, doubt = np.zeros(len(table)), np.zeros(len(table))
    rows = _correctable(table, settings)
    if not rows.size or memory.table.empty:
        return bias, doubt
    found = _keys(table, rows).merge(memory.table, how="left", on=["station_id", "variable"])
    mean, weight = (found[n].to_numpy(float) for n in ("mean", "weight"))
    sigma = settings.sigma * table["error"].to_numpy()[rows]
    expected, variance = shrunk(mean, weight, sigma, settings.share)
    bias[rows], doubt[rows] = np.nan_to_num(expected), np.sqrt(np.nan_to_num(variance))
    return bias, doubt


def remember(
    memory: Memory,
    table: pd.DataFrame,
    departure: np.ndarray,
    sigma_a: np.ndarray,
    settings: BiasSettings,
) -> Memory:
    """``memory``, which is that of now, after an analysis.

    ``departure`` (P,) is that of the values as reported from an analysis without them and
    ``sigma_a`` (P,) the standard deviation of the error of that, in the units of the rows of
    ``table``. The rows of one station share it, so that only the errors of observation average out.
    """
    rows = _correctable(table, settings)
    good = np.isin(table["qc"].to_numpy()[rows], _LEARNT_FROM) & np.isfinite(departure[rows])
    rows = rows[good]
    if not rows.size:
        return memory
    new = _keys(table, rows).assign(
        departure=departure[rows],
        of_observation=table["error"].to_numpy()[rows] ** 2,
        of_analysis=sigma_a[rows] ** 2,
    )
    groups = new.groupby(["station_id", "variable"], sort=True)
    means = groups.mean()
    lasting = (1 + settings.correlation) / (1 - settings.correlation)
    means["variance"] = means["of_observation"] / groups.size() + lasting * means["of_analysis"]
    both = memory.table.merge(
        means[["departure", "variance"]].reset_index(), how="outer", on=["station_id", "variable"]
    )
    both = both.fillna({"mean": 0.0, "weight": 0.0, "reports": 0.0})
    seen = both["variance"].notna().to_numpy()
    columns = [both[n].to_numpy(float) for n in ("mean", "weight", "departure", "variance")]
    mean, weight = running_mean(*columns)
    both["mean"] = np.where(seen, mean, columns[0])
    both["weight"] = np.where(seen, weight, columns[1])
    both["reports"] += seen
    return Memory(memory.time, both[list(_COLUMNS)])


def used_before(table: pd.DataFrame, feedback: pd.DataFrame) -> np.ndarray:
    """Rows of ``table`` (P,) that the analysis of ``feedback`` (its rows as read) has used: same
    station, place, time, variable, level and value."""
    key = ["station_id", "latitude", "longitude", "time", "variable", *LEVEL]
    used = feedback.loc[feedback["EffectiveQC"] == QC.PASS, [*key, "ObsValue"]]
    used = used.drop_duplicates(key).astype({"station_id": object, "variable": object})
    found = table[key].astype({"station_id": object, "variable": object})
    value = found.merge(used, how="left", on=key)["ObsValue"].to_numpy(float)
    return np.asarray(np.isclose(table["value"].to_numpy(), value, rtol=_SAME, atol=0))


def account(table: pd.DataFrame, bias: np.ndarray) -> dict[str, Any]:
    """How many passing rows were corrected, and the largest correction of each variable."""
    rows = np.flatnonzero((bias != 0) & (table["qc"] <= QC.PASSIVE).to_numpy())
    variable = table["variable"].to_numpy(object)[rows]
    largest = {}
    for name in sorted(set(variable)):
        of_it = rows[variable == name]
        row = of_it[np.abs(bias[of_it]).argmax()]
        largest[str(name)] = {
            "n": int(of_it.size),
            "largest": float(f"{bias[row]:.4g}"),
            "units": OBSERVABLES[name].units,
            "station": str(table["station_id"].iloc[row]),
        }
    return {"corrected": int(rows.size), "variables": largest}


def _correctable(table: pd.DataFrame, settings: BiasSettings) -> np.ndarray:
    """The rows that a memory is kept for: those of ``settings.variables``, but for soundings and
    the stations that the user trusts."""
    wanted = table["variable"].isin(settings.variables) & ~table["station_id"].isin(
        settings.anchors
    )
    rows = np.flatnonzero(wanted.to_numpy())
    aloft = table["pressure"].notna() | table["height"].notna()
    upper = rows[aloft.to_numpy()[rows]]
    if not upper.size:
        return rows
    return np.setdiff1d(rows, upper[report_types(table.iloc[upper]) == "sounding"])


def _keys(table: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    part = table.iloc[rows]
    places = (part[n].to_numpy() for n in ("station_id", "latitude", "longitude"))
    return pd.DataFrame(
        {"station_id": by_position(*places), "variable": part["variable"].to_numpy(object)}
    )
