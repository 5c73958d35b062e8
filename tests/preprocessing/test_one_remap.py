"""The same file, through ``phyda preprocess`` and as the background of an analysis: one state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import CHANNELS, FINE_LEVELS, dataset, history, spec

from phyda_cli.analysis.prior import model_background
from phyda_cli.fields.grid import Grid
from phyda_cli.fields.state import equiangular
from phyda_cli.formats.background import read_background
from phyda_cli.preprocessing.store import PairStore


@pytest.mark.parametrize("columns", [24, 18, 16, 12])  # of the data; the model has 16
def test_training_and_analysis_see_the_same_state(
    columns: int, tmp_path: Path, phyda: Callable[..., Any]
) -> None:
    times, waves = history()
    rows = columns // 2
    data = Grid(-90 + 180 / rows * (0.5 + np.arange(rows)), 360 / columns * np.arange(columns))
    file = tmp_path / "data.nc"
    dataset(waves[:9], times[:9], data, FINE_LEVELS).to_netcdf(file)
    wishes = ("--grid", "16x8", "--channels", ",".join(CHANNELS), "--pairs", "lagged", "--lag", 6)
    assert phyda("preprocess", file, "--out", tmp_path / "s.zarr", *wishes).code == 0
    store = PairStore.open(tmp_path / "s.zarr")
    assert store.grid.same_as(equiangular(16, 8))
    background, truth = store.pairs[0]
    for state, time in ((background, times[0]), (truth, times[1])):
        fields = read_background(file, time=time).fields
        found, available, _ = model_background(fields, spec())
        assert available.all()
        np.testing.assert_array_equal(found, store.load_states()[state])
