"""The screen: never more than 40 lines of 80 columns, and what is left out is counted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from phyda_cli.verification.screen import LINES, WIDTH, TextTable, number, screen

tables = st.builds(
    lambda rows, last, wide: TextTable(
        "title " * wide,
        ("name", "units", *("value" * wide for _ in range(9))),
        [[f"row{i}", "m s-1", *(["1.234"] * 9)] for i in range(rows)],
        last=last,
    ),
    rows=st.integers(0, 60),
    last=st.integers(0, 1),
    wide=st.integers(1, 20),
)


@settings(max_examples=60)
@given(st.lists(st.text("ab ", max_size=300), max_size=60), st.lists(tables, max_size=7))
def test_whatever_there_is_fits(headline: list[str], some: list[TextTable]) -> None:
    lines = screen(headline, some, "more")
    assert len(lines) <= LINES
    assert all(len(line) <= WIDTH for line in lines)
    assert lines[-1] == "more"


def test_rows_left_out_are_counted_and_the_last_one_stays() -> None:
    rows = [[f"row{i}", "K"] for i in range(100)]
    lines = screen(["head"], [TextTable("title", ("a", "b"), rows, last=1)])
    assert len(lines) == LINES
    assert lines[:4] == ["head", "title", "a      b", "row0   K"]
    shown = [line for line in lines if line.startswith("row")]
    assert lines[-1] == f"… {100 - len(shown)} more rows"
    assert shown[-1].split() == ["row99", "K"]


def test_numbers_without_exponents_where_they_can_be_had() -> None:
    assert [number(v) for v in (None, 1234.0, 12.34, 1.2e-6)] == ["–", "1234", "12.3", "1.2e-06"]
