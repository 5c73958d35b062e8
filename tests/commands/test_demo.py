"""``phyda demo`` and its bundled case, with an untrained model of a few channels; with the bundled
one where it is there."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from phyda_cli.commands.demo import BUNDLED_CASE, demo
from phyda_cli.constants import BAROMETRIC_EXPONENT, GRAVITY, LAPSE_RATE
from phyda_cli.errors import OutputError
from phyda_cli.fields.state import StateSpec, equiangular
from phyda_cli.formats.background import read_background
from phyda_cli.model.checkpoint import BUNDLED, build_networks, save_checkpoint
from phyda_cli.observations.read.read import read_observations
from phyda_cli.observations.stations import read_stations
from phyda_cli.settings.model import NetworkSettings, SamplerSettings, SolverSettings

CHANNELS = {
    "z500": 130.0,
    "t850": 1.0,
    "u850": 1.5,
    "v850": 1.5,
    "msl": 250.0,
    "t2m": 1.0,
    "u10": 1.6,
    "v10": 1.6,
}  # background errors
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
app = typer.Typer()
app.command()(demo)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smooth random background errors and networks at their start, where ``phyda`` equals
    ``oi``."""
    grid = equiangular(32, 16)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(40, len(CHANNELS), *grid.shape))
    members = sum(np.roll(noise, (i, j), (2, 3)) for i in range(-1, 2) for j in range(-1, 2)) / 3
    deviation = tuple(CHANNELS.values())
    spec = StateSpec(
        channels=tuple(CHANNELS),
        latitude=tuple(grid.latitude),
        longitude=tuple(grid.longitude),
        mean=(5.5e4, 280.0, 0.0, 0.0, 1.01e5, 285.0, 0.0, 0.0),
        std=tuple(10 * d for d in deviation),
        background_std=deviation,
    )
    network = NetworkSettings(encoder=(8, 8), denoiser=(8, 8), spread=())
    metadata: dict[str, object] = {
        "name": "untrained",
        "state": spec.model_dump(),
        "solver": SolverSettings(radius_km=2500).model_dump(),
        "sampler": SamplerSettings(steps=2).model_dump(),
        "network": network.model_dump(),
        "member_times": ["2011-01-01T00:00:00"] * len(members),
        "physics_scale": {},
        "training": {},
    }
    statics = {"orography": np.zeros(grid.shape), "lsm": np.zeros(grid.shape)}
    folder = tmp_path_factory.mktemp("model") / "checkpoint"
    return save_checkpoint(
        folder,
        metadata,
        statics,
        torch.as_tensor(members, dtype=torch.float32),
        *build_networks(spec, network),
    )


def run(out: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--out", str(out), *arguments])


@pytest.fixture(scope="module")
def done(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A finished demo in a folder that did not exist."""
    out = tmp_path_factory.mktemp("demo") / "new" / "folder"
    return out, run(out, "--method", "oi", "--checkpoint", str(checkpoint), "--json")


def test_writes_everything(done: tuple[Path, Result]) -> None:
    out, result = done
    assert result.exit_code == 0, result.exception
    assert sorted(p.name for p in out.iterdir()) == [
        "analysis.nc",
        "feedback.nc",
        "increment.png",
        "inputs",
        "report.html",
    ]
    copies = {p.name: p.read_bytes() for p in (out / "inputs").iterdir()}
    assert copies == {p.name: p.read_bytes() for p in BUNDLED_CASE.iterdir()}
    assert read_background(out / "analysis.nc").fields.grid.shape == (48, 96)


def test_every_row_is_accounted_for(done: tuple[Path, Result]) -> None:
    report = json.loads(done[1].stdout)
    rows, counts = report["rows"], report["observations"]
    lines = (BUNDLED_CASE / "stations.csv").read_text().splitlines()
    assert rows["read"] == len(lines) - 1
    assert rows["read"] == rows["with_values"] + rows["without_values"] + rows["unreadable"]
    assert counts["in"] == rows["with_values"]
    assert counts["in"] == counts["used"] + counts["passive"] + sum(counts["rejected"].values())


def test_planted_errors_are_found(done: tuple[Path, Result]) -> None:
    report = json.loads(done[1].stdout)
    rejected = report["observations"]["rejected"]
    assert report["rows"]["unreadable"] == 1  # the row of text
    assert rejected["out of range"] == 1  # a pressure in hPa
    assert rejected["too far from the background"] == 3  # two lost signs, one pressure 40 hPa off
    assert rejected["duplicate"] == 4
    assert rejected["outside the time window"] == 4


def test_the_analysis_is_better_even_with_an_untrained_model(done: tuple[Path, Result]) -> None:
    report = json.loads(done[1].stdout)
    ratio = {f["channel"]: f["ratio"] for f in report["fields"]}
    assert ratio["msl"] < 0.9
    assert np.mean([ratio[c] for c in CHANNELS]) < 0.99
    withheld = {d["variable"]: d for d in report["departures"]["withheld"]}
    assert withheld["msl"]["ratio"] < 0.9
    assert withheld["msl"]["n"] > 40


def test_the_same_again_is_up_to_date(done: tuple[Path, Result], checkpoint: Path) -> None:
    out, first = done
    before = (out / "analysis.nc").stat().st_mtime_ns
    (out / "increment.png").unlink()
    again = json.loads(run(out, "--method", "oi", "--checkpoint", str(checkpoint), "--json").stdout)
    assert again["status"] == "up to date"
    assert again["fields"] == json.loads(first.stdout)["fields"]
    assert (out / "analysis.nc").stat().st_mtime_ns == before
    assert (out / "increment.png").exists()


def test_other_inputs_need_overwrite(done: tuple[Path, Result], checkpoint: Path) -> None:
    out, _ = done
    before = (out / "analysis.nc").read_bytes()
    other = ("--method", "none", "--checkpoint", str(checkpoint))
    result = run(out, *other)
    assert isinstance(result.exception, OutputError)
    assert (out / "analysis.nc").read_bytes() == before


def test_tables_and_members(checkpoint: Path, tmp_path: Path) -> None:
    result = run(tmp_path, "--members", "2", "--seed", "3", "--checkpoint", str(checkpoint))
    assert result.exit_code == 0, result.exception
    words = " ".join(result.stdout.split())
    for expected in (
        "rows read",
        "against the truth",
        "t850 K",
        "mean of 44",
        "against the withheld stations",
    ):
        assert expected in words


def test_out_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert isinstance(run(tmp_path / "file").exception, OutputError)


def test_bundled_case() -> None:
    assert sum(p.stat().st_size for p in BUNDLED_CASE.iterdir()) < 4 << 20
    background, truth = (
        read_background(BUNDLED_CASE / f"{n}.nc").fields for n in ("background", "truth")
    )
    assert background.time == truth.time
    assert background.lead_hours == 24
    assert {"orography", "lsm"} <= set(truth.surface)
    stations = set(read_observations([BUNDLED_CASE / "stations.csv"]).table["station_id"])
    withheld = read_stations(BUNDLED_CASE / "withheld.txt")
    assert withheld < stations
    assert len(withheld) == pytest.approx(0.2 * len(stations), abs=1)


@pytest.mark.parametrize("name", ["background", "truth"])
def test_the_bundled_case_is_weather(name: str) -> None:
    """Over sea, mean sea level pressure is what z and t of the lowest level give (hypsometric
    equation, 6.5 K/km)."""
    fields = read_background(BUNDLED_CASE / f"{name}.nc").fields
    sea = fields.surface["lsm"] < 0.5
    msl = fields.surface["msl"][sea]
    assert 93000 < msl.min() < msl.max() < 106000
    lowest = int(np.argmax(fields.levels))
    height = fields.upper["z"][lowest][sea] / GRAVITY
    warmed = 1 + LAPSE_RATE * height / fields.upper["t"][lowest][sea]
    expected = fields.levels[lowest] * warmed**BAROMETRIC_EXPONENT
    assert np.sqrt(np.mean((msl - expected) ** 2)) < 300


def test_the_example_simulates_what_the_truth_says() -> None:
    """Without noise the simulated soundings are the truth's own values, below the ground left
    out."""
    spec = importlib.util.spec_from_file_location("make_demo", EXAMPLES / "make_demo.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    truth = read_background(BUNDLED_CASE / "truth.nc").fields

    class Silent:
        standard_normal = staticmethod(np.zeros)
        integers = staticmethod(lambda low, high, size: np.zeros(size, int))

    i, j = 20, 30
    sites = example.pd.DataFrame(
        {
            "station_id": ["A", "B"],
            "latitude": truth.grid.latitude[i],
            "longitude": truth.grid.longitude[j],
            "elevation": [0.0, 2000.0],
        }
    )
    table = example.observe(
        example.reports(sites, ["t", "u"], truth.levels, truth.time), truth, Silent()
    )
    low = table[(table["station_id"] == "A") & (table["variable"] == "t")]
    np.testing.assert_allclose(low["value"], truth.upper["t"][:, i, j], atol=0.006)
    assert table[table["station_id"] == "B"]["pressure"].max() == 70000.0  # 2000 m are at 795 hPa


@pytest.mark.skipif(not (BUNDLED / "model.json").is_file(), reason="no bundled checkpoint")
def test_the_bundled_model_corrects_the_bundled_forecast(tmp_path: Path) -> None:
    report = json.loads(run(tmp_path, "--method", "oi", "--json").stdout)
    assert report["verdict"] == {"verdict": "ok", "reasons": []}
    assert report["mean_ratio"] < 0.85
    assert report["withheld_mean_ratio"] < 0.95
