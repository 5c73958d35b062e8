"""``phyda cycle`` with the real analysis."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from phyda_cli.cycle.replay import differences

Run = Callable[..., Any]
CYCLE, NOW = "20110120T1200Z", "2011-01-20T13:00"


@pytest.fixture
def config(case: Path, tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A cycle of one analysis of the small case."""
    shutil.copy(case / "stations.csv", tmp_path / "synop_2011012012.csv")
    shutil.copy(case / "fc.nc", tmp_path / "fc_2011012006_f006.nc")
    path = tmp_path / "cycle.toml"
    path.write_text(
        f"""
        folder = "{tmp_path}/cycle"
        first = 2011-01-20T12:00:00Z
        settle_seconds = 0
        arguments = ["--method", "oi", "--checkpoint", "{tiny_checkpoint}"]
        [[observations]]
        pattern = "{tmp_path}/synop_{{time:%Y%m%d%H}}.csv"
        [[background]]
        pattern = "{tmp_path}/fc_{{start:%Y%m%d%H}}_f{{lead:03d}}.nc"
        """
    )
    return path


def test_run_status_and_replay(phyda: Run, config: Path, tmp_path: Path) -> None:
    done = phyda("cycle", "run", "--config", config, "--now", NOW, "--json")
    assert done.code == 0, done
    (made,) = json.loads(done.out)["cycles"]
    assert (made["cycle"], made["code"], made["status"]) == (CYCLE, 0, "ok")
    with netCDF4.Dataset(tmp_path / "cycle" / "latest" / "analysis.nc") as data:
        assert data.phyda_status == "ok"

    again = phyda("cycle", "run", "--config", config, "--now", NOW)
    assert (again.code, again.out) == (0, "")

    state = json.loads(
        phyda("cycle", "status", "--config", config, "--now", "2011-01-20T18:00", "--json").out
    )
    assert (state["cycle"], state["age_hours"], state["stopped"]) == (CYCLE, 6, [])
    late = phyda("cycle", "status", "--config", config, "--now", "2011-01-21T12", "--max-age", "9")
    assert late.code == 5

    replay = ("cycle", "replay", CYCLE, "--config", config, "--out", tmp_path / "again")
    assert phyda(*replay).code == 0
    with netCDF4.Dataset(tmp_path / "cycle" / "latest" / "analysis.nc", "a") as data:
        data["msl"][...] = data["msl"][...] + 1
    assert phyda(*replay).code == 5
    (tmp_path / "fc_2011012006_f006.nc").write_bytes(b"other")
    assert phyda(*replay).code == 3


def test_a_cycle_that_was_never_made_cannot_be_replayed(
    phyda: Run, config: Path, tmp_path: Path
) -> None:
    words = ("cycle", "replay", CYCLE, "--config", config, "--out", tmp_path / "again")
    outcome = phyda(*words)
    assert outcome.code == 3
    assert f"there is no cycle {CYCLE}" in outcome.err
    assert "remove" not in outcome.err


def test_the_memory_of_the_cycle_before_is_replayed(
    phyda: Run, config: Path, tmp_path: Path
) -> None:
    later = np.timedelta64(6, "h")
    with xr.open_dataset(tmp_path / "fc_2011012006_f006.nc") as data:
        moved = data.assign_coords(time=data["time"] + later)
        moved.to_netcdf(tmp_path / "fc_2011012012_f006.nc")
    text = (tmp_path / "synop_2011012012.csv").read_text()
    (tmp_path / "synop_2011012018.csv").write_text(text.replace("T12:00", "T18:00"))
    assert phyda("cycle", "run", "--config", config, "--now", "2011-01-20T19:00").code == 0
    cycles = tmp_path / "cycle" / "cycles"
    report = json.loads((cycles / "20110120T1800Z" / "report.json").read_text())
    assert report["memory"]["cycle"] == CYCLE
    assert report["analysis"]["bias"]["corrected"] > 0
    replay = ("cycle", "replay", "20110120T1800Z", "--config", config, "--out", tmp_path / "again")
    assert phyda(*replay).code == 0
    with netCDF4.Dataset(tmp_path / "again" / "feedback.nc", "a") as data:
        data["StationBias/mean"][0] += 1
    assert differences(cycles / "20110120T1800Z" / "feedback.nc", tmp_path / "again/feedback.nc")
    shutil.rmtree(cycles / CYCLE)
    gone = phyda(*replay)
    assert gone.code == 3
    assert "retention.cycles" in gone.err


def test_each_stream_is_read_in_its_own_way(
    phyda: Run, config: Path, case: Path, tmp_path: Path
) -> None:
    """Two streams with a map and decimal commas of their own give what one plain file gives."""
    table = pd.read_csv(case / "stations.csv", dtype=str)
    half = len(table) // 2
    first = table[:half].rename(columns={"value": "wert", "latitude": "breite"})
    second = table[half:].rename(columns={"value": "valor", "latitude": "latitud"})
    second["valor"] = second["valor"].str.replace(".", ",")
    first.to_csv(tmp_path / "one_2011012012.csv", index=False)
    second.to_csv(tmp_path / "two_2011012012.csv", index=False, sep=";")
    for name, latitude, value in (("one", "breite", "wert"), ("two", "latitud", "valor")):
        text = f'latitude = "{latitude}"\nvariable = "variable"\nvalue = "{value}"\n'
        (tmp_path / f"{name}.toml").write_text(text)
    plain = phyda("cycle", "run", "--config", config, "--now", NOW, "--json")
    head, _, tail = config.read_text().partition("[[observations]]")
    streams = "".join(
        f"""
        [[observations]]
        pattern = "{tmp_path}/{name}_{{time:%Y%m%d%H}}.csv"
        map = "{tmp_path}/{name}.toml"
        decimal = "{decimal}"
        """
        for name, decimal in (("one", "point"), ("two", "comma"))
    )
    head = head.replace(f"{tmp_path}/cycle", f"{tmp_path}/streams")
    config.write_text(head + streams + tail[tail.index("[[background]]") :])
    done = phyda("cycle", "run", "--config", config, "--now", NOW, "--json")
    assert done.code == 0, done.err
    reports = [
        json.loads((tmp_path / folder / "latest" / "report.json").read_text())
        for folder in ("cycle", "streams")
    ]
    assert json.loads(plain.out)["cycles"][0]["code"] == 0
    accounts = [r["analysis"]["observations"] for r in reports]
    assert accounts[0]["used"] == accounts[1]["used"] > 0
    with (
        netCDF4.Dataset(tmp_path / "cycle" / "latest" / "analysis.nc") as one,
        netCDF4.Dataset(tmp_path / "streams" / "latest" / "analysis.nc") as two,
    ):
        np.testing.assert_allclose(one["msl"][:], two["msl"][:], rtol=1e-6)
    replay = ("cycle", "replay", CYCLE, "--config", config, "--out", tmp_path / "again")
    assert phyda(*replay).code == 0
    (tmp_path / "two.toml").write_text((tmp_path / "two.toml").read_text() + "# changed\n")
    assert phyda(*replay).code == 3


def test_nothing_published_is_an_error_of_status(phyda: Run, config: Path) -> None:
    assert phyda("cycle", "status", "--config", config).code == 3


def test_status_shows_later_cycles_that_stopped(phyda: Run, config: Path) -> None:
    next_one = ("--config", config, "--now", "2011-01-21T00:00")
    assert phyda("cycle", "run", *next_one).code == 4
    found = phyda("cycle", "status", *next_one)
    assert found.code == 0
    shown = [line.split() for line in found.out.splitlines() if line.startswith("stopped")]
    state = json.loads(phyda("cycle", "status", *next_one, "--json").out)
    assert [(s["code"], s["reasons"][-1]) for s in state["stopped"]] == [
        (4, "observations_none")
    ] * 2
    assert [line[1] for line in shown] == [s["cycle"] for s in state["stopped"]]


def test_an_observation_file_that_cannot_be_read_is_left_out(
    phyda: Run, config: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "synop_2011012012.bufr"
    bad.write_bytes(b"BUFR and then nothing")
    config.write_text(config.read_text().replace("%Y%m%d%H}.csv", "%Y%m%d%H}.*"))
    done = phyda("cycle", "run", "--config", config, "--now", NOW, "--json")
    (made,) = json.loads(done.out)["cycles"]
    assert (made["code"], made["reasons"]) == (0, ["observations_unreadable", str(bad)])
    replay = ("cycle", "replay", CYCLE, "--config", config, "--out", tmp_path / "again")
    assert phyda(*replay).code == 0


def test_without_observations_the_background_is_published_as_such(
    phyda: Run, config: Path, tmp_path: Path
) -> None:
    (tmp_path / "synop_2011012012.csv").unlink()
    config.write_text('policy = "background_only"\n' + config.read_text())
    done = phyda("cycle", "run", "--config", config, "--now", NOW, "--json")
    (made,) = json.loads(done.out)["cycles"]
    assert (made["code"], made["status"]) == (0, "background_only")
    with (
        netCDF4.Dataset(tmp_path / "cycle" / "latest" / "analysis.nc") as data,
        netCDF4.Dataset(tmp_path / "fc_2011012006_f006.nc") as forecast,
    ):
        assert data.phyda_status == "background_only"
        np.testing.assert_allclose(np.squeeze(data["msl"][:]), np.squeeze(forecast["msl"][:]))


def test_a_wrong_option_is_the_reason(phyda: Run, config: Path) -> None:
    config.write_text(config.read_text().replace('["--method"', '["--nonsense", "--method"'))
    done = phyda("cycle", "run", "--config", config, "--now", NOW, "--json")
    (made,) = json.loads(done.out)["cycles"]
    assert (made["code"], made["reasons"][0]) == (2, "analysis_failed")
    assert "--nonsense" in made["reasons"][1]


@pytest.mark.parametrize(
    ("change", "code"),
    [("every_hours = 5", 2), ("nonsense = 1", 2), ("first = 12", 2), ("policy = 'lax'", 2)],
)
def test_wrong_settings(phyda: Run, config: Path, change: str, code: int) -> None:
    config.write_text(f"{change}\n" + config.read_text().replace(f"{change.split()[0]} =", "#"))
    assert phyda("cycle", "run", "--config", config, "--now", NOW).code == code


def test_the_old_name_of_twin_says_the_new_one(phyda: Run) -> None:
    outcome = phyda("cycle", "twin", "--nature", "a", "--out", "b")
    assert outcome.code == 2
    assert "simulate twin" in outcome.err


def test_killed_at_any_time_the_next_run_is_as_if_undisturbed(
    phyda: Run, config: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "phyda_cli", "cycle", "run", "--config", str(config)]
    words += ["--now", NOW]
    for seconds in (0.6, 2.5):
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        cycles = tmp_path / "cycle" / "cycles"
        assert all((c / "report.json").exists() for c in cycles.glob("*"))
    assert phyda(*words[3:]).code == 0
    assert sorted(p.name for p in (tmp_path / "cycle").iterdir()) == [
        "cycles",
        "events.jsonl",
        "latest",
        "lock",
        "status.json",
    ]


def test_lagged_forecasts_are_used_and_replayed(phyda: Run, config: Path, tmp_path: Path) -> None:
    """A forecast of an earlier start, valid at the same time, changes the analysis."""
    older = tmp_path / "fc_2011012000_f012.nc"
    with xr.open_dataset(tmp_path / "fc_2011012006_f006.nc") as data:
        warmer = data.map(lambda v: v.roll(longitude=3, roll_coords=False), keep_attrs=True)
        warmer.assign_coords(
            forecast_reference_time=np.datetime64("2011-01-20T00", "ns")
        ).to_netcdf(older)
    run = ("cycle", "run", "--config", config, "--now", NOW)
    assert phyda(*run).code == 0
    cycles = tmp_path / "cycle" / "cycles"
    alone = cycles.rename(tmp_path / "alone")
    config.write_text(config.read_text() + "lagged_hours = 24\n")
    assert phyda(*run).code == 0
    report = json.loads((cycles / CYCLE / "report.json").read_text())
    assert [f["path"] for f in report["lagged"]] == [str(older)]
    assert "msl" in differences(alone / CYCLE / "analysis.nc", cycles / CYCLE / "analysis.nc")
    replay = ("cycle", "replay", CYCLE, "--config", config, "--out", tmp_path / "again")
    assert phyda(*replay).code == 0
    older.write_bytes(b"other")
    assert phyda(*replay).code == 3
