"""``--limits``: one table serves ``phyda verify`` and the verdict of ``phyda assimilate``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
LINES = """
"used.total" = "> 10"
"chi2" = "< 1e-6"
"used.t.rmse" = "< 1e-6"
"background.next_background.t.bias" = "1e6..2e6"
"hydrostatic.ratio" = "< 1e-6"
"truth.t500.rmse" = "< 1e-6"
"""


@pytest.fixture
def limits(tmp_path: Path) -> Path:
    """Four limits that no analysis keeps, one that it does, and one on the truth."""
    path = tmp_path / "limits.toml"
    path.write_text(LINES)
    return path


def found_values(reasons: list[str]) -> dict[str, float]:
    """The numbers in the texts of broken limits, by name."""
    pattern = re.compile(r"([\w.]+) [<>\d.e+]+.*: found (\S+)$")
    return {m[1]: float(m[2]) for m in map(pattern.search, reasons) if m}


def test_broken_limits_make_the_verdict_suspect_with_the_numbers_of_verify(
    assimilate: Run, phyda: Run, limits: Path, tmp_path: Path
) -> None:
    outcome = assimilate("--limits", limits, "--json", feedback=tmp_path / "fb.nc")
    assert outcome.code == 0, outcome.err
    verdict = json.loads(outcome.out)["verdict"]
    assert verdict["verdict"] == "suspect"
    own = found_values(verdict["reasons"])
    assert set(own) == {
        "chi2", "used.t.rmse", "background.next_background.t.bias", "hydrostatic.ratio"
    }  # fmt: skip
    arguments = (tmp_path / "an.nc", "--feedback", tmp_path / "fb.nc", "--physics")
    again = phyda("verify", *arguments, "--limits", limits, "--json")
    assert again.code == 5
    theirs = found_values(json.loads(again.out)["broken_limits"])
    assert {n: pytest.approx(v, rel=2e-3) for n, v in own.items()} == theirs


def test_with_fail_on_suspect_nothing_is_written(
    fails: Callable[..., str], limits: Path, tmp_path: Path
) -> None:
    assert "broken limit: chi2 < 1e-6" in fails(5, "--limits", limits, "--fail-on", "suspect")


def test_kept_limits_say_nothing_and_the_table_is_part_of_what_it_was_made_from(
    assimilate: Run, tmp_path: Path
) -> None:
    path = tmp_path / "limits.toml"
    path.write_text('"used.total" = "> 10"\n')
    first = json.loads(assimilate("--limits", path, "--json").out)["verdict"]
    assert not [r for r in first["reasons"] if "limit" in r]
    assert json.loads(assimilate("--limits", path, "--json").out)["status"] == "up to date"
    path.write_text('"used.total" = "> 1e9"\n')
    assert assimilate("--limits", path, "--json").code == 2  # other inputs: not without --overwrite


def test_a_line_that_is_no_limit_is_found_before_any_work(
    fails: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "limits.toml").write_text('chi2 = "small"\n')
    assert "small" in fails(2, "--limits", tmp_path / "limits.toml")
