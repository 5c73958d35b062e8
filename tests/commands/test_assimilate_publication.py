"""Outputs appear together or not at all, are made by one process at a time, and say truly what they
were made from."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import pytest

from phyda_cli.files.lock import locked
from phyda_cli.files.publish import sha256

Run = Callable[..., Any]


def attribute(path: Path, name: str) -> str:
    with netCDF4.Dataset(path) as data:
        return str(getattr(data, name))


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_full_disk_at_the_second_file_leaves_none(
    assimilate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from phyda_cli.analysis import publication

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(publication, "write_analysis", full)
    assert assimilate(feedback=tmp_path / "fb.nc").code != 0
    assert names(tmp_path) == []


def test_a_feedback_that_an_interrupted_run_left_is_replaced(
    assimilate: Run, case: Path, tmp_path: Path
) -> None:
    feedback = tmp_path / "fb.nc"
    assert assimilate(feedback=feedback).code == 0
    (tmp_path / "an.nc").unlink()
    late = tmp_path / "late.csv"
    shutil.copy(case / "stations.csv", late)
    with late.open("a") as file:
        file.write("\n")
    done = assimilate(obs=late, feedback=feedback)
    assert done.code == 0, done.err
    assert attribute(feedback, "obs_sha256") == sha256(late)


def test_outputs_of_other_inputs_are_replaced_on_demand_only(
    assimilate: Run, case: Path, tmp_path: Path
) -> None:
    assert assimilate(feedback=tmp_path / "fb.nc").code == 0
    late = tmp_path / "late.csv"
    shutil.copy(case / "stations.csv", late)
    with late.open("a") as file:
        file.write("\n")
    assert assimilate(obs=late, feedback=tmp_path / "fb.nc").code == 2
    again = assimilate("--replace-if-inputs-changed", obs=late, feedback=tmp_path / "fb.nc")
    assert again.code == 0, again.err
    assert attribute(tmp_path / "an.nc", "obs_sha256") == sha256(late)
    (tmp_path / "an.nc").write_text("a file of the user's")
    assert assimilate("--replace-if-inputs-changed", feedback=tmp_path / "fb.nc").code == 2


def test_a_file_that_grows_is_read_from_a_copy_and_its_hash_is_that_of_the_copy(
    assimilate: Run, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from phyda_cli.analysis import assimilate as module

    growing = tmp_path / "growing.csv"
    shutil.copy(case / "stations.csv", growing)
    read, calls = module.read_observations, []

    def slow(paths: list[Path], *rest: Any) -> Any:
        calls.append(paths)
        with growing.open("a") as file:
            file.write("\n")
        return read(paths, *rest)

    monkeypatch.setattr(module, "read_observations", slow)
    done = assimilate(obs=growing)
    assert done.code == 0, done.err
    assert len(calls) == 2
    before_it_grew_again = growing.read_bytes()[:-1]
    copied = tmp_path / "copied"
    copied.write_bytes(before_it_grew_again)
    assert attribute(tmp_path / "an.nc", "obs_sha256") == sha256(copied)
    assert not calls[1][0].exists()


def test_two_at_once(assimilate: Run, tmp_path: Path) -> None:
    with locked(tmp_path / ".an.nc.lock", "busy", remove=True):
        busy = assimilate()
        assert busy.code == 75
        assert f"process {os.getpid()}" in busy.err
    assert assimilate().code == 0
    assert names(tmp_path) == ["an.nc"]


def test_a_full_stdout_is_a_warning_where_the_outputs_are_written(
    case: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "phyda_cli", "assimilate", "--obs", case / "stations.csv"]
    words += ["--background", case / "fc.nc", "--out", tmp_path / "an.nc"]
    words += ["--checkpoint", tiny_checkpoint, "--method", "oi"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*map(str, words)], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, names(tmp_path)) == (0, ["an.nc"])
    assert "WARNING: cannot print the results" in done.stderr


def test_a_full_stdout_is_an_error_where_the_output_is_stdout() -> None:
    words = [sys.executable, "-m", "phyda_cli", "obs", "template"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_gone_ends_the_command_silently() -> None:
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "phyda_cli", "obs", "template"]
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("stderr", ["2>/dev/full", "2>&-"])
def test_stderr_that_is_full_or_closed_changes_no_exit_code(tmp_path: Path, stderr: str) -> None:
    words = f"{sys.executable} -m phyda_cli cycle status --config {tmp_path}/none.toml"
    done = subprocess.run(
        ["sh", "-c", f"{words} {stderr}"], stdout=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (3, "")
