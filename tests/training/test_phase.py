"""The parts of a training phase: shares of a batch, data read ahead, states on disk, curves, early
stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from runs import alone, quiet

from phyda_cli.errors import GateError, InputError, UsageError
from phyda_cli.model.checkpoint import build_networks
from phyda_cli.parallel.ranks import Ranks
from phyda_cli.settings.base import load_settings
from phyda_cli.settings.model import NetworkSettings, SolverSettings
from phyda_cli.settings.presets import Preset, preset_settings
from phyda_cli.settings.training import TrainingSettings
from phyda_cli.training.loader import Loader, mini_batches
from phyda_cli.training.loop import Phase, newest_state, save_state
from phyda_cli.training.monitor import Status
from phyda_cli.training.objectives import Loss, noise_draws

if TYPE_CHECKING:
    from conftest import Opened


def square(network: torch.nn.Module, share: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """A loss quick to compute."""
    value = (share.batch.target - network(*share.batch.inputs).mean).square().mean()
    return value, {"mse": value.detach()}


def phase(
    opened: Opened,
    settings: TrainingSettings,
    folder: Path,
    loss: Loss = square,
    say: Callable[[str], None] = quiet,
) -> Phase:
    torch.manual_seed(0)
    encoder, _ = build_networks(opened.spec, settings.network)
    run = alone(folder, settings, say)
    return Phase("encoder", encoder, loss, opened.cases, settings.encoder_epochs, run)


@pytest.mark.parametrize(("size", "accumulate"), [(1, 3), (2, 1), (3, 2)])
def test_mini_batches_are_the_batch_however_it_is_divided(
    opened: Opened, tiny_settings: TrainingSettings, tmp_path: Path, size: int, accumulate: int
) -> None:
    step = 5
    (whole,) = mini_batches(opened.cases, alone(tmp_path, tiny_settings), noise_draws, step)
    settings = tiny_settings.model_copy(update={"accumulate": accumulate})
    parts = []
    for rank in range(size):
        run = alone(tmp_path, settings, ranks=Ranks(rank, size))
        parts += mini_batches(opened.cases, run, noise_draws, step)
    assert len(parts) == size * accumulate
    assert sum(p.weight for p in parts) == pytest.approx(1)
    for name in ("target", "background", "state"):
        everything = torch.cat([getattr(p.batch, name) for p in parts])
        assert sorted(everything.flatten(1).sum(1).tolist()) == sorted(
            getattr(whole.batch, name).flatten(1).sum(1).tolist()
        )
    for i in range(2):
        assert sorted(torch.cat([p.draws[i] for p in parts]).flatten().tolist()) == sorted(
            whole.draws[i].flatten().tolist()
        )
    pairs = {
        (float(p.batch.target[j].sum()), float(p.draws[0][j]))
        for p in parts
        for j in range(len(p.draws[0]))
    }
    assert pairs == {
        (float(whole.batch.target[j].sum()), float(whole.draws[0][j]))
        for j in range(len(whole.draws[0]))
    }


def test_the_end_of_an_epoch_gives_idle_processes_no_weight(
    opened: Opened, tiny_settings: TrainingSettings, tmp_path: Path
) -> None:
    settings = tiny_settings.model_copy(update={"batch": 63})
    runs = [alone(tmp_path, settings, ranks=Ranks(r, 3)) for r in range(3)]
    found = [mini_batches(opened.cases, run, noise_draws, 1)[0] for run in runs]
    assert [s.weight for s in found] == [1, 0, 0]
    assert all(s.batch.target.shape[0] == 1 for s in found)


def test_parts_of_a_batch_make_the_same_network(
    opened: Opened, tiny_settings: TrainingSettings, tmp_path: Path
) -> None:
    found = []
    for accumulate in (1, 3):
        one = phase(
            opened,
            tiny_settings.model_copy(update={"accumulate": accumulate}),
            tmp_path / str(accumulate),
        )
        one.run()
        found.append(dict(one.network.state_dict()))
    for key, value in found[0].items():
        torch.testing.assert_close(found[1][key], value, rtol=1e-3, atol=1e-5, msg=key)


def test_more_parts_than_cases_are_refused(
    opened: Opened, tiny_settings: TrainingSettings, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="cannot be divided among 1 processes in 9 parts"):
        phase(opened, tiny_settings.model_copy(update={"accumulate": 9}), tmp_path)


def test_training_stops_when_it_gets_no_better(
    opened: Opened, tiny_settings: TrainingSettings, tmp_path: Path
) -> None:
    settings = tiny_settings.model_copy(update={"check_every": 2, "patience": 3, "keep": 1})
    scores = iter([0.9, 0.5, 0.6, 0.5, 0.7])
    said: list[str] = []
    one = phase(opened, settings, tmp_path, say=said.append)
    one.run(lambda: {"encoder": next(scores)})
    assert (one.step, one.total) == (10, 16)
    assert "no better since step 4" in said[-1]
    assert sorted(p.name for p in (tmp_path / "states").iterdir()) == [
        "encoder-0000004.pt",
        "encoder-0000010.pt",
    ]
    best = torch.load(tmp_path / "states" / "encoder-0000004.pt", weights_only=True)["average"]
    assert all(torch.equal(v, best[k]) for k, v in one.network.state_dict().items())
    again = phase(opened, settings, tmp_path)
    again.run(lambda: {"encoder": next(scores)})
    assert all(torch.equal(v, best[k]) for k, v in again.network.state_dict().items())


def test_a_gradient_that_is_not_finite_stops_the_training(
    opened: Opened, tiny_settings: TrainingSettings, tmp_path: Path
) -> None:
    def broken(
        network: torch.nn.Module, share: Any
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        value, terms = square(network, share)
        return value * float("nan"), terms

    with pytest.raises(GateError, match="the gradient of step 1 is not finite"):
        phase(opened, tiny_settings, tmp_path, broken).run()


@pytest.mark.slow
def test_compiled_networks_are_the_same(
    opened: Opened, tiny_settings: TrainingSettings, tmp_path: Path
) -> None:
    plain = phase(opened, tiny_settings, tmp_path / "plain")
    plain.run()
    other = phase(opened, tiny_settings.model_copy(update={"compile": True}), tmp_path / "other")
    other.run()
    for key, value in plain.network.state_dict().items():
        torch.testing.assert_close(
            other.network.state_dict()[key], value, rtol=1e-3, atol=1e-4, msg=key
        )


def test_states_are_pruned_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    for step in range(1, 7):
        save_state(tmp_path, "encoder", {"step": step, "best_step": 2 if step > 1 else 0}, keep=2)
    save_state(tmp_path, "denoiser", {"step": 1, "best_step": 0}, keep=2)
    names = sorted(p.name for p in tmp_path.glob("encoder*"))
    assert names == ["encoder-0000002.pt", "encoder-0000005.pt", "encoder-0000006.pt"]
    (tmp_path / names[-1]).write_bytes((tmp_path / names[-1]).read_bytes()[:100])
    state = newest_state(tmp_path, "encoder")
    assert state is not None
    assert state["step"] == 5
    for path in tmp_path.glob("encoder*"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="encoder-0000006"):
        newest_state(tmp_path, "encoder")
    assert newest_state(tmp_path, "none") is None


def test_what_fails_in_the_thread_is_raised_where_it_is_used() -> None:
    def make(step: int) -> list[Any]:
        if step == 4:
            raise InputError("step 4 is lost")
        time.sleep(0.3)
        return [step]

    with Loader(make, 2) as loader:
        assert [loader.next(), loader.next()] == [[2], [3]]
        assert loader.waited > 0.02
        with pytest.raises(InputError, match="step 4"):
            loader.next()


def test_curves_go_on_where_the_training_does(
    opened: Opened, tiny_settings: TrainingSettings, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = tiny_settings.model_copy(update={"save_every": 3, "check_every": 5, "keep": 9})
    phase(opened, settings, tmp_path).run(lambda: {"oi": 0.5, "encoder": 0.4})
    for path in (tmp_path / "states").glob("encoder-00000*.pt"):
        if int(path.stem[-7:]) > 6:
            path.unlink()
    time.sleep(1.1)  # event files are in the order of their names, which begin with the second
    phase(opened, settings, tmp_path).run(lambda: {"oi": 0.5, "encoder": 0.4})
    events = EventAccumulator(str(tmp_path / "tensorboard" / "encoder"))
    events.Reload()
    assert {
        "loss/mse",
        "loss/gradient",
        "learning_rate",
        "validation/oi",
        "validation/encoder",
        "steps_per_second",
    } <= set(events.Tags()["scalars"])
    assert [e.step for e in events.Scalars("loss/mse")] == list(range(1, 17))
    rows = (tmp_path / "encoder.log.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in rows] == [
        "step",
        "3",
        "5",
        "6",
        "9",
        "10",
        "12",
        "15",
        "16",
    ]


@pytest.mark.parametrize("preset", list(Preset))
def test_presets_are_under_files_and_flags(preset: Preset, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("weight_decay = 0.7\nsamples = 5\n[solver]\nradius_km = 1234\n")
    base = preset_settings(preset)
    found = load_settings(TrainingSettings, config, {"samples": 9, "members": None}, base)
    assert (found.weight_decay, found.samples, found.solver.radius_km) == (0.7, 9, 1234)
    assert (found.members, found.solver.column_stride, found.network) == (
        base.members,
        base.solver.column_stride,
        base.network,
    )
    assert all(w % 8 == 0 for w in (*found.network.encoder, *found.network.denoiser))
    plain = load_settings(TrainingSettings, None, {}, base)
    assert plain.model_dump() == base.model_dump()
    assert isinstance(found.network, NetworkSettings)
    assert isinstance(found.solver, SolverSettings)


def test_time_left_is_that_of_the_steps_left() -> None:
    status = Status(
        "encoder", 30, 90, {"mse": 0.5}, {"oi": 0.8, "encoder": 0.6}, 1e-3, 2.0, 0.01, False
    )
    assert status.seconds_left == 30
    np.testing.assert_allclose(status.waiting, 0.01)
