"""The settings in ``examples`` are settings, and the script that makes the bundled weights is made
of commands that exist."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

from phyda_cli.app import app
from phyda_cli.settings.base import load_settings
from phyda_cli.settings.presets import Preset, preset_settings
from phyda_cli.settings.training import TrainingSettings

FOLDER = Path(__file__).resolve().parents[2] / "examples"
EXAMPLES = sorted(p for p in FOLDER.glob("*.toml") if p.name != "metar.toml")
# In the place of phyda: notes what it is called with and makes what the next steps look for. It
# dies the first time that --out is the folder $DIES.
STAND_IN = """#!/usr/bin/env bash
echo "$(printf '%q ' "$@")" >> "$CALLS"
if [[ " $* " == *"--out ${DIES:-none} "* && ! -e $CALLS.died ]]; then
  touch "$CALLS.died"
  exit 9
fi
while [[ $# -gt 0 ]]; do [[ $1 == --out ]] && out=$2; shift; done
mkdir -p "$out/checkpoint"
"""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_settings_of_examples(path: Path) -> None:
    assert load_settings(TrainingSettings, path, {}) != TrainingSettings()


def test_the_preset_has_what_the_bundled_weights_have() -> None:
    preset = preset_settings(Preset.GLOBAL_64X32)
    bundled = load_settings(TrainingSettings, next(p for p in EXAMPLES if p.stem == "bundled"), {})
    for name in ("members", "case_members", "solver", "network"):
        assert getattr(preset, name) == getattr(bundled, name)


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where ``phyda`` notes the calls of the script, one a line."""
    stand_in = tmp_path / "bin" / "phyda"
    stand_in.parent.mkdir()
    stand_in.write_text(STAND_IN, encoding="utf-8")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def run_bundled(folder: Path) -> int:
    command = ["bash", str(FOLDER / "bundled.sh"), str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode


def test_every_command_of_the_bundled_weights_exists(bundled: Path, tmp_path: Path) -> None:
    assert run_bundled(tmp_path / "data") == 0
    assert (tmp_path / "data" / "speedy-64x32" / "checkpoint").exists()
    calls = [shlex.split(line) for line in bundled.read_text(encoding="utf-8").splitlines()]
    assert len(calls) == 16
    for words in calls:
        command = typer.main.get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command, words = command.commands[words[0]], words[1:]
        if hasattr(command, "commands"):  # preprocess, whose first word is a file
            command = command.commands["make"]
        command.make_context("phyda", words)


@pytest.mark.parametrize("dies", ["lagged.zarr", "linear", "oi1", "oi2", "round1", "own2"])
def test_the_script_goes_on_where_it_was_stopped(
    bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    """A second call makes no store and no checkpoint twice."""
    monkeypatch.setenv("DIES", dies)
    assert run_bundled(tmp_path / "data") != 0
    assert run_bundled(tmp_path / "data") == 0
    calls = bundled.read_text(encoding="utf-8").splitlines()
    made = [line for line in calls if line.startswith(("train", "preprocess"))]
    once = [line for line in made if f"--out {dies} " not in line]
    assert len(set(made)) == 8
    assert len(once) == len(set(once))
    assert run_bundled(tmp_path / "data") == 0
    again = bundled.read_text(encoding="utf-8").splitlines()[len(calls) :]
    assert {line.split()[0] for line in again} == {"download", "simulate"}
