"""How physical states are: exact ratios, excesses and counts, what is compared and what is left
out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from phyda_cli.constants import EARTH_RADIUS, GRAVITY, OMEGA, R_D
from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.physics.thermodynamics import saturation_specific_humidity
from phyda_cli.verification.physics import EquationScore, PhysicsReport, ViolationScore, assess

TIME = np.datetime64("2020-01-01T00", "ns")
LEVELS = np.array([30000.0, 50000.0, 70000.0, 85000.0])
GLOBE = Grid(np.linspace(-87.1875, 87.1875, 32), np.arange(64) * 5.625)
SPEED, WARMTH = 40.0, 250.0


def balanced(grid: Grid = GLOBE, levels: np.ndarray = LEVELS) -> Fields:
    """Solid-body rotation in gradient balance, isothermal and hydrostatic, with little humidity."""
    lat = np.deg2rad(grid.mesh[0])
    p = levels[:, None, None]
    whole = np.ones((levels.size, *grid.shape))
    turning = (EARTH_RADIUS * OMEGA * SPEED + SPEED**2 / 2) * np.sin(lat) ** 2
    upper = {
        "z": R_D * WARMTH * np.log(1e5 / p) - turning,
        "t": WARMTH * whole,
        "u": SPEED * np.cos(lat) * whole,
        "v": 0 * whole,
        "q": 0 * whole,
    }
    return Fields(grid, TIME, levels, upper, {})


def changed(fields: Fields, **added: np.ndarray | float) -> Fields:
    """``fields`` with something added to some variables."""
    return replace(
        fields,
        upper=dict(fields.upper)
        | {name: fields.upper[name] + part for name, part in added.items()},
    )


def wave(size: float, number: int = 6, grid: Grid = GLOBE) -> np.ndarray:
    """A smooth field (L, H, W) with zonal wavenumber ``number`` that changes with height."""
    lat, lon = np.deg2rad(grid.mesh)
    return np.array(
        [size * np.cos(lat) ** 2 * np.cos(number * lon + k) for k in range(LEVELS.size)]
    )


def shift_above(level: int, size: np.ndarray | float) -> np.ndarray:
    """``size`` on every level from the top to ``level``: it changes the thickness below ``level``
    only."""
    added = np.zeros((LEVELS.size, *GLOBE.shape))
    added[: level + 1] = size
    return added


ALTERNATING = np.where(np.arange(64) % 2, 1.0, -1.0) * np.ones(GLOBE.shape)


def equation(
    report: PhysicsReport, name: str, level: str | None = None, band: str | None = None
) -> EquationScore:
    (score,) = [s for s in report.equations if (s.equation, s.level, s.band) == (name, level, band)]
    return score


def violation(
    report: PhysicsReport, kind: str, level: str | None = None, band: str | None = None
) -> ViolationScore:
    (score,) = [s for s in report.violations if (s.kind, s.level, s.band) == (kind, level, band)]
    return score


def test_a_balanced_state_is_far_more_physical_than_a_perturbed_one() -> None:
    perturbed = changed(balanced(), z=wave(600.0), u=wave(6.0, 5), v=wave(6.0, 4), t=wave(4.0))
    report = assess(balanced(), background=perturbed)
    for name in ("hydrostatic", "mass", "momentum_u", "momentum_v", "geostrophic_v", "gradient"):
        ratio = equation(report, name).ratio
        assert ratio is not None
        assert ratio < 0.1, name
    assert (
        equation(report, "geostrophic_u").analysis > 5 * equation(report, "gradient").analysis
    )  # curved flow is not geostrophic
    assert report.reference == "background"
    assert equation(report, "gradient").background_ratio == 1.0
    assert equation(report, "gradient").excess is None


def test_a_state_is_as_physical_as_itself() -> None:
    state = changed(
        balanced(), z=wave(300.0), u=wave(3.0), v=wave(2.0), t=wave(2.0), q=1e-3 + wave(5e-4)
    )
    report = assess(
        state,
        background=changed(state, z=wave(50.0, 3), u=wave(1.0), t=wave(1.0, 3), q=wave(1e-4)),
        truth=state,
    )
    assert {s.equation for s in report.equations} == {
        "hydrostatic",
        "mass",
        "momentum_u",
        "momentum_v",
        "thermodynamic",
        "moisture",
        "geostrophic_u",
        "geostrophic_v",
        "gradient",
    }
    for s in report.equations:
        assert (s.ratio, s.excess) == (1.0, 0.0), s
        assert s.background_ratio != 1.0, s


def test_a_known_hydrostatic_error_adds_its_square() -> None:
    """Truth A with alternating sign, mean zero; E more everywhere: rms^2 = A^2 + E^2 in that layer,
    and the excess is E's share."""
    a, e = 20.0, 15.0
    truth = changed(balanced(), z=shift_above(1, a * ALTERNATING))
    report = assess(
        changed(truth, z=shift_above(1, e)), changed(truth, z=shift_above(1, -2 * e)), truth
    )
    layer = equation(report, "hydrostatic", level="500-700")
    assert layer.truth == pytest.approx(a)
    assert layer.analysis == pytest.approx(np.hypot(a, e))
    assert layer.background == pytest.approx(np.hypot(a, 2 * e))
    assert layer.ratio == pytest.approx(np.hypot(a, e) / a)
    assert layer.excess == pytest.approx(0.5)
    assert equation(report, "hydrostatic").analysis == pytest.approx(
        np.hypot(a, e) / np.sqrt(3)
    )  # one of three layers
    assert equation(report, "hydrostatic", level="300-500").analysis == pytest.approx(0, abs=1e-8)


def test_an_error_at_one_level_shows_in_both_layers_around_it() -> None:
    only = np.zeros((LEVELS.size, *GLOBE.shape))
    only[1] = 30.0
    report = assess(changed(balanced(), z=only))
    rms = [
        equation(report, "hydrostatic", level=layer).analysis
        for layer in ("300-500", "500-700", "700-850")
    ]
    assert rms == pytest.approx([30.0, 30.0, 0.0], abs=1e-8)
    assert equation(report, "hydrostatic").analysis == pytest.approx(30 * np.sqrt(2 / 3))


def test_the_excess_sees_errors_that_the_ratio_forgives() -> None:
    """As large as the truth's residual, but of the wrong sign."""
    truth = changed(balanced(), z=shift_above(1, 20 * ALTERNATING))
    analysis = changed(balanced(), z=shift_above(1, -20 * ALTERNATING))
    layer = equation(
        assess(analysis, changed(truth, z=shift_above(1, 10.0)), truth),
        "hydrostatic",
        level="500-700",
    )
    assert layer.ratio == pytest.approx(1.0)
    assert layer.excess == pytest.approx(4.0)


def test_members_are_judged_one_by_one() -> None:
    """Errors of opposite sign cancel in the mean state, not in the mean of the members' rms."""
    truth, members = balanced(), [changed(balanced(), z=shift_above(1, e)) for e in (30.0, -30.0)]
    layer = equation(
        assess(truth, changed(truth, z=shift_above(1, 60.0)), truth, members),
        "hydrostatic",
        level="500-700",
    )
    assert layer.members == pytest.approx(30.0)
    assert layer.members_excess == pytest.approx(0.5)
    assert layer.analysis == pytest.approx(0.0, abs=1e-8)


def test_a_variable_that_members_lack_is_the_analysis_s() -> None:
    analysis = changed(balanced(), t=wave(2.0))
    member = replace(analysis, upper={"u": analysis.upper["u"]})
    score = equation(assess(analysis, members=[member]), "hydrostatic")
    assert score.members == score.analysis


def test_bands_tell_where() -> None:
    north = (GLOBE.mesh[0] > 20) & (GLOBE.mesh[0] < 60)
    truth = changed(balanced(), z=shift_above(1, 20 * ALTERNATING))
    report = assess(changed(truth, z=shift_above(1, 20.0 * north)), truth=truth)
    bands = {s.band: s for s in report.equations if s.equation == "hydrostatic" and s.band}
    assert list(bands) == ["90S-60S", "60S-20S", "20S-20N", "20N-60N", "60N-90N"]
    assert {b: s.ratio for b, s in bands.items() if b != "20N-60N"} == dict.fromkeys(
        bands.keys() - {"20N-60N"}, 1.0
    )
    assert bands["20N-60N"].ratio == pytest.approx(np.sqrt(2))
    assert not [
        s
        for s in report.equations
        if s.equation in ("geostrophic_u", "gradient") and s.band == "20S-20N"
    ]
    everywhere = equation(report, "hydrostatic")
    assert (
        everywhere.n == sum(s.n for s in bands.values()) == 3 * 30 * 64
    )  # one row at either pole does not count


def test_negative_humidity_is_counted() -> None:
    q = np.zeros((LEVELS.size, *GLOBE.shape))
    q[1, 20, 5], q[3, 3, 7], q[0, 0, 0] = -1e-6, -1e-8, -1e-12  # the last is rounding
    report = assess(changed(balanced(), q=q), background=balanced())
    assert violation(report, "negative_q").analysis_count == 2
    assert violation(report, "negative_q").background_count == 0
    at_500 = violation(report, "negative_q", level="500")
    assert (at_500.n, at_500.analysis_count) == (GLOBE.size, 1)
    assert at_500.analysis == pytest.approx(GLOBE.area_weights[20] / GLOBE.area_weights.sum() / 64)
    assert violation(report, "negative_q", band="20N-60N").analysis_count == 1
    assert violation(report, "negative_q", band="90S-60S").analysis_count == 1


@pytest.mark.parametrize(("relative", "part"), [(1.04, 0.0), (1.06, 1.0)])
def test_supersaturation_beyond_the_tolerance_is_counted(relative: float, part: float) -> None:
    state = balanced()
    q = np.zeros((LEVELS.size, *GLOBE.shape))
    q[2] = (
        relative
        * saturation_specific_humidity(
            torch.tensor(WARMTH, dtype=torch.float64), torch.tensor(LEVELS[2])
        ).item()
    )
    report = assess(changed(state, q=q))
    assert violation(report, "supersaturated", level="700").analysis == pytest.approx(part)
    assert violation(report, "supersaturated").analysis == pytest.approx(part / 4)
    assert violation(report, "supersaturated", level="850").analysis_count == 0


def test_a_layer_that_would_overturn_is_counted() -> None:
    """Dry adiabatic is neutral; half a kelvin more below is not stable."""
    t = 290 * (LEVELS[:, None, None] / 1e5) ** (287.05 / 1004.7) * np.ones(GLOBE.shape)
    t[3, 10, 10] += 0.5
    report = assess(replace(balanced(), upper=dict(balanced().upper) | {"t": t}))
    assert violation(report, "unstable").analysis_count == 1
    assert violation(report, "unstable", level="700-850").analysis_count == 1


def ground(kind: str, where: np.ndarray) -> Mapping[str, np.ndarray]:
    if kind == "sp":
        return {"sp": np.where(where, 6e4, 1e5)}
    height = (
        R_D * WARMTH * np.log(1e5 / 6e4) / GRAVITY - 7e3 * np.sin(np.deg2rad(GLOBE.mesh[0])) ** 2
    )
    return {"orography": np.where(where, height, -1e4)}


@pytest.mark.parametrize("kind", ["sp", "orography"])
def test_points_below_ground_do_not_count(kind: str) -> None:
    """Ground at about 600 hPa: 700 and 850 hPa lie below it, and the layer that reaches to 700
    hPa."""
    where = (np.abs(GLOBE.mesh[0]) < 30) & (GLOBE.mesh[1] > 90) & (GLOBE.mesh[1] < 180)
    buried = np.zeros((LEVELS.size, *GLOBE.shape))
    buried[2:] = where
    state = changed(balanced(), t=20 * buried, q=-buried)
    known = assess(replace(state, surface=ground(kind, where)))
    assert violation(known, "negative_q").analysis_count == 0
    assert violation(known, "negative_q", level="850").n == GLOBE.size - where.sum()
    assert equation(known, "hydrostatic").analysis == pytest.approx(0, abs=1e-8)
    assert any("below ground" in note and "left out" in note for note in known.notes)
    unknown = assess(state)
    assert violation(unknown, "negative_q").analysis_count == 2 * where.sum()
    assert any("below ground count too" in note for note in unknown.notes)


@pytest.mark.parametrize(("pressure", "counts"), [(80000.0, True), (74000.0, False)])
def test_a_column_counts_unless_much_of_it_lies_below_ground(pressure: float, counts: bool) -> None:
    levels = np.array([30000.0, 50000.0, 75000.0, 82500.0])
    state = balanced(levels=levels)
    report = assess(replace(state, surface={"sp": np.where(GLOBE.mesh[1] > 180, pressure, 1e5)}))
    assert equation(report, "mass").n == 30 * (64 if counts else 33)


def test_different_grids_meet_on_the_coarser() -> None:
    fine = Grid(np.linspace(-88.59375, 88.59375, 64), np.arange(128) * 2.8125)
    for analysis, truth in ((balanced(fine), balanced()), (balanced(), balanced(fine))):
        report = assess(analysis, truth=truth)
        assert report.layout.grid.same_as(GLOBE)
        assert equation(report, "gradient", level="500").n == 64 * 22
        assert "all states are taken to the 64x32 grid first" in report.notes
    alone = assess(balanced(fine), background=balanced(fine))
    assert alone.layout.grid.same_as(fine)
    assert not any("grid" in note for note in alone.notes)


@pytest.mark.parametrize(("step", "points", "inner"), [(6.0, 6 * 11, 4 * 9), (3.0, 6 * 11, 4 * 7)])
def test_only_the_common_area_counts_and_bands_without_points_are_left_out(
    step: float, points: int, inner: int
) -> None:
    """On the region's own coarser grid differences at the edges would be one-sided; on the globe's
    finer one they need points outside."""
    region = Grid(np.arange(25, 56, step), np.arange(0, 61, step))
    report = assess(balanced(), truth=balanced(region))
    assert {s.band for s in report.equations} == {None, "20N-60N"}
    assert equation(report, "hydrostatic").n == 3 * points
    assert equation(report, "momentum_u", level="500").n == inner


def test_a_region_in_the_tropics_has_no_balance() -> None:
    report = assess(balanced(Grid(np.linspace(-15, 15, 11), np.linspace(0, 30, 11))))
    assert {s.equation for s in report.equations} == {
        "hydrostatic",
        "mass",
        "momentum_u",
        "momentum_v",
        "thermodynamic",
        "moisture",
    }


def test_no_common_area() -> None:
    here, there = (Grid(np.linspace(30, 40, 5), start + np.linspace(0, 10, 5)) for start in (0, 90))
    with pytest.raises(InputError, match="nothing of the physics can be computed"):
        assess(balanced(here), truth=balanced(there))


def test_missing_variables_are_named_with_what_they_cost() -> None:
    dry = replace(balanced(), upper={v: f for v, f in balanced().upper.items() if v != "q"})
    report = assess(balanced(), truth=dry)
    assert "moisture" not in {s.equation for s in report.equations}
    assert {s.kind for s in report.violations} == {"unstable"}
    (note,) = [n for n in report.notes if n.startswith("q ")]
    assert (
        note
        == "q is missing in the truth: moisture, negative_q, supersaturated left out, and air is "
        "dry in hydrostatic"
    )
    still = replace(balanced(), upper={v: f for v, f in balanced().upper.items() if v in "zt"})
    report = assess(still)
    assert {s.equation for s in report.equations} == {"hydrostatic"}
    assert any(
        n.startswith("u is missing in the analysis: mass, momentum_u, momentum_v")
        for n in report.notes
    )


def test_a_single_level() -> None:
    report = assess(balanced(levels=np.array([50000.0])))
    assert {s.equation for s in report.equations} == {
        "momentum_u",
        "momentum_v",
        "thermodynamic",
        "moisture",
        "geostrophic_u",
        "geostrophic_v",
        "gradient",
    }
    assert {s.kind for s in report.violations} == {"negative_q", "supersaturated"}
    assert any(
        note.startswith("one level only: hydrostatic, mass, unstable left out")
        for note in report.notes
    )


def test_levels_that_not_all_have_are_left_out_in_any_order() -> None:
    state = balanced(levels=LEVELS[::-1].copy())
    q = state.upper["q"].copy()
    q[-1] = np.nan  # no humidity at 300 hPa
    report = assess(
        replace(state, upper=dict(state.upper) | {"q": q}),
        truth=balanced(levels=np.array([20000.0, 50010.0, 70000.0, 85000.0])),
    )
    assert report.layout.levels.tolist() == [50000.0, 70000.0, 85000.0]
    assert any("left out: 200, 300 hPa" in note for note in report.notes)
    assert [s.level for s in report.equations if s.equation == "hydrostatic" and s.level] == [
        "500-700",
        "700-850",
    ]


def test_no_common_level_says_who_has_which() -> None:
    with pytest.raises(
        InputError,
        match=r"no pressure level is common to z t u v q .* analysis has z at 500 hPa.*truth has "
        r"z at 850 hPa",
    ):
        assess(balanced(levels=np.array([50000.0])), truth=balanced(levels=np.array([85000.0])))
    with pytest.raises(InputError, match="the analysis has none of z, t, u, v, q"):
        assess(replace(balanced(), upper={}))


def test_a_variable_that_alone_tells_nothing() -> None:
    with pytest.raises(
        InputError, match="nothing of the physics can be computed; t is missing in the analysis"
    ):
        assess(replace(balanced(), upper={"z": balanced().upper["z"]}))


def test_plain_values_for_json() -> None:
    report = assess(balanced(), background=changed(balanced(), z=wave(30.0))).as_dict()
    assert report["grid"] == {"latitudes": 32, "longitudes": 64}
    assert report["levels_hPa"] == [300.0, 500.0, 700.0, 850.0]
    assert report["reference"] == "background"
    assert report["tolerances"] == {"negative_q": 1e-9, "supersaturated": 0.05, "unstable": 0.1}
