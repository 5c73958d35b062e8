"""Stations over 30 days: a sick one is named in time and no other."""

from __future__ import annotations

import numpy as np
import pandas as pd

from phyda_cli.settings.verification import StationThresholds
from phyda_cli.verification.report_tables import stations_block
from phyda_cli.verification.station_health import StationHistory, blacklist_lines, judge


def feedback(day: int, hour: int, rng: np.random.Generator, stations: int = 40) -> pd.DataFrame:
    """Reports of t2m with the expected error sqrt(2); S7 is off by three of it from day 10 on."""
    names = np.array([f"S{i}" for i in range(stations)], object)
    ombg = np.sqrt(2) * rng.normal(size=stations)
    if day >= 10:
        ombg[7] += 3 * np.sqrt(2)
    time = np.datetime64("2020-01-01T00", "ns") + np.timedelta64(24 * day + hour, "h")
    return pd.DataFrame(
        {
            "station_id": names,
            "variable": "t2m",
            "time": time,
            "latitude": np.linspace(-60, 60, stations),
            "longitude": 10.0 * np.arange(stations),
            "elevation": 10.0,
            "ObsValue": 280 + ombg,
            "ObsError": 1.0,
            "EffectiveError": 1.0,
            "hofx0_error": 1.0,
            "ombg": ombg,
            "EffectiveQC": np.where(np.abs(ombg) > 5 * np.sqrt(2), 19, 0),
        }
    )


def history(days: int, seed: int = 0) -> StationHistory:
    rng = np.random.default_rng(seed)
    found = StationHistory()
    for day in range(days):
        for hour in range(0, 24, 6):
            rows = feedback(day, hour, rng)
            found.add(rows["time"].to_numpy()[0], rows)
    return found


def suspicious(found: StationHistory) -> list[str]:
    return [r.station for r in judge(found, StationThresholds()) if r.reasons]


def test_the_sick_station_is_named_by_day_15_and_no_other() -> None:
    for seed in range(5):
        assert suspicious(history(10, seed)) == []
        assert suspicious(history(15, seed)) == ["S7"]


def test_its_line_goes_into_a_blacklist() -> None:
    (line,) = blacklist_lines(judge(history(15), StationThresholds()))
    assert line.startswith("S7 t2m  # ")


def test_statistics_are_those_of_the_departures() -> None:
    found = StationHistory()
    rng = np.random.default_rng(0)
    tables = [feedback(0, hour, rng) for hour in range(0, 24, 6)]
    for rows in tables:
        found.add(rows["time"].to_numpy()[0], rows)
    own = np.array([t["ombg"].to_numpy()[3] for t in tables])
    row = next(r for r in judge(found, StationThresholds()) if r.station == "S3")
    assert row.mean is not None
    assert row.std is not None
    np.testing.assert_allclose((row.mean, row.std), (own.mean(), own.std(ddof=1)))
    assert (row.expected, row.received, row.last_seen) == (4, 4, "2020-01-01T18:00Z")


def test_missing_reports_twins_and_a_wrong_height() -> None:
    found = StationHistory()
    rng = np.random.default_rng(1)
    for day in range(8):
        for hour in (0, 12):
            rows = feedback(day, hour, rng, 4)
            rows["variable"] = "msl"
            rows["ombg"] = 30 * rng.normal(size=4)
            rows["hofx0_error"] = rows["ObsError"] = rows["EffectiveError"] = 100.0
            rows.loc[0, "ombg"] += 1180.0  # 100 m of air
            rows.loc[3, ["latitude", "longitude", "ObsValue"]] = rows.loc[
                2, ["latitude", "longitude", "ObsValue"]
            ].to_numpy()
            if day > 1:
                rows = rows.drop(index=1)
            found.add(rows["time"].to_numpy()[0], rows)
    reasons = {r.station: "; ".join(r.reasons) for r in judge(found, StationThresholds())}
    assert "height" in reasons["S0"]
    assert "12 of 16 reports missing" in reasons["S1"]
    assert reasons["S2"] == "same place and values as S3"


def test_a_station_without_model_equivalent_is_listed_with_its_reason_and_no_suspect() -> None:
    found = StationHistory()
    rows = feedback(0, 0, np.random.default_rng(0)).assign(EffectiveQC=0, ombg=0.0)
    for _ in range(10):
        odd = rows.assign(EffectiveQC=np.where(np.arange(40) == 3, 15, 0))
        found.add(rows["time"].to_numpy()[0], odd)
    judged = judge(found, StationThresholds())
    assert not [r for r in judged if r.reasons]
    (table, *_) = stations_block(judged)
    first, second = (dict(zip(table.header, r.cells, strict=True)) for r in table.rows[:2])
    assert (first["station"], first["rejected"]) == ("S3", "10 no model equivalent")
    assert second["rejected"] == ""
