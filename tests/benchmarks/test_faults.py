"""Short forms of the campaigns, through the command line as they are run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["faults", "--errors", "60"],
        ["faults", "--forks", "20", "--seed", "1"],
        ["faults", "--cycles", "3", "--patience", "5"],
        ["soak", "--cycles", "40"],
    ],
)
def test_a_short_campaign(words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"benchmarks.{words[0]}", *words[1:], "--keep", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
