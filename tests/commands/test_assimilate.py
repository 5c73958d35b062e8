"""``phyda assimilate``: what a run that works writes, prints and repeats."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from synthetic import FINE, FINE_LEVELS, TIME, amplitudes, fields_at

from phyda_cli.observations.feedback import read_feedback

Run = Callable[..., Any]
VARIABLES = ("z", "t", "u", "v", "q", "msl")


def values(path: Path) -> dict[str, np.ndarray]:
    with xr.open_dataset(path, decode_times=False) as data:
        return {str(n): v.values for n, v in data.variables.items()}


def error(found: dict[str, np.ndarray], name: str) -> float:
    truth = fields_at(amplitudes(), FINE, FINE_LEVELS)[name]
    weight = FINE.area_weights[:, None]
    return float(np.sqrt((weight * (found[name].reshape(truth.shape) - truth) ** 2).mean()))


@pytest.mark.parametrize("method", ["oi", "phyda", "guidance"])
def test_analysis_and_feedback(assimilate: Run, case: Path, tmp_path: Path, method: str) -> None:
    outcome = assimilate(
        "--feedback", tmp_path / "fb.nc", "--save-members", "--members", 4, method=method
    )
    assert outcome.code == 0, outcome.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["an.nc", "fb.nc"]
    background, found = values(case / "fc.nc"), values(tmp_path / "an.nc")
    for name in VARIABLES:
        np.testing.assert_allclose(
            found[name],
            background[name] + found[f"{name}_increment"],
            rtol=2e-6,
            atol=1e-6 * np.ptp(found[name]),
        )
        assert found[f"{name}_spread"].min() >= 0
        assert found[f"{name}_spread"].max() > 0
        assert error(found, name) < error(background, name)
    assert error(found, "msl") < (0.75 if method == "guidance" else 0.6) * error(background, "msl")
    np.testing.assert_array_equal(found["orography"], background["orography"])
    assert ("t_members" in found) == (method != "oi")
    if method != "oi":
        np.testing.assert_allclose(found["t_members"].mean(0), found["t"], atol=1e-3)
    rows = read_feedback(tmp_path / "fb.nc")
    np.testing.assert_allclose(rows["ombg"], rows["ObsValue"] - rows["hofx0"], atol=1e-6)
    used = rows[(rows["EffectiveQC"] == 0) & (rows["variable"] == "msl")]
    assert (used["oman"] ** 2).mean() < 0.5 * (used["ombg"] ** 2).mean()


def test_counts_add_up(assimilate: Run, case: Path) -> None:
    outcome = assimilate("--json", "--dry-run")
    report = json.loads(outcome.out)
    counts, rows = report["observations"], report["rows"]
    assert rows["read"] == len((case / "stations.csv").read_text().splitlines()) - 1
    assert rows["read"] == rows["with_values"] + rows["without_values"] + rows["unreadable"]
    for c in (counts, *counts["variables"].values()):
        assert c["in"] == c["used"] + c["passive"] + sum(c["rejected"].values())
    assert counts["in"] == sum(c["in"] for c in counts["variables"].values()) == rows["with_values"]
    assert set(counts["variables"]) == {"t", "u", "v", "msl"}
    assert counts["used"] > 0.9 * counts["in"]


def test_a_seed_repeats_and_another_differs(assimilate: Run, tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("same", 7), ("other", 8)):
        outcome = assimilate(
            "--members", 3, "--seed", seed, method="phyda", out=tmp_path / f"{name}.nc"
        )
        assert outcome.code == 0, outcome.err
    one, same, other = (values(tmp_path / f"{n}.nc") for n in ("one", "same", "other"))
    assert all(one[n].tobytes() == same[n].tobytes() for n in one)
    assert any(one[n].tobytes() != other[n].tobytes() for n in VARIABLES)


def test_physics_is_recorded_and_changes_the_analysis(assimilate: Run, tmp_path: Path) -> None:
    for word in ("off", "train", "project", None):
        outcome = assimilate("--json", out=tmp_path / f"{word}.nc", physics=word)
        assert outcome.code == 0, outcome.err
        assert json.loads(outcome.out)["physics"] == (word or "train")
        with xr.open_dataset(tmp_path / f"{word}.nc") as data:
            assert data.attrs["physics"] == (word or "train")
    off, train, project, default = (
        values(tmp_path / f"{word}.nc") for word in ("off", "train", "project", None)
    )
    assert (
        off["u"].tobytes()
        == train["u"].tobytes()
        == default["u"].tobytes()
        != project["u"].tobytes()
    )


def test_an_unknown_word_of_physics_is_a_usage_error(fails: Callable[..., str]) -> None:
    assert "physics: it should be 'off', 'train' or 'project'" in fails(2, physics="on")


def test_guidance_has_its_settings(assimilate: Run, tmp_path: Path) -> None:
    (tmp_path / "short.toml").write_text("[guidance]\nsteps = 10\nzeta = 0.2\n")
    common = {"method": "guidance", "members": 2, "config": tmp_path / "short.toml"}
    for rule in ("mmps", "dps"):
        outcome = assimilate(guidance=rule, out=tmp_path / f"{rule}.nc", **common)
        assert outcome.code == 0, outcome.err
    with xr.open_dataset(tmp_path / "dps.nc") as data:
        assert (
            json.loads(data.attrs["config_json"])["guidance"]
            | {"rule": "dps", "steps": 10, "zeta": 0.2}
            == json.loads(data.attrs["config_json"])["guidance"]
        )
    one, other = (values(tmp_path / f"{rule}.nc") for rule in ("mmps", "dps"))
    assert np.abs(one["t"] - other["t"]).max() > 0.1
    assert "guidance.rule" in assimilate(guidance="other", **common).err
    (tmp_path / "short.toml").write_text("[guidance]\nsigma_max = 0.01\n")
    assert "sigma_min 0.05 is not below sigma_max 0.01" in assimilate(**common).err
    refused = assimilate(**common | {"members": 1, "config": None})
    assert refused.code == 2
    assert "at least 2 members" in refused.err


def test_method_none_is_the_background(assimilate: Run, case: Path, tmp_path: Path) -> None:
    assert assimilate(method="none").code == 0
    background, found = values(case / "fc.nc"), values(tmp_path / "an.nc")
    for name in VARIABLES:
        np.testing.assert_array_equal(found[name], background[name])
        assert not found[f"{name}_increment"].any()
    with xr.open_dataset(tmp_path / "an.nc") as data:
        assert data.attrs["phyda_status"] == "background_only"


def test_dry_run_writes_nothing(assimilate: Run, tmp_path: Path) -> None:
    outcome = assimilate("--dry-run", "--feedback", tmp_path / "fb.nc")
    assert outcome.code == 0
    assert "rows read" in outcome.out
    assert list(tmp_path.iterdir()) == []


def test_json_is_one_object(assimilate: Run, tmp_path: Path) -> None:
    outcome = assimilate("--json")
    report = json.loads(outcome.out)
    assert report["schema"] == 1
    assert report["status"] == "ok"
    assert report["method"] == "oi"
    assert report["valid_time"] == str(TIME)
    assert report["out"] == str(tmp_path / "an.nc")
    departures = report["departures"]["used"]
    assert departures["msl"]["oman_rms"] < departures["msl"]["ombg_rms"]
    assert set(report["background_error_scale"]) == {"pooled", "mass", "temperature", "wind"}
    assert report["increment_rms"]["t"] > 0


def test_quiet_says_nothing(assimilate: Run) -> None:
    outcome = assimilate("--quiet")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_again_is_up_to_date_until_something_changes(
    assimilate: Run, tmp_path: Path, case: Path
) -> None:
    feedback = ("--feedback", tmp_path / "fb.nc")
    assert assimilate(*feedback).code == 0
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in tmp_path.iterdir()}
    again = assimilate(*feedback)
    assert again.code == 0
    assert "up to date" in again.err
    assert json.loads(assimilate(*feedback, "--json").out)["status"] == "up to date"
    refused = assimilate(*feedback, method="none")
    assert refused.code == 2
    assert "exists already" in refused.err
    assert "--overwrite" in refused.err
    assert {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in tmp_path.iterdir()} == before
    assert assimilate(*feedback, "--overwrite", method="none").code == 0
    assert (tmp_path / "an.nc").read_bytes() != before["an.nc"][1]


def test_an_output_that_is_missing_is_made_again(assimilate: Run, tmp_path: Path) -> None:
    """As after a crash between the two files: the one that is there, made from the same inputs, is
    no obstacle."""
    feedback = ("--feedback", tmp_path / "fb.nc")
    for lost in ("an.nc", "fb.nc"):
        assert assimilate(*feedback).code == 0
        (tmp_path / lost).unlink()
        again = assimilate(*feedback)
        assert again.code == 0, again.err
        assert sorted(p.name for p in tmp_path.iterdir()) == ["an.nc", "fb.nc"]


def test_provenance_is_recorded(assimilate: Run, tmp_path: Path) -> None:
    assert assimilate("--seed", 5).code == 0
    with xr.open_dataset(tmp_path / "an.nc") as data:
        stated = data.attrs
    assert stated["phyda_status"] == "ok"
    assert stated["method"] == "oi"
    assert stated["seed"] == 5
    assert all(len(stated[n]) == 64 for n in ("model_sha256", "obs_sha256", "background_sha256"))
    assert stated["valid_time_override"] == ""


def test_the_background_error_scale_can_be_given(assimilate: Run, tmp_path: Path) -> None:
    spreads = []
    for scale in ("0.5", "2"):
        outcome = assimilate("--json", "--background-error-scale", scale, "--overwrite")
        assert json.loads(outcome.out)["background_error_scale"] == {"pooled": float(scale)}
        with xr.open_dataset(tmp_path / "an.nc") as data:
            assert json.loads(data.attrs["background_error_scale"]) == {"pooled": float(scale)}
            assert json.loads(data.attrs["config_json"])["background_error_scale"] == float(scale)
        spreads.append(values(tmp_path / "an.nc")["t_spread"].mean())
    assert spreads[0] < 0.7 * spreads[1]
    refused = assimilate("--background-error-scale", "-1", out=tmp_path / "other.nc")
    assert refused.code == 2
    assert "background_error_scale" in refused.err


def test_the_weight_of_the_correction_is_stated_and_can_be_given(
    assimilate: Run, tmp_path: Path
) -> None:
    increments = {}
    for weight in ("auto", "0", "0.5", "1"):
        out = tmp_path / f"{weight}.nc"
        report = json.loads(
            assimilate("--json", "--correction-weight", weight, method="phyda", out=out).out
        )
        stated = report["correction_weight"]
        assert set(stated) == {"mass", "temperature", "wind", "humidity"}
        if weight != "auto":
            assert set(stated.values()) == {float(weight)}
        with xr.open_dataset(out) as data:
            assert json.loads(data.attrs["correction_weight"]) == stated
        increments[weight] = values(out)["t_increment"].astype(float)
    none, half, whole = (increments[w] for w in ("0", "0.5", "1"))
    np.testing.assert_allclose(half, (none + whole) / 2, atol=2e-5 * np.abs(whole).max())
    assert np.abs(whole - none).max() > 1e-3
    found = np.sum((increments["auto"] - none) * (whole - none)) / np.sum((whole - none) ** 2)
    with xr.open_dataset(tmp_path / "auto.nc") as data:
        stated_today = json.loads(data.attrs["correction_weight"])["temperature"]
    assert found == pytest.approx(stated_today, abs=0.1)
    refused = assimilate("--correction-weight", "1.5", method="phyda", out=tmp_path / "other.nc")
    assert refused.code == 2
    oi = json.loads(assimilate("--json", out=tmp_path / "oi.nc").out)
    assert oi["correction_weight"] is None


def test_withheld_stations_are_compared_and_not_used(assimilate: Run, tmp_path: Path) -> None:
    (tmp_path / "withheld.txt").write_text("S001\nS002\n")
    report = json.loads(assimilate("--json", "--withhold-file", tmp_path / "withheld.txt").out)
    assert report["observations"]["passive"] == 20
    assert report["departures"]["passive"]["msl"]["n"] == 2


def test_settings_come_from_flag_then_environment_then_file(
    assimilate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.toml").write_text('method = "none"\nseed = 3\n')

    def method(flag: str | None) -> str:
        outcome = assimilate("--json", "--dry-run", "--config", tmp_path / "c.toml", method=flag)
        return str(json.loads(outcome.out)["method"])

    assert method(None) == "none"
    monkeypatch.setenv("PHYDA_METHOD", "oi")
    assert method(None) == "oi"
    assert method("phyda") == "phyda"
    (tmp_path / "bad.toml").write_text("colour = 1\n")
    refused = assimilate("--config", tmp_path / "bad.toml")
    assert refused.code == 2
    assert "colour" in refused.err


def test_as_a_process(case: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """The module runs from any folder; results on stdout, everything else on stderr."""
    command = [
        sys.executable,
        "-m",
        "phyda_cli",
        "assimilate",
        "--obs",
        "stations.csv",
        "--background",
        "fc.nc",
        "--method",
        "oi",
    ]
    command += ["--out", str(tmp_path / "an.nc"), "--json"]
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PHYDA_CHECKPOINT": str(tiny_checkpoint), "PYTHONPATH": root}
    done = subprocess.run(
        command, cwd=case, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "ok"
    assert done.stderr == ""
    assert [p.name for p in tmp_path.iterdir()] == ["an.nc"]


def test_the_verdict_ends_the_run(assimilate: Run, tmp_path: Path) -> None:
    report = json.loads(assimilate("--json").out)
    assert report["verdict"] == {"verdict": "ok", "reasons": []}
    with xr.open_dataset(tmp_path / "an.nc") as data:
        assert data.attrs["phyda_verdict"] == "ok"
    again = assimilate()
    assert again.err.rstrip().endswith("(ok)")
    assert json.loads(assimilate("--json").out)["verdict"]["verdict"] == "ok"


def test_a_suspect_analysis_is_not_published_where_none_is_wanted(
    assimilate: Run, tmp_path: Path
) -> None:
    """Limits that no analysis keeps to."""
    limits = ("--set", "verdict.fewest=1", "--set", "verdict.largest_chi2=0.01")
    refused = assimilate(*limits, "--fail-on", "suspect")
    assert refused.code == 5
    assert "suspect: " in refused.err
    assert list(tmp_path.iterdir()) == []
    published = assimilate(*limits)
    assert published.code == 0
    assert "(suspect: " in published.err.splitlines()[-1]
    with xr.open_dataset(tmp_path / "an.nc") as data:
        assert data.attrs["phyda_verdict"].startswith("suspect: ")


def test_names_of_other_formats_are_refused(assimilate: Run, tmp_path: Path) -> None:
    for name in ("an.grib2", "an.zarr.zip", "an.png"):
        assert assimilate(out=tmp_path / name).code == 2
    assert assimilate("--feedback", tmp_path / "fb.grib").code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real_data
@pytest.mark.parametrize("fine", ["auto", "off"])
def test_a_january_forecast_under_october_reports_is_suspect(
    fine: str, phyda: Callable[..., Any], shared_data: Path, tmp_path: Path
) -> None:
    table = pd.read_csv(shared_data / "observations" / "metar_20201001T06.csv")
    shift = np.datetime64("2011-01-15T12") - np.datetime64("2020-10-01T06")
    table["Unix_time"] += int(shift / np.timedelta64(1, "s"))
    table.to_csv(tmp_path / "metar.csv", index=False)
    root = Path(__file__).resolve().parents[2]
    outcome = phyda(
        "assimilate",
        "--obs",
        tmp_path / "metar.csv",
        "--obs-map",
        root / "examples" / "metar.toml",
        "--background",
        shared_data / "forecasts" / "gfs_2p5deg_20110110T12_f120.grib2",
        "--dry-run",
        "--json",
        "--fine",
        fine,
    )
    report = json.loads(outcome.out)
    assert report["verdict"]["verdict"] == "suspect"
    reasons = " ".join(report["verdict"]["reasons"])
    assert "mean O-B of t2m" in reasons
    rejected = report["observations"]["variables"]["t2m"]["rejected"]["too far from the background"]
    if fine == "off":
        assert rejected > 2000
        assert "t2m do not fit the background" in reasons
    else:  # stations that agree by the thousand are believed, and the background is not
        assert rejected < 100
        assert "the background error of mass, temperature" in reasons
