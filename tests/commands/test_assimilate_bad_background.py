"""Backgrounds that cannot be used, or only in part, through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import eccodes
import numpy as np
import pytest
import xarray as xr
from synthetic import FINE, FINE_LEVELS, TIME, amplitudes, dataset

Run = Callable[..., Any]
Fails = Callable[..., str]


@pytest.fixture
def changed(
    case: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Callable[[xr.Dataset], xr.Dataset]], Path]:
    """Write a changed copy of the background."""

    def make(change: Callable[[xr.Dataset], xr.Dataset]) -> Path:
        path = tmp_path_factory.mktemp("changed") / "fc.nc"
        with xr.open_dataset(case / "fc.nc") as data:
            change(data.load()).to_netcdf(path)
        return path

    return make


def test_no_such_file(fails: Fails, tmp_path: Path) -> None:
    assert f"{tmp_path / 'no.nc'} does not exist" in fails(3, background=tmp_path / "no.nc")
    assert "no.csv does not exist" in fails(3, obs=tmp_path / "no.csv")
    assert "is a folder, expected a file" in fails(2, background=tmp_path)


def test_empty_and_foreign_files(fails: Fails, tmp_path: Path) -> None:
    path = tmp_path / "fc.nc"
    path.touch()
    assert "fc.nc is empty (0 bytes)" in fails(3, background=path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500))
    message = fails(3, background=path)
    assert "neither NetCDF nor GRIB" in message
    assert "PNG image" in message


def grib(path: Path) -> Path:
    """Temperature at 500 hPa on two messages."""
    with path.open("wb") as file:
        for level in (500, 850):
            handle = eccodes.codes_grib_new_from_samples("regular_ll_pl_grib2")
            keys = {
                "Ni": 24,
                "Nj": 13,
                "iDirectionIncrementInDegrees": 15,
                "jDirectionIncrementInDegrees": 15,
                "level": level,
            }
            keys |= {
                "latitudeOfFirstGridPointInDegrees": 90,
                "latitudeOfLastGridPointInDegrees": -90,
            }
            keys |= {
                "longitudeOfLastGridPointInDegrees": 345,
                "shortName": "t",
                "dataDate": 20110120,
                "dataTime": 1200,
            }
            for key, value in keys.items():
                eccodes.codes_set(handle, key, value)
            field = dataset(amplitudes()[None], [TIME], FINE)["t"].sel(level=level).values
            eccodes.codes_set_values(handle, field.astype(float).ravel())
            eccodes.codes_write(handle, file)
            eccodes.codes_release(handle)
    return path


def test_truncated_grib(assimilate: Run, fails: Fails, tmp_path: Path) -> None:
    path = grib(tmp_path / "fc.grib2")
    assert assimilate("--dry-run", background=path).code == 0
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 100])
    assert "fc.grib2 is truncated or damaged after 1 fields" in fails(3, background=path)


def test_truncated_netcdf(fails: Fails, case: Path, tmp_path: Path) -> None:
    whole = (case / "fc.nc").read_bytes()
    (tmp_path / "fc.nc").write_bytes(whole[: len(whole) // 2])
    message = fails(3, background=tmp_path / "fc.nc")
    assert "fc.nc" in message
    assert "truncated" in message


def test_missing_values_are_left_out_and_said(assimilate: Run, changed: Any) -> None:
    def punch(data: xr.Dataset) -> xr.Dataset:
        data["u"].values[0, 2, 3:5, 7] = np.nan
        return data

    outcome = assimilate(background=changed(punch))
    assert outcome.code == 0
    assert "2 of 312" in outcome.err


def test_unknown_names_and_how_to_map_them(assimilate: Run, fails: Fails, changed: Any) -> None:
    path = changed(
        lambda data: data.rename({str(n): f"field{i}" for i, n in enumerate(data.data_vars)})
    )
    message = fails(3, background=path)
    assert "found field0, field1" in message
    assert "looked for z, gh, t, u, v, q" in message
    assert "--rename" in message
    renames = [f"field{i}={n}" for i, n in enumerate(("z", "t", "u", "v", "q", "msl"))]
    assert (
        assimilate(
            "--dry-run", *(part for r in renames for part in ("--rename", r)), background=path
        ).code
        == 0
    )


def test_no_common_level(fails: Fails, tmp_path: Path) -> None:
    high = dataset(amplitudes()[None], [TIME], FINE, (20, 50)).drop_vars(["msl", "q"])
    high["t"] = high["t"] * 0 + 215
    high.to_netcdf(tmp_path / "fc.nc")
    message = fails(3, background=tmp_path / "fc.nc")
    assert "shares no level and variable with the model" in message
    assert "t20" in message
    assert "z300" in message


def test_a_background_without_humidity_is_analysed_for_the_rest(
    assimilate: Run, changed: Any, tmp_path: Path
) -> None:
    path = changed(lambda data: data.drop_vars("q"))
    for method in ("oi", "phyda"):
        outcome = assimilate(
            "--json", "--members", 2, "--overwrite", background=path, method=method
        )
        assert outcome.code == 0, outcome.err
        assert any(
            "climatology used as network input: q300, q500, q850" in n
            for n in json.loads(outcome.out)["notes"]
        )
        with xr.open_dataset(tmp_path / "an.nc") as data:
            assert "q" not in data
            assert np.abs(data["t_increment"]).max() > 0.1
            assert "q300" in data.attrs["phyda_notes"]


def test_a_limited_area_is_analysed_with_the_global_model(
    assimilate: Run, changed: Any, tmp_path: Path
) -> None:
    path = changed(lambda data: data.isel(latitude=slice(1, 7), longitude=slice(2, 14)))
    for method in ("oi", "phyda"):
        outcome = assimilate(
            "--json", "--members", 2, "--overwrite", background=path, method=method
        )
        assert outcome.code == 0, outcome.err
        report = json.loads(outcome.out)
        assert report["observations"]["rejected"]["outside the domain"] > 50
        assert any("of the model grid lies outside the background" in n for n in report["notes"])
        with xr.open_dataset(tmp_path / "an.nc") as data:
            assert data["t"].shape == (1, len(FINE_LEVELS), 6, 12)
            assert np.isfinite(data["t"]).all()
            assert np.abs(data["msl_increment"]).max() > 20


def test_several_times_choose_the_one_of_the_observations(assimilate: Run, tmp_path: Path) -> None:
    times = TIME + np.timedelta64(6, "h") * np.arange(-2, 2)
    waves = np.stack([amplitudes(24)] * 4)
    dataset(waves, times, FINE, FINE_LEVELS).to_netcdf(tmp_path / "fc.nc")
    report = json.loads(assimilate("--json", "--dry-run", background=tmp_path / "fc.nc").out)
    assert report["valid_time"] == str(TIME)
    asked = assimilate(
        "--json", "--dry-run", "--time", times[0], "--window", 13, background=tmp_path / "fc.nc"
    )
    assert json.loads(asked.out)["valid_time"] == str(times[0])
    absent = assimilate("--time", "2020-01-01", background=tmp_path / "fc.nc")
    assert absent.code == 2
    assert "has no time 2020-01-01" in absent.err


def test_an_implausible_analysis_is_not_published(fails: Fails, case: Path, tmp_path: Path) -> None:
    """A high of 1090 hPa that warm air, 10 K off, would make deeper still."""
    table = (case / "stations.csv").read_text().splitlines()
    rows = [r.split(",") for r in table[1:] if ",t," in r]
    (tmp_path / "warm.csv").write_text(
        "\n".join([table[0], *(",".join([*r[:6], str(float(r[6]) + 10), "0.1"]) for r in rows)])
    )
    (tmp_path / "lax.toml").write_text("[qc]\nfirst_guess_factor = 1000.0\n")
    high = dataset(amplitudes(24)[None], [TIME], FINE, FINE_LEVELS)
    high["msl"] = high["msl"] + (109000 - high["msl"].max())
    high.to_netcdf(tmp_path / "fc.nc")
    message = fails(
        5,
        "--config",
        tmp_path / "lax.toml",
        background=tmp_path / "fc.nc",
        obs=tmp_path / "warm.csv",
    )
    assert "the analysis of msl is not plausible" in message
    assert "nothing was written" in message
