"""A process that decodes files for another: a decoder that crashes or never ends takes it down, and
nothing else.

Run as ``python -m phyda_cli.observations.read.worker`` it answers each pickled (path, mapping) on
stdin on stdout: with a pickled None when the decoder is loaded, from which moment the time counts,
then with a ReadResult or exception. It ends with its stdin.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TypeVar

from phyda_cli.errors import InputError, PhydaError
from phyda_cli.observations.read.columns import ObservationMap
from phyda_cli.observations.read.decode import Source, format_of, time_limit
from phyda_cli.observations.report import ReadResult

__all__ = ["Worker", "decode_all"]

T = TypeVar("T")

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_MEMORY = 16 << 30  # bytes of address space


def decode_all(
    paths: Sequence[Path], mapping: ObservationMap | None, processes: int | None = None
) -> list[ReadResult]:
    """The observations of each file in the order of ``paths``, decoded in up to ``processes``
    workers (one a core).

    Raises the first InputError in that order.
    """
    count = min(len(paths), processes or _cores())
    idle: SimpleQueue[Worker] = SimpleQueue()
    workers = [Worker() for _ in range(count)]
    for worker in workers:
        idle.put(worker)

    def one(path: Path) -> ReadResult:
        worker = idle.get()
        try:
            return worker.read(path, mapping)
        finally:
            idle.put(worker)

    try:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(one, paths))
    finally:
        for worker in workers:
            worker.close()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Worker:
    """The parent's end of one worker process, started when there is something to read and again
    after it died."""

    def __init__(self, limit: Callable[[Path], float] = time_limit) -> None:
        self._limit = limit
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, path: Path, mapping: ObservationMap | None = None) -> ReadResult:
        """The observations of ``path``; raises InputError also when decoding crashes or takes too
        long.

        It is this end that keeps the time, for code in C that never returns hears no signal but the
        one that kills.
        """
        limit = self._limit(path)
        process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        expired = threading.Event()

        def end() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(limit, end)
        try:
            pickle.dump((path, mapping), process.stdin)
            process.stdin.flush()
            pickle.load(process.stdout)
            timer.start()
            answer = pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            code = self._bury()
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            cause = (
                f"decoding took more than {limit:.3g} s"
                if expired.is_set()
                else f"the decoder crashed ({how})"
            )
            raise InputError(
                f"{path}: {cause}", hint="the file is probably damaged; nothing of it was read"
            ) from error
        finally:
            timer.cancel()
        if expired.is_set():  # just after it had answered
            self._bury()
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, ReadResult)
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.communicate()

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            root = Path(__file__).resolve().parents[3]
            paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # decoders explain in their own words what the error says
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,  # an interrupt from the terminal is the parent's to handle
            )
        return self._process

    def _bury(self) -> int:
        """The exit code of the process, which has died."""
        assert self._process is not None
        process, self._process = self._process, None
        process.communicate()
        return process.returncode


def _guarded(path: Path, action: Callable[[], T]) -> T | Exception:
    """What ``action`` returns, or the exception for the parent to raise."""
    try:
        return action()
    except PhydaError as error:
        return error
    except MemoryError:
        return InputError(
            f"{path}: decoding needs more memory than there is", hint="the file is probably damaged"
        )
    except Exception:  # a defect of ours: the parent shall raise it with where it came from
        return RuntimeError(f"while decoding {path}:\n{traceback.format_exc()}")


def _serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    while True:
        try:
            path, mapping = pickle.load(questions)
        except EOFError:
            return
        source = Source(path)
        known = _guarded(path, partial(format_of, source))
        pickle.dump(None, answers)
        answers.flush()
        pickle.dump(
            known
            if isinstance(known, Exception)
            else _guarded(path, partial(known.read, source, mapping)),
            answers,
        )
        answers.flush()


def _end_with_parent() -> None:
    """Be killed when the parent ends: a decoder that hangs would not notice."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)


def _main() -> None:
    _end_with_parent()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):  # not on every system
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
