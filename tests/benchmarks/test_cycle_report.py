"""The report of cycled experiments: noise of forecasts relative to the truth's, measured at some of
the analyses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cycle_report import noise_ratios, write_report
from benchmarks.osse_scores import flat_share, rank_counts


def test_noise_is_the_ratio_of_means() -> None:
    found = noise_ratios(
        {
            "truth": np.array([100.0, 300.0]),
            "background": np.array([110.0, 300.0]),
            "analysis": np.array([120.0, 320.0]),
        }
    )
    assert found["analysis"] == pytest.approx(
        {"ratio": 440 / 400, "low": 320 / 300, "high": 1.2, "cases": 2}
    )
    assert found["background"]["ratio"] == pytest.approx(410 / 400)
    assert noise_ratios({}) == {}


def test_ranks_count_from_analyses_that_are_two_days_apart(tmp_path: Path) -> None:
    """One channel with flat ranks, one whose truth is always above the members. The flat one is so
    at every eighth analysis only."""
    high, flat = [3] * 60, [0, 1, 2, 3] * 15
    records = [
        {"time": f"{i}", "background": [1.0, 2.0], "analysis": [0.5, 1.0], "spread": [0.5, 0.5]}
        | {"crps": [0.1, 0.3], "ranks": [high if i % 8 else flat, high], "members": 3}
        | {"scale": 1.0, "seconds": 2.0, "analysis_seconds": 1.0}
        for i in range(32)
    ]
    text = "".join(json.dumps(r) + "\n" for r in records)
    (tmp_path / "phyda.jsonl").write_text(text, encoding="utf-8")
    write_report(tmp_path)
    row = json.loads((tmp_path / "cycles.json").read_text(encoding="utf-8"))["methods"]["phyda"]
    assert row["flat_ranks"] == 0.5
    assert row["crps"] == pytest.approx(0.2)
    assert row["spread_skill"] == pytest.approx(0.75)


def _ranks(errors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Counts (V, places, 9) of the ranks of ``errors`` (V, places, times) among eight normal
    members."""
    return rank_counts((rng.standard_normal((8, *errors.shape)) < errors).sum(axis=0), 8)


def test_errors_that_last_do_not_make_ranks_uneven() -> None:
    """A perfect ensemble, 55 places and 10 times: errors anew each time, and errors of a month
    (their correlation is 0.9 from time to time). A bias is seen in both."""
    rng = np.random.default_rng(1)
    for rho in (0.0, 0.9):
        errors = rng.standard_normal((400, 55, 10))
        for t in range(1, 10):
            errors[:, :, t] *= (1 - rho**2) ** 0.5
            errors[:, :, t] += rho * errors[:, :, t - 1]
        counts = _ranks(errors, rng)
        assert flat_share(counts) == pytest.approx(0.95, abs=0.03)
        assert flat_share(_ranks(errors + 0.7, rng)) < 0.1
    assert flat_share(counts.sum(axis=1)) < 0.7


def test_pairs_of_members_leave_the_middle_twice_as_often_to_the_truth() -> None:
    """A truth drawn like the members, which come in pairs z, -z."""
    rng = np.random.default_rng(0)
    half, truth = rng.standard_normal((2, 4000)), rng.standard_normal(4000)
    members = np.concatenate([half, -half])
    counts = np.bincount((members < truth).sum(axis=0), minlength=5)[None]
    assert flat_share(counts, pairs=True) == 1
    assert flat_share(counts) == 0


def test_the_table_has_noise_of_methods_that_measured_it(tmp_path: Path) -> None:
    for name, noisy in (("oi", True), ("free", False)):
        records = [
            {
                "time": f"{i}",
                "background": [1.0, 2.0],
                "analysis": [0.5, 1.0],
                "scale": 1.0,
                "seconds": 2.0,
                "analysis_seconds": 1.0,
            }
            | (
                {"noise": {"truth": 50.0, "background": 52.0, "analysis": 55.0, "b": 60.0}}
                if noisy and i % 8 == 0
                else {}
            )
            for i in range(24)
        ]
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(json.dumps(r) + "\n" for r in records), encoding="utf-8"
        )
    write_report(tmp_path)
    text = (tmp_path / "cycles.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if "| 0.750 |" in line}
    assert "1.100 (1.100–1.100) | 1.040 |" in rows["oi"]
    assert rows["free"].rstrip().endswith("| 1.0 | | |")
    assert "backgrounds as those of oi (1.100 (1.100–1.100)): b 1.200 (1.200–1.200)." in text
