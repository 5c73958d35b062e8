"""Damaged checkpoints, settings and mapping files: refused, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fuzz_commands import KINDS, fuzz_commands


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_copies_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    found, wrong = fuzz_commands(KINDS[kind](tmp_path), 40)
    assert wrong == []
    assert found["exit 0"] > 0, found


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_thousand_damaged_copies(tmp_path: Path, kind: str) -> None:
    found, wrong = fuzz_commands(KINDS[kind](tmp_path), 2000, seed=1)
    print(kind, found)
    assert wrong == []
