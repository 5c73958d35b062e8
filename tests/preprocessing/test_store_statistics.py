"""Statistics in one pass against plain numpy, the split by years, packing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import CHANNELS, GRID, dataset, wave_history

from phyda_cli.errors import InputError
from phyda_cli.preprocessing import preprocess as module
from phyda_cli.preprocessing.pairs import KINDS
from phyda_cli.preprocessing.preprocess import preprocess
from phyda_cli.preprocessing.store import MISSING, PairStore, pack, unpack
from phyda_cli.settings.data import PreprocessSettings
from phyda_cli.training.statistics import split_pairs

DAY = np.timedelta64(1, "D")


@pytest.fixture(scope="module")
def years(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three years, an analysis every fourth day, and forecasts of four days (from a cycle) and
    eight (from an archive)."""
    folder = tmp_path_factory.mktemp("years")
    times = np.arange(
        np.datetime64("2001-01-02T00", "s"), np.datetime64("2004-01-01", "s"), 4 * DAY
    )
    waves = wave_history(times.size, np.random.default_rng(4), 0.8)
    dataset(waves, times).to_netcdf(folder / "analysis.nc")
    for lead, source in ((1, "a model, cycled"), (2, "a model")):
        for i in range(0, times.size - lead, 6):
            ds = dataset(waves[i + lead][None] + 0.3 * lead, times[i + lead : i + lead + 1]).rename(
                time="step"
            )
            step = np.array([4 * lead * 86400 * 10**9]).astype("timedelta64[ns]")
            ds = ds.assign_coords(step=step, time=times[i].astype("datetime64[ns]")).assign_attrs(
                source=source
            )
            ds.to_netcdf(folder / f"forecast_{source[-6:].strip()}_{i:03d}.nc")
    return folder


def made(years: Path, out: Path, **wishes: Any) -> PairStore:
    settings = {"grid": "as-is", "channels": CHANNELS, "pairs": "lagged", "lag_hours": 96} | wishes
    preprocess([years], out / "s.zarr", PreprocessSettings.model_validate(settings))
    return PairStore.open(out / "s.zarr")


@pytest.mark.parametrize("packing", ["float32", "int16"])
@pytest.mark.parametrize("pairs", ["lagged", "cycled,forecast"])
def test_one_pass_is_as_good_as_all_in_memory(
    years: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str, pairs: str
) -> None:
    monkeypatch.setattr(module, "SPAN_BYTES", 7 * 4 * len(CHANNELS) * GRID.size)
    store = made(years, tmp_path, pairs=pairs, packing=packing, validation_years="2003")
    states, weights = store.load_states().astype(np.float64), GRID.area_weights
    training = store.split == 0
    used = states[np.unique(store.pairs[training])]
    apart = states[store.pairs[training, 1]] - states[store.pairs[training, 0]]
    mean = used.mean(axis=(0, 3))
    error = (apart**2).mean(axis=(0, 3))
    expected = {
        "mean": (mean * weights).mean(axis=1),
        "background_std": np.sqrt((error * weights).mean(axis=1)),
    }
    deviation = used - expected["mean"][:, None, None]
    expected["std"] = np.sqrt(((deviation**2).mean(axis=(0, 3)) * weights).mean(axis=1))
    for name, values in expected.items():
        np.testing.assert_allclose(
            store.statistics[name], values, rtol=1e-9, atol=1e-12, err_msg=name
        )


def test_kinds_of_pairs(years: Path, tmp_path: Path) -> None:
    store = made(years, tmp_path, pairs="cycled,forecast,lagged", lag_hours=192, lag_scale=0.5)
    named = np.array(KINDS)[store.kind]
    assert {k: set(store.lead[named == k].tolist()) for k in set(named)} == {
        "cycled": {96.0},
        "forecast": {192.0},
        "lagged": {192.0},
    }
    assert set(store.scale[named == "lagged"].tolist()) == {0.5}
    states = store.load_states()
    genuine = named != "lagged"
    np.testing.assert_array_equal(
        store.time[store.pairs[genuine, 0]], store.time[store.pairs[genuine, 1]]
    )
    assert np.abs(states[store.pairs[genuine, 0]] - states[store.pairs[genuine, 1]]).mean() > 0


def test_only_cycled(years: Path, tmp_path: Path) -> None:
    store = made(years, tmp_path, pairs="cycled")
    assert set(store.lead.tolist()) == {96.0}
    assert store.attributes["pairs_kind"] == "cycled"


def test_split_by_years_leaves_no_pair_across(years: Path, tmp_path: Path) -> None:
    store = made(years, tmp_path, train_years="2001", validation_years="2002", test_years="2003")
    assert store.split_by_years
    truth, background = (
        store.time[store.pairs[:, i]].astype("datetime64[Y]").astype(int) - 31 for i in (1, 0)
    )
    np.testing.assert_array_equal(store.split, np.where(truth == background, truth, -1))
    assert (store.split == -1).sum() == 2
    found = split_pairs(store, 0.3)
    np.testing.assert_array_equal(found.training, np.flatnonzero(store.split == 0))
    np.testing.assert_array_equal(found.validation, np.flatnonzero(store.split == 1))


def test_test_years_alone_are_kept_from_training_and_validation(
    years: Path, tmp_path: Path
) -> None:
    store = made(years, tmp_path, test_years="2003")
    assert set(store.split.tolist()) == {-1, 0, 2}
    found = split_pairs(store, 0.1)
    assert found.validation.size == pytest.approx(0.1 * (store.split == 0).sum(), abs=1)
    assert (store.split[np.concatenate([found.training, found.validation])] == 0).all()


def test_without_years_the_split_is_that_of_training(years: Path, tmp_path: Path) -> None:
    store = made(years, tmp_path)
    found = split_pairs(store, 0.08)
    np.testing.assert_array_equal(found.validation, np.flatnonzero(store.split == 1))
    np.testing.assert_array_equal(found.training, np.flatnonzero(store.split == 0))


def test_years_without_data(years: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="no pair lies in the test years 1999; the truths are of 2001 to 2003"
    ):
        made(years, tmp_path, test_years="1999")


@given(
    low=st.floats(-1e6, 1e6),
    width=st.one_of(st.just(0.0), st.floats(1e-3, 1e6)),
    seed=st.integers(0, 99),
)
def test_packing_is_exact_to_half_a_step(low: float, width: float, seed: int) -> None:
    values = (low + width * np.random.default_rng(seed).random((2, 3, 4, 5))).astype(np.float32)
    packed, offset, factor = pack(values)
    assert packed.dtype == np.int16
    found = unpack(packed, offset, factor)
    error = np.abs(found.astype(float) - values).max(axis=(2, 3))
    assert (error <= 0.5001 * factor + np.spacing(np.abs(values).max().astype(np.float32))).all()
    field_range = np.ptp(values.astype(float), axis=(2, 3))
    np.testing.assert_allclose(factor, field_range / 65534)


def test_packing_keeps_what_is_missing() -> None:
    values = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    values[0, 1] = np.nan
    values[0, 0, 1, 1] = np.nan
    packed, offset, factor = pack(values)
    np.testing.assert_array_equal(packed == MISSING, np.isnan(values))
    np.testing.assert_allclose(unpack(packed, offset, factor), values, atol=1e-3)
