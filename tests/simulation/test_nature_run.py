"""Nature runs in chunks: resuming, twins and the files made of them, with a toy in the place of the
climate model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toy_nature
import xarray as xr
from toy_nature import START, Toy, toy

from phyda_cli.errors import UsageError
from phyda_cli.formats.background import read_background
from phyda_cli.preprocessing.preprocess import preprocess
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.settings.data import PreprocessSettings
from phyda_cli.simulation.jcm import (
    PROGNOSTIC,
    chunk_paths,
    lagged_perturbation,
    load_states,
    perturbed,
    run_nature,
)
from phyda_cli.simulation.nature_files import download_nature


@pytest.fixture(autouse=True)
def no_climate_model(monkeypatch: pytest.MonkeyPatch) -> None:
    toy_nature.install(monkeypatch)


def test_chunks_follow_each_other_and_resume(tmp_path: Path) -> None:
    whole = list(run_nature(tmp_path / "whole", 6, START, 3, chunk=2))
    assert [p.name for p in whole] == ["native_0000.npz", "native_0001.npz", "native_0002.npz"]
    times = np.concatenate([load_states(p)[0] for p in whole])
    np.testing.assert_array_equal(times, START + np.timedelta64(6, "h") * np.arange(1, 25))
    parts = run_nature(tmp_path / "parts", 6, START, 3, chunk=2)
    next(parts)
    parts.close()
    (tmp_path / "parts" / ".native_0001.npz.0123456789ab.part").write_bytes(b"interrupted")
    again = list(run_nature(tmp_path / "parts", 6, START, 3, chunk=2))
    assert chunk_paths(tmp_path / "parts") == sorted(again)
    for a, b in zip(whole, again, strict=True):
        for x, y in zip(load_states(a)[1], load_states(b)[1], strict=True):
            assert all(np.array_equal(x[k], y[k]) for k in x)
    Toy.made = 0
    list(run_nature(tmp_path / "parts", 6, START, 3, chunk=2))
    assert Toy.made == 0


def test_perturbations_have_the_size_asked_for() -> None:
    states = [toy(0.1 * i) for i in range(20)]
    rng = np.random.default_rng(0)
    for size in (1.0, 1.7):
        change = lagged_perturbation(states, rng, size)
        assert set(change) == set(PROGNOSTIC)
        assert float(np.sqrt(np.mean(change["u"] ** 2))) == pytest.approx(size, rel=1e-5)
    drier = perturbed(states[0], {k: -10 * states[0][k] for k in PROGNOSTIC})
    assert drier["q"].min() == 0


def test_files_of_a_run_with_twins_become_a_store(tmp_path: Path) -> None:
    files = download_nature(tmp_path, 4, START, 1, twins=2, twins_every_hours=24, twin_hours=12)
    names = [p.name for p in files]
    assert names[0] == "analysis_0000.nc"
    assert names[1:] == sorted(names[1:])
    assert len(names) > 4
    with xr.open_dataset(files[0]) as data:
        assert data["t"].dims == ("time", "level", "latitude", "longitude")
        assert data["msl"].attrs["units"] == "Pa"
        assert np.isfinite(data["t"]).all()
    before = {p: p.stat().st_mtime_ns for p in files}
    assert (
        download_nature(tmp_path, 4, START, 1, twins=2, twins_every_hours=24, twin_hours=12)
        == files
    )
    assert {p: p.stat().st_mtime_ns for p in files} == before
    settings = PreprocessSettings(grid="as-is", channels=("z500", "t850", "msl"), pairs=("twin",))
    assert preprocess(files, tmp_path / "s.zarr", settings) > 20
    assert np.isfinite(PairStore.open(tmp_path / "s.zarr").load_states()).all()


def test_a_twin_forecast_is_a_background(tmp_path: Path) -> None:
    files = download_nature(tmp_path, 3, START, 1, twins=2, twin_hours=12)
    forecast = next(p for p in files if p.name.startswith("forecast"))
    with xr.open_dataset(forecast) as data:
        start = data["time"].values
    background = read_background(forecast, start + np.timedelta64(12, "h"), member=2)
    assert background.fields.lead_hours == 12
    assert {"z", "t", "q", "u", "v"} <= set(background.fields.upper)


def test_a_run_is_as_long_as_asked_and_can_be_extended(tmp_path: Path) -> None:
    short = [load_states(p)[0].size for p in run_nature(tmp_path, 3, START, 3, chunk=2)]
    assert short == [8, 4]
    longer = [load_states(p)[0] for p in run_nature(tmp_path, 6, START, 3, chunk=2)]
    assert [t.size for t in longer] == [8, 8, 8]
    np.testing.assert_array_equal(
        np.concatenate(longer), START + np.timedelta64(6, "h") * np.arange(1, 25)
    )


def test_a_run_too_short_for_twins_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="more than 2 days"):
        download_nature(tmp_path, 2, START, 1, twins=1)
