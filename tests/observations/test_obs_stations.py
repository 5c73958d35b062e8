"""Lists of stations, and withholding a fraction."""

from pathlib import Path

import numpy as np
import pytest

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Grid
from phyda_cli.observations.qc import preliminary_qc
from phyda_cli.observations.stations import StationLists, read_rules, withheld_stations
from phyda_cli.observations.table import QC, make

TIME = np.datetime64("2020-10-01T06:00")
GRID = Grid(np.arange(30.0, 61.0), np.arange(-20.0, 15.0))


def codes(stations: StationLists) -> list[int]:
    rows = make(
        station_id=["a", "a", "b", "c"],
        time=TIME,
        latitude=45.0,
        longitude=2.0,
        variable=["t2m", "msl", "t2m", "t2m"],
        value=[280.0, 1e5, 280, 280],
    )
    return preliminary_qc(rows, GRID, TIME, stations=stations)["qc"].tolist()


def test_blacklist_and_whitelist_by_station_and_variable(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("# known to be bad\na 2t  # its thermometer\nb\n")
    rules = read_rules(path)
    assert rules == {"a": {"t2m"}, "b": frozenset()}
    assert codes(StationLists(blacklist=rules)) == [QC.BLACKLIST, 0, QC.BLACKLIST, 0]
    assert codes(StationLists(whitelist=rules)) == [0, QC.BLACKLIST, 0, QC.BLACKLIST]
    assert codes(StationLists(whitelist={})) == [QC.BLACKLIST] * 4


def test_lines_of_one_station_add_up(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("a t2m\na msl\nb t2m\nb\nc\nc msl\n")
    assert read_rules(path) == {"a": {"t2m", "msl"}, "b": frozenset(), "c": frozenset()}


def test_an_unknown_variable_or_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a\nb tempreture\n")
    with pytest.raises(InputError, match=r"list.txt:2: unknown variable tempreture"):
        read_rules(tmp_path / "list.txt")
    with pytest.raises(InputError, match="cannot read"):
        read_rules(tmp_path / "absent.txt")


def test_a_withheld_fraction_depends_on_name_and_seed_alone() -> None:
    names = [f"{i:05d}" for i in range(4000)]
    chosen = withheld_stations(names, StationLists(fraction=0.1, seed=3))
    assert 0.085 < len(chosen) / 4000 < 0.115
    assert withheld_stations(names[:100], StationLists(fraction=0.1, seed=3)) == chosen & set(
        names[:100]
    )
    assert chosen < withheld_stations(names, StationLists(fraction=0.2, seed=3))
    assert chosen != withheld_stations(names, StationLists(fraction=0.1, seed=4))
    assert withheld_stations(["a"], StationLists(withheld=frozenset("b"))) == {"b"}
