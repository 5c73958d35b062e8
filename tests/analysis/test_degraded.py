"""What degrades an analysis: each reason where it should be, and none where all is well."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from phyda_cli.analysis.degraded import degradations
from phyda_cli.fields.grid import Fields
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.observations.operators import build_operator
from phyda_cli.observations.table import QC
from phyda_cli.settings.analysis import DegradedSettings


def reasons(background: Fields, table: pd.DataFrame, checkpoint: Checkpoint) -> list[str]:
    hofx0 = build_operator(background, table, None).apply(np.nan_to_num(background.vector()))
    return degradations(background, checkpoint.state, table, hofx0, DegradedSettings())


def with_plane(background: Fields, name: str, hpa: int, value: float) -> Fields:
    """``background`` whose ``name`` is ``value`` everywhere at a level."""
    values = background.upper[name].copy()
    values[np.flatnonzero(background.levels == 100 * hpa)[0]] = value
    return replace(background, upper={**background.upper, name: values})


def without_level(background: Fields, *hpa: int) -> Fields:
    keep = ~np.isin(background.levels, [100 * p for p in hpa])
    upper = {k: v[keep] for k, v in background.upper.items()}
    return replace(background, levels=background.levels[keep], upper=upper)


def test_nothing_is_wrong(background: Fields, table: pd.DataFrame, checkpoint: Checkpoint) -> None:
    assert reasons(background, table, checkpoint) == []


@pytest.mark.parametrize(("missing", "count"), [((500,), 1), ((300,), 1), ((700,), 0)])
def test_a_level_is_missing(
    background: Fields,
    table: pd.DataFrame,
    checkpoint: Checkpoint,
    missing: tuple[int, ...],
    count: int,
) -> None:
    found = reasons(without_level(background, *missing), table, checkpoint)
    assert len(found) == count  # 700 hPa is no level of the model
    assert all(f"{missing[0]} hPa" in reason for reason in found)


def test_a_background_that_ends_below_is_made_so(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    low = without_level(background, 200, 300)
    assert reasons(low, table, checkpoint) == ["every variable is missing at 300 hPa"]
    lower = without_level(background, 200, 300, 500)
    assert reasons(lower, table, checkpoint) == []


def test_a_plane_is_missing(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    assert reasons(with_plane(background, "t", 500, np.nan), table, checkpoint) == [
        "t is missing at 500 hPa"
    ]


def test_a_constant_field(background: Fields, table: pd.DataFrame, checkpoint: Checkpoint) -> None:
    assert reasons(with_plane(background, "t", 500, 260.0), table, checkpoint) == [
        "t is the same everywhere at 500 hPa"
    ]
    flat = {**background.surface, "msl": np.full(background.grid.shape, 101325.0)}
    assert reasons(replace(background, surface=flat), table, checkpoint) == [
        "msl is the same everywhere"
    ]
    assert reasons(with_plane(background, "q", 200, 0.0), table, checkpoint) == []


def test_one_type_and_one_observation(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    alone = table[table["variable"] == "msl"]
    assert reasons(background, alone, checkpoint) == ["only msl is observed"]
    assert reasons(background, alone[:1], checkpoint) == ["only one observation is used"]
    winds = table[table["variable"].isin(["u", "v"])]
    assert reasons(background, winds, checkpoint) == ["only wind is observed"]
    assert reasons(background, table.assign(qc=np.int16(QC.BUDDY)), checkpoint) == []


def test_a_station_at_two_places(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint
) -> None:
    station = table[table["variable"] == "msl"][:1]
    moved = station.assign(latitude=station["latitude"] + 5.0)
    near = station.assign(latitude=station["latitude"] + 0.1)
    ship = moved.assign(time=moved["time"] + pd.Timedelta(hours=6))
    name = station["station_id"].iloc[0]
    for other, count in ((moved, 1), (near, 0), (ship, 0), (moved.assign(station_id="SHIP"), 0)):
        found = reasons(background, pd.concat([table, other], ignore_index=True), checkpoint)
        assert len(found) == count
        assert all(name in reason for reason in found)


@pytest.mark.parametrize("where", ["observations", "background"])
def test_winds_are_exchanged(
    background: Fields, table: pd.DataFrame, checkpoint: Checkpoint, where: str
) -> None:
    if where == "observations":
        table = table.assign(variable=table["variable"].replace({"u": "v", "v": "u"}))
    else:
        u, v = background.upper["u"], background.upper["v"]
        background = replace(background, upper={**background.upper, "u": v, "v": u})
    assert reasons(background, table, checkpoint) == [
        "u and v look exchanged, in observations or background"
    ]


def test_a_long_forecast(background: Fields, table: pd.DataFrame, checkpoint: Checkpoint) -> None:
    long = replace(background, lead_hours=31 * 24.0)
    assert reasons(long, table, checkpoint) == ["the background is a forecast of 31 days"]
    assert reasons(replace(background, lead_hours=240.0), table, checkpoint) == []
