"""Ensembles of forecasts: in one file or in several, their mean, and members that do not belong
together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from phyda_cli.errors import InputError, UsageError
from phyda_cli.fields.grid import Fields
from phyda_cli.formats.background import read_background
from phyda_cli.formats.ensemble import member_labels, read_ensemble
from phyda_cli.formats.write import write_analysis, write_fields

from .samples import LEVELS, atmosphere

SIZE = 4


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A file a member."""
    paths = [tmp_path / f"m{i}.nc" for i in range(SIZE)]
    for i, path in enumerate(paths):
        write_fields(path, atmosphere(seed=i))
    return paths


@pytest.fixture
def one_file(files: list[Path], tmp_path: Path) -> Path:
    """The same members in one file, numbered from 5."""
    parts = [xr.open_dataset(f, decode_times=False) for f in files]
    whole = xr.concat(
        parts, xr.Variable("number", np.arange(5, 5 + SIZE, dtype=np.int32)), data_vars="all"
    )
    whole.to_netcdf(tmp_path / "all.nc")
    return tmp_path / "all.nc"


def test_members_and_mean_are_the_same_from_one_file_or_several(
    files: list[Path], one_file: Path
) -> None:
    assert member_labels(files[0]) == []
    assert member_labels(one_file) == [5, 6, 7, 8]
    for paths in (files, [one_file], [files[0], *files[1:]]):
        mean, members = read_ensemble(paths)
        assert len(members) == SIZE
        for i, member in enumerate(members):
            np.testing.assert_array_equal(member.upper["t"], atmosphere(seed=i).upper["t"])
        for name in ("z", "t", "q"):
            expected = np.mean(
                [atmosphere(seed=i).upper[name] for i in range(SIZE)], axis=0, dtype=np.float64
            )
            np.testing.assert_allclose(mean.fields.upper[name], expected, rtol=1e-12)
            np.testing.assert_allclose(np.squeeze(mean.source[name].values), expected, rtol=1e-6)
        expected = np.mean([atmosphere(seed=i).surface["msl"] for i in range(SIZE)], axis=0)
        np.testing.assert_allclose(mean.fields.surface["msl"], expected, rtol=1e-6)
        assert mean.notes[0].startswith(f"mean of {SIZE} members of ")


def test_the_mean_is_a_background_like_any_other(one_file: Path, tmp_path: Path) -> None:
    mean, members = read_ensemble([one_file])
    nothing = Fields(
        mean.fields.grid,
        mean.fields.time,
        LEVELS,
        {k: 0 * v for k, v in mean.fields.upper.items()},
        {},
    )
    write_analysis(tmp_path / "an.nc", mean, mean.fields, nothing, nothing, members)
    again = read_background(tmp_path / "an.nc")
    np.testing.assert_allclose(again.fields.upper["t"], mean.fields.upper["t"], rtol=1e-6)
    with xr.open_dataset(tmp_path / "an.nc") as data:
        assert data["t_members"].sizes["realization"] == SIZE
        np.testing.assert_allclose(
            np.squeeze(data["t_members"].values[2]), members[2].upper["t"], atol=1e-4
        )


def test_one_member_is_no_ensemble(files: list[Path]) -> None:
    with pytest.raises(UsageError, match=r"at least two members, found 1 in m0\.nc"):
        read_ensemble(files[:1])


def test_members_of_another_grid_or_time_are_refused(files: list[Path], tmp_path: Path) -> None:
    write_fields(tmp_path / "few.nc", atmosphere(levels=LEVELS[:2]))
    with pytest.raises(InputError, match=r"few.nc differs from m0.nc in its levels"):
        read_ensemble([*files, tmp_path / "few.nc"])
    fields = atmosphere()
    late = Fields(
        fields.grid,
        fields.time + np.timedelta64(6, "h"),
        fields.levels,
        fields.upper,
        fields.surface,
    )
    write_fields(tmp_path / "late.nc", late)
    with pytest.raises(UsageError, match=r"late.nc has no time 2020-02-29T06"):
        read_ensemble([*files, tmp_path / "late.nc"])
    lacking = Fields(
        fields.grid,
        fields.time,
        fields.levels,
        {k: v for k, v in fields.upper.items() if k != "q"},
        fields.surface,
    )
    write_fields(tmp_path / "lacking.nc", lacking)
    with pytest.raises(InputError, match=r"lacking\.nc differs from m0\.nc in its variables"):
        read_ensemble([*files, tmp_path / "lacking.nc"])
