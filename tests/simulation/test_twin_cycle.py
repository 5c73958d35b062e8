"""The twin cycle over a nature run of the toy model."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch
import toy_nature
import xarray as xr

from phyda_cli.errors import UsageError
from phyda_cli.model.checkpoint import BUNDLED, Checkpoint
from phyda_cli.settings.data import TwinSettings
from phyda_cli.simulation.incremental_update import IncrementalUpdate
from phyda_cli.simulation.jcm import chunk_paths, load_states, run_nature
from phyda_cli.simulation.speedy_link import SpeedyLink
from phyda_cli.simulation.twin_cycle import cycle_network, network_size, rms, run_twin_cycle

SETTINGS = TwinSettings(seed=4, lag_days=1, forecast_hours=12, reports=(100, 400))


@pytest.fixture
def checkpoint(toy_checkpoint: Path) -> Checkpoint:
    return Checkpoint.open(toy_checkpoint)


def contents(folder: Path) -> dict[str, dict[str, bytes]]:
    """The bytes of every array of every forecast file."""
    out = {}
    for path in sorted(folder.glob("forecast_*.nc")):
        with xr.open_dataset(path) as data:
            out[path.name] = {str(n): v.values.tobytes() for n, v in data.variables.items()}
    return out


@pytest.mark.usefixtures("toy_model")
def test_the_cycle_draws_near_the_truth(
    toy_run: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    steps = list(run_twin_cycle(toy_run, tmp_path, checkpoint, SETTINGS))
    paths = [step.path for step in steps]
    times, truth = load_states(chunk_paths(toy_run)[0])
    assert [p.name for p in paths] == [f"forecast_{str(t)[:13]}.nc" for t in times[4:]]
    link, errors = SpeedyLink(checkpoint.state), []
    for index, path in enumerate(paths[:-2], 4):
        with xr.open_dataset(path) as data:
            assert set(data.data_vars) == set(synthetic.CHANNELS)
            assert (data["step"].values / np.timedelta64(1, "h")).tolist() == [6, 12]
            assert data["time"].values == times[index]
            forecast = np.stack([data[c].values for c in synthetic.CHANNELS], axis=1)
        error = (forecast - link.stack(truth[index + 1 : index + 3])) / checkpoint.state.column(
            "background_std"
        )
        errors.append(np.sqrt(np.mean(error**2)))
    start = (link.stack(truth[:1]) - link.stack(truth[4:5])) / checkpoint.state.column(
        "background_std"
    )
    assert np.mean(errors[-8:]) < 0.25 * np.sqrt(np.mean(start**2))
    for before, after in zip(paths[:-2], steps[1:], strict=False):  # what a step says of itself
        with xr.open_dataset(before) as data:
            forecast = np.stack([data[c].values[0] for c in synthetic.CHANNELS])
        error = forecast - link.stack([truth[paths.index(after.path) + 4]])[0]
        square = (error / checkpoint.state.column("background_std")) ** 2
        area = checkpoint.state.grid.area_weights[:, None]
        np.testing.assert_allclose(after.background, (square * area).mean(axis=(1, 2)), rtol=1e-4)
    assert rms(steps[0].analysis) < 0.5 * rms(steps[0].background)
    assert all((s.claimed > 0).all() for s in steps)


@pytest.mark.usefixtures("toy_model")
def test_a_cycle_over_a_part_of_the_nature_run(
    toy_run: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """It starts from the truth of the day before its first analysis."""
    part = SETTINGS.model_copy(update={"first": "2000-03-04", "last": "2000-03-05"})
    steps = list(run_twin_cycle(toy_run, tmp_path / "a", checkpoint, part))
    assert [s.path.name for s in steps] == [
        f"forecast_2000-03-04T{hour:02d}.nc" for hour in (0, 6, 12, 18)
    ]
    _, truth = load_states(chunk_paths(toy_run)[0])
    link, scale = SpeedyLink(checkpoint.state), checkpoint.state.column("background_std")
    square = ((link.stack([truth[7]]) - link.stack([truth[11]]))[0] / scale) ** 2
    area = checkpoint.state.grid.area_weights[:, None]
    np.testing.assert_allclose(steps[0].background, (square * area).mean(axis=(1, 2)), rtol=1e-4)
    assert not list(run_twin_cycle(toy_run, tmp_path / "a", checkpoint, part))
    later = part.model_copy(update={"last": "2000-03-05T06"})
    (more,) = run_twin_cycle(toy_run, tmp_path / "a", checkpoint, later)
    assert more.path.name == "forecast_2000-03-05T00.nc"
    for first, last in (("2000-03-04", "2000-03-04"), ("2000-03-01T06", None), ("2001", None)):
        other = SETTINGS.model_copy(update={"first": first, "last": last})
        with pytest.raises(UsageError, match="no cycle from"):
            next(run_twin_cycle(toy_run, tmp_path / "b", checkpoint, other))
    with pytest.raises(ValueError, match="expected a time such as"):
        TwinSettings(first="spring")


@pytest.mark.usefixtures("toy_model")
def test_a_stopped_cycle_continues_as_if_it_had_not(
    toy_run: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    list(islice(run_twin_cycle(toy_run, whole, checkpoint, SETTINGS), 6))
    list(islice(run_twin_cycle(toy_run, parts, checkpoint, SETTINGS), 2))
    state = (parts / "cycle_state.npz").read_bytes()
    list(islice(run_twin_cycle(toy_run, parts, checkpoint, SETTINGS), 1))
    (parts / "cycle_state.npz").write_bytes(
        state
    )  # stopped after the forecast file, before the state
    (parts / "cycle_state.part.npz").write_bytes(b"interrupted")
    list(islice(run_twin_cycle(toy_run, parts, checkpoint, SETTINGS), 4))
    assert len(contents(whole)) == 6
    assert contents(parts) == contents(whole)


@pytest.mark.usefixtures("toy_model")
def test_lagged_forecasts_are_members_once_there_are_any(
    toy_run: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """The first and the second analysis have none. At the third, the first's forecast is 12 h old.
    A stopped cycle finds them again."""
    lagged = SETTINGS.model_copy(update={"lagged": 1})
    list(islice(run_twin_cycle(toy_run, tmp_path / "without", checkpoint, SETTINGS), 4))
    list(islice(run_twin_cycle(toy_run, tmp_path / "with", checkpoint, lagged), 4))
    for count in (3, 1):
        list(islice(run_twin_cycle(toy_run, tmp_path / "parts", checkpoint, lagged), count))
    found, others = contents(tmp_path / "with"), contents(tmp_path / "without")
    assert [found[n] == others[n] for n in sorted(found)[:2]] == [True, True]
    assert found[max(found)] != others[max(found)]
    assert contents(tmp_path / "parts") == found
    with pytest.raises(ValueError, match="2 lagged forecasts need forecasts of 18 h, not of 12"):
        TwinSettings(lagged=2, forecast_hours=12)


@pytest.mark.usefixtures("toy_model")
@pytest.mark.parametrize("turn", [0.0, 0.1])
@pytest.mark.parametrize("parts", [2, 12])
def test_the_parts_of_an_increment_add_up_to_it(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, parts: int, turn: float
) -> None:
    """Each part travels for the time that is left; in a model that changes nothing, their sum is
    the increment."""
    monkeypatch.setattr(toy_nature, "TURN", turn)
    link = SpeedyLink(checkpoint.state)
    state, start = toy_nature.toy(0.3), toy_nature.START
    change = (link.stack([toy_nature.toy(0.5)]) - link.stack([state]))[0]
    found = IncrementalUpdate(link, start, parts).forecast(state, change, start)[-1]
    whole, [without] = link.add(state, change), toy_nature.Toy(start, 0.25).forecast(state, start)
    for name in ("u", "v", "t", "ps", *(() if turn else ("q",))):  # q does not fall below zero
        part = (whole[name] - state[name]) / parts
        left = turn * (1 - np.arange(parts) / parts)
        moved = sum(toy_nature.turned(part, angle) for angle in left)
        size = np.abs(without[name]).max()
        assert np.abs(moved).max() > 1e-4 * size
        np.testing.assert_allclose(
            found[name], without[name] + moved, atol=1e-6 * parts * size, err_msg=name
        )


@pytest.mark.usefixtures("toy_model")
def test_one_part_is_the_increment_at_once(
    toy_run: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    for parts in (0, 1, 3):
        settings = SETTINGS.model_copy(update={"iau_parts": parts})
        list(islice(run_twin_cycle(toy_run, tmp_path / str(parts), checkpoint, settings), 3))
    found = []
    for parts in (0, 1, 3):
        [*_, last] = sorted((tmp_path / str(parts)).glob("forecast_*.nc"))
        with xr.open_dataset(last) as data:
            found.append(np.stack([data[c].values for c in synthetic.CHANNELS], axis=1))
    unit = checkpoint.state.column("background_std")
    np.testing.assert_allclose(found[1] / unit, found[0] / unit, atol=0.01)
    assert np.abs(found[2] - found[0]).max() > 0


@pytest.mark.usefixtures("toy_model")
def test_an_encoder_that_corrects_nothing_leaves_the_analyses_of_stage_one(
    toy_run: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """An encoder begins with zeros in its last layer; another one makes another cycle."""
    phyda = SETTINGS.model_copy(update={"method": "phyda"})
    list(islice(run_twin_cycle(toy_run, tmp_path / "oi", checkpoint, SETTINGS), 2))
    list(islice(run_twin_cycle(toy_run, tmp_path / "same", checkpoint, phyda), 2))
    assert contents(tmp_path / "same") == contents(tmp_path / "oi")
    encoder, denoiser = checkpoint.networks()
    torch.manual_seed(0)
    torch.nn.init.normal_(encoder.net.head.conv.weight, std=0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "networks", lambda _: (encoder, denoiser))
        list(islice(run_twin_cycle(toy_run, tmp_path / "other", checkpoint, phyda), 2))
    assert contents(tmp_path / "other") != contents(tmp_path / "oi")


@pytest.mark.usefixtures("toy_model")
def test_seeds_tell_cycles_apart(toy_run: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    found = []
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        settings = SETTINGS.model_copy(update={"seed": seed})
        list(islice(run_twin_cycle(toy_run, tmp_path / name, checkpoint, settings), 1))
        found.append(contents(tmp_path / name))
    assert found[0] == found[1]
    assert found[0].keys() == found[2].keys()
    assert found[0] != found[2]


def test_networks_depend_on_seed_and_time_alone() -> None:
    spec, land = synthetic.spec(), np.zeros(synthetic.GRID.shape)
    networks = [
        cycle_network(spec, land, SETTINGS.model_copy(update={"seed": s}), i)
        for s, i in ((1, 7), (1, 8), (2, 7), (1, 7))
    ]
    same, *others = (
        np.array_equal(networks[0].latitude, n.latitude) for n in (networks[3], *networks[1:3])
    )
    assert same
    assert not any(others)
    np.testing.assert_array_equal(networks[0].matrix.toarray(), networks[3].matrix.toarray())


def test_a_network_keeps_its_size_for_a_regime() -> None:
    settings = TwinSettings(regime_days=2, reports=(20, 2000))
    sizes = [network_size(settings, i) for i in range(80)]
    regimes = [set(sizes[i : i + 8]) for i in range(0, 80, 8)]
    assert all(len(r) == 1 for r in regimes)
    assert len(set(sizes)) == 10
    assert all(16 <= low < high <= 2501 for low, high in sizes)
    assert network_size(TwinSettings(reports=(100, 100)), 5) in {
        (79, 125),
        (80, 126),
    }  # exp(log(100)) may lie on either side


@pytest.mark.usefixtures("toy_model")
def test_folders_that_hold_something_else(
    toy_run: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    next(run_twin_cycle(toy_run, tmp_path / "a", checkpoint, SETTINGS))
    before = contents(tmp_path / "a")
    with pytest.raises(UsageError, match="holds a run with other settings"):
        next(
            run_twin_cycle(
                toy_run, tmp_path / "a", checkpoint, SETTINGS.model_copy(update={"seed": 9})
            )
        )
    assert contents(tmp_path / "a") == before
    with pytest.raises(UsageError, match="is the nature run's own folder"):
        next(run_twin_cycle(toy_run, toy_run, checkpoint, SETTINGS))
    with pytest.raises(UsageError, match=r"no nature run in .*nowhere"):
        next(run_twin_cycle(tmp_path / "nowhere", tmp_path / "b", checkpoint, SETTINGS))
    with pytest.raises(UsageError, match="has 7 days; a cycle starts after 7"):
        next(
            run_twin_cycle(
                toy_run, tmp_path / "b", checkpoint, SETTINGS.model_copy(update={"lag_days": 7})
            )
        )
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
def test_with_the_climate_model(tmp_path: Path) -> None:
    """Two cycles of jcm with the bundled checkpoint, after a spin-up long enough for cold poles,
    not for storms."""
    pytest.importorskip("jcm", reason="jcm is not installed: pip install 'phyda[nature]'")
    nature = tmp_path / "nature"
    list(run_nature(nature, 2, np.datetime64("2000-03-01", "s"), 1, spinup=10))
    checkpoint = Checkpoint.open(BUNDLED)
    settings = TwinSettings(seed=1, lag_days=1, reports=(300, 600))
    paths = [
        step.path
        for step in islice(run_twin_cycle(nature, tmp_path / "cycle", checkpoint, settings), 2)
    ]
    times, truth = load_states(chunk_paths(nature)[0])
    link, unit = SpeedyLink(checkpoint.state), checkpoint.state.column("std")
    for index, path in enumerate(paths, 4):
        with xr.open_dataset(path) as data:
            assert data.sizes == {"step": 4, "latitude": 32, "longitude": 64}
            assert data["time"].values == times[index]
            forecast = np.stack([data[c].values[0] for c in checkpoint.state.channels])
        error = (forecast - link.stack([truth[index + 1]])[0]) / unit
        assert (
            np.sqrt(np.mean(error**2)) < 0.5
        )  # in standard deviations of the whole globe; 0.28 here


def test_the_cycle_takes_off_the_error_that_the_checkpoint_expects(
    toy_run: Path, toy_checkpoint: Path, toy_model: None, tmp_path: Path
) -> None:
    """With background errors too small for any observation to matter, the analysis is the
    background and what is expected of its error."""
    shift = {"msl": 80.0, "t500": 0.5, "t850": 0.5}
    folder = synthetic.with_mean_error(toy_checkpoint, tmp_path / "model", shift)
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    model["state"]["background_std"] = [1e-6 * s for s in model["state"]["background_std"]]
    (folder / "model.json").write_text(json.dumps(model), encoding="utf-8")
    checkpoint = Checkpoint.open(folder)
    link = SpeedyLink(checkpoint.state)
    chunk = load_states(chunk_paths(toy_run)[0])
    start = chunk[1][0]
    change = np.zeros((checkpoint.state.n_channels, *checkpoint.state.grid.shape), np.float32)
    for channel, value in shift.items():
        change[checkpoint.state.channels.index(channel)] = value
    path = next(iter(run_twin_cycle(toy_run, tmp_path / "cycle", checkpoint, SETTINGS))).path
    expected = toy_nature.Toy(toy_nature.START, 0.25).forecast(link.add(start, change), chunk[0][0])
    with xr.open_dataset(path) as data:
        for name in ("msl", "t500", "t850", "u500"):
            channel = checkpoint.state.channels.index(name)
            np.testing.assert_allclose(
                data[name].values[0], link.stack(expected)[0, channel], rtol=1e-4
            )
