"""Columns that cannot be an atmosphere, and single points that nothing real can have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phyda_cli.analysis.analyse import check_plausible
from phyda_cli.errors import GateError, InputError
from phyda_cli.fields.grid import Fields
from phyda_cli.formats.background import read_background
from phyda_cli.formats.columns import check_columns
from phyda_cli.formats.write import write_fields

from .samples import atmosphere

Change = Callable[[Fields], Fields]


def upper(**changed: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Change variables on levels."""
    return lambda fields: replace(
        fields, upper=fields.upper | {k: f(fields.upper[k].copy()) for k, f in changed.items()}
    )


def without(name: str, change: Change) -> Change:
    """Change, and leave ``name`` out."""

    def both(fields: Fields) -> Fields:
        fields = change(fields)
        return replace(fields, upper={k: v for k, v in fields.upper.items() if k != name})

    return both


def flipped(values: np.ndarray) -> np.ndarray:
    return values[::-1]


def test_weather_passes() -> None:
    check_columns(atmosphere(), "fc.nc")
    holes = upper(t=lambda v: np.where(np.arange(v.shape[-1]) < 5, np.nan, v))(atmosphere())
    check_columns(holes, "fc.nc")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (upper(t=flipped), "upside down"),
        (without("z", upper(t=flipped)), "upside down"),
        (upper(z=flipped), "falls with height"),
        (upper(t=lambda v: v + 60), "geopotential means"),
        (without("z", upper(t=lambda v: v * np.array([1.4, 1, 1, 1])[:, None, None])), "K per km"),
    ],
    ids=["t", "t without z", "z", "t of elsewhere", "one level of t"],
)
def test_no_atmosphere(change: Change, what: str, tmp_path: Path) -> None:
    fields = change(atmosphere())
    with pytest.raises(InputError, match=what):
        check_columns(fields, "fc.nc")


def test_a_file_upside_down_is_refused(tmp_path: Path) -> None:
    write_fields(tmp_path / "fc.nc", upper(t=flipped)(atmosphere()))
    with pytest.raises(InputError, match=r"fc\.nc cannot be an atmosphere"):
        read_background(tmp_path / "fc.nc")


@pytest.mark.parametrize(
    ("name", "value"),
    [("t", 1e30), ("q", -1.0), ("u", 9999.0), ("z", -1e9), ("msl", 0.0), ("t2m", -9999.0)],
)
def test_an_impossible_point_is_left_out_and_named(name: str, value: float, tmp_path: Path) -> None:
    fields = atmosphere()
    group = fields.upper if name in fields.upper else fields.surface
    at = (*((1,) if name in fields.upper else ()), 3, 4)
    group[name][at] = value
    write_fields(tmp_path / "fc.nc", fields)
    found = read_background(tmp_path / "fc.nc")
    group = found.fields.upper if name in fields.upper else found.fields.surface
    assert np.flatnonzero(np.isnan(group[name])).size == 1
    assert np.isnan(group[name][at])
    assert any(note.startswith(f"{name} is ") and "1 of 108" in note for note in found.notes)


def test_the_gate_is_not_widened_by_the_background() -> None:
    background = atmosphere()
    background.surface["msl"][0, 0] = 1e6
    with pytest.raises(GateError, match="msl is not plausible"):
        check_plausible(background, background)
    lost = upper(t=lambda v: np.where(np.arange(v.shape[-1]) == 1, np.nan, v))
    good = atmosphere()
    check_plausible(good, good)
    with pytest.raises(GateError, match="t is not plausible"):
        check_plausible(good, lost(good))
    check_plausible(lost(good), lost(good))  # missing there before
