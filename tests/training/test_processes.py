"""``phyda train`` as processes: killed and started again, divided among two, and what happens to
the others when one fails."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from phyda_cli.settings.training import TrainingSettings

LONGEST = 900.0  # seconds, on a machine that does other things as well


@dataclass(frozen=True)
class Start:
    """A folder with the cases of the tiny run, and the command that trains there."""

    store: Path
    run: Path
    config: Path

    def __call__(self, processes: int = 1, *flags: str) -> list[subprocess.Popen[str]]:
        """Start ``processes`` of them, with the environment that torchrun would give."""
        command = [
            sys.executable,
            "-m",
            "phyda_cli",
            "train",
            "--data",
            str(self.store),
            "--out",
            str(self.run),
            "--device",
            "cpu",
        ]
        command += ["--config", str(self.config), *flags]
        return [
            subprocess.Popen(
                command, stderr=subprocess.PIPE, text=True, env=os.environ | environment
            )
            for environment in _environments(processes)
        ]

    def losses(self) -> dict[str, list[list[float]]]:
        """Steps with their losses, by phase."""
        out = {}
        for phase in ("encoder", "denoiser"):
            rows = [
                line.split("\t")
                for line in (self.run / f"{phase}.log.tsv").read_text().splitlines()[1:]
            ]
            out[phase] = [[float(v) for v in (row[0], *row[2:])] for row in rows]
        return out

    def weights(self) -> bytes:
        """The finished networks."""
        return (self.run / "checkpoint" / "network.safetensors").read_bytes()


def _environments(processes: int) -> list[dict[str, str]]:
    if processes == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    same = {
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
    }
    same |= {"MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
    return [same | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Exit codes and what was said, of all; none may hang."""
    try:
        said = [p.communicate(timeout=LONGEST)[1] for p in processes]
    finally:
        for p in processes:
            p.kill()
    return [(p.returncode, text) for p, text in zip(processes, said, strict=True)]


@pytest.fixture
def start(
    tiny_run: Path, store_path: Path, tiny_settings: TrainingSettings, tmp_path: Path
) -> Start:
    return fresh(tiny_run, store_path, tmp_path / "run", {})


def fresh(tiny_run: Path, store_path: Path, run: Path, settings: dict[str, object]) -> Start:
    run.mkdir()
    for name in ("cases", "state.json", "members.safetensors"):
        (shutil.copytree if name == "cases" else shutil.copy)(tiny_run / name, run / name)
    lines = {
        "members": 24,
        "samples": 64,
        "reports": [5, 60],
        "encoder_epochs": 2,
        "denoiser_epochs": 5,
        "batch": 8,
        "save_every": 4,
    }
    tables = {
        "solver": {"radius_km": 8000, "column_stride": 1},
        "network": {"encoder": [8, 16], "denoiser": [8, 16]},
    }
    text = [f"{k} = {json.dumps(v)}" for k, v in (lines | settings).items()]
    for name, table in tables.items():
        text += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
    config = run.with_suffix(".toml")
    config.write_text("\n".join(text))
    return Start(store_path, run, config)


def kill_in(start: Start, processes: list[subprocess.Popen[str]], phase: str) -> None:
    """SIGKILL for all when a few rows of the phase's log are there."""
    log, until = start.run / f"{phase}.log.tsv", time.monotonic() + LONGEST
    while not (log.exists() and log.read_text().count("\n") > 3):
        assert time.monotonic() < until
        assert all(p.poll() is None for p in processes), ended(processes)
        time.sleep(0.01)
    for p in processes:
        p.kill()
    assert [code for code, _ in ended(processes)] == [-signal.SIGKILL] * len(processes)
    assert not (start.run / "checkpoint").exists()


@pytest.fixture(scope="module")
def undisturbed(
    tiny_run: Path, store_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Start:
    """One process from beginning to end."""
    whole = fresh(tiny_run, store_path, tmp_path_factory.mktemp("whole") / "run", {})
    assert ended(whole())[0][0] == 0
    return whole


def test_a_killed_training_ends_as_if_it_had_not_been(start: Start, undisturbed: Start) -> None:
    kill_in(start, start(), "denoiser")
    assert ended(start())[0][0] == 0
    assert start.losses() == undisturbed.losses()
    assert [len(rows) for rows in start.losses().values()] == [4, 10]
    assert start.weights() == undisturbed.weights()


def test_two_processes_killed_and_not_agree_with_one(
    start: Start, undisturbed: Start, tiny_run: Path, tmp_path: Path
) -> None:
    whole = fresh(tiny_run, start.store, tmp_path / "whole", {})
    (code, said), (other, silent) = ended(whole(2))
    assert (code, other, silent) == (0, 0, "")
    assert "Warning" not in said
    for phase, rows in undisturbed.losses().items():
        for ours, theirs in zip(rows, whole.losses()[phase], strict=True):
            assert theirs == pytest.approx(ours, rel=2e-3, abs=2e-5)
    kill_in(start, start(2), "denoiser")
    assert [code for code, _ in ended(start(2))] == [0, 0]
    assert start.losses() == whole.losses()
    assert start.weights() == whole.weights()


def test_parts_of_a_batch_change_nothing(
    undisturbed: Start, tiny_run: Path, tmp_path: Path
) -> None:
    """Two processes, killed and gone on with by one, in other parts."""
    start = fresh(tiny_run, undisturbed.store, tmp_path / "run", {"accumulate": 2})
    kill_in(start, start(2), "denoiser")
    text = start.config.read_text()
    start.config.write_text(text.replace("accumulate = 2", "accumulate = 3"))
    assert ended(start())[0][0] == 0
    for phase, rows in undisturbed.losses().items():
        for ours, theirs in zip(rows, start.losses()[phase], strict=True):
            assert theirs == pytest.approx(ours, rel=2e-3, abs=2e-5)
    ours, theirs = (
        load_file(s.run / "checkpoint" / "network.safetensors") for s in (undisturbed, start)
    )
    for name in ours:
        assert theirs[name] == pytest.approx(ours[name], rel=2e-2, abs=2e-4), name


def test_an_error_ends_all_processes_with_its_code(start: Start) -> None:
    (start.run / "run.json").write_text("{}")
    (code, said), (other, silent) = ended(start(2))
    assert (code, other, silent) == (2, 2, "")
    assert "FATAL ERROR" in said
    assert "holds a run with other" in said


def test_a_lost_process_ends_the_others(start: Start) -> None:
    start.config.write_text(
        start.config.read_text().replace("encoder_epochs = 2", "encoder_epochs = 2000")
    )
    both = start(2)
    while not (start.run / "encoder.log.tsv").exists():
        assert all(p.poll() is None for p in both), ended(both)
        time.sleep(0.01)
    both[1].kill()
    (code, said), (other, _) = ended(both)
    assert (code, other) == (5, -signal.SIGKILL)
    assert "another process of this training has ended" in said
    assert "Traceback" not in said
