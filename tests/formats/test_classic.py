"""The announced size of classic NetCDF files."""

from __future__ import annotations

import struct
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from phyda_cli.formats.classic import classic_size


@pytest.mark.parametrize("kind", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
@pytest.mark.parametrize("variables", ["f", "r", "b", "rs", "fr", "frsb", ""])
@pytest.mark.parametrize("records", [0, 1, 5])
def test_equals_the_size_of_whole_files(
    tmp_path: Path, kind: str, variables: str, records: int
) -> None:
    with netCDF4.Dataset(tmp_path / "a.nc", "w", format=kind) as file:
        file.createDimension("time", None)
        file.createDimension("x", 7)
        file.title = "a title of 23 characters"
        for name, (code, dims) in {
            "f": ("f8", ("x",)),
            "r": ("f4", ("time", "x")),
            "s": ("i2", ("time", "x")),
            "b": ("i1", ("time",)),
        }.items():
            if name in variables:
                variable = file.createVariable(name, code, dims)
                variable.valid_range = np.array([1, 2], code)
                variable[:] = np.ones([records if d == "time" else 7 for d in dims])
    size = (tmp_path / "a.nc").stat().st_size
    assert classic_size(tmp_path / "a.nc") <= size
    if "f" in variables or (variables and records):  # an empty file keeps room in its header
        assert size - 3 <= classic_size(tmp_path / "a.nc")  # up to three bytes of padding follow


def test_header_that_ends_early(tmp_path: Path) -> None:
    with netCDF4.Dataset(tmp_path / "a.nc", "w", format="NETCDF3_CLASSIC") as file:
        file.createDimension("x", 7)
        file.createVariable("f", "f8", ("x",))
    whole = (tmp_path / "a.nc").read_bytes()
    (tmp_path / "cut.nc").write_bytes(whole[:30])
    with pytest.raises((struct.error, LookupError, ValueError)):
        classic_size(tmp_path / "cut.nc")
