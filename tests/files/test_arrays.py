"""Named arrays on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from phyda_cli.errors import InputError
from phyda_cli.files.arrays import read_arrays, write_arrays


def test_arrays_come_back(tmp_path: Path) -> None:
    path, time = tmp_path / "a.npz", np.array(["2010-01-01"], "datetime64[s]")
    write_arrays(path, x=np.arange(3))
    write_arrays(path, x=np.arange(4.0), time=time)
    found = read_arrays(path)
    assert list(found) == ["x", "time"]
    np.testing.assert_array_equal(found["x"], np.arange(4.0))
    assert list(read_arrays(path, ["time"])) == ["time"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("size", [0, 100])
def test_damaged_or_lacking_arrays_are_an_input_error(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.npz"
    write_arrays(path, x=np.arange(3))
    with pytest.raises(InputError, match=r"a\.npz"):
        read_arrays(path, ["y"])
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match="cannot be read"):
        read_arrays(path)
