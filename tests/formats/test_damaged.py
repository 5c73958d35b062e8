"""Damaged forecasts: read or refused, never a traceback."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from benchmarks.fuzz import fuzz, mutate_netcdf, read_forecast
from phyda_cli.fields.grid import Grid
from phyda_cli.formats.write import write_fields

from .samples import LEVELS, atmosphere
from .test_grib import t

NETCDF = ["NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF4"]


def sample(kind: str, folder: Path) -> bytes:
    """A small whole file."""
    if kind.startswith("grib"):
        return b"".join(t(level, edition=int(kind[-1])) for level in (500, 850))
    grid = Grid(np.linspace(60, -60, 4), np.arange(6) * 60.0)
    fields = atmosphere(grid, LEVELS[:2])
    few = replace(fields, upper={"t": fields.upper["t"]}, surface={"msl": fields.surface["msl"]})
    write_fields(folder / "a.nc", few)
    with xr.open_dataset(folder / "a.nc", engine="netcdf4", decode_times=False) as data:
        data.load().drop_encoding().to_netcdf(folder / "b.nc", engine="netcdf4", format=kind)  # type: ignore[call-overload]
    return (folder / "b.nc").read_bytes()


@pytest.mark.parametrize("kind", ["grib1", "grib2", *NETCDF])
def test_damaged_copies_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    found = fuzz(sample(kind, tmp_path), 60, tmp_path, read=read_forecast)
    assert found.pop("longest_s") < 60
    assert sum(found.values()) == 60
    assert found["read"] > 0, found


@pytest.mark.parametrize("kind", NETCDF)
def test_values_and_attributes_may_be_anything(tmp_path: Path, kind: str) -> None:
    content = sample(kind, tmp_path)
    found = fuzz(content, 60, tmp_path, read=read_forecast, damage=mutate_netcdf)
    assert found.pop("longest_s") < 60
    assert sum(found.values()) == 60
    assert found["read"] > 15, found


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETCDF)
def test_two_thousand_with_other_values_and_attributes(tmp_path: Path, kind: str) -> None:
    content = sample(kind, tmp_path)
    found = fuzz(content, 2000, tmp_path, seed=1, read=read_forecast, damage=mutate_netcdf)
    print(kind, found)
    assert found.pop("longest_s") < 60
    assert sum(found.values()) == 2000


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["grib1", "grib2", *NETCDF])
def test_two_thousand_damaged_copies(tmp_path: Path, kind: str) -> None:
    found = fuzz(sample(kind, tmp_path), 2000, tmp_path, seed=1, read=read_forecast)
    print(kind, found)
    assert found.pop("longest_s") < 60
    assert sum(found.values()) == 2000
