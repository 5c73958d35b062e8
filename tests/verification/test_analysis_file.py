"""Reading back what an analysis file implies: first guess, increment, spread and members."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from phyda_cli.fields.grid import Fields
from phyda_cli.formats.background import Background, read_background
from phyda_cli.formats.write import write_analysis
from phyda_cli.verification.analysis_file import read_analysis

SHAPE = (1, 2, 5, 8)


def write_background(path: Path) -> Background:
    """Temperature in °C, relative humidity, and msl in hPa; latitudes descending, longitudes from
    -180."""
    rng = np.random.default_rng(0)
    dims = ("time", "level", "latitude", "longitude")
    xr.Dataset(
        {
            "t": (dims, (rng.normal(-10, 8, SHAPE)).astype(np.float32), {"units": "degC"}),
            "r": (dims, rng.uniform(20, 90, SHAPE).astype(np.float32), {"units": "%"}),
            "msl": (
                (dims[0], *dims[2:]),
                rng.normal(1010, 5, (1, 5, 8)).astype(np.float32),
                {"units": "hPa"},
            ),
        },
        {
            "time": ("time", [0], {"units": "hours since 2020-01-01"}),
            "level": ("level", [500.0, 850.0], {"units": "hPa"}),
            "latitude": np.linspace(80, -80, 5),
            "longitude": np.arange(8) * 45.0 - 180,
        },
    ).to_netcdf(path)
    return read_background(path)


def added(fields: Fields, t: float, msl: float) -> Fields:
    return replace(
        fields,
        upper=fields.upper | {"t": fields.upper["t"] + t},
        surface={"msl": fields.surface["msl"] + msl},
    )


def constant(fields: Fields, t: float, msl: float) -> Fields:
    shape = fields.grid.shape
    return replace(
        fields, upper={"t": np.full((2, *shape), t)}, surface={"msl": np.full(shape, msl)}
    )


@pytest.fixture
def analysed(tmp_path: Path) -> tuple[Background, Path]:
    background = write_background(tmp_path / "bg.nc")
    fields = background.fields
    members = [added(fields, 1.0, 100.0), added(fields, 2.0, 300.0)]
    write_analysis(
        tmp_path / "an.nc",
        background,
        added(fields, 1.5, 200.0),
        constant(fields, 1.5, 200.0),
        constant(fields, 0.5, 50.0),
        members,
    )
    return background, tmp_path / "an.nc"


def test_first_guess_is_the_background(analysed: tuple[Background, Path]) -> None:
    background, path = analysed
    file = read_analysis(path)
    assert file.background is not None
    np.testing.assert_allclose(file.background.upper["t"], background.fields.upper["t"], atol=1e-4)
    np.testing.assert_allclose(file.background.upper["q"], background.fields.upper["q"], rtol=1e-4)
    np.testing.assert_allclose(
        file.background.surface["msl"], background.fields.surface["msl"], atol=0.1
    )


def test_increment_spread_and_members_in_canonical_units(analysed: tuple[Background, Path]) -> None:
    background, path = analysed
    file = read_analysis(path)
    increment, spread = file.increment, file.spread
    assert increment is not None
    assert spread is not None
    np.testing.assert_allclose(increment.upper["t"], 1.5, atol=1e-4)
    np.testing.assert_allclose(increment.surface["msl"], 200.0, atol=0.1)
    np.testing.assert_allclose(spread.upper["t"], 0.5)
    np.testing.assert_allclose(spread.surface["msl"], 50.0, rtol=1e-6)
    assert "q" not in spread.upper  # its file has the spread of relative humidity
    assert len(file.members) == 2
    np.testing.assert_allclose(
        file.members[1].upper["t"], background.fields.upper["t"] + 2.0, atol=1e-4
    )
    np.testing.assert_allclose(file.members[1].upper["q"], background.fields.upper["q"], rtol=1e-3)


def test_a_zarr_store_holds_them_too(analysed: tuple[Background, Path], tmp_path: Path) -> None:
    _, path = analysed
    with xr.open_dataset(path, decode_times=False) as dataset:
        dataset.drop_encoding().to_zarr(tmp_path / "an.zarr", consolidated=False)
    ours, theirs = read_analysis(path), read_analysis(tmp_path / "an.zarr")
    assert ours.increment is not None
    assert theirs.increment is not None
    np.testing.assert_array_equal(theirs.increment.upper["t"], ours.increment.upper["t"])
    assert theirs.spread is not None
    assert len(theirs.members) == 2


def test_a_plain_file_is_all_analysis(tmp_path: Path) -> None:
    write_background(tmp_path / "bg.nc")
    file = read_analysis(tmp_path / "bg.nc")
    assert file.background is None
    assert file.increment is None
    assert file.spread is None
    assert file.members == ()


def test_variables_that_were_not_analysed_are_shared(tmp_path: Path) -> None:
    background = write_background(tmp_path / "bg.nc")
    only = replace(constant(background.fields, 0.0, 200.0), upper={})
    write_analysis(tmp_path / "an.nc", background, added(background.fields, 0.0, 200.0), only)
    file = read_analysis(tmp_path / "an.nc")
    assert file.increment is not None
    assert list(file.increment.surface) == ["msl"]
    assert not file.increment.upper
    assert file.background is not None
    np.testing.assert_array_equal(file.background.upper["t"], file.fields.upper["t"])
