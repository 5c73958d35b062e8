"""Analysis files: the background's layout and units, increments, spread and members; whole or not
at all."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from phyda_cli.constants import GRAVITY
from phyda_cli.errors import OutputError
from phyda_cli.fields.grid import Fields
from phyda_cli.formats.background import Background, read_background
from phyda_cli.formats.humidity import relative_humidity, specific_humidity
from phyda_cli.formats.write import write_analysis, write_fields

from .samples import LEVELS, TIME, atmosphere
from .test_background import write


def apply(background: Background, scale: float = 1.0) -> tuple[Fields, Fields, Fields]:
    """Analysis, increment and spread of a made-up analysis of z, t, u, q and msl."""
    rng = np.random.default_rng(5)
    size = {"z": 100.0, "t": 1.0, "u": 2.0, "q": 1e-6}
    first = background.fields
    upper = {
        n: scale * s * rng.normal(size=first.upper[n].shape)
        for n, s in size.items()
        if n in first.upper
    }
    surface = {"msl": scale * 50 * rng.normal(size=first.grid.shape)}
    increment = replace(first, upper=upper, surface=surface)
    analysis = replace(
        first,
        upper={n: v + upper.get(n, 0.0) for n, v in first.upper.items()},
        surface={n: v + surface.get(n, 0.0) for n, v in first.surface.items()},
    )
    spread = replace(
        increment,
        upper={n: np.abs(v) for n, v in upper.items()},
        surface={n: np.abs(v) for n, v in surface.items()},
    )
    return analysis, increment, spread


@pytest.fixture
def background(tmp_path: Path) -> Background:
    write(
        tmp_path / "fc.nc",
        west="cyclic",
        ascending=True,
        metres=True,
        celsius=True,
        packed=True,
        transpose=True,
    )
    return read_background(tmp_path / "fc.nc")


def test_layout_names_and_units_are_the_backgrounds(tmp_path: Path, background: Background) -> None:
    analysis, increment, spread = apply(background)
    write_analysis(
        tmp_path / "an.nc",
        background,
        analysis,
        increment,
        spread,
        attributes={"seed": 7, "degraded": False},
    )
    with (
        xr.open_dataset(tmp_path / "fc.nc", engine="netcdf4") as old,
        xr.open_dataset(tmp_path / "an.nc", engine="netcdf4") as new,
    ):
        assert set(old.variables) <= set(new.variables)
        for name in old.data_vars:
            assert new[name].dims == old[name].dims
            assert new[name].attrs["units"] == old[name].attrs["units"]
        for name in ("latitude", "longitude", "level"):
            np.testing.assert_array_equal(new[name], old[name])
        np.testing.assert_allclose(new["z"] - old["z"], new["z_increment"], atol=2e-3)
        columns = [
            int(np.flatnonzero(background.fields.grid.longitude == x % 360)[0])
            for x in new["longitude"].values
        ]
        found = new["z_increment"].transpose("time", "level", "latitude", "longitude").values[0]
        np.testing.assert_allclose(found, (increment.upper["z"] / GRAVITY)[..., columns], rtol=1e-5)
        assert new["z_increment"].attrs == {"long_name": "analysis increment of z", "units": "m"}
        assert new["t"].attrs["units"] == "degC"
        assert new["t_increment"].attrs["units"] == "K"
        assert new["z_spread"].attrs["cell_methods"] == "realization: standard_deviation"
        np.testing.assert_array_equal(new["v"], old["v"])
        assert "v_increment" not in new
        assert new.attrs["seed"] == 7
        assert new.attrs["degraded"] == "False"
        assert new.attrs["Conventions"] == "CF-1.11"
        assert new["time"].values[0] == TIME
        assert new["z_increment"].encoding["zlib"]
        assert new["z"].dtype == np.float32


def test_reads_back_as_the_analysis(tmp_path: Path, background: Background) -> None:
    analysis, increment, spread = apply(background)
    write_analysis(
        tmp_path / "an.nc",
        background,
        analysis,
        increment,
        spread,
        members=[analysis, background.fields],
    )
    again = read_background(tmp_path / "an.nc")
    for name, values in {**analysis.upper, **analysis.surface}.items():
        np.testing.assert_allclose(
            {**again.fields.upper, **again.fields.surface}[name],
            values,
            rtol=3e-7,
            atol=3e-5,
            err_msg=name,
        )
    assert not [
        v for v in again.source.data_vars if str(v).endswith(("_increment", "_spread", "_members"))
    ]


def test_no_increment_leaves_the_values_bit_for_bit(tmp_path: Path) -> None:
    write(tmp_path / "fc.nc", metres=True)
    background = read_background(tmp_path / "fc.nc")
    analysis, increment, _ = apply(background, scale=0.0)
    write_analysis(tmp_path / "an.nc", background, analysis, increment)
    with xr.open_dataset(tmp_path / "an.nc", engine="netcdf4") as new:
        for name in background.source.data_vars:
            np.testing.assert_array_equal(
                new[name].values, background.source[name].values.astype(np.float32)
            )
        assert not new["z_increment"].values.any()


def test_members_and_their_coordinate(tmp_path: Path, background: Background) -> None:
    analysis, increment, spread = apply(background)
    write_analysis(
        tmp_path / "an.nc",
        background,
        analysis,
        increment,
        spread,
        members=[analysis, background.fields],
    )
    with xr.open_dataset(tmp_path / "an.nc", engine="netcdf4") as new:
        assert new["t_members"].dims == ("realization", *new["t"].dims)
        assert new["realization"].values.tolist() == [0, 1]
        np.testing.assert_array_equal(new["t_members"][0], new["t"])
        np.testing.assert_allclose(new["t_members"][1], background.source["t"], atol=1e-4)


def test_a_file_of_relative_humidity_gets_it_from_the_analysed_q_and_t(tmp_path: Path) -> None:
    sample = atmosphere()
    write(tmp_path / "q.nc")
    r = relative_humidity(sample.upper["q"], sample.upper["t"], LEVELS[:, None, None]).astype(
        np.float32
    )
    with xr.open_dataset(tmp_path / "q.nc", engine="netcdf4") as dataset:
        dataset.drop_vars("q").assign(r=(dataset["t"].dims, r[None], {"units": "%"})).to_netcdf(
            tmp_path / "r.nc", engine="netcdf4"
        )
    background = read_background(tmp_path / "r.nc")
    analysis, increment, spread = apply(background)
    write_analysis(tmp_path / "an.nc", background, analysis, increment, spread)
    with xr.open_dataset(tmp_path / "an.nc", engine="netcdf4") as new:
        assert "q" not in new
        expected = relative_humidity(
            analysis.upper["q"], analysis.upper["t"], LEVELS[:, None, None]
        )
        np.testing.assert_allclose(new["r"].values[0], expected, rtol=2e-5, atol=1e-4)
        np.testing.assert_allclose(new["r_increment"].values[0], expected - r, rtol=1e-3, atol=1e-4)
        back = specific_humidity(new["r"].values[0], new["t"].values[0], LEVELS[:, None, None])
        np.testing.assert_allclose(back, analysis.upper["q"], rtol=1e-4, atol=1e-9)
        by_q = (
            relative_humidity(
                analysis.upper["q"] + spread.upper["q"], analysis.upper["t"], LEVELS[:, None, None]
            )
            - expected
        )
        assert (new["r_spread"].values[0] >= np.abs(by_q) * 0.999 - 1e-5).all()
    pair = [analysis, background.fields]
    write_analysis(
        tmp_path / "an.nc", background, analysis, increment, spread, pair, overwrite=True
    )
    with xr.open_dataset(tmp_path / "an.nc", engine="netcdf4") as new:
        np.testing.assert_allclose(
            new["r_spread"].values[0], np.abs(expected - r) / np.sqrt(2), rtol=1e-3, atol=1e-4
        )


def test_bounds_of_the_old_time_do_not_survive(tmp_path: Path) -> None:
    write(tmp_path / "fc.nc")
    with xr.open_dataset(tmp_path / "fc.nc", engine="netcdf4", decode_times=False) as dataset:
        dataset["time"].attrs["bounds"] = "time_bnds"
        dataset.assign(time_bnds=(("time", "bnds"), [[0.0, 6.0]])).to_netcdf(
            tmp_path / "bounds.nc", engine="netcdf4"
        )
    background = read_background(tmp_path / "bounds.nc")
    analysis, increment, _ = apply(background)
    write_analysis(tmp_path / "an.nc", background, analysis, increment)
    with xr.open_dataset(tmp_path / "an.nc", engine="netcdf4") as new:
        assert "time_bnds" not in new
        assert "bounds" not in new["time"].attrs


def test_channels_on_their_own_levels(tmp_path: Path) -> None:
    sample = atmosphere()
    dims = ("time", "latitude", "longitude")
    dataset = xr.Dataset(
        {
            "z500": (dims, sample.upper["z"][2:3]),
            "t850": (dims, sample.upper["t"][1:2]),
            "msl": (dims, sample.surface["msl"][None]),
        },
        {
            "time": ("time", [TIME]),
            "latitude": sample.grid.latitude,
            "longitude": sample.grid.longitude,
        },
    )
    dataset.to_netcdf(tmp_path / "fc.nc", engine="netcdf4")
    background = read_background(tmp_path / "fc.nc")
    ones = replace(
        background.fields,
        upper={n: np.ones_like(v) for n, v in background.fields.upper.items()},
        surface={},
    )
    analysis = replace(
        background.fields, upper={n: v + 1 for n, v in background.fields.upper.items()}
    )
    write_analysis(tmp_path / "an.nc", background, analysis, ones)
    with xr.open_dataset(tmp_path / "an.nc", engine="netcdf4") as new:
        assert set(new.data_vars) == {"z500", "t850", "msl", "z500_increment", "t850_increment"}
        np.testing.assert_allclose(new["z500"], dataset["z500"] + 1)
        assert (new["t850_increment"] == 1).all()


def test_values_do_not_depend_on_the_run(tmp_path: Path, background: Background) -> None:
    analysis, increment, spread = apply(background)
    for name in ("a.nc", "b.nc"):
        write_analysis(tmp_path / name, background, analysis, increment, spread)
    with (
        xr.open_dataset(tmp_path / "a.nc", engine="netcdf4") as a,
        xr.open_dataset(tmp_path / "b.nc", engine="netcdf4") as b,
    ):
        assert a.identical(b.assign_attrs(history=a.attrs["history"]))


@pytest.mark.parametrize(("before", "after"), [(0, 1), (2, 3), (100, 20)])
def test_the_history_does_not_grow_for_ever(
    tmp_path: Path, background: Background, before: int, after: int
) -> None:
    analysis, increment, _ = apply(background)
    background.source.attrs["history"] = "\n".join(f"line {i}" for i in range(before))
    write_analysis(tmp_path / "an.nc", background, analysis, increment)
    with xr.open_dataset(tmp_path / "an.nc", engine="netcdf4") as new:
        lines = new.attrs["history"].splitlines()
    assert len(lines) == after
    assert lines[1:] == [f"line {i}" for i in range(after - 1)]


def test_existing_output_and_missing_folder(tmp_path: Path, background: Background) -> None:
    analysis, increment, _ = apply(background)
    write_analysis(tmp_path / "an.nc", background, analysis, increment)
    with pytest.raises(OutputError, match="exists already"):
        write_analysis(tmp_path / "an.nc", background, analysis, increment)
    write_analysis(tmp_path / "an.nc", background, analysis, increment, overwrite=True)
    with pytest.raises(OutputError, match="does not exist"):
        write_analysis(tmp_path / "no" / "an.nc", background, analysis, increment)


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_fields(tmp_path / "a.nc", atmosphere(seed=1))
    before = (tmp_path / "a.nc").read_bytes()

    def full(self: xr.Dataset, path: Path, **_: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    with pytest.raises(OutputError, match="disk is full"):
        write_fields(tmp_path / "a.nc", atmosphere(seed=2), overwrite=True)
    assert (tmp_path / "a.nc").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]


def test_what_does_not_read_back_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = xr.Dataset.to_netcdf

    def damaged(self: xr.Dataset, path: Path, **options: Any) -> None:
        broken = self.copy(deep=True)
        broken["t"].values[0, 0, 0, 0] = np.nan
        real(broken, path, **options)

    monkeypatch.setattr(xr.Dataset, "to_netcdf", damaged)
    with pytest.raises(OutputError, match="t does not read back"):
        write_fields(tmp_path / "a.nc", atmosphere())
    assert not list(tmp_path.iterdir())
