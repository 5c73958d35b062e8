"""Tables in 80 columns: split, never cut; the same units everywhere."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from phyda_cli.commands.console import NARROW, emit, split
from phyda_cli.commands.tables import (
    departure_table,
    field_table,
    inventory_tables,
    new_table,
    number,
    observation_table,
    readable_units,
    summary_table,
)
from phyda_cli.observations.departures import Departure

COUNTS = {
    "in": 123456,
    "used": 100000,
    "passive": 20000,
    "rejected": {"too far from the background": 3000, "disagrees with its neighbours": 456},
}
ROWS = {"read": 5, "with_values": 4, "without_values": 1, "unreadable": 0}


def lines(table: Table, capsys: pytest.CaptureFixture[str]) -> list[str]:
    emit(table)
    return capsys.readouterr().out.splitlines()


def fits(table: Table, capsys: pytest.CaptureFixture[str]) -> str:
    shown = lines(table, capsys)
    assert max(map(len, shown)) <= NARROW
    assert "…" not in "".join(shown)
    return " ".join("\n".join(shown).split())


def test_wide_tables_keep_every_number(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = dict.fromkeys(("error", "sigma_o", "sigma_b", "chi2", "inflation"), 1234.5678)
    found = [
        Departure(v, "Pa", 1_000_000, 1234.5, -1234.5, 1234.5, 0.000123, 0.5, **numbers)
        for v in ("msl", "wind_speed")
    ]
    text = fits(departure_table(found, "A title that is much longer than the table " * 3), capsys)
    assert text.count("wind_speed") > 1
    for name in ("rms O-B", "mean O-A", "chi2", "sigma_b", "1000000"):
        assert name in text


def test_counts_say_why(capsys: pytest.CaptureFixture[str]) -> None:
    counts = {**COUNTS, "variables": {"wind_speed": COUNTS}}
    text = fits(observation_table({"rows": ROWS, "observations": counts}), capsys)
    assert "3000 too far from the background" in text
    assert "123456 100000 20000 3456" in text


def test_units_are_the_same_in_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    d = {"n": 9, "ombg_rms": 250.0, "oman_rms": 125.0}
    text = fits(summary_table({"departures": {"used": {"msl": d}}}), capsys)
    assert "msl hPa 9 2.5 1.25 0.500" in text
    by = {"units": "Pa", "min": 98000.0, "median": 1e5, "max": 1.02e5, "own_error": 0, **COUNTS}
    report: dict[str, Any] = {"rows": ROWS, "stations": 3, "extent": {}, **COUNTS}
    report |= {"by_variable": {"msl": by}, **{f"by_{k}": {} for k in ("type", "level", "time")}}
    tables = inventory_tables(report | {"by_region": {}})
    assert "msl hPa 980 1000 1020 0" in " ".join(fits(t, capsys) for t in tables)
    assert readable_units("kg kg-1") == ("g kg-1", 1e3)


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.floats(-1e9, 1e9), min_size=4, max_size=12), min_size=1, max_size=4),
    st.integers(60, 120),
)
def test_no_number_is_lost(values: list[list[float]], width: int) -> None:
    count = min(map(len, values))
    table = new_table("numbers", ("name",), [f"column {i}" for i in range(count)])
    for row in values:
        table.add_row("name", *(number(v) for v in row[:count]))
    out = io.StringIO()
    for part in split(table, width):
        Console(file=out, width=width).print(part)
    shown = out.getvalue()
    assert all(len(line) <= width for line in shown.splitlines())
    for row in values:
        assert all(re.search(re.escape(number(v)), shown) for v in row[:count])
    assert len(re.findall(r"column \d+", shown)) == count


def test_an_empty_table_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert fits(field_table([], "nothing"), capsys)
