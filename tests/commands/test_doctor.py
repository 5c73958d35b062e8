"""``phyda doctor``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., Any]


def test_a_sound_installation(phyda: Run, tiny_checkpoint: Path) -> None:
    found = json.loads(phyda("doctor", "--json", "--checkpoint", tiny_checkpoint).out)
    assert found["ok"]
    assert all(check["ok"] for check in found["checks"].values())
    assert "16x8" in found["checks"]["model"]["found"]
    text = phyda("doctor", "--checkpoint", tiny_checkpoint)
    assert text.code == 0
    assert len(text.out.splitlines()) == len(found["checks"])


def test_a_broken_model_is_found(phyda: Run, tmp_path: Path) -> None:
    outcome = phyda("doctor", "--json", "--checkpoint", tmp_path)
    assert outcome.code == 5
    found = json.loads(outcome.out)
    assert [n for n, c in found["checks"].items() if not c["ok"]] == ["model"]


def test_it_ends_well_in_a_process_of_its_own(tiny_checkpoint: Path) -> None:
    words = [sys.executable, "-m", "phyda_cli", "doctor", "--checkpoint", str(tiny_checkpoint)]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0
