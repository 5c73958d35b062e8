"""Training with a nature run: encoders are chosen, and their spread calibrated, in a cycle."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic
import toy_nature
from runs import alone

from phyda_cli.errors import UsageError
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.preprocessing.preprocess import preprocess
from phyda_cli.settings.data import PreprocessSettings, TwinSettings
from phyda_cli.settings.training import TrainingSettings
from phyda_cli.simulation.nature_files import download_nature
from phyda_cli.simulation.twin_cycle import cycle_errors, run_twin_cycle
from phyda_cli.training import members, own_cycle
from phyda_cli.training.train import train


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A nature run of a week, and a store of its differences."""
    toy_nature.install(monkeypatch)
    monkeypatch.setattr(own_cycle, "SETTLING_DAYS", 0)
    monkeypatch.setattr(members, "WINDOW_DAYS", 1)
    folder, store = tmp_path / "nature", tmp_path / "toy.zarr"
    download_nature(folder, 7, toy_nature.START, 3)
    settings = {"grid": "16x8", "channels": synthetic.CHANNELS, "pairs": ("lagged",)}
    preprocess([folder], store, PreprocessSettings.model_validate(settings))
    return folder, store


@pytest.fixture
def settings(tiny_settings: TrainingSettings) -> TrainingSettings:
    few = {"samples": 16, "cycle_days": 1, "check_every": 2, "reports": (60, 100)}
    return tiny_settings.model_copy(update=few)


def test_the_spread_is_the_error_of_the_own_cycle(
    toy: tuple[Path, Path],
    settings: TrainingSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nature, store = toy
    monkeypatch.setattr(own_cycle, "TOLERATED", np.inf)
    run = replace(alone(tmp_path / "run", settings), nature=nature)
    folder = train(run, store)
    kept = [json.loads(p.read_text()) for p in (run.folder / "cycles").glob("*.json")]
    assert len(kept) == 3  # oi, and the encoder at two checks
    training = json.loads((folder / "model.json").read_text())["training"]["validation"]
    scores = sorted(k["rmse"] for k in kept)
    assert training["encoder in a cycle"] in scores
    assert training["oi in a cycle"] in scores
    twin = TwinSettings(
        method="phyda", forecast_hours=6, reports=(60, 100), first="2000-03-07T18:00"
    )
    list(run_twin_cycle(nature, tmp_path / "cycle", Checkpoint.open(folder), twin))
    errors = cycle_errors(tmp_path / "cycle")
    error, spread = (
        np.sqrt((errors[f"analysis_{k}"] ** 2).mean(axis=0)) for k in ("rmse", "spread")
    )
    np.testing.assert_allclose(spread / error, 1.0, rtol=0.02)

    def unwanted(*_: object) -> None:
        raise AssertionError("a cycle of the same weights is run again")

    monkeypatch.setattr(own_cycle, "run_twin_cycle", unwanted)
    before = (folder / "network.safetensors").read_bytes()
    shutil.rmtree(folder)
    assert (train(run, store) / "network.safetensors").read_bytes() == before


def test_channels_that_a_cycle_is_better_without_are_left_to_stage_one(
    toy: tuple[Path, Path],
    settings: TrainingSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of them, where even a better analysis is not good enough."""
    nature, store = toy
    monkeypatch.setattr(own_cycle, "TOLERATED", 0.0)
    folder = train(replace(alone(tmp_path / "run", settings), nature=nature), store)
    scores = json.loads((folder / "model.json").read_text())["training"]["validation"]
    assert scores["encoder"] == pytest.approx(scores["oi"], rel=1e-5)


def test_a_nature_run_of_another_time(
    toy: tuple[Path, Path], settings: TrainingSettings, tmp_path: Path
) -> None:
    _, store = toy
    download_nature(tmp_path / "later", 6, np.datetime64("2003-03-01"), 3)
    run = replace(alone(tmp_path / "run", settings), nature=tmp_path / "later")
    with pytest.raises(UsageError, match="no cycle from 2000-03-07T"):
        train(run, store)


def test_a_nature_run_that_ends_before_the_cycle_has_settled(
    toy: tuple[Path, Path],
    settings: TrainingSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nature, store = toy
    monkeypatch.setattr(own_cycle, "SETTLING_DAYS", 1)
    run = replace(alone(tmp_path / "run", settings), nature=nature)
    with pytest.raises(UsageError, match="has 1 days or fewer"):
        train(run, store)
