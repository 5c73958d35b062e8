"""The fine stage on fields: what it changes, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from phyda_cli.analysis.analyse import Analysis
from phyda_cli.analysis.fine import FineStage, fine_stage, refine
from phyda_cli.fields.earth import east_and_north, unit_vectors
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.fields.interpolate import bilinear
from phyda_cli.observations.feedback import Feedback
from phyda_cli.observations.table import QC, make
from phyda_cli.settings.fine import FineSettings

GRID = Grid(np.arange(30.0, 61.0, 1.0), np.arange(0.0, 31.0, 1.0))
TIME = np.datetime64("2020-01-01T00", "ns")
ON = FineSettings(stage="auto")


def background() -> Fields:
    shape = GRID.shape
    surface = {
        "t2m": np.full(shape, 280.0),
        "u10": np.zeros(shape),
        "v10": np.zeros(shape),
        "q2m": np.full(shape, 5e-3),
        "msl": np.full(shape, 101325.0),
        "sp": np.full(shape, 95000.0),
        "rh2m": np.full(shape, 60.0),
        "orography": np.zeros(shape),
    }
    upper = {"q": np.full((2, *shape), 5e-3)}
    return Fields(GRID, TIME, np.array([85000.0, 101325.0]), upper, surface)


def anomaly(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """A small-scale error: waves of 800 km."""
    return 3 * np.sin(latitude * 0.9) * np.sin(longitude * 0.7)


def table(variables: tuple[str, ...], count: int = 150) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    latitude, longitude = rng.uniform(40, 55, count), rng.uniform(5, 25, count)
    values = background().surface
    tables = [
        make(
            station_id=[f"S{i}" for i in range(count)],
            time=TIME,
            latitude=latitude,
            longitude=longitude,
            elevation=0.0,
            variable=name,
            value=values[name].mean()
            + (values[name].mean() / 280 if name in ("sp", "q2m") else 1.0)
            * (anomaly(latitude, longitude) + 0.3 * rng.standard_normal(count)),
            error=1.0,
        )
        for name in variables
    ]
    return pd.concat(tables, ignore_index=True)


def analysis(rows: pd.DataFrame) -> Analysis:
    """One that changed nothing on the model grid but q and msl."""
    fields = background()
    means = {k: float(v.mean()) for k, v in fields.surface.items()}
    hofx = rows["variable"].map(means).to_numpy(float)
    zero = {k: np.zeros(GRID.shape) for k in ("t2m", "u10", "v10")}
    increment = replace(
        fields,
        upper={"q": np.full((2, *GRID.shape), 1e-4)},
        surface=zero | {"msl": np.full(GRID.shape, 100.0)},
    )
    spread = replace(increment, surface=dict.fromkeys(increment.surface, np.ones(GRID.shape)))
    return Analysis(
        fields=fields,
        increment=increment,
        spread=spread,
        members=[fields],
        feedback=Feedback.as_observed(rows, hofx, hofx.copy(), np.ones(len(rows))),
        status="ok",
        notes=[],
    )


def test_off_changes_nothing() -> None:
    before = analysis(table(("t2m",)))
    assert refine(background(), before, FineSettings(stage="off")) is before


def test_fields_and_departures_move_to_the_stations() -> None:
    rows = table(("t2m",))
    before = analysis(rows)
    after = refine(background(), before, ON)
    change = after.fields.surface["t2m"] - before.fields.surface["t2m"]
    truth = anomaly(*GRID.mesh)
    inside = np.ix_(
        (GRID.latitude > 42) & (GRID.latitude < 53), (GRID.longitude > 8) & (GRID.longitude < 22)
    )
    assert np.std((truth - change)[inside]) < 0.5 * np.std(truth[inside])
    np.testing.assert_allclose(change, after.increment.surface["t2m"], atol=1e-9)
    misfit = rows["value"].to_numpy() - after.feedback.hofx1
    assert np.std(misfit) < 0.4 * np.std(rows["value"])
    assert (after.spread.surface["t2m"] > 1.0).all()
    assert after.members[0].surface["t2m"] is not before.members[0].surface["t2m"]


def test_companions_follow_and_the_rest_is_named() -> None:
    after = refine(background(), analysis(table(("t2m",))), ON)
    np.testing.assert_allclose(after.increment.surface["sp"], 100.0 * 95000 / 101325)
    np.testing.assert_allclose(after.increment.surface["q2m"], 1e-4)
    assert after.increment.surface["rh2m"].mean() > 0
    assert not any(n.startswith("not updated") and "rh2m" in n for n in after.notes)
    assert any("of the area is farther" in n for n in after.notes)


def test_pressure_of_stations_moves_both_pressures_in_proportion() -> None:
    rows = table(("sp",))
    stage = fine_stage(
        background(),
        rows,
        rows["value"].to_numpy() - 95000.0,
        np.ones(len(rows)),
        np.ones(len(rows), bool),
        ON,
    )
    assert np.abs(stage.increment["msl"]).max() > 100
    np.testing.assert_allclose(
        stage.increment["sp"] * 101325 / 95000, stage.increment["msl"], rtol=1e-6
    )


def test_passive_stations_are_predicted_and_not_used() -> None:
    rows = table(("u10", "v10"))
    used = np.arange(len(rows)) % 150 >= 30
    residual = rows["value"].to_numpy().copy()
    first = fine_stage(background(), rows, residual, np.ones(len(rows)), used, ON)
    residual[~used] = 1e3
    second = fine_stage(background(), rows, residual, np.ones(len(rows)), used, ON)
    np.testing.assert_array_equal(first.at_rows, second.at_rows)
    misfit = rows["value"].to_numpy()[~used] - first.at_rows[~used]
    assert np.std(misfit) < 0.6 * np.std(rows["value"].to_numpy()[~used])


def test_few_stations_are_left_to_the_model_grid() -> None:
    rows = table(("t2m",), count=20)
    after = refine(background(), analysis(rows), ON)
    assert (after.increment.surface["t2m"] == 0).all()


@pytest.mark.parametrize("latitude", [0.0, 60.0, -89.9])
def test_east_and_north_are_those_of_the_sphere(latitude: float) -> None:
    east, north = east_and_north(6371 * unit_vectors(np.array([latitude]), np.array([30.0])))
    step = 1e-4
    up = unit_vectors(np.array([latitude + step]), np.array([30.0]))
    towards = up - unit_vectors(np.array([latitude]), np.array([30.0]))
    np.testing.assert_allclose(towards / np.linalg.norm(towards), north, atol=1e-5)
    np.testing.assert_allclose(east, [[-0.5, np.sqrt(3) / 2, 0.0]], atol=1e-12)


def test_weak_winds_at_stations_are_no_small_scale() -> None:
    """Stations report three quarters of the model's wind; the fields follow near them alone."""
    fields = background()
    fields = replace(
        fields,
        surface={
            **fields.surface,
            "u10": np.full(GRID.shape, 8.0),
            "lsm": np.ones(GRID.shape),
        },
    )
    rows = table(("u10", "v10"))
    eastward = (rows["variable"] == "u10").to_numpy()
    rows["value"] = rows["value"] + np.where(eastward, 0.75 * 8.0, 0.0)
    residual = rows["value"].to_numpy() - np.where(eastward, 8.0, 0.0)
    everything = np.ones(len(rows), bool)
    stage = fine_stage(fields, rows, residual, np.ones(len(rows)), everything, ON)
    change = stage.increment["u10"] - anomaly(*GRID.mesh)
    inside = np.ix_(
        (GRID.latitude > 42) & (GRID.latitude < 53), (GRID.longitude > 8) & (GRID.longitude < 22)
    )
    assert change[inside].mean() == pytest.approx(-2.0, abs=0.4)


def test_members_are_draws_of_the_posterior() -> None:
    before = analysis(table(("t2m", "u10", "v10")))
    before = replace(before, members=[before.fields] * 60)
    after = refine(background(), before, ON, seed=1)
    for name in ("t2m", "u10"):
        members = np.stack([m.surface[name] for m in after.members])
        left = np.sqrt(after.spread.surface[name] ** 2 - 1.0)
        ratio = members.std(axis=0, ddof=1) / left
        assert np.sqrt(np.mean(ratio**2)) == pytest.approx(1.0, abs=0.1)
        error = (members.mean(axis=0) - after.fields.surface[name]) / left
        assert np.sqrt(np.mean(error**2)) < 3 / np.sqrt(60)
    again = refine(background(), before, ON, seed=1)
    np.testing.assert_array_equal(again.members[5].surface["t2m"], after.members[5].surface["t2m"])


def test_without_orography_the_elevation_of_stations_has_no_say() -> None:
    rows = table(("t2m",))
    rows["elevation"] = np.random.default_rng(1).uniform(0, 3000, len(rows))
    surface = {k: v for k, v in background().surface.items() if k != "orography"}
    own = replace(background(), surface=surface)
    before = analysis(rows)
    before = replace(before, fields=own)
    after = refine(own, before, ON)
    published = bilinear(GRID, rows["latitude"].to_numpy(), rows["longitude"].to_numpy())
    change = published @ after.increment.surface["t2m"].ravel()
    said = after.feedback.hofx1 - before.feedback.hofx1
    assert np.std(said) > 1
    assert np.std(change - said) < 0.25 * np.std(said)


def test_two_rows_of_one_barometer_say_what_one_says() -> None:
    alone = table(("sp",))
    ratio = 101325 / 95000
    twin = alone.assign(variable="msl", value=alone["value"] * ratio)
    both = pd.concat([alone, twin], ignore_index=True)

    def stage(rows: pd.DataFrame) -> FineStage:
        hofx = np.where(rows["variable"] == "sp", 95000.0, 101325.0)
        ones = np.ones(len(rows))
        return fine_stage(background(), rows, rows["value"].to_numpy() - hofx, ones, ones > 0, ON)

    one, two = stage(alone), stage(both)
    np.testing.assert_allclose(two.increment["msl"], one.increment["msl"], rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(two.variance["msl"], one.variance["msl"], rtol=1e-6)
    np.testing.assert_allclose(two.at_rows[len(alone) :], ratio * one.at_rows, rtol=1e-6, atol=1e-3)


def test_withheld_speeds_and_rejected_rows_follow_the_published_fields() -> None:
    winds, lone = table(("u10", "v10")), table(("u10",), count=40)
    speeds = lone.assign(variable="wind_speed", value=5.0, qc=int(QC.PASSIVE))
    rejected = winds.iloc[[3, 153]].assign(value=90.0, qc=int(QC.FIRST_GUESS))
    rows = pd.concat([winds, speeds, rejected], ignore_index=True)
    windy = background().surface | {"u10": np.full(GRID.shape, 5.0)}
    fields = replace(background(), surface=windy)
    moving = rows["variable"].isin(["u10", "wind_speed"]).to_numpy()
    rows["value"] += np.where(moving & (np.arange(len(rows)) < len(winds)), 5.0, 0.0)
    before = analysis(rows)
    hofx = np.where(moving, 5.0, 0.0)
    feedback = Feedback.as_observed(rows, hofx, hofx.copy(), np.ones(len(rows)))
    after = refine(fields, replace(before, fields=fields, feedback=feedback), ON)
    to_rows = bilinear(GRID, rows["latitude"].to_numpy(), rows["longitude"].to_numpy())
    u, v = (to_rows @ after.fields.surface[n].ravel() for n in ("u10", "v10"))
    made = np.select([rows["variable"] == n for n in ("u10", "v10")], [u, v], np.hypot(u, v))
    late = np.arange(len(rows)) >= len(winds)
    assert np.std(made[late] - hofx[late]) > 0.7
    assert np.std((after.feedback.hofx1 - made)[late]) < 0.25 * np.std(made[late] - hofx[late])


def test_a_superobservation_enters_with_the_value_that_stands_for_all() -> None:
    rows = table(("t2m",))
    plain = refine(background(), analysis(rows), ON)
    before = analysis(rows.assign(value=rows["value"] + 2.0))  # the row nearest to the middle
    merged = replace(before.feedback, innovation=rows["value"].to_numpy() - before.feedback.hofx0)
    found = refine(background(), replace(before, feedback=merged), ON)
    for name in ("t2m", "sp"):
        np.testing.assert_array_equal(found.increment.surface[name], plain.increment.surface[name])
