"""Paths that cannot be read or written, and the machine's limits: each has its own message, an
unreadable input exits with 3, an unwritable output with 2 before any work, and nothing is taken
for a defect of phyda."""

from __future__ import annotations

import ctypes
import gzip
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import pytest

from phyda_cli.analysis import assimilate as module
from phyda_cli.observations.read import decode

Run = Callable[..., Any]
Fails = Callable[..., str]
INPUTS = ["obs", "background", "previous", "obs-map", "withhold-file", "blacklist", "checkpoint"]
OUTPUTS = ["out", "feedback", "report"]
TOO_LONG = "x" * 300 + ".nc"


@pytest.fixture
def loop(tmp_path: Path) -> Path:
    """A symbolic link that leads in a circle."""
    one, other = tmp_path / "one.nc", tmp_path / "other.nc"
    one.symlink_to(other)
    other.symlink_to(one)
    return one


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test fail where the analysis begins."""

    def begun(*_: object, **__: object) -> None:
        raise AssertionError("the observations were read")

    monkeypatch.setattr(module, "read_observations", begun)


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_that_is_a_circle_of_links(fails: Fails, loop: Path, name: str) -> None:
    fails(3, **{name: loop})


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_whose_name_is_too_long(fails: Fails, tmp_path: Path, name: str) -> None:
    fails(3, **{name: tmp_path / TOO_LONG})


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.usefixtures("no_work")
def test_an_output_that_is_a_circle_of_links(fails: Fails, loop: Path, name: str) -> None:
    assert "leads in a circle" in fails(2, **{name: loop})


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.usefixtures("no_work")
def test_an_output_whose_name_is_too_long(fails: Fails, tmp_path: Path, name: str) -> None:
    path = (tmp_path / TOO_LONG).with_suffix(".html" if name == "report" else ".nc")
    assert "cannot write" in fails(2, **{name: path})


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.usefixtures("no_work")
def test_an_output_in_a_folder_that_is_none(fails: Fails, case: Path, name: str) -> None:
    fails(2, **{name: case / "fc.nc" / ("a.html" if name == "report" else "a.nc")})


@pytest.mark.parametrize("name", [*INPUTS, *OUTPUTS])
@pytest.mark.usefixtures("no_work")
def test_names_that_are_not_utf8(fails: Fails, case: Path, tmp_path: Path, name: str) -> None:
    suffix = b".html" if name == "report" else b".nc"
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff" + suffix))
    if name in INPUTS:
        path.write_bytes((case / "fc.nc").read_bytes())
    message = fails(3 if name in INPUTS else 2, **{name: path})
    assert "not UTF-8" in message or name == "checkpoint"
    assert "\\udcff" in message


def test_settings_that_are_not_utf8(fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b'method = "\xff"')
    assert "a.toml is not valid TOML" in fails(3, "--config", tmp_path / "a.toml")
    for name in ("obs-map", "withhold-file", "blacklist"):
        assert "a.toml" in fails(3, **{name: tmp_path / "a.toml"})


@pytest.mark.parametrize("name", ["an.nc", "fb.nc"])
def test_damaged_earlier_outputs(assimilate: Run, tmp_path: Path, name: str) -> None:
    feedback = ("--feedback", tmp_path / "fb.nc")
    assert assimilate(*feedback).code == 0
    whole = (tmp_path / name).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"\x89HDF\r\n\x1a\n" + b"\xff" * 4096):
        (tmp_path / name).write_bytes(content)
        refused = assimilate(*feedback)
        assert refused.code == 2
        assert f"{name} exists already" in refused.err
        assert assimilate(*feedback, "--overwrite").code == 0


def test_a_variable_of_the_feedback_that_nobody_knows(
    assimilate: Run, fails: Fails, phyda: Run, tmp_path: Path
) -> None:
    path = tmp_path / "fb.nc"
    assert assimilate("--feedback", path).code == 0
    (tmp_path / "an.nc").unlink()
    with netCDF4.Dataset(path, "a") as data:
        values = data["MetaData/variable_name"] if "MetaData" in data.groups else None
        variable = values if values is not None else data["variable"]
        variable[0] = "\x1b[31mcolour"
    for message in (fails(3, previous=path), phyda("verify", "--feedback", path).err):
        assert "unknown variables" in message
        assert "\x1b" not in message


def test_a_small_file_that_unpacks_to_a_large_one(fails: Fails, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.csv.gz"
    bomb.write_bytes(gzip.compress(b"0" * 2 * decode._LEAST_UNPACKED, 1))
    assert bomb.stat().st_size < 1e6
    message = fails(3, obs=bomb)
    assert "unpacks to more than" in message


def limited(words: list[str], limit: Callable[[], None]) -> subprocess.CompletedProcess[str]:
    """``phyda WORDS`` after ``limit``."""
    return subprocess.run(
        [sys.executable, "-m", "phyda_cli", *words],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )


@pytest.fixture
def words(case: Path, tiny_checkpoint: Path, tmp_path: Path) -> list[str]:
    """The words of an analysis."""
    files = {"obs": case / "stations.csv", "background": case / "fc.nc", "out": tmp_path / "an.nc"}
    files |= {"checkpoint": tiny_checkpoint}
    return ["assimilate", *(w for n, path in files.items() for w in (f"--{n}", str(path)))]


@pytest.mark.parametrize("megabytes", [300, 800])
def test_too_little_memory(words: list[str], tmp_path: Path, megabytes: int) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20,) * 2)

    done = limited(words, limit)
    assert done.returncode == 1
    assert "not enough memory" in done.stderr
    assert "defect" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def as_others_are() -> None:
    """Give up root's right to read and write what it may not."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.mark.parametrize("name", ["--obs", "--background", "--checkpoint"])
def test_an_input_without_permission(words: list[str], tmp_path: Path, name: str) -> None:
    at = words.index(name) + 1
    hidden = tmp_path / "hidden"
    hidden.write_bytes(b"x")
    hidden.chmod(0)
    words[at] = str(hidden)
    done = limited(words, as_others_are)
    assert done.returncode == 3, done.stderr
    assert "defect" not in done.stderr


def test_an_output_without_permission(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    words[words.index("--out") + 1] = str(tmp_path / "closed" / "an.nc")
    done = limited(words, as_others_are)
    assert done.returncode == 2, done.stderr
    assert "no permission to write" in done.stderr
