"""Native state files that are damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from phyda_cli.errors import InputError
from phyda_cli.simulation.jcm import DIAGNOSTIC, PROGNOSTIC, load_states, read_arrays, save_states


def test_states_come_back(tmp_path: Path) -> None:
    times = np.array(["2010-01-01", "2010-01-02"], "datetime64[s]")
    states = [
        {k: np.full((3, 2), float(i), np.float32) for k in (*PROGNOSTIC, *DIAGNOSTIC)}
        for i in range(2)
    ]
    save_states(tmp_path / "native_0000.npz", times, states)
    found_times, found = load_states(tmp_path / "native_0000.npz")
    np.testing.assert_array_equal(found_times, times)
    for ours, theirs in zip(found, states, strict=True):
        np.testing.assert_array_equal(ours["u"], theirs["u"])


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.98])
def test_a_truncated_file_is_an_input_error(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "state.npz"
    np.savez(path, a=np.arange(1000.0), b=np.arange(10.0))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep if keep >= 1 else keep * len(whole))])
    with pytest.raises(InputError, match="cannot be read"):
        read_arrays(path, ("a", "b"))


def test_a_file_that_lacks_an_array_is_an_input_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "state.npz", a=np.arange(3))
    with pytest.raises(InputError, match="cannot be read"):
        read_arrays(tmp_path / "state.npz", ("a", "prior"))
