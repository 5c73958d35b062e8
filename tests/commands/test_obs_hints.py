"""What a message about a text table tells the user to do works when it is done as it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Run = Callable[..., Any]
Inspect = Callable[..., tuple[dict[str, Any], str]]
PLACE = "id,time,lat,lon,"
FIRST = "a,2020-10-01T06:00,50,8,"


@pytest.fixture
def inspect(phyda: Run, tmp_path: Path) -> Inspect:
    """What ``phyda obs inspect`` says of a table: the JSON object, and all of its text."""

    def run(text: str, *options: str, mapping: str = "") -> tuple[dict[str, Any], str]:
        (tmp_path / "x.csv").write_text(text)
        (tmp_path / "x.toml").write_text(mapping)
        chosen = ["--obs-map", tmp_path / "x.toml"] if mapping else []
        outcome = phyda("obs", "inspect", "--json", tmp_path / "x.csv", *chosen, *options)
        report = json.loads(outcome.out) if outcome.code == 0 else {}
        return report, outcome.err + json.dumps(report).replace('\\"', '"')

    return run


def hint(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, text
    return found[1]


def median(report: dict[str, Any], variable: str) -> float:
    assert report["used"] > 0, report
    return float(report["by_variable"][variable]["median"])


def test_a_decimal_comma(inspect: Inspect) -> None:
    table = f'{PLACE}t2m_degC\n{FIRST}"11,2"\n'
    said = inspect(table)[1]
    option = hint(said, r"(--decimal comma)").split()
    assert median(inspect(table, *option)[0], "t2m") == pytest.approx(284.35)
    joined = table.replace('"11,2"', '"11,5"')
    part = hint(said, r"(part = 0)")
    mapping = f'[variables]\nt2m = {{ column = "t2m_degC", unit = "degC", {part} }}\n'
    assert median(inspect(joined, mapping=mapping)[0], "t2m") == pytest.approx(284.15)


def test_a_decimal_comma_in_an_analysis(assimilate: Run, case: Path, tmp_path: Path) -> None:
    table = pd.read_csv(case / "stations.csv", dtype=str)
    table["value"] = table["value"].str.replace(".", ",")
    table.to_csv(tmp_path / "comma.csv", index=False)
    options = "--dry-run", "--json"
    refused = assimilate(*options, obs=tmp_path / "comma.csv")
    said = hint(refused.err + refused.out, r"(--decimal comma)").split()
    found = json.loads(assimilate(*options, *said, obs=tmp_path / "comma.csv").out)
    expected = json.loads(assimilate(*options).out)
    assert found["observations"] == expected["observations"]


def test_a_wrong_decimal_is_refused(inspect: Inspect) -> None:
    assert "expected point or comma" in inspect(f"{PLACE}t2m\n{FIRST}280\n", "--decimal", "dot")[1]


def test_maps_and_signs_for_some_of_the_files(phyda: Run, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text(f"{PLACE}T\n{FIRST}11.5\n")
    two = f"{PLACE}T\nb{FIRST}12.5\n".replace(",", ";").replace("12.5", "12,5")
    (tmp_path / "two.csv").write_text(two)
    for name, unit in (("one", "degC"), ("two", "degF")):
        text = f'[variables]\nt2m = {{ column = "T", unit = "{unit}" }}\n'
        (tmp_path / f"{name}=x.toml").write_text(text)
    maps = [f"{name}*={tmp_path / name}=x.toml" for name in ("one", "two")]
    options = ["--obs-map", maps[0], "--obs-map", maps[1], "--decimal", "two*=comma"]
    files = [tmp_path / "one.csv", tmp_path / "two.csv"]
    report = json.loads(phyda("obs", "inspect", "--json", *files, *options).out)
    found = report["by_variable"]["t2m"]
    assert (found["min"], found["max"]) == pytest.approx((262.317, 284.65), abs=1e-3)
    whole = phyda("obs", "inspect", "--json", files[0], "--obs-map", tmp_path / "one=x.toml")
    assert json.loads(whole.out)["by_variable"]["t2m"]["median"] == pytest.approx(284.65)


def test_a_position_that_is_not_in_the_file(inspect: Inspect, tmp_path: Path) -> None:
    table = "id,time,t2m\na,2020-10-01T06:00,280\n"
    said = inspect(table)[1]
    constants = [hint(said, rf"({name} = -?[\d.]+)") for name in ("latitude", "longitude")]
    report = inspect(table, mapping="\n".join(constants) + "\n")[0]
    assert (report["used"], report["extent"]["latitude"]) == (1, [40.77, 40.77])
    stations, header = hint(said, r'(stations = "stations.csv")'), hint(said, r"table of ([\w, ]+)")
    (tmp_path / "stations.csv").write_text(f"{header.replace(' ', '')}\na,50,8,100\n")
    assert inspect(table, mapping=stations + "\n")[0]["extent"]["latitude"] == [50, 50]


@pytest.mark.parametrize("name", ["latitude", "longitude", "time"])
def test_every_name_that_a_column_may_have(inspect: Inspect, name: str) -> None:
    short = {"latitude": "lat", "longitude": "lon"}.get(name, name)
    table = f"{PLACE}t2m\n{FIRST}280\n"
    said = inspect(table.replace(f",{short},", ",zzz,"))[1]
    others = hint(said, rf"{name} may be called ([\w, ()/%-]+)").split(", ")
    assert len(others) > 1
    for other in others:
        named = table.replace(f",{short},", f",{other},")
        if other in ("unix_time", "unixtime", "epoch"):
            named = named.replace("2020-10-01T06:00", "1601532000")
        assert inspect(named)[0].get("used") == 1, other


def test_a_time_zone(inspect: Inspect) -> None:
    table = "id,Time [XYZ],lat,lon,t2m\na,2020-10-01T06:00,50,8,280\n"
    said = inspect(table)[1]
    mapping = hint(said, r"(time = \{ column = .*?\})")
    extent = inspect(table, mapping=mapping + "\n")[0]["extent"]
    assert extent["time"] == ["2020-10-01T04:00:00Z"] * 2


def test_a_wind_without_a_unit(inspect: Inspect) -> None:
    table = f"{PLACE}t2m,wind_speed\n{FIRST}11.2,10\n"
    said = inspect(table)[1]
    names = hint(said, r"name it (\w+, \w+ or \w+)").replace(" or ", ", ").split(", ")
    found = [median(inspect(table.replace("wind_speed", name))[0], "wind_speed") for name in names]
    assert found == pytest.approx([5.14444, 10, 2.77778], rel=1e-4)


def test_pressures_in_hectopascal(inspect: Inspect) -> None:
    table = f"{PLACE}pressure,t\n{FIRST}850,275\n{FIRST}500,250\n"
    name = hint(inspect(table)[1], r"call the column (\w+)")
    report = inspect(table.replace("pressure", name))[0]
    assert report["used"] == 2
