"""``phyda assimilate``: station lists, thinning, superobservations and robust weights, from the
command line to the feedback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from phyda_cli.observations.feedback import read_feedback
from phyda_cli.observations.table import QC

Run = Callable[..., Any]
LAYERED = ("t,85000,50000,280,0.5", "thickness,85000,50000,4000,8", "wind_speed,50000,,20,0.5")


def rows_of(assimilate: Run, tmp_path: Path, *arguments: object, **options: object) -> pd.DataFrame:
    outcome = assimilate(
        "--feedback", tmp_path / "fb.nc", "--overwrite", "--json", *arguments, **options
    )
    assert outcome.code == 0, outcome.err
    counts = json.loads(outcome.out)["observations"]
    rows = read_feedback(tmp_path / "fb.nc")
    assert (
        counts["in"]
        == len(rows)
        == counts["used"] + counts["passive"] + sum(counts["rejected"].values())
    )
    return rows


def test_lists_of_stations(assimilate: Run, tmp_path: Path) -> None:
    (tmp_path / "black.txt").write_text("S001\nS002 msl\n")
    rows = rows_of(assimilate, tmp_path, "--blacklist", tmp_path / "black.txt")
    rejected = rows[rows["EffectiveQC"] == QC.BLACKLIST]
    assert set(rejected["station_id"]) == {"S001", "S002"}
    assert set(rejected[rejected["station_id"] == "S002"]["variable"]) == {"msl"}
    (tmp_path / "white.txt").write_text("".join(f"S{i:03d}\n" for i in range(12)))
    rows = rows_of(assimilate, tmp_path, "--whitelist", tmp_path / "white.txt")
    assert set(rows["station_id"][rows["EffectiveQC"] != QC.BLACKLIST]) == {
        f"S{i:03d}" for i in range(12)
    }
    (tmp_path / "black.txt").write_text("S001 colour\n")
    outcome = assimilate("--blacklist", tmp_path / "black.txt", out=tmp_path / "other.nc")
    assert outcome.code == 3
    assert "unknown variable colour" in outcome.err


def test_a_fraction_is_withheld_by_station_and_seed(assimilate: Run, tmp_path: Path) -> None:
    first, again, other = (
        rows_of(assimilate, tmp_path, "--withhold", 0.3, "--seed", seed) for seed in (1, 1, 2)
    )
    passive = [
        set(rows["station_id"][rows["EffectiveQC"] == QC.PASSIVE]) for rows in (first, again, other)
    ]
    assert passive[0] == passive[1] != passive[2]
    assert 0 < len(passive[0]) < 16
    kept = set(first["station_id"][first["EffectiveQC"] == QC.PASS])
    assert not kept & passive[0]


def test_superobservations_reach_the_feedback(assimilate: Run, tmp_path: Path, case: Path) -> None:
    table = pd.read_csv(case / "stations.csv")
    twin = table.assign(
        station_id=table["station_id"] + "x",
        latitude=table["latitude"] + 0.01,
        value=table["value"] + 0.5,
    )
    pd.concat([table, twin]).to_csv(tmp_path / "twice.csv", index=False)
    (tmp_path / "c.toml").write_text("[qc]\nsuperob_correlation = 0.0\nthinning_km = 300.0\n")
    rows = rows_of(
        assimilate,
        tmp_path,
        "--thinning",
        "superob",
        "--config",
        tmp_path / "c.toml",
        obs=tmp_path / "twice.csv",
    )
    merged, stand_in = (
        rows["EffectiveQC"] == QC.SUPEROBBED,
        (rows["superob_size"] > 1) & (rows["EffectiveQC"] == QC.PASS),
    )
    assert merged.sum() > 0.3 * len(rows)
    assert merged.sum() == (rows["superob_size"][stand_in] - 1).sum()
    pair = rows[stand_in & (rows["superob_size"] == 2)]
    np.testing.assert_allclose(pair["EffectiveError"], pair["ObsError"] / np.sqrt(2), rtol=1e-6)
    assert (rows["PreQC"] == 0).all()
    assert (abs(pair["DerivedObsValue"] - pair["ObsValue"]) > 0).all()
    single = rows[(rows["superob_size"] == 1) & (rows["EffectiveQC"] == QC.PASS)]
    np.testing.assert_allclose(single["DerivedObsValue"], single["ObsValue"])
    thinned = rows_of(
        assimilate,
        tmp_path,
        "--thinning",
        "thin",
        "--config",
        tmp_path / "c.toml",
        obs=tmp_path / "twice.csv",
    )
    assert (thinned["EffectiveQC"] == QC.THINNED).sum() == merged.sum()


def test_robust_weights_lower_what_does_not_fit(
    assimilate: Run, tmp_path: Path, case: Path
) -> None:
    table = pd.read_csv(case / "stations.csv")
    odd = int(np.flatnonzero(table["variable"] == "t")[4])
    table.loc[odd, "value"] += 3.0  # passes the first-guess check
    table.to_csv(tmp_path / "odd.csv", index=False)
    plain = rows_of(assimilate, tmp_path, obs=tmp_path / "odd.csv")
    robust = rows_of(assimilate, tmp_path, "--robust", "huber", obs=tmp_path / "odd.csv")
    assert (plain["VarQCWeight"].dropna() == 1).all()
    assert robust["EffectiveQC"][odd] == QC.PASS
    assert robust["VarQCWeight"][odd] < 0.5
    assert robust["EffectiveError"][odd] == pytest.approx(
        robust["ObsError"][odd] / np.sqrt(robust["VarQCWeight"][odd])
    )
    assert robust["VarQCWeight"].median() == 1
    assert abs(robust["oman"][odd]) > abs(plain["oman"][odd])
    outcome = assimilate("--robust", "huber", method="guidance", out=tmp_path / "g.nc")
    assert outcome.code == 2
    assert "stage 1" in outcome.err


def test_observations_by_pattern(assimilate: Run, tmp_path: Path, case: Path) -> None:
    lines = (case / "stations.csv").read_text().splitlines(keepends=True)
    for i in range(2):
        (tmp_path / f"part{i}.csv").write_text(lines[0] + "".join(lines[1 + i :: 2]))
    outcome = assimilate(
        "--dry-run", "--json", "--obs", tmp_path / "part0.csv", obs=tmp_path / "part*.csv"
    )
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["rows"]["read"] == len(lines) - 1
    assert "given twice" in outcome.err
    outcome = assimilate("--dry-run", obs=tmp_path / "none*.csv")
    assert outcome.code == 3
    assert "no file matches" in outcome.err


def test_layers_thickness_and_lone_speeds_are_used(
    assimilate: Run, case: Path, tmp_path: Path
) -> None:
    lines = [
        "station_id,time,latitude,longitude,elevation,variable,pressure,pressure_top,value,error"
    ]
    lines += [
        f"L{i},2011-01-20T12:00,{lat},{40 * i},0,{row}"
        for i, lat in enumerate((-50, -20, 10, 45))
        for row in LAYERED
    ]
    (tmp_path / "layers.csv").write_text("\n".join(lines) + "\n")
    before = rows_of(assimilate, tmp_path, "--method", "none", obs=tmp_path / "layers.csv")
    values = dict(
        zip(
            zip(before["station_id"], before["variable"], strict=True), before["hofx0"], strict=True
        )
    )
    shift = {"t": 2.0, "thickness": 25.0, "wind_speed": 2.0}
    text = [lines[0]]
    for line in lines[1:]:
        cells = line.split(",")
        cells[8] = str(values[cells[0], cells[5]] + shift[cells[5]])
        text.append(",".join(cells))
    (tmp_path / "layers.csv").write_text("\n".join(text) + "\n")
    rows = rows_of(assimilate, tmp_path, obs=tmp_path / "layers.csv")
    assert set(rows["EffectiveQC"]) == {QC.PASS}
    np.testing.assert_allclose(rows["ombg"], rows["variable"].map(shift), rtol=1e-5)
    for name, group in rows.groupby("variable"):
        assert group["oman"].abs().mean() < 0.7 * shift[str(name)], name
