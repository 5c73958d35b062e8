"""``phyda preprocess`` and ``phyda preprocess inspect`` from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from phyda_cli.preprocessing.store import PairStore

CHANNELS = ("--variables", "z,temperature,msl", "--levels", "500,850")
LAGGED = ("--pairs", "lagged", "--grid", "as-is")


def test_preprocess_then_inspect(phyda: Callable[..., Any], nature: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    done = phyda(
        "preprocess",
        nature,
        "--out",
        out,
        *CHANNELS,
        *LAGGED,
        "--packing",
        "int16",
        "--last",
        "2011-01-15",
    )
    assert done.code == 0, done.err
    assert done.out == ""
    assert f"176 pairs in {out}; next: phyda train --data {out}" in done.err
    assert PairStore.open(out).channels == ("z500", "z850", "t500", "t850", "msl")
    assert (
        "is up to date"
        in phyda(
            "preprocess",
            nature,
            "--out",
            out,
            *CHANNELS,
            *LAGGED,
            "--packing",
            "int16",
            "--last",
            "2011-01-15",
        ).err
    )

    shown = phyda("preprocess", "inspect", out)
    assert shown.code == 0, shown.err
    for text in (
        "16x8, global",
        "z 500, 850 hPa",
        "msl",
        "176 lagged",
        "int16",
        "every 6 h with 0 gaps",
        "0 values in 0 states",
    ):
        assert text in " ".join(shown.out.split())
    found = json.loads(phyda("preprocess", "inspect", out, "--json").out)
    assert found["variables"] == {"z": [500.0, 850.0], "t": [500.0, 850.0], "msl": []}
    assert found["pairs"]["kinds"] == {"lagged": 176}
    assert found["pairs"]["leads"] == {"24": 176}
    assert (
        found["pairs"]["split"]["training"]["pairs"]
        + found["pairs"]["split"]["validation"]["pairs"]
        == 176
    )
    assert (found["states"]["first"], found["states"]["count"]) == ("2010-12-01T00:00:00", 180)
    assert found["bytes"] == sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    assert found["statistics"]["t850"]["units"] == "K"
    assert 270 < found["statistics"]["t850"]["mean"] < 290
    assert 0 < found["statistics"]["t850"]["background_std"] < found["statistics"]["t850"]["std"]


def test_a_folder_that_is_no_store_is_refused(phyda: Callable[..., Any], tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "old.zarr"), mode="w")
    group.attrs.update({"channels": ["z500"], "complete": True})
    done = phyda("preprocess", "inspect", tmp_path / "old.zarr")
    assert done.code == 3
    assert "phyda preprocess" in done.err


def test_settings_in_a_file(phyda: Callable[..., Any], nature: Path, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        'pairs = ["lagged"]\nlag_hours = 12\ngrid = "8x4"\nchannels = ["t500"]\n'
    )
    done = phyda(
        "preprocess",
        nature,
        "--out",
        tmp_path / "s.zarr",
        "--config",
        tmp_path / "p.toml",
        "--lag",
        48,
    )
    assert done.code == 0, done.err
    assert "conservative means" in done.err
    store = PairStore.open(tmp_path / "s.zarr")
    assert (store.grid.shape, set(store.lead.tolist())) == ((4, 8), {48.0})
    states = store.load_states()
    np.testing.assert_array_equal(store.states[2], states[2])
    np.testing.assert_array_equal(store.states[np.array([3, 0])], states[[3, 0]])


@pytest.mark.parametrize(
    ("flags", "code", "expected"),
    [
        ((), 3, "z has no level 50 hPa"),
        (("--channels", "t500", "--grid", "5"), 2, "grid"),
        (
            ("--channels", "t500", "--grid", "16x8"),
            3,
            "no (background, truth) pairs of kind forecast",
        ),
        (("--channels", "t500,x5", *LAGGED), 2, "is no channel"),
        (("--variables", "colour", *LAGGED), 2, "colour is not known"),
        (("--channels", "t500", *LAGGED, "--first", "soon"), 2, "--first soon: expected a date"),
        (
            ("--channels", "t500", *LAGGED, "--first", "2030-01-01"),
            3,
            "no analyses from 2030-01-01T00:00:00",
        ),
        (
            ("--channels", "t500", *LAGGED, "--train-years", "2010", "--test-years", "2010-2011"),
            2,
            "2010 in more than one of",
        ),
        (("--channels", "t500", *LAGGED, "--memory-limit", "lots"), 2, "memory_limit"),
        (
            ("--channels", "t500", *LAGGED, "--memory-limit", "10MB"),
            2,
            "is too little: these data need",
        ),
        (("--channels", "t500", *LAGGED, "--scheduler", "here"), 2, "scheduler"),
        (("--channels", "t500", *LAGGED, "--packing", "zip"), 2, "packing"),
    ],
)
def test_what_cannot_be_done(
    phyda: Callable[..., Any],
    nature: Path,
    tmp_path: Path,
    flags: tuple[str, ...],
    code: int,
    expected: str,
) -> None:
    outcome = phyda("preprocess", nature, "--out", tmp_path / "s.zarr", *flags)
    assert outcome.code == code, outcome.err
    assert expected in outcome.err
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "s.zarr").exists()


def test_help(phyda: Callable[..., Any]) -> None:
    assert "preprocess inspect STORE" in " ".join(phyda("preprocess", "--help").out.split())
    assert phyda("preprocess").code == 2
    assert phyda("preprocess", "inspect", "none.zarr").code == 3


def test_years_as_the_manual_writes_them() -> None:
    from phyda_cli.settings.data import DownloadSettings, PreprocessSettings

    assert DownloadSettings(years="2015-2017,2020").years == (2015, 2016, 2017, 2020)  # type: ignore[arg-type]
    assert PreprocessSettings(test_years="2019").test_years == (2019,)  # type: ignore[arg-type]
