"""Training from end to end on a toy, and that an interruption changes nothing."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import xarray as xr
from runs import alone, quiet
from torch import Tensor, nn

from phyda_cli.errors import UsageError
from phyda_cli.model.checkpoint import Checkpoint, build_networks
from phyda_cli.model.encoder import Encoder
from phyda_cli.settings.model import NetworkSettings
from phyda_cli.settings.training import TrainingSettings
from phyda_cli.training.loop import Phase
from phyda_cli.training.objectives import Loss, MiniBatch, Physics, encoder_loss
from phyda_cli.training.plan import Plan
from phyda_cli.training.scores import calibrate, validate, validate_members
from phyda_cli.training.statistics import physics_scale
from phyda_cli.training.train import train

if TYPE_CHECKING:
    from conftest import Opened

CPU = torch.device("cpu")
FILES = ("network.safetensors", "statics.safetensors", "members_00.safetensors")


class Stopped(Exception):
    """The power goes."""


def opened_scale(opened: Opened) -> dict[str, list[float]]:
    everything = np.arange(len(opened.store.pairs))
    return physics_scale(
        opened.store, opened.states, opened.spec, everything, np.random.default_rng(0)
    )


def encoder_phase(
    opened: Opened,
    settings: TrainingSettings,
    folder: Path,
    stop_at: int | None = None,
    strength: float = 0.1,
    say: Callable[[str], None] = quiet,
) -> tuple[Phase, Encoder]:
    """The first phase from the start of its networks, or from what ``folder`` holds; it stops
    during step ``stop_at``."""
    torch.manual_seed(settings.seed)
    encoder, _ = build_networks(opened.spec, settings.network)
    physics = Physics(opened.spec, opened_scale(opened))
    loss = stopping(encoder_loss(opened.area, physics, strength), stop_at)
    folder.mkdir(exist_ok=True)
    run = alone(folder, settings, say)
    return Phase("encoder", encoder, loss, opened.cases, settings.encoder_epochs, run), encoder


def stopping(loss: Loss, stop_at: int | None) -> Loss:
    steps = 0

    def counted(network: nn.Module, share: MiniBatch) -> tuple[Tensor, dict[str, Tensor]]:
        nonlocal steps
        steps += 1
        if steps == stop_at:
            raise Stopped
        return loss(network, share)

    return counted


def test_the_physics_term_makes_the_mean_more_physical(
    opened: Opened, tiny_settings: TrainingSettings, tmp_path: Path
) -> None:
    physics = Physics(opened.spec, opened_scale(opened))
    batch = opened.cases.batch(np.arange(opened.cases.count), CPU)
    found = {}
    for strength in (0.0, 30.0):
        phase, encoder = encoder_phase(
            opened, tiny_settings, tmp_path / str(strength), strength=strength
        )
        phase.run()
        with torch.no_grad():
            found[strength] = float(physics(batch, encoder.eval()(*batch.inputs).mean).mean())
    assert 0 < found[30.0] < found[0.0]


@pytest.mark.parametrize("stop_at", [3, 9, 12])
def test_a_stopped_phase_continues_as_if_it_had_not_been(
    opened: Opened, tiny_settings: TrainingSettings, tmp_path: Path, stop_at: int
) -> None:
    settings = tiny_settings.model_copy(update={"save_every": 4})
    whole, expected = encoder_phase(opened, settings, tmp_path / "whole")
    whole.run()
    first, _ = encoder_phase(opened, settings, tmp_path / "parts", stop_at)
    with pytest.raises(Stopped):
        first.run()
    second, found = encoder_phase(opened, settings, tmp_path / "parts")
    assert second.step == (stop_at - 1) // 4 * 4
    second.run()
    assert second.step == whole.step == whole.total == 16
    for key, value in expected.state_dict().items():
        assert torch.equal(value, found.state_dict()[key]), key
    moved = [
        not torch.equal(v, s)
        for v, s in zip(
            expected.parameters(), encoder_phase_start(opened, tiny_settings), strict=True
        )
    ]
    assert np.mean(moved) > 0.5


def encoder_phase_start(opened: Opened, settings: TrainingSettings) -> list[Tensor]:
    torch.manual_seed(settings.seed)
    return list(build_networks(opened.spec, settings.network)[0].parameters())


def test_training_lowers_the_error_and_logs(
    opened: Opened, tiny_settings: TrainingSettings, tmp_path: Path
) -> None:
    settings = tiny_settings.model_copy(update={"encoder_epochs": 6.0, "ema": 0.9})
    said: list[str] = []
    phase, encoder = encoder_phase(opened, settings, tmp_path / "run", say=said.append)
    phase.run(lambda: validate(encoder, opened.cases, opened.area))
    scores = validate(encoder.eval(), opened.cases, opened.area)
    assert scores["encoder"] < scores["oi"] < 1
    log = (tmp_path / "run" / "encoder.log.tsv").read_text().splitlines()
    assert log[0].split("\t")[:3] == ["step", "seconds", "learning_rate"]
    assert log[-1].split("\t")[0] == "48"
    assert any("validation oi" in line for line in said)


def test_a_time_limit_fits_the_schedule(
    opened: Opened, tiny_settings: TrainingSettings, tmp_path: Path
) -> None:
    settings = tiny_settings.model_copy(update={"encoder_epochs": 500.0})
    phase, _ = encoder_phase(opened, settings, tmp_path / "run")
    assert phase.total == 4000
    plan = Plan(64, {"encoder": 1.0, "denoiser": 1.0}, ends=time.monotonic() + 0.01)
    phase._run = replace(phase._run, plan=plan)
    phase.run()
    assert phase.step == phase.total < 20
    assert phase._learning_rate() < 1e-9


def test_an_untrained_denoiser_adds_what_it_draws_and_no_more(
    opened: Opened, tiny_settings: TrainingSettings
) -> None:
    """Members of a linear denoiser are mean plus and minus the same noise."""
    encoder, denoiser = build_networks(opened.spec, tiny_settings.network)
    scores = validate_members(encoder.eval(), denoiser, opened.cases, opened.area)
    assert scores["denoiser"] == pytest.approx(scores["encoder"], rel=1e-4)
    assert scores["encoder"] == pytest.approx(scores["oi"], rel=1e-6)
    assert 0 < scores["oi"] < 1


def test_calibration_makes_spread_and_error_agree(
    opened: Opened, tiny_settings: TrainingSettings
) -> None:
    torch.manual_seed(0)
    encoder, _ = build_networks(opened.spec, tiny_settings.network)
    encoder.eval()
    factor = calibrate(encoder, opened.cases, opened.area)
    assert factor.shape == (opened.spec.n_channels,)
    batch = opened.cases.batch(np.arange(64), CPU)
    with torch.no_grad():
        posterior = encoder(*batch.inputs)
    error = ((batch.unit * (batch.target - posterior.mean)).square() * opened.area).mean((0, 2, 3))
    spread = ((batch.unit * posterior.std).square() * opened.area).mean((0, 2, 3))
    torch.testing.assert_close(spread, error, rtol=0.05, atol=0)


def test_the_checkpoint_of_a_run(tiny_run: Path, opened: Opened) -> None:
    checkpoint = Checkpoint.open(tiny_run / "checkpoint")
    expected = checkpoint.metadata.correction.groups
    assert set(expected) == {"mass", "temperature", "wind", "humidity"}
    assert all(0 <= mean <= 1 for mean, _ in expected.values())
    assert checkpoint.state == opened.spec
    assert checkpoint.metadata.name == "tiny"
    assert checkpoint.members(np.datetime64("2011-01-20")).shape == (24, 16, 8, 16)
    assert {"hydrostatic", "mass", "momentum_u"} <= set(checkpoint.metadata.physics_scale)
    summary = checkpoint.metadata.training
    assert summary["data"] == "train.zarr"
    assert summary["pairs_kind"] == "lagged"
    assert 0 < summary["validation"]["oi"] < 1  # type: ignore[index]
    encoder, denoiser = checkpoint.networks()
    assert all(torch.isfinite(p).all() for n in (encoder, denoiser) for p in n.parameters())
    assert not torch.equal(encoder.calibration, torch.ones(16))
    assert denoiser.net.head is not None
    assert all(p.detach().abs().max() > 0 for p in denoiser.net.head.parameters())


def test_losses_stay_what_they_were(tiny_run: Path) -> None:
    """They change only when the algorithm does: of one process and of several they are the same."""
    for phase, expected in (
        ("encoder", [0.580149, -0.270466, 1.32829, 0.297583]),
        ("denoiser", [1.16731, 0.0517116, 0.24549]),
    ):
        row = (tiny_run / f"{phase}.log.tsv").read_text().splitlines()[-1].split("\t")
        assert row[0] == "16"
        assert [float(v) for v in row[3:]] == pytest.approx(expected, rel=1e-2)


def test_a_finished_run_repeats_itself(
    tiny_run: Path, store_path: Path, tiny_settings: TrainingSettings, tmp_path: Path
) -> None:
    copy = tmp_path / "tiny"
    shutil.copytree(tiny_run, copy)
    shutil.rmtree(copy / "checkpoint")
    train(alone(copy, tiny_settings), store_path)
    for name in FILES:
        assert (copy / "checkpoint" / name).read_bytes() == (
            tiny_run / "checkpoint" / name
        ).read_bytes()


def test_a_stopped_run_ends_with_the_same_weights(
    tiny_run: Path, store_path: Path, tiny_settings: TrainingSettings, tmp_path: Path
) -> None:
    """Stopped in the middle of the denoiser, and with part of the cases lost."""
    copy = tmp_path / "tiny"
    shutil.copytree(tiny_run, copy)
    for name in ("checkpoint", "cases/training/00001.npy", "states/denoiser-0000016.pt"):
        path = copy / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    settings = tiny_settings.model_copy(update={"save_every": 5})

    def stop(message: str) -> None:
        if message.startswith("denoiser step 10"):
            raise Stopped

    with pytest.raises(Stopped):
        train(alone(copy, settings, stop), store_path)
    assert not (copy / "checkpoint").exists()
    train(alone(copy, settings), store_path)
    for name in FILES:
        assert (copy / "checkpoint" / name).read_bytes() == (
            tiny_run / "checkpoint" / name
        ).read_bytes()


def test_a_run_stopped_in_its_first_network_ends_with_the_same_weights(
    tiny_run: Path, store_path: Path, tiny_settings: TrainingSettings, tmp_path: Path
) -> None:
    run = tmp_path / "tiny"

    def stop(message: str) -> None:
        if message.startswith("spread step 10"):
            raise Stopped

    often = tiny_settings.model_copy(update={"save_every": 5})
    with pytest.raises(Stopped):
        train(alone(run, often, stop), store_path)
    assert not (run / "spread.safetensors").exists()
    train(alone(run, tiny_settings), store_path)
    assert (run / "spread.safetensors").read_bytes() == (
        tiny_run / "spread.safetensors"
    ).read_bytes()
    assert not (run / "cases" / "evidence").exists()
    for name in FILES:
        assert (run / "checkpoint" / name).read_bytes() == (
            tiny_run / "checkpoint" / name
        ).read_bytes()


def test_a_folder_belongs_to_one_run(
    tiny_run: Path, store_path: Path, tiny_settings: TrainingSettings
) -> None:
    with pytest.raises(UsageError, match="holds a run with other settings"):
        train(alone(tiny_run, tiny_settings.model_copy(update={"physics": 0.0})), store_path)


def test_from_the_command_line(
    phyda: Callable[..., Any], nature: Path, case: Path, tmp_path: Path
) -> None:
    """preprocess, train, assimilate; on a limited area of odd size, with seasonal members."""
    for i in range(2):
        with xr.open_dataset(nature / f"analysis_{i}.nc") as data:
            data.isel(latitude=slice(1, 8), longitude=slice(2, 11)).to_netcdf(
                tmp_path / f"area_{i}.nc"
            )
    store, run = tmp_path / "area.zarr", tmp_path / "run"
    files = [tmp_path / f"area_{i}.nc" for i in range(2)]
    done = phyda(
        "preprocess",
        *files,
        "--out",
        store,
        "--grid",
        "as-is",
        "--channels",
        "t850,z500,msl",
        "--pairs",
        "lagged",
    )
    assert done.code == 0, done.err
    assert "236 pairs" in done.err
    assert phyda("preprocess", *files, "--out", store).code == 2
    (tmp_path / "c.toml").write_text(
        "encoder_epochs = 1\ndenoiser_epochs = 1\nbatch = 8\nreports = [4, 20]\n"
        "[network]\nencoder = [8, 8]\ndenoiser = [8, 8]\n[solver]\nseason_days = 40\nradius_km "
        "= 6000\n"
    )
    done = phyda(
        "train",
        "--data",
        store,
        "--out",
        run,
        "--config",
        tmp_path / "c.toml",
        "--samples",
        32,
        "--members",
        12,
        "--seed",
        2,
        "--max-minutes",
        60,
    )
    assert done.code == 0, done.err
    assert "in all: cases" in done.err
    assert json.loads((run / "plan.json").read_text())["samples"] == 32  # all fits
    settings = json.loads((run / "checkpoint" / "model.json").read_text())["training"]["settings"]
    assert (settings["seed"], settings["samples"], settings["members"]) == (2, 32, 12)
    flags = (
        "--obs",
        case / "stations.csv",
        "--background",
        case / "fc.nc",
        "--checkpoint",
        run / "checkpoint",
    )
    done = phyda("assimilate", *flags, "--out", tmp_path / "an.nc", "--members", 2, "--json")
    assert done.code == 0, done.err
    with xr.open_dataset(tmp_path / "an.nc") as data:
        assert np.abs(data["t_increment"].sel(latitude=45)).max() > 0.1
        assert not data["t_increment"].sel(latitude=-90).any()  # outside the model's area
        assert "u_increment" not in data


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("preprocess", "none.nc", "--out", "s.zarr"), 3, "no such file: none.nc"),
        (("preprocess", ".", "--out", "s.zarr"), 3, "no NetCDF, GRIB or Zarr files in ."),
        (("preprocess", ".", "--out", "new/s.zarr"), 2, "does not exist"),
        (
            ("preprocess", "a.nc", "--out", "s.zarr", "--pairs", "random"),
            2,
            "should be 'cycled', 'forecast', 'lagged' or 'twin'",
        ),
        (("train", "--data", "none.zarr", "--out", "run"), 3, "none.zarr is not a training store"),
        (("train", "--data", "none.zarr", "--out", "run", "--config", "none.toml"), 3, "none.toml"),
        (("download", "--source", "era5"), 2, "expected one of weatherbench2"),
        (("download", "--source", "nature", "--twins-every", "7"), 2, "multiple of 6"),
    ],
)
def test_what_cannot_be_done(
    phyda: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = phyda(*arguments)
    assert outcome.code == code, outcome
    assert expected in outcome.err
    assert "Traceback" not in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_training_starts_from_a_checkpoint(
    tiny_run: Path, store_path: Path, tiny_settings: TrainingSettings, tmp_path: Path
) -> None:
    start = Checkpoint.open(tiny_run / "checkpoint")
    still = tiny_settings.model_copy(
        update={
            "learning_rate": 1e-12,
            "spread_epochs": 0.3,
            "encoder_epochs": 0.3,
            "denoiser_epochs": 0.3,
        }
    )
    again = Checkpoint.open(train(alone(tmp_path / "again", still, start=start), store_path))
    spreads = start.background_spread(), again.background_spread()
    assert None not in spreads
    for before, after in (
        (*pair,)
        for pair in zip(
            (*start.networks(), spreads[0]), (*again.networks(), spreads[1]), strict=True
        )
    ):
        assert before is not None
        assert after is not None
        for (name, a), b in zip(before.named_parameters(), after.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-4, msg=name)
    with pytest.raises(UsageError, match="other init_from"):
        train(alone(tmp_path / "again", still), store_path)
    wider = tiny_settings.model_copy(
        update={"network": NetworkSettings(encoder=(16, 24), denoiser=(16, 16), spread=(8, 16))}
    )
    with pytest.raises(UsageError, match="cannot start from"):
        train(alone(tmp_path / "wider", wider, start=start), store_path)


def test_training_in_bfloat16_learns_as_well(
    opened: Opened, tiny_settings: TrainingSettings
) -> None:
    physics = Physics(opened.spec, opened_scale(opened))
    batch = opened.cases.batch(np.arange(opened.cases.count), CPU)
    found = {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        encoder, _ = build_networks(opened.spec, tiny_settings.network)
        loss = encoder_loss(opened.area, physics, 0.1, precision)  # type: ignore[arg-type]
        optimizer = torch.optim.AdamW(encoder.parameters(), lr=3e-3)
        for _ in range(12):
            value, terms = loss(encoder, MiniBatch(batch))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        assert all(p.dtype == torch.float32 for p in encoder.parameters())
        found[precision] = float(terms["mse"])
    first = float((batch.target - batch.parts[0]).square().mul(opened.area).mean())
    assert found["float32"] < 0.95 * first
    assert abs(found["bfloat16"] / found["float32"] - 1) < 0.02
