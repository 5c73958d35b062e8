"""The benchmark of limited areas: its arithmetic against known answers, and its stations."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import spec

from benchmarks.limited_cases import stations
from benchmarks.limited_report import missed, summary
from phyda_cli.fields.grid import Grid

CHANNELS = ("t850", "msl")


def records(
    count: int, factor: tuple[float, float], spread: float, days: int = 60
) -> list[dict[str, object]]:
    """oi with random squares, phyda with ``factor`` (by channel) times oi's RMSE and ``spread``
    times its own as spread."""
    rng = np.random.default_rng(count)
    out: list[dict[str, object]] = []
    for day in range(days):
        square = rng.uniform(0.5, 1.5, 2)
        for method, ratio in (("oi", (1.0, 1.0)), ("corrected oi", (0.9, 0.9)), ("phyda", factor)):
            own = square * np.square(ratio)
            out.append(
                {
                    "stations": count,
                    "method": method,
                    "time": str(np.datetime64("2008-01-01T12:00:00") + np.timedelta64(day, "D")),
                    "square": own.tolist(),
                    "prior": (4 * square).tolist(),
                    "width": (spread**2 * own).tolist(),
                    "crps": [1.0, 2.0],
                }
            )
    return out


def test_scores_are_those_that_went_in() -> None:
    found = summary(records(12, (0.7, 0.8), 0.95), CHANNELS)["12"]
    below = found["below_oi"]["phyda"]
    assert below["channels"] == pytest.approx({"t850": 0.3, "msl": 0.2})
    assert below["mean"] == pytest.approx(0.25)
    assert below["interval"] == pytest.approx([0.25, 0.25])  # every day the same
    assert found["below_oi"]["corrected oi"]["mean"] == pytest.approx(0.1)
    assert found["oi"]["mse_over_background"] == pytest.approx({"t850": 0.25, "msl": 0.25})
    assert found["phyda"]["spread_skill"] == pytest.approx({"t850": 0.95, "msl": 0.95})
    assert found["phyda"]["crps"] == pytest.approx({"t850": 1.0, "msl": 2.0})


def test_bars() -> None:
    good = summary(records(12, (0.77, 0.78), 1.0) + records(30, (0.83, 0.84), 1.0), CHANNELS)
    assert missed(good) == []
    worse = summary(records(12, (0.77, 0.80), 1.0) + records(30, (0.83, 0.84), 1.2), CHANNELS)
    assert [m.split(":")[0] for m in missed(worse)] == ["12 stations", "30 stations", "30 stations"]


def test_methods_of_different_days_are_refused() -> None:
    with pytest.raises(SystemExit, match="different days"):
        summary(records(12, (1.0, 1.0), 1.0)[:-1], CHANNELS)


def test_every_station_reports_everything_inside_the_area() -> None:
    area = Grid(np.linspace(60, 30, 11), np.linspace(-20, 14, 13))
    network = stations(spec(("z500", "t850", "msl"), area), 12, np.random.default_rng(0))
    assert network.channel.tolist() == [0, 1, 2] * 12
    assert network.error.tolist() == [100.0, 1.0, 100.0] * 12
    assert len(set(zip(network.latitude.tolist(), network.longitude.tolist(), strict=True))) == 12
    np.testing.assert_allclose(np.asarray(network.matrix.sum(axis=1)).ravel(), 1.0, rtol=1e-6)
