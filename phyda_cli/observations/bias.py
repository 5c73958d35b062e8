r"""The memory of what is biased: a running mean of O-B for each station and variable.

A station's departure d_k = O - B holds its bias, which hardly changes, and the errors of the
observation and of the background with the variance r_k = sigma_o^2 + sigma_b^2. Old departures
count less, with the memory tau, so that after a step of time Delta t

.. math:: W_k = e^{-\Delta t/\tau} W_{k-1} + 1/r_k, \qquad
          m_k = m_{k-1} + (d_k - m_{k-1}) / (r_k W_k).

This is the Kalman filter of a bias that walks at random, b_k = b_{k-1} + w_k, where w_k has the
variance (e^{Delta t/tau} - 1) P_{k-1}; P = 1/W is the variance of m (a discount filter: West and
Harrison 1997, Bayesian Forecasting and Dynamic Models, section 6.3). What is subtracted is the
mean of the posterior when a bias is N(0, sigma^2) before anything is known of the station,

.. math:: \hat b = m W / (W + 1/\sigma^2):

few reports, or old ones, give almost nothing, and many the mean itself. An error that all stations
share is the background's, and the memory cannot tell it from theirs: anchors are never corrected.
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
    O-B [units of the variable], its ``weight``, 1 / variance, and the discounted number of
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


def shrunk(mean: np.ndarray, weight: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """The bias (N,) that a running ``mean`` of this ``weight`` suggests, where biases have the
    standard deviation ``sigma`` (N,)."""
    return np.asarray(mean * weight / (weight + sigma**-2.0))


def station_bias(memory: Memory, table: pd.DataFrame, settings: BiasSettings) -> np.ndarray:
    """The bias of each row of a prepared ``table`` (P,) [units of the row], which is to be
    subtracted from its value; zero where nothing is known, and for anchors."""
    bias = np.zeros(len(table))
    rows = _correctable(table, settings)
    if not rows.size or memory.table.empty:
        return bias
    found = _keys(table, rows).merge(memory.table, how="left", on=["station_id", "variable"])
    mean, weight = (found[n].to_numpy(float) for n in ("mean", "weight"))
    sigma = settings.sigma * table["error"].to_numpy()[rows]
    bias[rows] = np.nan_to_num(shrunk(mean, weight, sigma))
    return bias


def remember(
    memory: Memory,
    table: pd.DataFrame,
    departure: np.ndarray,
    sigma_b: np.ndarray,
    settings: BiasSettings,
) -> Memory:
    """``memory``, which is that of now, after an analysis.

    ``departure`` (P,) is O-B before anything was subtracted and ``sigma_b`` (P,) the standard
    deviation of the background's error, in the units of the rows of ``table``. The rows of one
    station share the error of the background, so that only the errors of observation average out.
    """
    rows = _correctable(table, settings)
    good = np.isin(table["qc"].to_numpy()[rows], _LEARNT_FROM) & np.isfinite(departure[rows])
    rows = rows[good]
    if not rows.size:
        return memory
    new = _keys(table, rows).assign(
        departure=departure[rows],
        of_observation=table["error"].to_numpy()[rows] ** 2,
        of_background=sigma_b[rows] ** 2,
    )
    groups = new.groupby(["station_id", "variable"], sort=True)
    means = groups.mean()
    means["variance"] = means["of_observation"] / groups.size() + means["of_background"]
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
