"""Outputs that cannot be written and checkpoints that cannot be used, through the command line."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import xarray as xr

from phyda_cli.formats.background import read_background

Run = Callable[..., Any]
Fails = Callable[..., str]


def test_missing_folder(fails: Fails, tmp_path: Path) -> None:
    message = fails(2, out=tmp_path / "new" / "an.nc")
    assert f"the folder {tmp_path / 'new'} does not exist" in message
    assert "mkdir -p" in message
    assert "does not exist" in fails(2, "--feedback", tmp_path / "new" / "fb.nc")


def test_output_exists(fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "an.nc").write_text("mine")
    message = fails(2)
    assert "an.nc exists already" in message
    assert "--overwrite" in message
    assert (tmp_path / "an.nc").read_text() == "mine"


def test_an_output_never_replaces_an_input(fails: Fails, case: Path, tmp_path: Path) -> None:
    shutil.copy(case / "fc.nc", tmp_path / "fc.nc")
    before = (tmp_path / "fc.nc").read_bytes()
    message = fails(2, "--overwrite", background=tmp_path / "fc.nc", out=tmp_path / "fc.nc")
    assert "would replace an input or another output" in message
    assert "another output" in fails(2, "--feedback", tmp_path / "an.nc")
    assert (tmp_path / "fc.nc").read_bytes() == before


@pytest.mark.parametrize("writes", ["feedback", "analysis"])
def test_disk_full(
    fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: str
) -> None:
    def full(*_: object, **__: object) -> None:
        for part in tmp_path.glob(".*.part"):
            part.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if writes == "feedback":
        monkeypatch.setattr(
            "phyda_cli.observations.feedback.netCDF4", SimpleNamespace(Dataset=full)
        )
    else:
        monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    feedback = ("--feedback", tmp_path / "fb.nc") if writes == "feedback" else ()
    message = fails(2, *feedback)
    assert "the disk is full" in message
    assert "MB free" in message


def test_a_full_disk_leaves_no_obstacle(assimilate: Run, tmp_path: Path) -> None:
    """Nothing is out when the analysis fails: the same command works once there is room."""
    feedback = ("--feedback", tmp_path / "fb.nc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            xr.Dataset,
            "to_netcdf",
            lambda *_, **__: (_ for _ in ()).throw(
                OSError(errno.ENOSPC, "No space left on device")
            ),
        )
        assert assimilate(*feedback).code == 2
        assert list(tmp_path.iterdir()) == []
    again = assimilate(*feedback)
    assert again.code == 0, again.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["an.nc", "fb.nc"]


KILLED = """
import os, signal, sys
import phyda_cli.files.publish as atomic
from phyda_cli.app import main
atomic._sync = lambda _: os.kill(os.getpid(), signal.{name})
main()
"""


@pytest.mark.parametrize(
    ("name", "status"), [("SIGKILL", -signal.SIGKILL), ("SIGTERM", 128 + signal.SIGTERM)]
)
def test_killed_while_writing(
    assimilate: Run, case: Path, tiny_checkpoint: Path, tmp_path: Path, name: str, status: int
) -> None:
    """The process dies with the file written under its temporary name: what was there stays, a
    later run is not disturbed."""
    assert assimilate(method="none").code == 0
    before = (tmp_path / "an.nc").read_bytes()
    flags = [
        "--obs",
        case / "stations.csv",
        "--background",
        case / "fc.nc",
        "--out",
        tmp_path / "an.nc",
        "--checkpoint",
        tiny_checkpoint,
    ]
    command = [
        sys.executable,
        "-c",
        KILLED.format(name=name),
        "assimilate",
        *map(str, flags),
        "--method",
        "oi",
        "--overwrite",
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == status, done.stderr
    assert (tmp_path / "an.nc").read_bytes() == before
    left = sorted(p.suffix for p in tmp_path.iterdir() if p.name != "an.nc")
    assert left == ([".lock", ".part"] if name == "SIGKILL" else [])
    again = assimilate("--overwrite")
    assert again.code == 0, again.err
    read_background(tmp_path / "an.nc")
    assert (tmp_path / "an.nc").read_bytes() != before


@pytest.fixture
def model(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkpoint to damage."""
    folder = tmp_path_factory.mktemp("damaged") / "model"
    shutil.copytree(tiny_checkpoint, folder)
    return folder


def test_no_checkpoint(fails: Fails, tmp_path: Path) -> None:
    assert f"no checkpoint at {tmp_path}: cannot read model.json" in fails(3, checkpoint=tmp_path)


@pytest.mark.parametrize(
    "name", ["network.safetensors", "members_00.safetensors", "statics.safetensors"]
)
def test_changed_or_missing_weights(fails: Fails, model: Path, name: str) -> None:
    content = bytearray((model / name).read_bytes())
    content[-1] ^= 1
    (model / name).write_bytes(content)
    message = fails(3, checkpoint=model)
    assert f"{name} does not match its hash in model.json" in message
    (model / name).unlink()
    assert f"the checkpoint lacks {name}" in fails(3, checkpoint=model)


def test_channels_that_do_not_match(assimilate: Run, fails: Fails, model: Path) -> None:
    text = json.loads((model / "model.json").read_text())
    state = text["state"]
    for key in ("channels", "mean", "std", "background_std"):
        state[key] = state[key][:-1]
    (model / "model.json").write_text(json.dumps(text))
    message = fails(3, checkpoint=model)
    assert "members have shape (24, 16, 8, 16), model.json says (24, 15, 8, 16)" in message
    state["mean"] = state["mean"][:-1]
    (model / "model.json").write_text(json.dumps(text))
    assert "mean has 14 entries for 15 channels" in fails(3, checkpoint=model)


def test_other_formats(fails: Fails, model: Path) -> None:
    text = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps(text | {"format": 99}))
    assert "checkpoint format 99, this phyda reads format 2" in fails(3, checkpoint=model)
    (model / "model.json").write_text("{}")
    assert "is not a phyda checkpoint" in fails(3, checkpoint=model)
    (model / "model.json").write_text("weights")
    assert "is no JSON text" in fails(3, checkpoint=model)
