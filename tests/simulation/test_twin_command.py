"""``phyda simulate twin``, and the training store its forecasts become."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import xarray as xr

from phyda_cli.fields.state import StateSpec
from phyda_cli.preprocessing.store import PairStore

Run = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("toy_model")


@pytest.fixture
def arguments(toy_run: Path, toy_checkpoint: Path, tmp_path: Path) -> tuple[object, ...]:
    out = tmp_path / "cycle"
    return (
        "simulate",
        "twin",
        "--nature",
        toy_run,
        "--out",
        out,
        "--checkpoint",
        toy_checkpoint,
        "--reports",
        100,
        400,
        "--seed",
        11,
    )


def test_cycle_then_preprocess(
    phyda: Run, arguments: tuple[object, ...], toy_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cycle"
    first = phyda(*arguments, "--max-cycles", 2)
    assert first.code == 0, first.err
    assert first.out == ""
    assert (
        f"2 cycles in {out}; next: phyda preprocess {toy_run} {out} --pairs forecast" in first.err
    )
    assert len(list(out.glob("*.nc"))) == 2
    record = json.loads((out / "run.json").read_text())
    assert record["settings"] | {"seed": 11, "reports": [100, 400]} == record["settings"]
    assert len(record["checkpoint"]) == 64
    assert "6 cycles in" in phyda(*arguments).err  # seven days less the first five, and two done
    files = sorted(out.glob("*.nc"))
    assert len(files) == 8
    assert "0 cycles in" in phyda(*arguments).err

    channels = ",".join(synthetic.CHANNELS)
    store = tmp_path / "s.zarr"
    done = phyda(
        "preprocess",
        toy_run,
        out,
        "--pairs",
        "forecast",
        "--grid",
        "16x8",
        "--channels",
        channels,
        "--out",
        store,
    )
    assert done.code == 0, done.err
    pairs = PairStore.open(store)
    assert sorted(pairs.lead.tolist()) == sorted([6.0] * 7 + [12.0] * 6 + [18.0] * 5 + [24.0] * 4)
    index = int(pairs.pairs[0, 0])
    with xr.open_dataset(files[0]) as data:
        expected = np.stack([data[c].values[0] for c in synthetic.CHANNELS])
        assert pairs.time[index] == data["time"].values + data["step"].values[0]
    np.testing.assert_array_equal(pairs.load_states()[index], expected)


def test_progress_is_told(
    phyda: Run, arguments: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phyda_cli.commands.simulate.EVERY", 2)
    lines = [
        line
        for line in phyda(*arguments, "--max-cycles", 5).err.splitlines()
        if "background-error scale" in line
    ]
    assert [line.split(": ")[1].split(";")[0] for line in lines] == ["2 cycles", "4 cycles"]


def test_other_settings_need_another_folder(phyda: Run, arguments: tuple[object, ...]) -> None:
    assert phyda(*arguments, "--max-cycles", 1).code == 0
    outcome = phyda(*arguments, "--forecast-hours", 12)
    assert outcome.code == 2
    assert "holds a run with other settings" in outcome.err
    assert "choose another --out" in outcome.err


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (("--forecast-hours", 9), "forecast_hours: it should be a multiple of 6"),
        (("--iau", 5), "expected 1, 2, 3, 4, 6 or 12 parts of 6 h, got 5"),
        (("--first", "spring"), "expected a time such as 2001-06-01, got spring"),
        (("--reports", 500, 20), "the fewest, 500, are more than the most, 20"),
        (("--reports", 0, 20), "reports: it should be greater than 0"),
        (("--max-cycles", 0), "--max-cycles"),
    ],
)
def test_impossible_settings(
    phyda: Run,
    arguments: tuple[object, ...],
    extra: tuple[object, ...],
    expected: str,
    tmp_path: Path,
) -> None:
    outcome = phyda(*arguments, *extra)
    assert outcome.code == 2
    assert expected in outcome.err
    assert not (tmp_path / "cycle").exists()


def test_no_nature_run(phyda: Run, arguments: tuple[object, ...], tmp_path: Path) -> None:
    outcome = phyda(*arguments, "--nature", tmp_path)
    assert outcome.code == 2
    assert f"no nature run in {tmp_path}" in outcome.err
    assert "phyda download --source nature" in outcome.err


def test_a_checkpoint_without_msl(
    phyda: Run,
    arguments: tuple[object, ...],
    make_checkpoint: Callable[[StateSpec], Path],
    tmp_path: Path,
) -> None:
    outcome = phyda(
        *arguments, "--checkpoint", make_checkpoint(synthetic.spec(synthetic.CHANNELS[:-1]))
    )
    assert outcome.code == 2
    assert "needs a model of msl and pressure levels" in outcome.err
    assert not (tmp_path / "cycle").exists()
