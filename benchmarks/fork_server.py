"""``phyda`` in forks of a process that has loaded all libraries: a run costs what it does, not what
it takes to start.

A fork of :func:`start` runs the command line as a process of its own would. The cycle's analyses,
and the readers of files, are forks or calls within it.
"""

from __future__ import annotations

import ctypes
import io
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import phyda_cli.analysis.assimilate  # noqa: F401 loaded before the first fork
import phyda_cli.cycle.attempts as attempts
from phyda_cli import app
from phyda_cli.cycle.child import EXIT_TIMEOUT, Ended
from phyda_cli.files import worker

__all__ = ["Trouble", "adopt", "failing_at", "orphans", "start", "wait", "warm"]

_DEATH_SIGNAL, _SUBREAPER = 1, 36  # PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER of prctl(2)
_libc = ctypes.CDLL(None)
WRITERS: tuple[tuple[Any, str], ...] = (
    (os, "fsync"),
    (os, "replace"),
    (os, "rename"),
    (os, "symlink"),
    (os, "mkdir"),
    (shutil, "copyfile"),
    (Path, "write_text"),
    (Path, "open"),
)


@dataclass(frozen=True)
class Trouble:
    """What goes wrong in a run: call number ``at`` of those that open or write fails with the
    system's error ``code``, in the ``analysis`` or in the cycle around it; or no file may become
    larger than ``largest`` bytes, which also C libraries notice."""

    analysis: bool
    code: int = 0
    at: int = 0
    largest: int | None = None


def warm(words: Sequence[str]) -> None:
    """Run ``phyda WORDS`` in this process, for what is loaded when it is first used."""
    worker._serving = True  # readers are calls
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        app.app(list(words), standalone_mode=False)


def start(
    words: Sequence[str],
    stderr: Path,
    trouble: Trouble | None = None,
    commands: dict[str, Callable[..., None]] | None = None,
) -> int:
    """The process id of a fork that runs ``phyda WORDS``; ``commands`` stand for programs that its
    cycle calls."""
    child = os.fork()
    if child == 0:
        _redirect(os.devnull, stderr)
        _run(words, trouble, commands or {})
    return child


def wait(process: int, limit: float) -> int | None:
    """The exit code of ``process``, as a shell gives it; None when it took more than ``limit`` [s]
    and was killed."""
    end, code = time.monotonic() + limit, None
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if time.monotonic() > end:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return None
        time.sleep(0.002)


def adopt() -> None:
    """Let this process be the parent of what its children leave behind, for :func:`orphans`."""
    _libc.prctl(_SUBREAPER, 1)


def orphans(limit: float = 5.0) -> list[int]:
    """Processes that outlive the one that started them by ``limit`` [s]."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        try:
            done, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return []
        if not done:
            time.sleep(0.005)
    tasks = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    return [int(word) for word in tasks.split()]


def _redirect(stdout: str | int, stderr: Path) -> None:
    target = os.open(stdout, os.O_WRONLY) if isinstance(stdout, str) else stdout
    log = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(target, 1)
    os.dup2(log, 2)
    os.close(log)


def _run(
    words: Sequence[str], trouble: Trouble | None, commands: dict[str, Callable[..., None]]
) -> None:
    """Be ``phyda WORDS``, and end."""
    code = 1
    try:
        worker._serving = True
        sys.argv = ["phyda", *words]
        ours = trouble is not None and trouble.analysis == (words[0] == "assimilate")

        def limited(command: Sequence[str], log: Path, *limits: Any, **options: Any) -> Ended:
            return _forked(command, log, *limits, trouble=trouble, commands=commands, **options)

        with ExitStack() as stack:
            stack.enter_context(patch.object(attempts, "run_limited", limited))
            stack.enter_context(patch("phyda_cli.cycle.background.run_limited", limited))
            if ours and trouble is not None:
                stack.enter_context(_troubled(trouble))
            app.main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else bool(error.code)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _forked(
    command: Sequence[str],
    log: Path,
    minutes: float,
    memory: int | None = None,
    folder: Path | None = None,
    *,
    trouble: Trouble | None,
    commands: dict[str, Callable[..., None]],
) -> Ended:
    """As ``run_limited``, but the command is a function of this process."""
    out, into = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.setsid()
        _libc.prctl(_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        os.close(out)
        _redirect(into, log)
        if folder is not None:
            os.chdir(folder)
        if command[0] in commands:
            commands[command[0]](*command[1:])
            os._exit(0)
        at = list(command).index("phyda_cli") + 1
        _run(command[at:], trouble, commands)
    os.close(into)
    with os.fdopen(out, "rb") as pipe:
        output = pipe.read()
    code = wait(child, 60.0 * minutes)
    return Ended(EXIT_TIMEOUT if code is None else code, output.decode("utf-8", "replace"))


@contextmanager
def _troubled(trouble: Trouble) -> Iterator[None]:
    with ExitStack() as stack:
        if trouble.largest is not None:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (trouble.largest, hard))
        if trouble.at:
            failing_at(trouble.at, trouble.code, stack)
        yield


def failing_at(number: int, code: int, stack: ExitStack) -> Callable[[], bool]:
    """Let the call ``number`` of all calls that open or write fail with ``code``; returns whether
    there have been so many."""
    calls = 0

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == number:
                raise OSError(code, os.strerror(code))
            return function(*args, **options)

        return call

    for owner, name in WRITERS:
        stack.enter_context(patch.object(owner, name, wrapped(getattr(owner, name))))
    return lambda: calls >= number
