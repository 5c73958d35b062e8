"""Observations that cannot be used, or only in part, through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import xarray as xr

Run = Callable[..., Any]
Fails = Callable[..., str]


@pytest.fixture
def table(case: Path) -> pd.DataFrame:
    return pd.read_csv(case / "stations.csv")


@pytest.fixture
def csv(tmp_path: Path) -> Callable[[pd.DataFrame | str], Path]:
    """Write a table or a text as ``obs.csv``."""

    def write(content: pd.DataFrame | str) -> Path:
        text = content if isinstance(content, str) else content.to_csv(index=False)
        (tmp_path / "obs.csv").write_text(text)
        return tmp_path / "obs.csv"

    return write


def rejected(outcome: Any) -> dict[str, int]:
    assert outcome.code == 0, outcome.err
    return dict(json.loads(outcome.out)["observations"]["rejected"])


def test_no_latitude_column(fails: Fails, csv: Any, table: pd.DataFrame) -> None:
    message = fails(3, obs=csv(table.rename(columns={"latitude": "breite"})))
    assert "no column for latitude" in message
    assert "found columns: station_id, time, breite" in message
    assert "--obs-map" in message


def test_decimal_commas(fails: Fails, assimilate: Run, csv: Any, table: pd.DataFrame) -> None:
    text = table.to_csv(index=False, sep=";", decimal=",")
    assert rejected(assimilate("--json", "--dry-run", obs=csv(text))).get("unreadable", 0) == 0
    shifted = table.to_csv(index=False, decimal=",").replace('"', "")
    message = fails(4, obs=csv(shifted))
    assert "obs.csv:2: more cells than the 8 columns" in message
    assert "--decimal comma" in message


def test_one_decimal_comma_loses_one_value(assimilate: Run, csv: Any, table: pd.DataFrame) -> None:
    values = table["value"].astype(str)
    values[3] = values[3].replace(".", ",")
    outcome = assimilate(
        "--json", "--dry-run", obs=csv(table.assign(value=values).to_csv(index=False, sep=";"))
    )
    assert rejected(outcome)["unreadable"] == 1
    assert any(
        "obs.csv:5: value" in p and "a decimal comma?" in p
        for p in json.loads(outcome.out)["problems"]
    )


@pytest.mark.parametrize(
    ("column", "value", "limits"),
    [("latitude", 95.0, "-90..90"), ("longitude", 370.0, "-180..360")],
)
def test_off_the_globe(
    assimilate: Run,
    fails: Fails,
    csv: Any,
    table: pd.DataFrame,
    column: str,
    value: float,
    limits: str,
) -> None:
    message = fails(4, obs=csv(table.assign(**{column: value})))
    assert f"{column} {value} is outside {limits}" in message
    one = table.copy()
    one.loc[0, column] = value
    outcome = assimilate("--json", "--dry-run", obs=csv(one))
    assert rejected(outcome)["outside the domain"] == 1
    assert any(
        f"obs.csv:2: {column} {value} is outside {limits}" in p
        for p in json.loads(outcome.out)["problems"]
    )


def test_negative_longitudes_are_folded(
    assimilate: Run, csv: Any, table: pd.DataFrame, tmp_path: Path
) -> None:
    western = table.assign(longitude=(table["longitude"] + 180) % 360 - 180)
    assert western["longitude"].min() < 0
    for name, content in (("a", table), ("b", western)):
        assert assimilate(obs=csv(content), out=tmp_path / f"{name}.nc").code == 0
    with xr.open_dataset(tmp_path / "a.nc") as a, xr.open_dataset(tmp_path / "b.nc") as b:
        xr.testing.assert_allclose(a, b, rtol=1e-5)


def test_pressure_in_hpa(assimilate: Run, fails: Fails, csv: Any, table: pd.DataFrame) -> None:
    wrong = table.assign(pressure=table["pressure"] / 100)
    message = fails(4, obs=csv(wrong[wrong["variable"] != "msl"]))
    assert "none of 216 observations can be used: 216 out of range" in message
    assert "this looks like hPa" in message
    outcome = assimilate("--json", "--dry-run", obs=csv(wrong))
    assert rejected(outcome)["out of range"] == 216
    assert any(
        "216 rows have a pressure such as 300 where Pa is required" in p
        for p in json.loads(outcome.out)["problems"]
    )
    assert "WARNING: 216 rows have a pressure" in assimilate("--dry-run", obs=csv(wrong)).err
    named = wrong.rename(columns={"pressure": "pressure_hPa"})
    assert (
        json.loads(assimilate("--json", "--dry-run", obs=csv(named)).out)["observations"]["used"]
        > 200
    )


def test_duplicates(assimilate: Run, csv: Any, table: pd.DataFrame) -> None:
    assert (
        rejected(assimilate("--json", "--dry-run", obs=csv(pd.concat([table, table[:15]]))))[
            "duplicate"
        ]
        == 15
    )


def test_a_row_of_text(assimilate: Run, fails: Fails, csv: Any, table: pd.DataFrame) -> None:
    lines = table.to_csv(index=False).splitlines()
    text = "\n".join([*lines[:30], "--- station offline ---", *lines[30:]])
    outcome = assimilate("--json", "--dry-run", obs=csv(text))
    report = json.loads(outcome.out)
    assert report["rows"]["unreadable"] == 1
    assert report["observations"]["in"] == len(table)
    assert any(p.startswith(f"{csv(text)}:31: ") for p in report["problems"])
    assert "obs.csv:31: " in fails(3, "--strict", obs=csv(text))


def test_unknown_variable(assimilate: Run, csv: Any, table: pd.DataFrame) -> None:
    report = json.loads(
        assimilate(
            "--json", "--dry-run", obs=csv(table.replace({"variable": {"msl": "ozone"}}))
        ).out
    )
    assert report["rows"]["unreadable"] == 24
    assert any("unknown variable 'ozone'" in p for p in report["problems"])


def test_no_usable_row(
    assimilate: Run, fails: Fails, csv: Any, table: pd.DataFrame, tmp_path: Path
) -> None:
    header = table[:0].to_csv(index=False)
    assert "there are no observations" in fails(4, obs=csv(header))
    text = fails(4, obs=csv(table.assign(value="missing?")))
    assert "none of 240 observations can be used: 240 unreadable" in text
    assert "'missing?' is no number" in text
    assert "there are no observations" in fails(4, "--dry-run", obs=csv(header))
    allowed = assimilate("--allow-no-obs", "--json", method="phyda", obs=csv(header))
    assert allowed.code == 0
    assert json.loads(allowed.out)["status"] == "background_only"
    with xr.open_dataset(tmp_path / "an.nc") as data:
        assert data.attrs["phyda_status"] == "background_only"
        assert not data["t_increment"].any()
        assert "t_spread" not in data


def test_without_a_file_of_observations(assimilate: Run, fails: Fails) -> None:
    assert "--allow-no-obs" in fails(2, obs=None)
    report = json.loads(assimilate("--allow-no-obs", "--json", obs=None).out)
    assert (report["status"], report["observations"]["in"]) == ("background_only", 0)


def test_all_gross_errors(fails: Fails, csv: Any, table: pd.DataFrame) -> None:
    hot = table[table["variable"] == "t"].assign(value=table["value"] + 40)
    assert "none of 72 observations can be used: 72 too far from the background" in fails(
        4, obs=csv(hot)
    )


def test_times_outside_the_window(
    assimilate: Run, fails: Fails, csv: Any, table: pd.DataFrame, tmp_path: Path
) -> None:
    late = csv(table.assign(time="2011-02-03T06:00:00Z"))
    message = fails(4, obs=late)
    assert "2011-01-20T12:00Z" in message
    assert "2011-02-03T06:00Z" in message
    assert "--valid-time" in message
    outcome = assimilate("--valid-time", "2011-02-03T06:00", "--json", obs=late)
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert report["valid_time"] == "2011-02-03T06:00:00"
    assert report["observations"]["used"] > 200
    with xr.open_dataset(tmp_path / "an.nc") as data:
        assert data.attrs["valid_time_override"].startswith("2011-02-03T06:00")
        assert "(--valid-time) instead of 2011-01-20T12:00:00" in data.attrs["phyda_notes"]
        assert str(data["time"].values.ravel()[0]).startswith("2011-02-03T06:00")


def test_some_times_outside_the_window(assimilate: Run, csv: Any, table: pd.DataFrame) -> None:
    times = table["time"].copy()
    times[:10] = "2011-01-20T15:00:01Z"
    times[10:30] = "2011-01-20T15:00:00Z"
    outcome = assimilate("--json", "--dry-run", obs=csv(table.assign(time=times)))
    assert rejected(outcome)["outside the time window"] == 10
    wider = assimilate("--json", "--dry-run", "--window", 3.5, obs=csv(table.assign(time=times)))
    assert "outside the time window" not in rejected(wider)


def test_bad_options(fails: Fails) -> None:
    assert "'yesterday' is not a time" in fails(2, "--valid-time", "yesterday")
    assert "expected NAME=CANONICAL" in fails(2, "--rename", "t")
    assert "method" in fails(2, method="3dvar")
