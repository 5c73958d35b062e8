"""Damaged checkpoints, settings and mapping files: refused, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fuzz import READERS, fuzz
from benchmarks.fuzz_commands import KINDS, fuzz_commands

Run = Callable[..., Any]


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


@pytest.fixture
def outputs(assimilate: Run, tmp_path: Path) -> dict[str, bytes]:
    """Feedback and analysis of the small case, by what reads them again."""
    assert assimilate("--feedback", tmp_path / "fb.nc").code == 0
    feedback, analysis = ((tmp_path / name).read_bytes() for name in ("fb.nc", "an.nc"))
    return {"feedback": feedback, "memory": feedback, "output": analysis}


@pytest.mark.parametrize("kind", ["feedback", "memory", "output"])
def test_damaged_outputs_are_read_or_refused(
    outputs: dict[str, bytes], tmp_path: Path, kind: str
) -> None:
    found = fuzz(outputs[kind], 30, tmp_path, read=READERS[kind])
    assert found.pop("longest_s") < 60
    assert sum(found.values()) == 30


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["feedback", "memory", "output"])
def test_two_thousand_damaged_outputs(outputs: dict[str, bytes], tmp_path: Path, kind: str) -> None:
    found = fuzz(outputs[kind], 2000, tmp_path, seed=1, read=READERS[kind])
    print(kind, found)
    assert found.pop("longest_s") < 60
    assert sum(found.values()) == 2000
