"""A command in a process of its own, with limits of time and memory, that does not outlive us."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Ended", "last_error", "option", "run_limited"]

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
EXIT_TIMEOUT = 124
_BOX = " ╭╮╰╯─│"


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit ``code`` (124 at its time limit, 128 + n by signal n) and its
    standard output."""

    code: int
    output: str


def run_limited(
    command: Sequence[str],
    log: Path,
    minutes: float,
    memory: int | None = None,
    folder: Path | None = None,
) -> Ended:
    """Run ``command`` without a shell in ``folder``, its standard error in ``log``.

    The command and all its children are killed when ``minutes`` are over, and when this process
    ends, however it ends. Raises OSError when the command cannot be started.
    """
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def limit() -> None:
        os.setsid()
        libc.prctl(_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # which has ended before the signal was asked for
            os._exit(EXIT_TIMEOUT)
        if memory is not None:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    with (
        log.open("ab") as errors,
        subprocess.Popen(  # nosec B603 # no shell, and the words are checked settings
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            preexec_fn=limit,
            cwd=folder,
        ) as process,
    ):
        try:
            output, _ = process.communicate(timeout=60.0 * minutes)
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            code = EXIT_TIMEOUT
    return Ended(code if code >= 0 else 128 - code, output.decode("utf-8", "replace"))


def option(words: Sequence[str], name: str) -> str | None:
    """What ``words`` give the option ``name``, as NAME VALUE or NAME=VALUE; the last counts."""
    given = None
    for word, following in zip(words, (*words[1:], None), strict=False):
        if word == name:
            given = following
        elif word.startswith(f"{name}="):
            given = word.removeprefix(f"{name}=")
    return given


def last_error(log: Path) -> str:
    """The message of the last error in ``log``; Typer draws a box around its own."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = [line for line in (line.strip(_BOX) for line in text.splitlines()) if line]
    fatal = [line for line in lines if "FATAL ERROR" in line]
    return (fatal or lines or [""])[-1]
