"""Publishing: whole, or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from phyda_cli.errors import EXIT_USAGE, OutputError
from phyda_cli.files.publish import publish, publish_folder, sha256, together


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_publishes_and_leaves_nothing_else(tmp_path: Path) -> None:
    with publish(tmp_path / "out.nc") as temporary:
        assert temporary.parent == tmp_path
        assert not (tmp_path / "out.nc").exists()
        temporary.write_bytes(b"abc")
    assert names(tmp_path) == ["out.nc"]
    assert (tmp_path / "out.nc").read_bytes() == b"abc"
    assert (
        sha256(tmp_path / "out.nc")
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_an_exception_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "out.nc").write_text("old")
    with (  # noqa: PT012
        pytest.raises(ValueError, match="oops"),
        publish(tmp_path / "out.nc", overwrite=True) as temporary,
    ):
        temporary.write_text("half")
        raise ValueError("oops")
    assert names(tmp_path) == ["out.nc"]
    assert (tmp_path / "out.nc").read_text() == "old"


def test_check_sees_the_finished_file_and_can_refuse_it(tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        assert path.read_text() == "new"
        raise OutputError("not good")

    with (
        pytest.raises(OutputError, match="not good"),
        publish(tmp_path / "out.nc", check=refuse) as temporary,
    ):
        temporary.write_text("new")
    assert names(tmp_path) == []


def test_existing_file(tmp_path: Path) -> None:
    (tmp_path / "out.nc").write_text("old")
    with pytest.raises(OutputError, match="exists already") as caught, publish(tmp_path / "out.nc"):
        pytest.fail("entered")
    assert "--overwrite" in caught.value.hint
    assert caught.value.exit_code == EXIT_USAGE
    with publish(tmp_path / "out.nc", overwrite=True) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "out.nc").read_text() == "new"


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    with (  # noqa: PT012
        pytest.raises(OutputError, match="exists already"),
        publish(tmp_path / "out.nc") as temporary,
    ):
        temporary.write_text("mine")
        (tmp_path / "out.nc").write_text("theirs")
    assert names(tmp_path) == ["out.nc"]
    assert (tmp_path / "out.nc").read_text() == "theirs"


def test_missing_folder_and_folder_as_target(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="nowhere does not exist"),
        publish(tmp_path / "nowhere" / "out.nc"),
    ):
        pytest.fail("entered")
    with pytest.raises(OutputError, match="not a regular file"), publish(tmp_path, overwrite=True):
        pytest.fail("entered")
    with (
        pytest.raises(OutputError, match="not a regular file"),
        publish("/dev/null", overwrite=True),
    ):
        pytest.fail("entered")


def test_a_link_keeps_pointing_at_the_new_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.nc").write_text("old")
    (tmp_path / "latest.nc").symlink_to(tmp_path / "real" / "a.nc")
    with publish(tmp_path / "latest.nc", overwrite=True) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "latest.nc").is_symlink()
    assert (tmp_path / "real" / "a.nc").read_text() == "new"


def test_a_link_that_leads_nowhere_makes_no_file(tmp_path: Path) -> None:
    """As root one that somebody else has planted would make a file anywhere."""
    elsewhere = tmp_path / "etc" / "cron"
    elsewhere.parent.mkdir()
    (tmp_path / "out.nc").symlink_to(elsewhere)
    for overwrite in (False, True):
        with (
            pytest.raises(OutputError, match="leads nowhere"),
            publish(tmp_path / "out.nc", overwrite=overwrite),
        ):
            pytest.fail("entered")
    assert not elsewhere.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to somebody else")
def test_a_link_of_somebody_else_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text("secret")
    (tmp_path / "out.nc").symlink_to(tmp_path / "shadow")
    os.chown(tmp_path / "out.nc", 65534, 65534, follow_symlinks=False)
    with (
        pytest.raises(OutputError, match="somebody else"),
        publish(tmp_path / "out.nc", overwrite=True),
    ):
        pytest.fail("entered")
    assert (tmp_path / "shadow").read_text() == "secret"


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Quota exceeded")],
)
def test_full_disk_names_the_file_and_the_free_space(tmp_path: Path, error: OSError) -> None:
    with (  # noqa: PT012
        pytest.raises(OutputError, match=r"out.nc: the disk is full .*MB free") as caught,
        publish(tmp_path / "out.nc") as temporary,
    ):
        temporary.write_text("half")
        raise error
    assert caught.value.__cause__ is error
    assert names(tmp_path) == []


def test_full_disk_as_the_netcdf_library_reports_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 4096})())
    with pytest.raises(OutputError, match="the disk is full"), publish(tmp_path / "out.nc"):
        raise RuntimeError("NetCDF: HDF error")


def test_other_errors_are_not_disguised(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), publish(tmp_path / "out.nc"):
        raise FileNotFoundError(errno.ENOENT, "input")


def test_leftovers_are_removed_after_a_day(tmp_path: Path) -> None:
    old, young = (tmp_path / f".out.nc.{c * 12}.part" for c in "ab")
    for path in (old, young):
        path.write_text("half")
    os.utime(old, (time.time() - 90000,) * 2)
    with publish(tmp_path / "out.nc") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == [young.name, "out.nc"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "old").write_text("old")
    with publish_folder(tmp_path / "made") as temporary:
        (temporary / "new").write_text("new")
        assert names(tmp_path / "made") == ["old"]
    assert names(tmp_path) == ["made"]
    assert names(tmp_path / "made") == ["new"]


def test_a_folder_that_fails_its_check_leaves_the_old_one(tmp_path: Path) -> None:
    def refuse(folder: Path) -> None:
        assert names(folder) == ["new"]
        raise OutputError("not good")

    (tmp_path / "made").mkdir()
    with (
        pytest.raises(OutputError, match="not good"),
        publish_folder(tmp_path / "made", check=refuse) as temporary,
    ):
        (temporary / "new").write_text("new")
    assert names(tmp_path) == ["made"]
    assert names(tmp_path / "made") == []


CHILD = """
import signal, sys, threading, time
from phyda_cli import app
from phyda_cli.files.publish import publish
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, app._terminate)
lock = threading.Lock()
with publish(sys.argv[1], overwrite=True) as temporary:
    temporary.write_text("half")
    with lock:  # as xarray and HDF5 hold one while they write
        try:
            print("writing", flush=True)
            time.sleep(30)
        finally:
            lock.acquire()  # and want it to close the file
"""


@pytest.mark.parametrize(
    ("number", "code", "left"),
    [
        (signal.SIGTERM, 143, 0),
        (signal.SIGHUP, 129, 0),
        (signal.SIGKILL, -9, 1),
        (signal.SIGINT, 130, 0),
    ],
)
def test_signals_while_writing(
    tmp_path: Path, number: signal.Signals, code: int, left: int
) -> None:
    target = tmp_path / "out.nc"
    target.write_text("old")
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(target)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "writing\n"
    child.send_signal(number)
    assert child.wait(5) == code
    child.stdout.close()
    assert target.read_text() == "old"
    assert len(names(tmp_path)) == 1 + left


def test_files_published_together_appear_together(tmp_path: Path) -> None:
    with together():
        for name in ("a", "b"):
            with publish(tmp_path / name) as temporary:
                temporary.write_text(name)
            assert not (tmp_path / name).exists()
    assert names(tmp_path) == ["a", "b"]


def test_none_appears_when_one_fails(tmp_path: Path) -> None:
    def both() -> None:
        with together():
            with publish(tmp_path / "a") as temporary:
                temporary.write_text("a")
            with publish(tmp_path / "b") as temporary:
                raise ValueError("b")

    with pytest.raises(ValueError, match="b"):
        both()
    assert names(tmp_path) == []


def test_leftovers_of_other_outputs_go_too(tmp_path: Path) -> None:
    old, own = tmp_path / ".an_20200101.nc.0123456789ab.part", tmp_path / ".notes.part"
    for path in (old, own):
        path.write_text("half")
        os.utime(path, (0, 0))
    with publish(tmp_path / "an_20200102.nc") as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == [".notes.part", "an_20200102.nc"]


@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_an_error_when_they_appear_is_one_of_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="the disk is full"), together():  # noqa: PT012
        with publish(tmp_path / "a") as temporary:
            temporary.write_text("a")
        monkeypatch.setattr(os, name, full)
