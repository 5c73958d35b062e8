"""Functions in a process apart: what they return, and what becomes of those that fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from phyda_cli.errors import InputError, UsageError
from phyda_cli.fields.grid import Grid
from phyda_cli.files.worker import Worker
from phyda_cli.formats.series import choose_member

FILE = Path("fc.nc")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    one = Worker()
    yield one
    one.close()


def test_arrays_come_back_bit_for_bit(worker: Worker) -> None:
    grid = worker.call(partial(Grid, np.linspace(60, -60, 4), np.arange(6) * 60.0), FILE, 60)
    assert grid.latitude.tobytes() == np.linspace(60, -60, 4).tobytes()
    grid.latitude[0] = 1  # as writable as it was


def test_what_it_raises_is_raised_here(worker: Worker) -> None:
    with pytest.raises(UsageError, match="has no member 7") as raised:
        worker.call(partial(choose_member, np.arange(3), 7, FILE), FILE, 60)
    assert raised.value.hint
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        worker.call(partial(divmod, 1, 0), FILE, 60)


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_a_crash_is_an_error_of_its_file(worker: Worker, name: str) -> None:
    with pytest.raises(InputError, match=rf"fc.nc: the decoder crashed \({name}\)"):
        worker.call(partial(os.kill, 0, getattr(signal, name)), FILE, 60)
    assert worker.call(partial(abs, -3), FILE, 60) == 3


def test_a_hang_ends_at_its_limit(worker: Worker) -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match=r"took more than 0\.3 s"):
        worker.call(partial(time.sleep, 600), FILE, 0.3)
    assert time.monotonic() - began < 60
    assert worker.call(partial(abs, -3), FILE, 60) == 3


def test_one_that_computes_for_ever_ends_at_its_limit(worker: Worker) -> None:
    with pytest.raises(InputError, match=r"took more than 0\.3 s"):
        worker.call(partial(sum, range(10**12)), FILE, 0.3)
    assert worker.call(partial(abs, -3), FILE, 60) == 3


def test_one_that_has_to_wait_for_the_machine_is_not_ended(worker: Worker) -> None:
    assert worker.call(partial(time.sleep, 1), FILE, 0.3) is None


def test_memory_has_a_limit(worker: Worker) -> None:
    with pytest.raises(InputError, match="more memory than there is"):
        worker.call(partial(bytearray, 1 << 45), FILE, 60)


def test_items_come_one_by_one(worker: Worker) -> None:
    pairs = worker.each(partial(os.walk, "/proc/self/fd"), FILE, 60)  # a generator of os
    assert next(pairs)[0] == "/proc/self/fd"
    assert worker.call(partial(abs, -3), FILE, 60) == 3  # nobody listens to the rest any more


def test_a_worker_that_died_in_between_is_replaced(worker: Worker) -> None:
    pid = worker.call(os.getpid, FILE, 60)
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.3)
    assert worker.call(os.getpid, FILE, 60) != pid


def test_it_ends_with_the_one_who_asked(tmp_path: Path) -> None:
    script = f"""
        import os, time
        from functools import partial
        from pathlib import Path
        from phyda_cli.files.worker import Worker
        worker = Worker()
        Path({str(tmp_path / "pid")!r}).write_text(str(worker.call(os.getpid, Path("a"), 60)))
        worker.call(partial(time.sleep, 600), Path("a"), 600)
    """
    root = str(Path(__file__).resolve().parents[2])
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], env=os.environ | {"PYTHONPATH": root}
    )
    for _ in range(600):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            break
        time.sleep(0.1)
    time.sleep(0.5)
    parent.kill()
    parent.wait()
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return
        if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.1)
    pytest.fail("the worker outlives its parent")


def test_a_relative_path_is_that_of_the_caller(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
        monkeypatch.chdir(tmp_path / name)
        assert worker.call(partial(Path.read_text, Path("file")), FILE, 60) == name
