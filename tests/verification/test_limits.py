"""Limits: how they are written, and which are broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from phyda_cli.errors import UsageError
from phyda_cli.verification.limits import broken_limits, named_numbers, read_limits
from phyda_cli.verification.tidy import Row


@pytest.mark.parametrize(
    "text",
    [
        "withheld.t2m.rmse < 2.5\nused.total > 1000 # many\nchi2 = 0.3..3\n",
        '[limits]\n"withheld.t2m.rmse" = "< 2.5"\n"used.total" = "> 1000"\nchi2 = "0.3..3"\n',
        '[limits.withheld.t2m]\nrmse = "< 2.5"\n[limits.used]\ntotal = "> 1000"\n'
        '[limits]\nchi2 = "= 0.3..3"\n',
    ],
)
def test_three_ways_to_write_them(tmp_path: Path, text: str) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(text)
    limits = read_limits(path)
    good = {"withheld.t2m.rmse": 2.4, "used.total": 1001.0, "chi2": 3.0}
    assert broken_limits(limits, good) == []
    bad = {"withheld.t2m.rmse": 2.5, "used.total": 1000.0, "chi2": 0.29}
    assert {b.limit.name for b in broken_limits(limits, bad)} == set(bad)
    assert len(broken_limits(limits, {})) == 3  # what is not there is not kept


def test_what_is_no_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text('chi2 = "about one"\n')
    with pytest.raises(UsageError, match="about one"):
        read_limits(path)


def test_names_of_rows() -> None:
    def row(source: str, independence: str, state: str, region: str = "all") -> Row:
        return Row(source, "t", "850", region, "", independence, state, "rmse", 1.5, 9, "K")

    rows = [row("fields", "unknown", "analysis"), row("observations", "withheld", "background")]
    rows.append(row("observations", "withheld", "analysis", "north"))
    found = named_numbers(rows, {"chi2": 1.0, "used.total": None})
    assert found == {"truth.t850.rmse": 1.5, "background.withheld.t850.rmse": 1.5, "chi2": 1.0}
