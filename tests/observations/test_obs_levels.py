"""One place decides surface or upper air: formats that state it pass their statement on, of the
others the coordinates tell."""

from __future__ import annotations

import ast
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest
from messages import AMDAR, PLACE, TIME, ascent, encode, synop
from test_obs_netcdf import madis as madis_file
from test_obs_netcdf import modern_ioda
from test_obs_prepbufr import SOUNDING
from test_obs_prepbufr import prepbufr as prepbufr_file

from phyda_cli.names import OBSERVABLES
from phyda_cli.observations.read import bufr, ioda, levels, madis, odb, plan, prepbufr
from phyda_cli.observations.read.csv import parse_csv
from phyda_cli.observations.read.levels import AT_SURFACE, are_levels, of_sensor, placed

NAN = np.nan


def decide(pressure: float, height: float, elevation: float, stated: float = NAN) -> bool:
    arrays = (np.array([x]) for x in ("a", pressure, height, elevation, stated))
    return bool(are_levels(*arrays)[0])


def test_what_a_format_states_decides() -> None:
    assert decide(99000.0, NAN, 200.0) is False
    assert decide(99000.0, NAN, 200.0, stated=1) is True
    assert decide(50000.0, NAN, 200.0) is True
    assert decide(50000.0, NAN, 200.0, stated=0) is False
    assert decide(NAN, NAN, 200.0, stated=1) is True
    assert decide(NAN, NAN, 200.0) is False


def test_heights_of_sensors() -> None:
    assert [of_sensor("t", h, False) for h in (0.05, 2.0, 32.0)] == ["below", "surface", "level"]
    assert [of_sensor("wind_speed", h, False) for h in (3.0, 10.0)] == ["below", "surface"]
    assert of_sensor("wind_speed", 3.0, True) == "surface"


def test_each_quantity_has_its_name_at_either_place() -> None:
    level, value = np.array([True, False]), np.array([1.0, 2.0])

    def names(quantity: str) -> list[tuple[str, bool]]:
        return [(v.variable, v.upper) for v in placed(quantity, value, level)]

    for aloft, near in AT_SURFACE.items():
        assert names(aloft) == [(aloft, True), (near, False)]
    assert names("wind_speed") == [("wind_speed", True), ("wind_speed", False)]
    assert (names("sp"), names("gh")) == ([("sp", False)], [("gh", True)])
    found = placed("t", value, level)
    np.testing.assert_array_equal([v.value for v in found], [[1, NAN], [NAN, 2]])


def amdar() -> bytes:
    report = TIME | PLACE | {"flightLevel": 11887, "airTemperature": 220.0}
    return encode(AMDAR, 4, {f"#1#{key}": value for key, value in report.items()}, levels=1)


def odb_row(varno: int, pressure: float) -> pd.DataFrame:
    place = {"statid": "a", "lat": 50.0, "lon": 8.0, "date": 20201001, "time": 60000}
    row = {"varno": varno, "obsvalue": 20.0, "stalt": 100.0, "vertco_type": 1}
    return pd.DataFrame([place | row | {"vertco_reference_1": pressure}])


def test_every_reader_goes_by_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the one decision turned around, each reader's surface is a level and the reverse."""
    modern_ioda(tmp_path / "ioda")
    madis_file(tmp_path / "madis")
    wide = "id,time,lat,lon,elevation,pressure,temperature\na,2020-10-01T06,50,8,10,101000,280\n"
    readers = {
        "BUFR of the surface": lambda: bufr.read_bufr(synop(), "x"),
        "BUFR soundings": lambda: bufr.read_bufr(ascent(), "x"),
        "BUFR of aircraft": lambda: bufr.read_bufr(amdar(), "x"),
        "prepBUFR": lambda: bufr.read_bufr(prepbufr_file("ADPUPA", SOUNDING), "x"),
        "IODA": lambda: ioda.read_ioda(netCDF4.Dataset(tmp_path / "ioda"), tmp_path, "x"),
        "MADIS": lambda: madis.read_madis(netCDF4.Dataset(tmp_path / "madis"), tmp_path, "x"),
        "ODB": lambda: odb.from_odb(odb_row(2, 50000.0), "x"),
        "a text table": lambda: parse_csv(wide, "x"),
    }

    def upper(table: pd.DataFrame) -> set[bool]:
        """Whether temperatures are aloft."""
        names = set(table["variable"]) & {"t", "tv", "t2m", "tv2m"}
        return {not OBSERVABLES[name].surface for name in names}

    as_it_is = {name: upper(read().table) for name, read in readers.items()}
    assert all(as_it_is.values())

    def turned(quantity: str, value: np.ndarray, level: np.ndarray, *rest: object, **more: object):
        return placed(quantity, value, ~level, *rest, **more)  # type: ignore[arg-type]

    for module in (bufr, prepbufr, ioda, madis, odb):
        monkeypatch.setattr(module, "placed", turned)
    monkeypatch.setattr(plan, "are_levels", lambda *a: ~are_levels(*a))
    for name, read in readers.items():
        assert upper(read().table) == {not place for place in as_it_is[name]}, name


def test_no_reader_decides_by_itself() -> None:
    """Only the one module says of a value that it is aloft."""
    for path in Path(levels.__file__).parent.glob("*.py"):
        if path.stem == "levels":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Values":
                assert len(node.args) < 3, f"{path.name}:{node.lineno}"
                assert "upper" not in {k.arg for k in node.keywords}, f"{path.name}:{node.lineno}"


@pytest.mark.parametrize(
    ("varno", "pressure", "aloft"),
    [(112, NAN, False), (112, 100000.0, False), (112, 50000.0, True), (2, 98000.0, True)],
)
def test_winds_of_an_odb_are_of_either_place(varno: int, pressure: float, aloft: bool) -> None:
    (row,) = odb.from_odb(odb_row(varno, pressure), "x").table.to_dict("records")
    assert (row["qc"], np.isfinite(row["pressure"])) == (0, aloft)
