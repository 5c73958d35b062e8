"""The README is short; its links and its code are tested in ``test_docs.py``."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINES = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()


def test_it_is_short() -> None:
    assert len(LINES) <= 120
    assert max(len(line) for line in LINES if not line.startswith("|")) <= 100


def test_the_limits_stand_before_the_numbers() -> None:
    titles = [line for line in LINES if line.startswith("## ")]
    assert titles.index("## What it is not") < titles.index("## How good is it")
