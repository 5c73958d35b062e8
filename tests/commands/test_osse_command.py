"""``phyda osse``: its files, its screen, and what it refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import synthetic

Run = Callable[..., Any]
NETWORK = "station_id,latitude,longitude,elevation,variables,pressure_hPa\n" + "".join(
    f"S{i},{-70 + 10 * i},{(47 * i) % 360},0,t u v,850 500 300\n" for i in range(15)
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dates of a truth and their backgrounds, and two networks."""
    folder = tmp_path_factory.mktemp("osse")
    times, waves = synthetic.history()
    synthetic.dataset(waves[[100, 108]], times[[100, 108]]).to_netcdf(folder / "truth.nc")
    synthetic.dataset(waves[[96, 104]], times[[100, 108]]).to_netcdf(folder / "fc.nc")
    synthetic.dataset(waves[:1], times[:1]).to_netcdf(folder / "early.nc")
    (folder / "network.csv").write_text(NETWORK, encoding="utf-8")
    few = "".join(NETWORK.splitlines(keepends=True)[:4])
    (folder / "few.csv").write_text(few + "X,10,10,,t2m,\n", encoding="utf-8")
    (folder / "nothing.csv").write_text(
        "station_id,latitude,longitude,variables\nS,1,2,t2m\n", encoding="utf-8"
    )
    return folder


@pytest.fixture
def osse(phyda: Run, files: Path, tiny_checkpoint: Path, tmp_path: Path) -> Run:
    """Run the small experiment into ``tmp_path / "osse"``; an option that is None is not given."""

    def run(*arguments: object, **options: str | None) -> Any:
        given = {"truth": "truth.nc", "background": "fc.nc", "network": "network.csv"} | options
        words: list[object] = []
        for name, value in given.items():
            words += [] if value is None else [f"--{name}", files / value]
        fixed = ("--method", "oi", "--checkpoint", tiny_checkpoint, "--out", tmp_path / "osse")
        return phyda("osse", *words, *fixed, *arguments)

    return run


def test_the_folder_and_the_screen(osse: Run, tmp_path: Path) -> None:
    outcome = osse("--repeats", 2, baseline="few.csv")
    assert outcome.code == 0, outcome.err
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "left out: 1 t2m of X" in outcome.err
    found = json.loads((tmp_path / "osse" / "osse.json").read_text(encoding="utf-8"))
    assert found["times"] == ["2010-12-26T00:00Z", "2010-12-28T00:00Z"]
    assert found["networks"]["network"]["observations"] == [135] * 4
    assert found["ratio"]["value"] < found["baseline_ratio"]["value"] < 1
    with (tmp_path / "osse" / "scores.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {r["state"] for r in rows} == {"background", "network", "baseline"}
    assert any(r["score"] == "ratio_to_baseline" for r in rows)
    page = (tmp_path / "osse" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") == 3
    assert str(tmp_path) not in page
    assert osse().code == 2  # it is there


def test_json_is_what_the_file_holds(osse: Run, tmp_path: Path) -> None:
    outcome = osse("--json", "--baseline", "none")
    written = json.loads((tmp_path / "osse" / "osse.json").read_text(encoding="utf-8"))
    assert json.loads(outcome.out) == written
    assert written["ratio_to_baseline"] is None


@pytest.mark.parametrize(
    ("code", "options"),
    [
        (3, {"background": "early.nc"}),
        (3, {"truth": "early.nc"}),
        (3, {"truth": "early.nc", "background": None}),
        (3, {"background": "truth.nc"}),
        (3, {"network": "absent.csv"}),
        (3, {"baseline": "absent.csv"}),
        (4, {"network": "nothing.csv"}),
        (4, {"baseline": "nothing.csv"}),
    ],
)
def test_faults(osse: Run, tmp_path: Path, code: int, options: dict[str, str | None]) -> None:
    outcome = osse(**options)
    assert outcome.code == code, outcome.err
    assert "Traceback" not in outcome.err
    assert not list((tmp_path / "osse").iterdir())
