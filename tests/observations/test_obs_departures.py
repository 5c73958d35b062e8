"""What departures say about errors: exact chi-square, inflation and groups."""

import numpy as np
import pandas as pd
import pytest

from phyda_cli.observations.departures import departure, inflation, summarise_feedback


def feedback() -> pd.DataFrame:
    ombg = np.array([2.0, -2.0, 4.0, -4.0, 9.0])
    oman = np.array([1.0, -1.0, 3.0, -3.0, 9.0])
    return pd.DataFrame(
        {
            "variable": ["t", "t", "t", "t", "u"],
            "EffectiveQC": [0, 0, 1, 1, 19],
            "ombg": ombg,
            "oman": oman,
            "hofx0": 280.0 - ombg,
            "hofx1": 280.0 - oman,
            "DerivedObsValue": [280.0, 280.0, 280.0, 280.0, np.nan],
            "station_id": ["a", "b", "c", "d", "e"],
            "time": np.datetime64("2020-10-01T06:00", "ns"),
            "latitude": [70.0, -70.0, 0.0, 0.0, 0.0],
            "longitude": 0.0,
            "pressure": [85000.0, 50000.0, 50000.0, 50000.0, 50000.0],
            "height": np.nan,
            "source_file": "obs.csv",
            "source_row": np.arange(5),
            "EffectiveError": [1.0, 1.0, 1.0, 1.0, np.nan],
            "hofx0_error": [1.0, 1.0, 1.0, 1.0, 2.0],
        }
    )


def test_summary_of_a_feedback() -> None:
    summary = summarise_feedback(feedback())
    (used,), (passive,) = summary.used, summary.passive
    assert (used.n, used.ombg_rms, used.oman_rms, used.chi2, used.error) == pytest.approx(
        (2, 2.0, 1.0, 2.0, 1.0)
    )
    assert (used.sigma_o, used.sigma_b) == pytest.approx((np.sqrt(2.0), np.sqrt(2.0)))
    assert (passive.ombg_rms, passive.oman_rms, passive.ratio) == pytest.approx((4.0, 3.0, 0.75))
    assert passive.sigma_o is None
    assert {k: summary.account[k] for k in ("in", "used", "passive", "rejected")} == {
        "in": 5,
        "used": 2,
        "passive": 2,
        "rejected": {"too far from the background": 1},
    }
    assert used.inflation is None  # of two rows none is suggested
    assert {k: [(d.variable, d.n) for d in v] for k, v in summary.groups["region"].items()} == {
        "north of 60N": [("t", 1)],
        "south of 60S": [("t", 1)],
    }
    assert list(summary.groups["level"]) == ["850 to 500 hPa", "500 to 250 hPa"]
    assert {k: sum(d.n for d in v) for k, v in summary.groups["type"].items()} == {
        "single level": 2
    }
    assert summary.chi2 == pytest.approx(2.0)


def test_a_superobservation_counts_as_what_was_used() -> None:
    rows = feedback().assign(DerivedObsValue=[281.0, 279.0, 280.0, 280.0, np.nan])
    used = summarise_feedback(rows).used[0]
    assert used.ombg_rms == pytest.approx(3.0)
    assert used.oman_rms == pytest.approx(2.0)


def test_inflation_makes_chi2_one() -> None:
    rng = np.random.default_rng(0)
    error, sigma_b = rng.uniform(0.5, 2, 500), rng.uniform(0.5, 2, 500)
    d = np.hypot(1.7 * error, sigma_b) * rng.standard_normal(500)
    factor = inflation(d, error, sigma_b)
    assert factor == pytest.approx(1.7, rel=0.15)
    assert np.mean(d**2 / ((factor * error) ** 2 + sigma_b**2)) == pytest.approx(1.0)
    assert departure("t", d, d, factor * error, sigma_b).chi2 == pytest.approx(1.0)
    assert inflation(0.5 * sigma_b, error, sigma_b) is None  # no observation error is small enough
    assert inflation(d[:19], error[:19], sigma_b[:19]) is None
