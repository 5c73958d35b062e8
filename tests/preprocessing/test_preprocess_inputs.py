"""Inputs of every format, in any mix, and those that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import eccodes
import numpy as np
import pytest
import xarray as xr
from synthetic import CHANNELS, LEVELS, dataset, history

from phyda_cli.errors import InputError, PhydaError
from phyda_cli.formats.inputs import open_series
from phyda_cli.preprocessing.preprocess import preprocess
from phyda_cli.preprocessing.store import PairStore
from phyda_cli.settings.data import PreprocessSettings

SURFACE = ("msl",)
STATIC = ("orography", "lsm")
GRIB_NAMES = {"z": "z", "t": "t", "u": "u", "v": "v", "q": "q", "msl": "msl"}


@pytest.fixture(scope="module")
def weather() -> xr.Dataset:
    times, waves = history()
    return dataset(waves[:12], times[:12])


@pytest.fixture(scope="module")
def expected(weather: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> PairStore:
    folder = tmp_path_factory.mktemp("expected")
    weather.to_netcdf(folder / "all.nc")
    return made(folder / "all.nc")


def made(*inputs: Path, **wishes: Any) -> PairStore:
    out = inputs[0].parent / "store.zarr"
    settings = {"grid": "8x4", "channels": CHANNELS, "pairs": "lagged", "lag_hours": 6} | wishes
    notes: list[str] = []
    preprocess(inputs, out, PreprocessSettings.model_validate(settings), notes.append)
    store = PairStore.open(out)
    store.attributes["said"] = notes
    return store


def grib(weather: xr.Dataset, path: Path, names: tuple[str, ...], edition: int = 2) -> Path:
    """GRIB with exact values (32-bit IEEE), shuffled as files come."""
    with path.open("wb") as file:
        for t in range(weather.sizes["time"]):
            for name in names:
                for k, level in enumerate(LEVELS if name not in SURFACE else (0,)):
                    values = (
                        weather[name].isel(time=t)
                        if name in SURFACE
                        else weather[name].isel(time=t, level=k)
                    )
                    file.write(message(values, name, level, weather["time"].values[t], edition))
    return path


def message(
    values: xr.DataArray, name: str, level: int, time: np.datetime64, edition: int
) -> bytes:
    handle = eccodes.codes_grib_new_from_samples(
        f"regular_ll_sfc_grib{edition}" if name in SURFACE else f"regular_ll_pl_grib{edition}"
    )
    field = values.sortby("latitude", ascending=False)
    lat, lon = field["latitude"].values, field["longitude"].values
    keys = {
        "dataDate": int(str(time)[:10].replace("-", "")),
        "dataTime": 100 * int(str(time)[11:13]),
        "stepRange": 0,
        "Ni": lon.size,
        "Nj": lat.size,
        "latitudeOfFirstGridPointInDegrees": lat[0],
        "latitudeOfLastGridPointInDegrees": lat[-1],
        "longitudeOfFirstGridPointInDegrees": lon[0],
        "longitudeOfLastGridPointInDegrees": lon[-1],
        "iDirectionIncrementInDegrees": lon[1] - lon[0],
        "jDirectionIncrementInDegrees": lat[0] - lat[1],
    }
    for key, value in keys.items():
        eccodes.codes_set(handle, key, value)
    if name in SURFACE:
        eccodes.codes_set(handle, "shortName", GRIB_NAMES[name])
    else:
        eccodes.codes_set(handle, "shortName", GRIB_NAMES[name])
        eccodes.codes_set(handle, "level", level)
    eccodes.codes_set(handle, "packingType", "grid_ieee")
    eccodes.codes_set_values(handle, field.values.astype(float).ravel())
    encoded: bytes = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    return encoded


def same_states(found: PairStore, expected: PairStore, rtol: float = 1e-6) -> None:
    assert found.pairs.tolist() == expected.pairs.tolist()
    np.testing.assert_array_equal(found.time, expected.time)
    a, b = found.load_states(), expected.load_states()
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-9)


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_is_as_good_as_netcdf(
    weather: xr.Dataset, expected: PairStore, tmp_path: Path, version: int
) -> None:
    weather.to_zarr(tmp_path / "in.zarr", zarr_format=version)
    found = made(tmp_path / "in.zarr")
    np.testing.assert_array_equal(found.load_states(), expected.load_states())
    np.testing.assert_array_equal(found.statics["orography"], expected.statics["orography"])


def test_grib_is_as_good_as_netcdf(
    weather: xr.Dataset, expected: PairStore, tmp_path: Path
) -> None:
    same_states(made(grib(weather, tmp_path / "in.grib", tuple(GRIB_NAMES))), expected)


def test_a_state_from_three_files_of_three_formats(
    weather: xr.Dataset, expected: PairStore, tmp_path: Path
) -> None:
    """Winds in Zarr on the target's own grid already, humidity and pressure in GRIB, geopotential
    in one NetCDF file and temperature in months of another; land and orography in a file without a
    time."""
    half = weather.isel(time=slice(0, 6)), weather.isel(time=slice(6, None))
    for i, part in enumerate(half):
        part[["t"]].to_netcdf(tmp_path / f"t{i}.nc")
    weather[["z"]].to_netcdf(tmp_path / "z.nc")
    weather[["u", "v"]].to_zarr(tmp_path / "winds.zarr")
    weather[list(STATIC)].to_netcdf(tmp_path / "static.nc")
    grib(weather, tmp_path / "rest.grib2", ("q", "msl"))
    found = made(
        tmp_path / "static.nc",
        tmp_path / "z.nc",
        *(tmp_path / f"t{i}.nc" for i in range(2)),
        tmp_path / "winds.zarr",
        tmp_path / "rest.grib2",
    )
    same_states(found, expected)
    np.testing.assert_array_equal(found.statics["lsm"], expected.statics["lsm"])
    assert found.attributes["regridding"] == ["conservative"]


def test_a_folder_of_a_mix(weather: xr.Dataset, expected: PairStore, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    weather.isel(time=slice(0, 5)).to_netcdf(folder / "a.nc")
    weather.isel(time=slice(5, 9)).to_zarr(folder / "b.zarr")
    grib(weather.isel(time=slice(9, None)), folder / "c.grb", tuple(GRIB_NAMES), edition=1)
    same_states(made(folder), expected)


def test_other_units_and_relative_humidity(
    weather: xr.Dataset, expected: PairStore, tmp_path: Path
) -> None:
    from phyda_cli.formats.humidity import relative_humidity

    pressure = 100.0 * np.array(LEVELS)[:, None, None]
    r = np.stack(
        [
            relative_humidity(q, t, pressure)
            for q, t in zip(weather["q"].values, weather["t"].values, strict=True)
        ]
    )
    other = weather.drop_vars(["q", "z", "t"]).assign(
        r=(weather["q"].dims, r, {"units": "%"}),
        gh=(weather["z"].dims, weather["z"].values / 9.80665, {"units": "m"}),
        t=(weather["t"].dims, weather["t"].values - 273.15, {"units": "degC"}),
        msl=(weather["msl"].dims, weather["msl"].values / 100, {"units": "hPa"}),
    )
    other.to_netcdf(tmp_path / "other.nc")
    same_states(made(tmp_path / "other.nc"), expected, rtol=1e-5)


def test_the_first_of_two_files_with_the_same_times(
    weather: xr.Dataset, expected: PairStore, tmp_path: Path
) -> None:
    weather.to_netcdf(tmp_path / "a.nc")
    (weather + 0.001 * weather).isel(time=slice(6, 8)).to_netcdf(tmp_path / "b.nc")
    found = made(tmp_path / "a.nc", tmp_path / "b.nc")
    np.testing.assert_array_equal(found.load_states(), expected.load_states())
    assert (
        "WARNING: 2 times are in more than one file; the first that is named counts"
        in found.attributes["said"]
    )


def test_archived_forecasts_in_one_store_by_start_and_lead(
    weather: xr.Dataset, tmp_path: Path
) -> None:
    """As WeatherBench 2 lays them out: time (of the start) x prediction_timedelta."""
    weather.to_netcdf(tmp_path / "analysis.nc")
    lead = np.arange(0, 4)
    shifted = [
        weather.isel(time=slice(k, k + 8)).assign_coords(time=weather["time"][:8]) + 0 * k
        for k in lead
    ]
    forecasts = xr.concat(
        shifted,
        xr.DataArray(
            (6 * lead).astype("timedelta64[h]").astype("timedelta64[ns]"),
            dims="prediction_timedelta",
            name="prediction_timedelta",
        ),
    )
    forecasts.drop_vars(list(STATIC)).transpose("time", "prediction_timedelta", ...).to_zarr(
        tmp_path / "fc.zarr"
    )
    found = made(tmp_path / "analysis.nc", tmp_path / "fc.zarr", pairs="forecast", grid="as-is")
    assert sorted(found.lead.tolist()) == sorted([6.0, 12.0, 18.0] * 8)  # lead 0 is no background
    states = found.load_states()
    np.testing.assert_allclose(states[found.pairs[:, 0]], states[found.pairs[:, 1]], rtol=1e-6)
    np.testing.assert_array_equal(found.time[found.pairs[:, 0]], found.time[found.pairs[:, 1]])


def test_missing_values_are_skipped_when_asked(weather: xr.Dataset, tmp_path: Path) -> None:
    holed = weather.copy(deep=True)
    holed["t"][4, 1, 2, 3] = np.nan
    holed.to_netcdf(tmp_path / "a.nc")
    with pytest.raises(
        InputError, match=r"a\.nc: t500 at 2010-12-02T00:00: 1 of 128 values are missing"
    ) as caught:
        made(tmp_path / "a.nc", grid="as-is")
    assert "--missing skip" in caught.value.hint
    assert not (tmp_path / "store.zarr.part").exists()
    found = made(tmp_path / "a.nc", grid="as-is", missing="skip")
    assert found.pairs.tolist() == [[i, i + 1] for i in range(11) if 4 not in (i, i + 1)]
    assert np.isnan(found.states[4]).sum() == 1


def test_times_without_a_channel(weather: xr.Dataset, tmp_path: Path) -> None:
    weather.drop_vars("msl").to_netcdf(tmp_path / "upper.nc")
    weather[["msl"]].isel(time=slice(2, None)).to_netcdf(tmp_path / "surface.nc")
    files = (tmp_path / "upper.nc", tmp_path / "surface.nc")
    with pytest.raises(
        InputError,
        match=r"upper\.nc: no variable for channel msl at 2010-12-01T00:00 and 1 other times",
    ) as caught:
        made(*files)
    assert "mean sea level pressure" in caught.value.hint
    found = made(*files, missing="skip")
    assert len(found.time) == 10
    assert any("2 times lack some channel" in line for line in found.attributes["said"])  # type: ignore[attr-defined]


def nothing_known() -> xr.Dataset:
    times = np.array(["2000-01-01", "2000-01-02"], "datetime64[ns]")
    return xr.Dataset(
        {"x": (("time", "lat", "lon"), np.ones((2, 3, 4)))},
        {"lat": [0, 1, 2], "lon": [0, 1, 2, 3], "time": times},
    )


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda p: None, "no such file"),
    "empty": (lambda p: p.write_bytes(b""), r"bad\.nc is empty"),
    "text": (lambda p: p.write_text("temperature, 12"), "neither NetCDF nor GRIB"),
    "truncated": (
        lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200)),
        "cannot be opened as NetCDF",
    ),
    "grib": (lambda p: p.write_bytes(b"GRIB" + bytes(40)), "truncated or damaged"),
    "zarr": (lambda p: (p.mkdir(), (p / "zarr.json").write_text("{")), "cannot be opened as Zarr"),
    "folder": (lambda p: p.mkdir(), "no NetCDF, GRIB or Zarr files"),
    "nothing known": (lambda p: nothing_known().to_netcdf(p), "no variable phyda knows"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_files_are_named(weather: xr.Dataset, tmp_path: Path, what: str) -> None:
    weather.to_netcdf(tmp_path / "good.nc")
    make, expected = BAD[what]
    make(tmp_path / "bad.nc")
    inputs = (
        (tmp_path / "bad.nc",) if what == "folder" else (tmp_path / "good.nc", tmp_path / "bad.nc")
    )
    with pytest.raises(InputError, match=expected) as caught:
        made(*inputs)
    assert "bad.nc" in caught.value.message
    assert not list(tmp_path.glob("store*"))


def test_values_that_cannot_be(weather: xr.Dataset, tmp_path: Path) -> None:
    weather.assign(t=weather["t"] - 273.15).to_netcdf(tmp_path / "celsius.nc")  # says K
    with pytest.raises(
        InputError, match=r"celsius\.nc: t at 300 hPa ranges from .* it looks like degC"
    ):
        made(tmp_path / "celsius.nc")


def test_a_file_damaged_in_its_middle(weather: xr.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    weather.to_netcdf(
        path,
        encoding={n: {"zlib": True, "chunksizes": (1, *weather[n].shape[1:])} for n in ("t", "z")},
    )
    content = bytearray(path.read_bytes())
    for start in range(len(content) // 3, len(content) // 3 * 2, 997):
        content[start : start + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(PhydaError, match=r"a\.nc"):
        made(path)


@pytest.mark.real_data
def test_real_files(shared_data: Path, tmp_path: Path) -> None:
    gfs = open_series(shared_data / "forecasts" / "gfs_2p5deg_20110110T12_f120.grib2")
    assert gfs.grid.shape == (73, 144)
    assert gfs.lead.tolist() == [120.0]
    assert "w70" not in gfs.channels  # the file has vertical velocity up to 100 hPa only
    (tmp_path / "ec.grib").symlink_to(shared_data / "forecasts" / "ecmwf_10deg_pl.grib")
    store = made(tmp_path / "ec.grib", channels="z500,t850,u500,q700", lag_hours=12, grid="16x8")
    assert len(store.pairs) == 3  # its forecasts of 6 h are valid between the analyses
    assert 220 < store.load_states()[:, 1].mean() < 300
    assert set(np.diff(store.time[:4]).astype(int)) == {43200}
