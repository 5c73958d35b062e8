"""Sums: what they give for exact fields, that they add up over files, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.verification.experiments import compare
from phyda_cli.verification.field_sums import add_fields
from phyda_cli.verification.regions import region_masks
from phyda_cli.verification.sums import Key, Sums, read_sums
from phyda_cli.verification.tidy import tidy_rows

GRID = Grid(np.linspace(-80, 80, 9), np.arange(12) * 30.0)
TIME = np.datetime64("2020-01-01T00", "ns")


def fields(t: np.ndarray | float, u: float = 0.0, v: float = 0.0) -> Fields:
    shape = (1, *GRID.shape)
    upper = {"t": np.broadcast_to(t, shape).astype(float)}
    upper |= {"u": np.full(shape, u), "v": np.full(shape, v)}
    msl = 1e5 + 100 * np.broadcast_to(t, shape)[0]
    return Fields(GRID, TIME, np.array([85000.0]), upper, {"msl": msl})


def scores(sums: Sums, variable: str, state: str = "analysis", region: str = "all") -> dict:
    return {
        r.score: r.value
        for r in tidy_rows(sums)
        if (r.variable, r.state, r.region, r.group) == (variable, state, region, "")
    }


def test_exact_errors() -> None:
    sums = Sums()
    add_fields(sums, fields(281.0, 3.0, 4.0), fields(280.0), fields(278.0, 6.0, 8.0))
    t, wind = scores(sums, "t"), scores(sums, "wind")
    assert (t["bias"], t["rmse"], t["mae"]) == pytest.approx((1.0, 1.0, 1.0))
    assert scores(sums, "t", "background")["bias"] == pytest.approx(-2.0)
    assert (t["ratio"], t["removed"]) == pytest.approx((0.5, 0.5))
    assert (wind["rmse"], wind["bias"], wind["ratio"]) == pytest.approx((5.0, 5.0, 0.5))
    assert "increment_correlation" not in t  # both are constant


def test_half_of_the_error_taken_off_correlates_wholly_and_noise_does_not() -> None:
    rng = np.random.default_rng(0)
    error = rng.normal(size=(1, *GRID.shape))
    half, other = Sums(), Sums()
    add_fields(half, fields(280 + error / 2), fields(280.0), fields(280 + error))
    noise = rng.normal(size=error.shape)
    add_fields(other, fields(280 + error + noise), fields(280.0), fields(280 + error))
    assert scores(half, "t")["increment_correlation"] == pytest.approx(1.0)
    assert abs(scores(other, "t")["increment_correlation"]) < 0.3


def test_s1_by_hand() -> None:
    """A slope of one against a slope of two from row to row: |1 - 2| / 2."""
    rows = np.arange(9.0)[None, :, None] * np.ones((1, 9, 12))
    sums = Sums()
    add_fields(sums, fields(280 + rows), fields(280 + 2 * rows))
    assert scores(sums, "msl")["s1"] == pytest.approx(50.0)


def test_members_give_spread_with_the_mean_s_own_error_and_flat_ranks() -> None:
    rng = np.random.default_rng(1)
    sums = Sums()
    for seed in range(30):
        centre = rng.normal(size=(1, *GRID.shape))
        members = [fields(280 + centre + rng.normal(size=centre.shape)) for _ in range(16)]
        mean = fields(np.mean([m.upper["t"] for m in members], axis=0))
        truth = fields(280 + centre + rng.normal(size=centre.shape))
        add_fields(sums, mean, truth, members=members, time=seed)
    t = scores(sums, "t")
    assert t["spread_skill"] == pytest.approx(1, abs=0.03)
    assert t["rank_p"] > 0.01
    assert t["coverage_50"] == pytest.approx(0.5, abs=0.03)
    assert sums.bins == 17


def test_members_that_come_and_go_are_counted_all() -> None:
    rng = np.random.default_rng(2)
    sums = Sums()
    for size in (8, 5):
        members = [fields(280 + rng.normal(size=(1, *GRID.shape))) for _ in range(size)]
        add_fields(sums, fields(280.0), fields(280.5), members=members)
    key = Key("fields", "t", "850", "all", "", "unknown")
    assert sums.bins == 9
    assert sums.ranks[key].sum() == pytest.approx(2 * GRID.size)


def test_regions_are_parts_of_the_whole() -> None:
    sums = Sums()
    error = np.where(GRID.mesh[0] > 20, 3.0, 1.0)[None]
    masks = region_masks(fields(280.0), GRID, box=(350.0, 30.0, 370.0, 60.0))
    add_fields(sums, fields(280 + error), fields(280.0), masks=masks)
    assert scores(sums, "t", region="north")["rmse"] == pytest.approx(3.0)
    assert scores(sums, "t", region="tropics")["rmse"] == pytest.approx(1.0)
    box = [r for r in tidy_rows(sums) if r.region == "box" and r.variable == "t"]
    assert {r.n for r in box} == {2}  # 40 and 60 N at Greenwich


def run(days: range, error: float, seed: int) -> Sums:
    """Four analyses a day with an error of this size, each day's of its own seed."""
    sums = Sums()
    for day in days:
        rng = np.random.default_rng([seed, day])
        for hour in range(0, 24, 6):
            seconds = 86400 * day + 3600 * hour
            sums.note_time(seconds, f"an{day}{hour}.nc")
            base = rng.normal(size=(1, *GRID.shape))
            truth = fields(280.0)
            own = fields(280 + error * base)
            first = fields(280 + base)
            groups = ("", f"{hour:02d}Z")
            add_fields(sums, own, truth, first, fields(error), groups=groups, time=seconds)
    return sums


def test_a_month_of_merged_days_is_the_month_at_once(tmp_path: Path) -> None:
    for day in range(30):
        run(range(day, day + 1), 0.5, 0).save(tmp_path / f"s{day:02d}.nc", {})
    merged = read_sums(sorted(tmp_path.glob("s*.nc"), reverse=True))
    once = run(range(30), 0.5, 0)
    assert len(merged.times) == 120
    assert set(merged.rows) == set(once.rows)
    for key, row in once.rows.items():
        np.testing.assert_allclose(merged.rows[key], row, rtol=1e-12)
    for key, counts in once.ranks.items():
        np.testing.assert_allclose(merged.ranks[key], counts, rtol=1e-12)
    scores_of = [list(tidy_rows(s)) for s in (merged, once)]
    assert len(scores_of[0]) == len(scores_of[1])
    np.testing.assert_allclose(*([r.value for r in s] for s in scores_of), rtol=1e-12, atol=1e-12)
    for key in once.series:
        for name, values in once.series_of(key).items():
            np.testing.assert_allclose(merged.series_of(key)[name], values, rtol=1e-12)


def test_a_time_counts_once(tmp_path: Path) -> None:
    run(range(1), 0.5, 0).save(tmp_path / "a.nc", {})
    with pytest.raises(InputError, match="both valid at 1970-01-01T00:00Z"):
        read_sums([tmp_path / "a.nc", tmp_path / "a.nc"])
    (tmp_path / "b.nc").write_bytes(b"no")
    with pytest.raises(InputError, match=r"b\.nc"):
        read_sums([tmp_path / "b.nc"])


def test_a_run_against_itself_has_no_significant_cell() -> None:
    card = compare(run(range(5), 0.5, 0), run(range(5), 0.5, 0))
    assert card.common == 20
    assert {c.verdict for c in card.cells} == {"same"}


def test_a_shift_of_half_a_sigma_is_found_and_few_times_are_too_few() -> None:
    ours, theirs = run(range(5), 0.5, 0), Sums()
    for seconds in ours.times:
        theirs.note_time(seconds, "other")
        rng = np.random.default_rng(seconds)
        error = 0.5 * rng.normal(size=(1, *GRID.shape)) + 0.25
        add_fields(theirs, fields(280 + error), fields(280.0), time=seconds)
    t = {c.variable: c for c in compare(ours, theirs).cells}["t"]
    assert t.verdict == "better"
    assert t.high is not None
    assert t.high < 0
    few = compare(run(range(2), 0.5, 0), run(range(1), 0.6, 0))
    assert {c.verdict for c in few.cells} == {"too few"}
    assert few.common == 4


def test_no_common_time_names_both_ranges() -> None:
    with pytest.raises(InputError) as caught:
        compare(run(range(1), 0.5, 0), run(range(3, 4), 0.5, 0))
    assert "1970-01-01T00:00Z to 1970-01-01T18:00Z" in caught.value.message
    assert "1970-01-04T00:00Z" in caught.value.message


def test_constant_fields_and_a_perfect_background_give_no_infinity() -> None:
    sums = Sums()
    add_fields(sums, fields(280.0), fields(280.0), fields(280.0), spread=fields(0.0))
    assert all(np.isfinite(r.value) for r in tidy_rows(sums))
    assert "ratio" not in scores(sums, "t")


def test_gaps_in_the_truth_do_not_count() -> None:
    truth = fields(280.0)
    t = truth.upper["t"].copy()
    t[0, 0] = np.nan
    sums = Sums()
    add_fields(sums, fields(281.0), replace(truth, upper={**truth.upper, "t": t}))
    row = next(r for r in tidy_rows(sums) if r.variable == "t" and r.score == "rmse")
    assert (row.value, row.n) == (pytest.approx(1.0), GRID.size - 12)
