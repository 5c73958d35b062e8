"""Results from the files of benchmarks: each number reaches its place, rounded as the pages show
it, and what was not run again stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import collect
from benchmarks.limited_report import write_report
from benchmarks.osse_report import Group, summary_of
from benchmarks.outcome import finish

RESULTS = json.loads(collect.RESULTS.read_text(encoding="utf-8"))


def measurement(results: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [m for m in results["measurements"] if m["id"] == name]
    return dict(found)


def written(folder: Path, name: str, result: dict[str, Any]) -> None:
    """``result`` as a benchmark ends with it."""
    (folder / name).parent.mkdir(exist_ok=True)
    with pytest.raises(SystemExit):
        finish([], result, folder / name)


def test_every_measurement_has_the_file_that_it_comes_from() -> None:
    commands = {command for command, _ in collect.FILES.values()}
    named = {c for m in RESULTS["measurements"] for c in m["command"].split("; ")}
    assert named == commands


def test_stations_are_ratios_to_gridpp_and_say_when(tmp_path: Path) -> None:
    row = {"fine": {"rmse": 0.96, "spread": 0.9}, "gridpp": {"rmse": 1.2}}
    of = dict.fromkeys(collect.STATION_VARIABLES, row)
    written(tmp_path, "stations.json", {"a": of, "b": of, "c": {}})
    results = json.loads(json.dumps(RESULTS))
    stayed = collect.update(results, tmp_path)
    changed = measurement(results, "stations_gfs")
    assert [e["value"] for e in changed["values"].values()] == pytest.approx(6 * [0.8])
    assert measurement(results, "stations_rounded")["values"]["raw GFS"] == {"value": 20}
    assert measurement(results, "stations_spread")["values"]["raw GFS"] == {
        "low": 0.9,
        "high": 0.9,
    }
    assert "note" not in changed
    stamp = json.loads((tmp_path / "stations.json").read_text(encoding="utf-8"))
    assert (changed["measured"], changed["commit"]) == (stamp["measured"], stamp["commit"])
    assert "cycle" in stayed
    assert measurement(results, "cycle") == measurement(RESULTS, "cycle")


def test_a_region_is_written_with_the_sign_of_the_pages(tmp_path: Path) -> None:
    scores = {name: {"z500": 1.0} for name in ("mse_over_background", "rmse", "spread_skill")}
    scores["crps"] = {"z500": 1.0}
    below = {"channels": {"z500": 0.25}, "mean": 0.251, "interval": [0.2, 0.3]}
    row: dict[str, Any] = {method: scores for method in ("oi", "corrected oi", "phyda")}
    row |= {"below_oi": {"phyda": below}, "days": 1, "first": "2008-01-01", "last": "2008-01-01"}
    (tmp_path / "iberia").mkdir()
    write_report(tmp_path / "iberia", {"12": row, "30": row}, "a model")
    found = collect.collect(tmp_path)
    assert found["region_iberia"][0]["12 stations"] == {"value": -25.1, "low": -30.0, "high": -20.0}
    assert found["region_rounded"][0] == {"Iberia": {"value": 25}}
    # The other region was not run: the number of it stays.
    results = json.loads(json.dumps(RESULTS))
    collect.update(results, tmp_path)
    europe = measurement(RESULTS, "region_rounded")["values"]["western Europe"]
    assert measurement(results, "region_rounded")["values"]["western Europe"] == europe


def test_the_cycle_and_the_costs(tmp_path: Path) -> None:
    (tmp_path / "cycles").mkdir()
    rows = {
        name: {
            "analysis": rmse,
            "low": 0.4,
            "high": 0.8,
            "background": 0.7,
            "spread_skill": float("nan"),
            "crps": 0.5 * rmse,
            "flat_ranks": 0.75,
            "noise": {},
        }
        for name, rmse in (("phyda", 0.5), ("oi", 0.625))
    }
    rows["oi"] |= {"spread_skill": 0.777, "noise": {"analysis": {"ratio": 1.091}}}
    written(tmp_path / "cycles", "cycles.json", {"methods": rows})
    written(tmp_path, "million.json", {"assimilate": {"seconds": 99.6, "peak_mb": 5100}})
    written(tmp_path, "cost.json", {"demo --members 16": {"seconds": 8.2, "peak_mb": 1449}})
    found = {name: entries for name, (entries, _) in collect.collect(tmp_path).items()}
    assert found["cycle_against_oi"] == {"phyda": {"value": 20}}
    assert found["cycle_crps"] == {"phyda": {"value": -20}}
    assert found["cycle_flat_ranks"] == {"phyda": {"value": 75}}
    assert found["cycle_spread"] == {"oi": {"value": 0.78}}
    assert found["cycle_noise"] == {"oi": {"value": 1.09}}
    assert found["cost"] == {
        "a million observations": {"value": 100},
        "a million observations, memory": {"value": 6},
        "demo": {"value": 8},
        "demo, memory": {"value": 1.4},
    }


def test_planted_errors_and_times_of_reports(tmp_path: Path) -> None:
    rates = {"spatial check, 5": {"found": 0.64, "SCT": 0.52}, "defaults": {"found": 0.6}}
    written(tmp_path, "planted.json", {c: dict.fromkeys(collect.PLANTED, rates) for c in "ab"})
    variants = {n: {"ratio": 1.0071, "bounds": [1.0, 1.01]} for n in ("FGAT", "no FGAT")}
    written(tmp_path, "fgat.json", variants)
    found = {name: entries for name, (entries, _) in collect.collect(tmp_path).items()}
    assert found["planted"].keys() == measurement(RESULTS, "planted")["values"].keys()
    assert found["planted"]["wind, raw GFS, SCT"] == {"value": 52}
    assert found["fgat"]["FGAT"] == {"value": 1.007, "low": 1.0, "high": 1.01}


def test_single_analyses_and_one_day(tmp_path: Path) -> None:
    def record(method: str, case: int, square: float, width: float) -> dict[str, Any]:
        numbers = {"square": square, "prior": 1.0, "width": width, "crps": np.sqrt(square)}
        return {"method": method, "case": case} | {k: np.full(2, v) for k, v in numbers.items()}

    records = [record("oi", case, 0.25, 0.16) for case in range(4)]
    records += [record("phyda", case, 0.16, 0.16) for case in range(4)]
    group = Group(records, ["t", "z"])
    summary = [
        {"network": "100 soundings", "noise": noise, **summary_of(group, method)}
        for method in ("oi", "phyda")
        for noise in (1, 2)
    ]
    written(tmp_path, "osse/osse.json", {"summary": summary})
    days = {"phyda": {"z500": 264.7, "t850": 1.384, "msl": 371.6}}
    written(tmp_path, "regional.json", {"rmse": days})
    results = json.loads(json.dumps(RESULTS))
    stayed = collect.update(results, tmp_path)

    def of(name: str) -> Any:
        return measurement(results, name)["values"]["100 soundings"]

    assert (of("single_oi"), of("single_phyda")) == ({"value": 0.5}, {"value": 0.4})
    assert of("single_against_oi") == {"value": -20.0, "low": -20.0, "high": -20.0}
    assert of("single_crps") == {"value": -20.0}
    assert of("single_spread_oi") == {"low": 0.8, "high": 0.8}
    assert of("single_spread_phyda") == {"low": 1.0, "high": 1.0}
    one = measurement(results, "one_case_phyda")["values"]
    assert one == {"z500": {"value": 265}, "t850": {"value": 1.38}, "msl": {"value": 372}}
    assert "one_case_oi" in stayed
