"""The climate of a checkpoint: what is fitted, and an analysis that starts from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from safetensors.torch import save_file
from synthetic import GRID, TIME, spec

from phyda_cli.analysis.climatology import climate_background, with_climate_errors
from phyda_cli.analysis.prior import Prior
from phyda_cli.fields.remap import to_grid
from phyda_cli.files.publish import sha256
from phyda_cli.formats.background import read_background
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.model.climate import Climate, fit_climate, packed, unpacked
from phyda_cli.model.mean_error import season

Run = Callable[..., Any]


def test_the_fit_is_the_season_and_what_is_left() -> None:
    rng = np.random.default_rng(0)
    time = np.datetime64("2001-01-01T00", "s") + np.timedelta64(18, "h") * np.arange(480)
    weights = 100 * rng.standard_normal((5, 2, 3, 4))
    noise = np.array([1.0, 7.0])[:, None, None] * rng.standard_normal((480, 2, 3, 4))
    states = (np.tensordot(season(time), weights, 1) + noise).astype(np.float32)
    rows = rng.permutation(480)
    found = fit_climate(states, rows, time[rows])
    np.testing.assert_allclose(found.weights, weights, atol=2.5)
    np.testing.assert_allclose(found.deviation.mean(axis=(1, 2)), [1.0, 7.0], rtol=0.05)
    date = np.datetime64("2003-05-04T06", "s")
    x = season(np.array([date]))[0]
    np.testing.assert_allclose(found.mean(date), np.tensordot(x, weights, 1), atol=2.5)


def test_a_few_months_tell_no_season() -> None:
    rng = np.random.default_rng(0)
    time = np.datetime64("2001-01-01T00", "s") + np.timedelta64(18, "h") * np.arange(99)
    states = rng.standard_normal((99, 1, 3, 4)).astype(np.float32)
    found = fit_climate(states, np.arange(99), time)
    np.testing.assert_allclose(found.mean(time[0]), states.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found.mean(np.datetime64("2001-08-01")), found.mean(time[0]))
    np.testing.assert_allclose(found.deviation, states.std(axis=0, ddof=1), rtol=1e-4)


def test_a_file_holds_it_in_half_precision() -> None:
    rng = np.random.default_rng(0)
    size = np.array([1e-6, 1.0, 3e3])[:, None, None]  # humidity at 50 hPa to geopotential there
    far = np.array([2e-6, 250.0, 2e5])[:, None, None]
    weights, deviation = rng.standard_normal((5, 3, 4, 6)), rng.uniform(0.2, 2.0, (3, 4, 6))
    weights[0] = 10 * weights[0] + far / size
    climate = Climate((weights * size).astype(np.float32), (deviation * size).astype(np.float32))
    held = packed(climate)
    assert held["weights"].dtype == held["deviation"].dtype == np.float16
    found = unpacked({k: v.astype(np.float32) for k, v in held.items()})
    error = (
        np.abs(found.mean(TIME) - climate.mean(TIME))
        / climate.deviation.mean((1, 2))[:, None, None]
    )
    assert error.max() < 0.01
    np.testing.assert_allclose(found.deviation, climate.deviation, rtol=1e-3)


def test_a_file_in_physical_units_is_read(tiny_checkpoint: Path, tmp_path: Path) -> None:
    climate = Checkpoint.open(tiny_checkpoint).climate
    assert climate is not None
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "old"))
    fields = {k: torch.from_numpy(getattr(climate, k)) for k in ("weights", "deviation")}
    save_file(fields, folder / "climate.safetensors")
    model = json.loads((folder / "model.json").read_text())
    model["files"]["climate.safetensors"] = sha256(folder / "climate.safetensors")
    model["sizes"]["climate.safetensors"] = (folder / "climate.safetensors").stat().st_size
    (folder / "model.json").write_text(json.dumps(model))
    old = Checkpoint.open(folder).climate
    assert old is not None
    np.testing.assert_array_equal(old.weights, climate.weights)
    np.testing.assert_array_equal(old.deviation, climate.deviation)


def test_the_errors_are_the_climates(tiny_checkpoint: Path) -> None:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    climate = checkpoint.climate
    assert climate is not None
    prior = Prior.static(checkpoint, climate.mean(TIME), TIME, 0.0)
    found = with_climate_errors(prior, climate).ensemble.members
    np.testing.assert_allclose(
        found.square().sum(dim=0).sqrt().numpy() * prior.unit, climate.deviation, rtol=1e-4
    )
    before = prior.ensemble.members
    shapes = [x / x.square().sum(dim=0).sqrt() for x in (found, before)]
    torch.testing.assert_close(*shapes, rtol=1e-4, atol=1e-5)


def test_the_background_is_the_mean(tiny_checkpoint: Path) -> None:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    fields = read_background(climate_background(checkpoint, TIME)).fields
    values, available = to_grid(fields, spec().channel_list, GRID)
    assert available.all()
    assert checkpoint.climate is not None
    np.testing.assert_allclose(values, checkpoint.climate.mean(TIME), rtol=1e-5, atol=1e-5)


def test_one_command_without_a_forecast(
    phyda: Run, case: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    flags = ["--obs", case / "stations.csv", "--background", "climatology", "--json"]
    flags += ["--checkpoint", tiny_checkpoint, "--out", tmp_path / "an.nc"]
    outcome = phyda("assimilate", *flags, "--method", "oi")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert any("climate" in note for note in report["notes"])
    climate = Checkpoint.open(tiny_checkpoint).climate
    assert climate is not None
    channel = spec().channels.index("t500")
    with xr.open_dataset(tmp_path / "an.nc") as data:
        assert data.attrs["background_file"] == "climatology"
        first = (data["t"] - data["t_increment"]).sel(plev=50000).values.squeeze()
        np.testing.assert_allclose(first, climate.mean(TIME)[channel], atol=0.01)
        factor = max(report["background_error_scale"].values())
        spread = data["t_spread"].sel(plev=50000).values.squeeze()
        assert (spread <= climate.deviation[channel] * factor * 1.01).all()
        assert float(np.abs(data["t_increment"]).max()) > 0.1
    assert phyda("assimilate", *flags, "--method", "phyda").code == 2
