"""The memory of biased stations: exact answers of its algebra, and its way through a feedback."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from phyda_cli.observations.bias import (
    Memory,
    account,
    remember,
    running_mean,
    shrunk,
    station_bias,
    used_before,
)
from phyda_cli.observations.feedback import (
    Feedback,
    read_feedback,
    read_memory,
    write_feedback,
)
from phyda_cli.observations.table import QC, make
from phyda_cli.settings.analysis import BiasSettings

SETTINGS = BiasSettings()
START = np.datetime64("2020-10-01T00", "ns")
SIX_HOURS = np.timedelta64(6, "h")


def stations(*names: str, variable: str = "t2m", **columns: object) -> pd.DataFrame:
    """A report of each station, with an error of 1."""
    given = {"value": 280.0, "error": 1.0, "time": START} | columns
    n = np.arange(len(names), dtype=float)
    return make(station_id=list(names), latitude=n, longitude=n, variable=variable, **given)


def after(memory: Memory, table: pd.DataFrame, departure: float, steps: int) -> Memory:
    """``memory`` after analyses every six hours, with a background error of 1."""
    time = START if memory.time is None else memory.time
    for _ in range(steps):
        time = time + SIX_HOURS
        ombg, sigma_b = np.full(len(table), departure), np.ones(len(table))
        memory = memory.at(time, SETTINGS.memory_days)
        memory = remember(memory, table, ombg, sigma_b, SETTINGS)
    return memory


def test_the_running_mean_is_the_kalman_filter_of_a_random_walk() -> None:
    rng = np.random.default_rng(0)
    departures, variances = rng.normal(1.5, 1.0, 30), rng.uniform(0.5, 3.0, 30)
    steps, tau = rng.uniform(0.1, 1.0, 30), 10.0
    mean, weight = np.zeros(1), np.full(1, 1 / 4.0)
    state, variance = 0.0, 4.0
    for d, r, days in zip(departures, variances, steps, strict=True):
        mean, weight = running_mean(
            mean, weight * np.exp(-days / tau), np.array([d]), np.array([r])
        )
        predicted = variance + variance * np.expm1(days / tau)  # P + Q
        gain = predicted / (predicted + r)
        state, variance = state + gain * (d - state), (1 - gain) * predicted
        assert mean[0] == pytest.approx(state, rel=1e-12)
        assert weight[0] == pytest.approx(1 / variance, rel=1e-12)


def test_the_bias_is_the_mean_of_the_posterior() -> None:
    mean, weight, sigma, share = 1.7, 2.5, 2.0, 0.1
    biases = np.linspace(-20, 20, 400_001)

    def normal(x: np.ndarray, variance: float) -> np.ndarray:
        return np.asarray(np.exp(-0.5 * x**2 / variance) / np.sqrt(2 * np.pi * variance))

    biased = share * normal(biases, sigma**2) * normal(mean - biases, 1 / weight)
    step = biases[1] - biases[0]
    total = biased.sum() * step + (1 - share) * normal(np.array([mean]), 1 / weight)[0]
    first, second = ((biased * biases**k).sum() * step / total for k in (1, 2))
    found = shrunk(*(np.array([v]) for v in (mean, weight, sigma)), share)
    assert found[0][0] == pytest.approx(first, rel=1e-6)
    assert found[1][0] == pytest.approx(second - first**2, rel=1e-6)


def test_small_means_are_left_alone_and_large_ones_hardly_shrunk() -> None:
    mean, weight, sigma = np.array([0.3, 3.0]), np.full(2, 5.0), np.full(2, 2.0)
    small, large = shrunk(mean, weight, sigma, 0.1)[0]
    assert small < 0.1 * 0.3
    assert large > 0.9 * 3.0
    assert np.isfinite(shrunk(np.array([1e4]), np.array([1e9]), np.ones(1), 0.1)).all()


def test_a_constant_bias_converges_and_few_reports_shrink() -> None:
    table = stations("a")
    last, doubts = 0.0, []
    for steps in (1, 2, 5, 100):
        bias, doubt = (
            a[0] for a in station_bias(after(Memory(), table, 2.0, steps), table, SETTINGS)
        )
        assert last < bias < 2.0
        last = bias
        doubts.append(doubt)
    assert last > 1.9
    assert doubts[-1] < 0.5 < max(doubts)
    left = np.exp(-0.25 / SETTINGS.memory_days)
    full = 0.25 * (1 - left**100) / (1 - left)  # r = 1 + 3
    assert after(Memory(), table, 2.0, 100).table["weight"][0] == pytest.approx(full, rel=1e-9)


def test_a_station_that_is_silent_keeps_its_memory_decayed() -> None:
    both, one = stations("a", "b"), stations("a")
    known = after(Memory(), both, 2.0, 40)
    later = after(known, one, 2.0, 40)  # ten days without b
    before, now = (station_bias(m, both, SETTINGS)[0] for m in (known, later))
    assert now[0] > before[0]
    assert 0 < now[1] < before[1]
    row, old = (m.table.set_index("station_id").loc["b"] for m in (later, known))
    assert row["mean"] == old["mean"]
    assert row["weight"] == pytest.approx(old["weight"] / np.e)
    gone = after(known, one, 2.0, 4 * 120)
    assert set(gone.table["station_id"]) == {"a"}


def test_anchors_are_untouched() -> None:
    sonde = make(
        station_id=["s"] * 3,
        time=START,
        latitude=5.0,
        longitude=5.0,
        variable="t",
        pressure=[85000.0, 70000.0, 50000.0],
        value=270.0,
        error=1.0,
    )
    wind = stations("w", variable="u10", value=3.0)
    table = pd.concat([stations("a", "mine"), sonde, wind], ignore_index=True)
    settings = BiasSettings(anchors=("mine",))
    memory = remember(Memory(START), table, np.full(6, 3.0), np.ones(6), settings)
    assert memory.table["station_id"].tolist() == ["a"]
    assert np.flatnonzero(station_bias(memory, table, settings)[0]).tolist() == [0]
    learnt = remember(Memory(START), table, np.full(6, 3.0), np.ones(6), SETTINGS)
    assert np.flatnonzero(station_bias(learnt, table, settings)[0]).tolist() == [0]


def test_only_good_rows_teach() -> None:
    codes = [QC.PASS, QC.SUPEROBBED, QC.FIRST_GUESS, QC.PASSIVE, QC.PASS]
    table = stations(*"abcde", qc=codes)
    departure = np.array([1.0, 1, 1, 1, np.nan])
    memory = remember(Memory(START), table, departure, np.ones(5), SETTINGS)
    assert memory.table["station_id"].tolist() == ["a", "b"]


def test_reports_of_one_station_share_the_background() -> None:
    table = make(
        station_id="a",
        time=START,
        latitude=0.0,
        longitude=0.0,
        variable="t2m",
        value=[280.0, 281, 282, 283],
        error=1.0,
    )
    memory = remember(Memory(START), table, np.arange(4.0), np.ones(4), SETTINGS)
    assert memory.table["mean"].tolist() == [1.5]
    assert memory.table["weight"].tolist() == [1 / (0.25 + 3)]  # that lasts
    assert memory.table["reports"].tolist() == [1]


def test_round_trip_through_the_feedback(tmp_path: Path) -> None:
    table = stations("Zürich", "b", value=[280.5, 281])
    memory = after(Memory(), table, 1.25, 3)
    fields = (np.full(2, 279.0), np.full(2, 280.0), np.ones(2))
    bias, _ = station_bias(memory, table, SETTINGS)
    feedback = replace(Feedback.as_observed(table, *fields), bias=bias, memory=memory)
    write_feedback(tmp_path / "f.nc", feedback, {})
    back, rows = read_memory(tmp_path / "f.nc"), read_feedback(tmp_path / "f.nc")
    assert back is not None
    assert back.time == memory.time
    pd.testing.assert_frame_equal(back.table, memory.table, check_dtype=False)
    assert rows["ObsValue"].tolist() == [280.5, 281]
    assert rows["ObsBias"].tolist() == bias.tolist()
    np.testing.assert_array_equal(rows["ombg"], rows["ObsValue"] - rows["ObsBias"] - 279)
    np.testing.assert_array_equal(rows["oman"], rows["ObsValue"] - rows["ObsBias"] - 280)
    write_feedback(tmp_path / "old.nc", Feedback.as_observed(table, *fields), {})
    assert read_memory(tmp_path / "old.nc") is None
    assert "ObsBias" not in read_feedback(tmp_path / "old.nc")


def test_a_report_is_used_once(tmp_path: Path) -> None:
    table = stations("a", "b", "c", "d", value=[280.0, 281, 282, 283], qc=[0, 0, QC.BUDDY, 0])
    fields = (np.full(4, 279.0), np.full(4, 280.0), np.ones(4))
    write_feedback(tmp_path / "f.nc", Feedback.as_observed(table, *fields), {})
    again = table.assign(value=[280.0, 281.5, 282, 283], qc=np.int16(0))
    again.loc[3, "time"] += pd.Timedelta(hours=1)
    assert used_before(again, read_feedback(tmp_path / "f.nc")).tolist() == [True] + [False] * 3


def test_the_account_names_the_largest() -> None:
    table = stations("a", "b", "c", qc=[0, 0, QC.BUDDY])
    found = account(table, np.array([0.5, -2.0, 9.0]))
    assert found["corrected"] == 2
    assert found["variables"]["t2m"] == {"n": 2, "largest": -2.0, "units": "K", "station": "b"}
