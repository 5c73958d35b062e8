"""What a message about a text table tells the user to do works when it is done as it stands."""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import pandas as pd
import pytest

from phyda_cli.errors import InputError
from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.feedback import read_feedback
from phyda_cli.observations.read import decode as decoding
from phyda_cli.observations.read.csv import parse_csv
from phyda_cli.observations.read.levels import AT_SURFACE
from phyda_cli.units import COMMON, conversion

sys.path.append(str(Path(__file__).resolve().parents[1] / "observations"))
from messages import PLACE as PLACE_OF_BUFR
from messages import ascent, encode, synop

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


def test_a_column_that_a_map_names(inspect: Inspect) -> None:
    for name, column in (("latitude", "lat"), ("time", "time")):
        table = f"{PLACE}t2m\n{FIRST}280\n".replace(f",{column},", ",zzz,")
        line = hint(inspect(table)[1], rf'({name} = "NAME")').replace("NAME", "zzz")
        assert inspect(table, mapping=line + "\n")[0]["used"] == 1


@pytest.mark.parametrize("column", ["warmth", "pressure,warmth"])
def test_a_table_without_known_values(inspect: Inspect, column: str) -> None:
    table = f"{PLACE}{column}\n" + "".join(
        f"{FIRST}{p}7\n" for p in (("85000,", "50000,") if "pressure" in column else ("",))
    )
    line = hint(inspect(table)[1], r"(variables\.\w+ = \{ .*? \})").replace("NAME", "warmth")
    variable = "t" if "pressure" in column else "t2m"
    assert median(inspect(table, mapping=line + "\n")[0], variable) == pytest.approx(280.15)


@pytest.mark.parametrize(
    "column", ["t2m [furlong]", "air_temperature_2m"], ids=["a wrong unit", "a second one"]
)
def test_a_column_left_out(inspect: Inspect, column: str) -> None:
    others = "d2m_degC" if "furlong" in column else "d2m_degC,t2m_degC"
    table = f"{PLACE}{others},{column}\n{FIRST}{'5,' * (others.count(',') + 1)}7\n"
    line = hint(inspect(table)[1], r'(ignore = \[".*?"\])')
    report = inspect(table, mapping=line + "\n")[0]
    assert median(report, "d2m") == pytest.approx(278.15)


def test_a_name_in_a_map(inspect: Inspect) -> None:
    table, line = f"{PLACE}warm\n{FIRST}7\n", 'variables.t2m = { column = "Worm", unit = "degC" }\n'
    said = inspect(table, mapping=line)[1]
    assert "correct the name" in said
    right = hint(said, r"found columns: .*, (\w+)")
    assert median(inspect(table, mapping=line.replace("Worm", right))[0], "t2m") == 280.15


def test_examples_of_maps(inspect: Inspect, phyda: Run) -> None:
    columns = "station,valid,lat,lon,elevation,tmpf,dwpf,relh,sknt,drct,alti,mslp"
    table = f"{columns}\na,2020-10-01 06:00,50,8,100,50,M,M,M,M,M,M\n"
    said = inspect(table, mapping="nonsense = 1\n")[1]
    command = hint(said, r"`(phyda obs maps)`").split()[1:]
    name = next(n for n in phyda(*command).out.split() if n == "iem_asos")
    example = phyda(*command, name).out
    assert median(inspect(table, mapping=example)[0], "t2m") == pytest.approx(283.15)


def test_a_table_of_stations(inspect: Inspect, tmp_path: Path) -> None:
    (tmp_path / "stations.csv").write_text("name,breite\na,50\n")
    table, line = "id,time,t2m\na,2020-10-01T06:00,280\n", 'stations = "stations.csv"\n'
    columns = hint(inspect(table, mapping=line)[1], r"stations has ([\w, ]+?) and perhaps")
    (tmp_path / "stations.csv").write_text(columns.replace(" ", "") + "\na,50,8\n")
    assert inspect(table, mapping=line)[0]["used"] == 1


@pytest.mark.parametrize(
    ("name", "unit"),
    [(v, u) for v in OBSERVABLES for u in COMMON.get(OBSERVABLES[v].units, ())],
)
def test_every_unit_that_values_may_look_like(name: str, unit: str) -> None:
    """``call the column t2m_degC``, for each variable and each unit that is named."""
    scale, offset = conversion(unit, OBSERVABLES[name].units)
    low, high = OBSERVABLES[name].valid_range
    middle = (low + 2 * high) / 3
    level = "" if OBSERVABLES[name].surface else "pressure,"
    rows = "".join(
        f"{FIRST}{p}{(middle - offset) / scale:.9g}\n"
        for p in (("85000,", "50000,") if level else ("",))
    )
    table = parse_csv(f"{PLACE}{level}{name}_{unit}\n{rows}", "x.csv").table
    near = {"gh": "gh", **dict.fromkeys(AT_SURFACE.values(), "")}.get(name, name) or name
    assert set(table["variable"]) == {near}
    assert table["value"].tolist() == pytest.approx([middle] * len(table), rel=1e-6)


def test_a_bufr_file_with_values_out_of_range(phyda: Run, tmp_path: Path) -> None:
    """What states its units itself has no column to rename: it is turned into a table."""
    (tmp_path / "a.bufr").write_bytes(synop(**{"#1#airTemperature": 8.4}))
    said = json.loads(phyda("obs", "inspect", tmp_path / "a.bufr", "--json").out)["problems"]
    assert "call the column" not in said[0]
    words = hint(said[0], r"phyda (obs convert .*?\.csv)").split()
    unit = hint(said[0], r"a column unit, (\w+)")
    words[-1] = str(tmp_path / words[-1])
    assert phyda(*words).code == 0
    rows = pd.read_csv(words[-1])
    rows["unit"] = rows["variable"].map({"t2m": unit})
    rows.to_csv(tmp_path / "right.csv", index=False)
    report = json.loads(phyda("obs", "inspect", tmp_path / "right.csv", "--json").out)
    assert median(report, "t2m") == pytest.approx(281.55)
    assert not report["problems"]


def test_pressures_of_a_map(inspect: Inspect) -> None:
    table = f"{PLACE}pressure,t\n{FIRST}850,275\n{FIRST}500,250\n"
    line = hint(inspect(table)[1], r"(pressure = \{.*?\})").replace("NAME", "pressure")
    assert inspect(table, mapping=line + "\n")[0]["used"] == 2


def test_files_and_formats(phyda: Run, tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_text(f"{PLACE}t2m\n{FIRST}280\n")
    lost = phyda("obs", "inspect", str(tmp_path / "d?.csv"))
    assert (lost.code, "check the pattern" in lost.err) == (3, True)
    assert phyda("obs", "inspect", str(tmp_path / "d*.csv")).code == 0
    convert = ("obs", "convert", tmp_path / "day.csv", "--out", tmp_path / "day.xyz")
    option = hint(phyda(*convert).err, r"(--to csv)").split()
    assert phyda(*convert, *option).code == 0


def test_other_kinds_of_bufr(phyda: Run, tmp_path: Path) -> None:
    (tmp_path / "a.bufr").write_bytes(encode(301021, 21, PLACE_OF_BUFR))
    said = phyda("obs", "inspect", tmp_path / "a.bufr").err
    named = re.findall(r"[(, ](\d)(?=[,)])", hint(said, r"(surface reports .*? are read)"))
    assert named == ["0", "1", "2", "4"]
    whole = synop() + ascent()
    (tmp_path / "a.bufr").write_bytes(whole[:-20])
    assert "complete?" in phyda("obs", "inspect", tmp_path / "a.bufr").err
    (tmp_path / "a.bufr").write_bytes(whole)
    assert phyda("obs", "inspect", tmp_path / "a.bufr").code == 0


def ioda(path: Path, variable: str) -> None:
    """One temperature under the name ``variable``."""
    with netCDF4.Dataset(path, "w") as data:
        data.createDimension("Location", 1)
        meta = data.createGroup("MetaData")
        for name, value in (("latitude", 50.0), ("longitude", 8.0), ("dateTime", 1601532000)):
            meta.createVariable(name, "i8" if name == "dateTime" else "f4", ("Location",))[:] = (
                value
            )
        meta["dateTime"].units = "seconds since 1970-01-01T00:00:00Z"
        data.createGroup("ObsValue").createVariable(variable, "f4", ("Location",))[:] = 280


def test_ioda_variables(phyda: Run, tmp_path: Path) -> None:
    ioda(tmp_path / "a.nc", "warmth")
    said = phyda("obs", "inspect", tmp_path / "a.nc").err
    known = hint(said, r"read are ([\w, ]+)").split(", ")
    assert len(known) > 20
    ioda(tmp_path / "a.nc", known[0])
    report = json.loads(phyda("obs", "inspect", tmp_path / "a.nc", "--json").out)
    assert median(report, "t2m") == 280


def test_a_packed_file_that_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{PLACE}t2m\n{FIRST}280\n" + "\n" * 20000
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    monkeypatch.setattr(decoding, "_LEAST_UNPACKED", 1000)
    with pytest.raises(InputError) as caught:
        decoding.decode(path)
    assert "gunzip" in str(caught.value.hint)
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    assert len(decoding.decode(path.with_suffix("")).table) == 1


def test_lists_of_stations(assimilate: Run, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a warmth\n")
    run = ("--dry-run", "--blacklist", tmp_path / "list.txt")
    variable = hint(assimilate(*run).err, r"variables such as (\w+)")
    (tmp_path / "list.txt").write_text(f"a {variable}\n")
    assert assimilate(*run).code == 0


def test_a_decimal_comma_in_verify(phyda: Run, case: Path, tmp_path: Path) -> None:
    table = pd.read_csv(case / "stations.csv", dtype=str)
    table["value"] = table["value"].str.replace(".", ",")
    table.to_csv(tmp_path / "comma.csv", index=False)
    run = ("verify", case / "fc.nc", "--json", "--obs")
    plain = json.loads(phyda(*run, case / "stations.csv").out)
    said = phyda("obs", "inspect", tmp_path / "comma.csv")
    option = hint(said.err, r"(--decimal comma)").split()
    found = json.loads(phyda(*run, tmp_path / "comma.csv", *option).out)
    assert found["stations"] == plain["stations"]


def test_a_feedback_made_again(assimilate: Run, phyda: Run, tmp_path: Path) -> None:
    feedback = tmp_path / "fb.nc"
    assert assimilate("--feedback", feedback).code == 0
    whole = feedback.read_bytes()
    feedback.write_bytes(whole[:200] + bytes(len(whole) - 200))
    said = phyda("obs", "rejected", feedback)
    option = hint(said.err, r"Make it again with (--feedback)")
    assert assimilate(option, feedback, "--overwrite").code == 0
    assert phyda("obs", "rejected", feedback).code == 0


def test_rows_that_are_no_feedback(assimilate: Run, tmp_path: Path) -> None:
    assert assimilate("--feedback", tmp_path / "fb.nc").code == 0
    rows = read_feedback(tmp_path / "fb.nc")
    with pytest.raises(InputError) as caught:
        read_feedback(rows.drop(columns="ombg"))
    assert "feedback of an analysis" in str(caught.value.hint)
    assert len(read_feedback(rows)) == len(rows) > 0


def test_output_in_grib(assimilate: Run, tmp_path: Path) -> None:
    refused = assimilate(out=tmp_path / "an.grib2")
    ending = hint(refused.err, r"name the output (\.nc)")
    assert assimilate(out=tmp_path / f"an{ending}").code == 0


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
