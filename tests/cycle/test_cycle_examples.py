"""The examples for cron and systemd, and the documentation of the policy."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from phyda_cli.cycle.policy import table
from phyda_cli.settings.cycle import CycleSettings

ROOT = Path(__file__).resolve().parents[2]
CRON = ROOT / "examples" / "cron"


def test_the_documentation_holds_the_policy() -> None:
    assert table() in (ROOT / "docs" / "howto" / "cron.md").read_text(encoding="utf-8")


def test_the_commented_configuration_is_valid() -> None:
    text = (CRON / "cycle.toml").read_text(encoding="utf-8")
    settings = CycleSettings.model_validate(tomllib.loads(text))
    assert [bool(source.run) for source in settings.background] == [False, True]


def test_the_unit_calls_a_command_that_exists() -> None:
    text = (CRON / "phyda-cycle.service").read_text(encoding="utf-8")
    (start,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert "phyda cycle run --config" in start


@pytest.fixture
def script(tmp_path: Path) -> list[str]:
    """The script with a ``phyda`` on its path that is this one."""
    program = tmp_path / "bin" / "phyda"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m phyda_cli "$@"\n')
    program.chmod(0o755)
    variables = [
        f"PATH={program.parent}:/usr/bin:/bin",
        f"LOG={tmp_path}/log",
        f"LOCK={tmp_path}/l",
    ]
    return ["env", *variables, str(CRON / "phyda-cycle.sh")]


@pytest.mark.skipif(shutil.which("flock") is None, reason="the script needs flock")
def test_the_script_runs_the_cycle_with_late_data(
    script: list[str], case: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    config = tmp_path / "cycle.toml"
    config.write_text(
        f"""
        folder = "{tmp_path}/cycle"
        first = 2011-01-20T12:00:00Z
        settle_seconds = 0
        arguments = ["--method", "oi", "--checkpoint", "{tiny_checkpoint}"]
        observations = [{{ pattern = "{tmp_path}/synop_{{time:%Y%m%d%H}}.csv" }}]
        background = [{{ pattern = "{tmp_path}/fc_{{start:%Y%m%d%H}}_f{{lead:03d}}.nc" }}]
        """
    )

    def run(now: str) -> int:
        return subprocess.run([*script, str(config), "--now", now], check=False).returncode

    shutil.copy(case / "fc.nc", tmp_path / "fc_2011012006_f006.nc")
    assert run("2011-01-20T12:10") == 4  # a stated time does not wait
    shutil.copy(case / "stations.csv", tmp_path / "synop_2011012012.csv")
    assert run("2011-01-20T12:20") == 0
    assert (tmp_path / "cycle" / "latest" / "analysis.nc").is_file()
    assert run("2011-01-20T12:30") == 0
    lock = ["flock", f"{tmp_path}/l", *script, str(config)]
    assert subprocess.run(lock, check=False).returncode == 75
