"""A new format is one file that registers itself: the example of the documentation works as it
stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from phyda_cli.errors import InputError
from phyda_cli.observations.read import decode as formats
from phyda_cli.observations.read.decode import decode
from phyda_cli.observations.table import check

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "observations.md"


@pytest.fixture
def acme() -> Iterator[None]:
    """The format of the documentation, as if its module were in the folder."""
    found = re.search(r"## Add a format.*?```python\n(.*?)```", DOCS.read_text(), re.S)
    assert found is not None
    exec(compile(found[1], "acme", "exec", dont_inherit=True), {"__name__": "acme"})
    yield
    del formats._FORMATS["ACME logger"]


@pytest.mark.usefixtures("acme")
def test_a_format_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "x.dat"
    path.write_text("ACME 1\nA 2020-10-01T06:00 50 8 11.5\nB 2020-10-01T06:00 95 8 9.5\n")
    result = decode(path)
    check(result.table)
    assert result.table["value"].tolist() == pytest.approx([284.65, 282.65])
    assert result.table["qc"].tolist() == [0, 13]
    assert (result.table["row"].tolist(), result.rows_read) == ([2, 3], 2)


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    "line", ["A 2020-10-01T06:00 50 8 warm", "A noon 50 8 9", "A", "A 1 2 3 4 5"]
)
def test_a_line_that_cannot_be_read_costs_that_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.dat"
    for others, kept in (("", 0), ("B 2020-10-01T06:00 50 8 9.5\n", 1)):
        path.write_text(f"ACME 1\n{line}\n{others}")
        result = decode(path)
        assert (len(result.table), result.rows_unreadable) == (kept, 1)
        assert [p.row for p in result.problems] == [2]


def test_without_it_the_file_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "x.dat"
    path.write_text("ACME 1\nA 2020-10-01T06:00 50 8 11.5\n")
    with pytest.raises(InputError):
        decode(path)


def test_formats_that_come_with_the_package() -> None:
    formats._load_formats()
    assert set(formats._FORMATS) == {"a text table (CSV)", "BUFR", "NetCDF", "ODB-2"}
