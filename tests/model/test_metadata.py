"""A checkpoint that somebody has tampered with, or that is damaged, is an error of the input."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phyda_cli.errors import InputError
from phyda_cli.model.checkpoint import Checkpoint

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of a checkpoint, to damage."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))


def refused(folder: Path) -> str:
    """The error of opening ``folder``."""
    with pytest.raises(InputError) as caught:
        Checkpoint.open(folder)
    return caught.value.message


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b.safetensors", "", "..", "x.pkl"])
def test_names_of_elsewhere_are_refused_before_they_are_opened(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_text("secret")
    path = folder / "model.json"
    record = json.loads(path.read_text())
    record["files"][name] = "0" * 64
    path.write_text(json.dumps(record))
    assert "no plain name" in refused(folder)


def test_a_pipe_and_a_device_are_refused_at_once(folder: Path) -> None:
    statics = folder / "statics.safetensors"
    statics.unlink()
    os.mkfifo(statics)
    assert "no regular file" in refused(folder)
    statics.unlink()
    statics.symlink_to("/dev/zero")
    assert "no regular file" in refused(folder)
    (folder / "model.json").unlink()
    os.mkfifo(folder / "model.json")
    assert "no regular file" in refused(folder)


def test_the_hash_of_a_foreign_file_is_not_told(folder: Path) -> None:
    from phyda_cli.files.publish import sha256

    foreign = folder.parent / "foreign"
    foreign.write_text("x" * (folder / "statics.safetensors").stat().st_size)
    (folder / "statics.safetensors").unlink()
    (folder / "statics.safetensors").symlink_to(foreign)
    assert sha256(foreign)[:8] not in refused(folder)


def test_a_truncated_file_is_told_by_its_size(folder: Path) -> None:
    os.truncate(folder / "network.safetensors", 100)
    assert "100 bytes" in refused(folder)


TEXTS: dict[str, bytes] = {
    "no UTF-8": b'{"name": "\xff"}',
    "too deep": b"[" * 100_000,
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "empty": b"",
    "cut": b'{"format": 2, "name": "x"',
    "huge integer": b'{"format": ' + b"9" * 5000 + b"}",
    "another format": b'{"format": 3}',
    "first format": b'{"format": 1}',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_other_texts(folder: Path, text: bytes) -> None:
    (folder / "model.json").write_bytes(text)
    assert len(refused(folder)) < 600


CHANGES: dict[str, Change] = {
    "no state": lambda r: r.pop("state"),
    "an unknown key": lambda r: r.update(colour="red"),
    "a bad date": lambda r: r.update(member_times=["yesterday"]),
    "no date": lambda r: r.update(member_times=["NaT"]),
    "NaN": lambda r: r["state"].update(mean=[float("nan")] * len(r["state"]["mean"])),
    "zero spread": lambda r: r["state"].update(std=[0.0] * len(r["state"]["std"])),
    "infinite": lambda r: r["state"].update(std=[float("inf")] * len(r["state"]["std"])),
    "a short list": lambda r: r["state"].update(mean=[1.0]),
    "an unknown channel": lambda r: r["state"]["channels"].__setitem__(0, "colour500"),
    "latitudes": lambda r: r["state"].update(latitude=[99.0, 0.0]),
    "one longitude": lambda r: r["state"].update(longitude=[0.0]),
    "a negative radius": lambda r: r["solver"].update(radius_km=-1),
    "text for a number": lambda r: r["solver"].update(radius_km="wide"),
    "files as a list": lambda r: r.update(files=[]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_other_values(folder: Path, change: Change) -> None:
    path = folder / "model.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    assert len(refused(folder)) < 600


def test_random_damage_is_an_error_of_the_input_or_harmless(folder: Path) -> None:
    path, draw = folder / "model.json", random.Random(0)
    text = path.read_bytes()
    told = 0
    for _ in range(300):
        damaged = bytearray(text)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged[: draw.choice([len(damaged), draw.randrange(len(damaged))])])
        try:
            Checkpoint.open(folder)
        except InputError:
            told += 1
    assert told > 200
