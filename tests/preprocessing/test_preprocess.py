"""From NetCDF files to a training store, and what cannot become one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from synthetic import CHANNELS, GRID, LEVELS, dataset, fields_at, history

from phyda_cli.errors import InputError, UsageError
from phyda_cli.fields.grid import Grid
from phyda_cli.fields.state import equiangular
from phyda_cli.preprocessing.preprocess import preprocess
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.settings.data import PreprocessSettings

HOUR = np.timedelta64(1, "h")


def run(
    files: Sequence[Path], out: Path, channels: tuple[str, ...] = CHANNELS, **wishes: Any
) -> int:
    """Preprocess on the grid of the data."""
    report = wishes.pop("report", lambda _: None)
    return preprocess(
        files,
        out,
        PreprocessSettings.model_validate({"grid": "as-is", "channels": channels} | wishes),
        report,
    )


def analyses(folder: Path, n: int = 8, grid: Grid = GRID) -> Path:
    times, waves = history()
    dataset(waves[:n], times[:n], grid).to_netcdf(folder / "analysis.nc")
    return folder / "analysis.nc"


def forecasts(folder: Path, members: int | None, start: int = 1, steps: int = 3) -> Path:
    """Forecasts of 6, 12, … hours: the analyses' waves plus a known number for each member."""
    times, waves = history()
    each = []
    for m in range(members or 1):
        ds = dataset(
            waves[start + 1 : start + 1 + steps] + 0.1 * (m + 1),
            times[start + 1 : start + 1 + steps],
        ).rename(time="step")
        each.append(
            ds.assign_coords(step=6 * HOUR.astype("timedelta64[ns]") * np.arange(1, steps + 1))
        )
    ds = (
        each[0]
        if members is None
        else xr.concat(each, xr.DataArray(np.arange(members), dims="number", name="number"))
    )
    ds.assign_coords(time=times[start].astype("datetime64[ns]")).to_netcdf(folder / "forecast.nc")
    return folder / "forecast.nc"


def stack(waves: np.ndarray, grid: Grid = GRID) -> np.ndarray:
    fields = fields_at(waves, grid)
    return np.concatenate([*(fields[v] for v in "ztuvq"), fields["msl"][None]])


def test_lagged_pairs(tmp_path: Path) -> None:
    said: list[str] = []
    out = tmp_path / "s.zarr"
    assert (
        run(
            [analyses(tmp_path)],
            out,
            pairs="lagged",
            lag_hours=12,
            lag_scale=0.5,
            report=said.append,
        )
        == 6
    )
    store = PairStore.open(out)
    assert store.channels == CHANNELS
    assert store.grid.same_as(GRID)
    assert store.pairs.tolist() == [[i, i + 2] for i in range(6)]
    assert store.scale.tolist() == [0.5] * 6
    assert store.lead.tolist() == [12.0] * 6
    np.testing.assert_array_equal(store.time, history()[0][:8])
    np.testing.assert_allclose(store.load_states()[3], stack(history()[1][3]), rtol=1e-5, atol=1e-6)
    assert store.statics["orography"].max() == 300
    assert store.attributes["pairs_kind"] == "lagged"
    assert said[0] == "8 analyses and 0 forecasts in 1 files, 16 channels on 16x8: as they are"
    assert not (tmp_path / "s.zarr.part").exists()


def test_a_span_keeps_times_out(tmp_path: Path) -> None:
    times = history()[0]
    span = {"first": str(times[2]), "last": str(times[6])}
    assert run([analyses(tmp_path)], tmp_path / "s.zarr", pairs="lagged", lag_hours=6, **span) == 3
    np.testing.assert_array_equal(PairStore.open(tmp_path / "s.zarr").time, times[2:6])


def test_forecast_pairs(tmp_path: Path) -> None:
    files = [analyses(tmp_path, 4), forecasts(tmp_path, None)]
    assert run(files, tmp_path / "s.zarr") == 2  # the third has no analysis
    store = PairStore.open(tmp_path / "s.zarr")
    assert store.pairs.tolist() == [[4, 2], [5, 3]]
    assert store.lead.tolist() == [6.0, 12.0]
    states = store.load_states()
    np.testing.assert_allclose(states[4], stack(history()[1][2] + 0.1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(store.time[store.pairs[:, 0]], store.time[store.pairs[:, 1]])


def test_twins_are_exchangeable(tmp_path: Path) -> None:
    files = [analyses(tmp_path, 4), forecasts(tmp_path, 3)]
    n = run(files, tmp_path / "s.zarr", pairs="twin")
    store = PairStore.open(tmp_path / "s.zarr")
    assert n == 2 * (2 * 3 + 3 * 2)
    first = store.pairs[:12]
    assert {tuple(p) for p in first.tolist()} == {
        (a, b) for a in (2, 4, 5, 6) for b in (2, 4, 5, 6) if a != b
    }
    with_truth = (first == 2).any(axis=1)
    np.testing.assert_allclose(store.scale[:12], np.where(with_truth, 1.0, 2**-0.5))
    assert (store.time[store.pairs[:, 0]] == store.time[store.pairs[:, 1]]).all()


def test_regrids_to_another_globe(tmp_path: Path) -> None:
    fine = equiangular(48, 24)
    target = equiangular(8, 4)
    run(
        [analyses(tmp_path, 3, fine)],
        tmp_path / "s.zarr",
        ("t500", "msl"),
        grid="8x4",
        pairs="lagged",
        lag_hours=6,
    )
    states = PairStore.open(tmp_path / "s.zarr").load_states()
    assert states.shape == (3, 2, 4, 8)
    source = fields_at(history()[1][0], fine)["t"][LEVELS.index(500)]
    means = [
        (f * g.area_weights[:, None]).mean() for f, g in ((states[0, 0], target), (source, fine))
    ]
    assert means[0] == pytest.approx(means[1], abs=1e-3)


def test_a_limited_area_is_not_the_globe(tmp_path: Path) -> None:
    area = Grid(np.linspace(60, 30, 7), np.linspace(10, 40, 6))
    with pytest.raises(
        UsageError, match="reaches outside the data's area: 126 of 128 points"
    ) as caught:
        run(
            [analyses(tmp_path, 3, area)],
            tmp_path / "s.zarr",
            ("t500",),
            grid="16x8",
            pairs="lagged",
        )
    assert "--grid as-is" in caught.value.hint


def cycled(folder: Path, grid: Grid, start: int = 1, steps: int = 3) -> Path:
    """A forecast file as ``phyda simulate twin`` writes it: one variable a channel, already on the
    model's ``grid``."""
    times, waves = history()
    states = np.stack([stack(w + 0.1, grid) for w in waves[start + 1 : start + 1 + steps]]).astype(
        np.float32
    )
    fields = {
        key: (("step", "latitude", "longitude"), states[:, i]) for i, key in enumerate(CHANNELS)
    }
    step = (6 * HOUR * np.arange(1, steps + 1)).astype("timedelta64[ns]")
    coordinates = {
        "step": step,
        "latitude": grid.latitude,
        "longitude": grid.longitude,
        "time": times[start].astype("datetime64[ns]"),
    }
    xr.Dataset(fields, coordinates).to_netcdf(folder / "forecast_cycled.nc")
    return folder / "forecast_cycled.nc"


def test_files_on_different_grids_meet_on_the_target(tmp_path: Path) -> None:
    """Analyses and archived forecasts on a fine grid, cycled forecasts on the target's, which stay
    as they are."""
    fine, target = equiangular(48, 24), equiangular(16, 8)
    files = [analyses(tmp_path, 4, fine), cycled(tmp_path, target), forecasts(tmp_path, 2)]
    assert run(files, tmp_path / "s.zarr", grid="16x8") == 2 + 4
    store = PairStore.open(tmp_path / "s.zarr")
    assert store.pairs.tolist() == [[4, 2], [5, 3], [6, 2], [7, 2], [8, 3], [9, 3]]
    assert store.lead.tolist() == [6.0, 12.0, 6.0, 6.0, 12.0, 12.0]
    states = store.load_states()
    np.testing.assert_array_equal(
        states[4], stack(history()[1][2] + 0.1, target).astype(np.float32)
    )
    expected = stack(history()[1][2], target)
    error = np.abs(states[2] - expected).max(axis=(1, 2))
    assert (error < 0.15 * np.ptp(expected, axis=(1, 2))).all()  # cell means of a coarse grid
    assert error.max() > 0


def test_own_is_the_grid_and_direction_of_the_first_analysis(tmp_path: Path) -> None:
    first, second = tmp_path / "first.nc", tmp_path / "second.nc"
    times, waves = history()
    dataset(waves[:2], times[:2]).to_netcdf(first)
    dataset(waves[2:4], times[2:4]).isel(latitude=slice(None, None, -1)).to_netcdf(second)
    run([first, second], tmp_path / "s.zarr", pairs="lagged", lag_hours=6)
    store = PairStore.open(tmp_path / "s.zarr")
    assert store.grid.same_as(GRID)
    np.testing.assert_allclose(store.load_states()[3], stack(waves[3]), rtol=1e-5, atol=1e-6)


def test_other_names_units_of_level_and_order(tmp_path: Path) -> None:
    """As other archives write it: long names, levels in Pa, dimensions in another order, latitude
    downwards."""
    with xr.open_dataset(analyses(tmp_path, 4)) as data:
        other = data.rename(
            t="temperature",
            msl="mean_sea_level_pressure",
            latitude="lat",
            longitude="lon",
            level="plev",
        )
        other = (
            other.assign_coords(plev=other["plev"] * 100)
            .isel(lat=slice(None, None, -1))
            .transpose("lon", "lat", "plev", "time")
        )
        other["plev"].attrs["units"] = "Pa"
        other[["temperature", "mean_sea_level_pressure"]].to_netcdf(tmp_path / "other.nc")
    run([tmp_path / "other.nc"], tmp_path / "s.zarr", ("t850", "msl"), pairs="lagged", lag_hours=6)
    store = PairStore.open(tmp_path / "s.zarr")
    assert store.grid.latitude[0] > 0
    expected = stack(history()[1][1])[[CHANNELS.index("t850"), CHANNELS.index("msl")], ::-1]
    np.testing.assert_allclose(store.load_states()[1], expected, rtol=1e-6)
    assert not store.statics["lsm"].any()


@pytest.mark.parametrize(
    ("channels", "change", "expected"),
    [
        (
            ("w500",),
            None,
            r"analysis\.nc: no variable for channel w500 at 2010-12-01T00:00 and 7 other times; "
            r"found z, t, u, v, q, msl",
        ),
        (
            ("t700",),
            None,
            r"analysis\.nc: t has no level 700 hPa at .* other times; found \[300, 500, 850\]",
        ),
        (
            ("t500",),
            lambda d: d.assign(t=d["t"].where(d["latitude"] > 0)),
            r"analysis\.nc: t500 at 2010-12-01T00:00: 64 of 128 values are missing or not "
            r"finite, and so at 7 other",
        ),
    ],
)
def test_files_that_lack_something(
    tmp_path: Path, channels: tuple[str, ...], change: Callable[[Any], Any] | None, expected: str
) -> None:
    path = analyses(tmp_path)
    if change is not None:
        with xr.open_dataset(path) as data:
            changed = change(data.load())
        changed.to_netcdf(path)
    with pytest.raises(InputError, match=expected):
        run([path], tmp_path / "s.zarr", channels, pairs="lagged")
    assert not (tmp_path / "s.zarr").exists()


def test_forecasts_alone_are_not_enough(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no analysis file"):
        run([forecasts(tmp_path, 2)], tmp_path / "s.zarr", pairs="twin")


def test_stores_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a training store") as caught:
        PairStore.open(tmp_path / "none.zarr")
    assert "phyda preprocess" in caught.value.hint
    run([analyses(tmp_path)], tmp_path / "s.zarr", pairs="lagged")
    group = zarr.open_group(str(tmp_path / "s.zarr"), mode="a")
    group.attrs["complete"] = False
    with pytest.raises(InputError, match="is unfinished") as caught:
        PairStore.open(tmp_path / "s.zarr")
    assert "again" in caught.value.hint
    group.create_array("pairs", data=np.zeros((0, 2), np.int64), overwrite=True)
    group.attrs["complete"] = True
    with pytest.raises(InputError, match=r"holds no .* pairs"):
        PairStore.open(tmp_path / "s.zarr")
    del group["pairs"]
    with pytest.raises(InputError, match="is not a training store"):
        PairStore.open(tmp_path / "s.zarr")


def test_no_pairs_no_store(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no .* pairs of kind lagged: found 8 analyses and 0 forecasts"
    ) as caught:
        run([analyses(tmp_path)], tmp_path / "s.zarr", pairs="lagged", lag_hours=1)
    assert "--lag" in caught.value.hint
    assert not (tmp_path / "s.zarr").exists()


def test_the_store_says_where_its_data_come_from(tmp_path: Path) -> None:
    told = {
        "source": "ERA5",
        "license": "terms of the provider",
        "references": "Hersbach et al. (2020)",
    }
    times, waves = history()
    dataset(waves[:4], times[:4]).assign_attrs(told).to_netcdf(tmp_path / "analysis.nc")
    run([tmp_path / "analysis.nc"], tmp_path / "s.zarr", pairs="lagged", lag_hours=12)
    assert {name: PairStore.open(tmp_path / "s.zarr").attributes[name] for name in told} == told
