"""The search for the settings of the letkf: what a setting's score is, and which cycles are
stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cycles import Diverged
from benchmarks.filter_tuning import Tuning
from benchmarks.methods import METHODS, Method

START = replace(METHODS["letkf-20"], radius_km=3000.0)


class Cycles:
    """Cycles whose error on a day is their radius in thousands of kilometres plus that day."""

    def __init__(self) -> None:
        self.days: dict[float | None, float] = {}

    def run(self, name: str, method: Method, out: Path, days: float, keep_every: int) -> None:
        assert method.radius_km is not None
        if method.radius_km > 5000:
            raise Diverged(name)
        self.days[method.radius_km] = days
        errors = [method.radius_km / 1e3 + 1 + i // 4 for i in range(round(days * 4))]
        lines = "".join(json.dumps({"analysis": [e, e]}) + "\n" for e in errors)
        (out / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def test_the_last_days_count_and_a_cycle_far_behind_is_stopped(tmp_path: Path) -> None:
    cycles: Any = Cycles()
    tuning = Tuning(cycles, tmp_path, 15)
    assert tuning.score(START) == pytest.approx(3 + np.mean(range(8, 16)))
    assert tuning.score(replace(START, radius_km=4500.0)) == np.inf
    assert tuning.score(replace(START, radius_km=5500.0)) == np.inf
    assert tuning.score(replace(START, radius_km=2000.0)) == pytest.approx(2 + 11.5)
    assert cycles.days == {3000.0: 15, 4500.0: 7, 2000.0: 15}
    rows = json.loads((tmp_path / "tuning.json").read_text(encoding="utf-8"))
    assert [row["radius_km"] for row in rows] == [3000.0, 4500.0, 5500.0, 2000.0]
