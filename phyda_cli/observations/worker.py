"""A process that decodes files for another: a decoder that crashes or never ends takes it down, and nothing else.

Run as ``python -m phyda_cli.observations.worker`` it answers each pickled (path, mapping, seconds) on stdin with a pickled
ReadResult or exception on stdout, and ends with its stdin.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from phyda_cli.errors import InputError, PhydaError
from phyda_cli.observations.decode import reader_of, time_limit
from phyda_cli.observations.mapping import ObservationMap
from phyda_cli.observations.report import ReadResult

__all__ = ["Worker", "decode_all"]

_MEMORY = 16 << 30  # bytes of address space


def decode_all(paths: Sequence[Path], mapping: ObservationMap | None, processes: int | None = None) -> list[ReadResult]:
    """The observations of each file in the order of ``paths``, decoded in up to ``processes`` workers (one a core).

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
    """The parent's end of one worker process, started when there is something to read and again after it died."""

    def __init__(self, limit: Callable[[Path], float] = time_limit) -> None:
        self._limit = limit
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, path: Path, mapping: ObservationMap | None = None) -> ReadResult:
        """The observations of ``path``; raises InputError also when decoding crashes or takes too long."""
        limit = self._limit(path)
        process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump((path, mapping, limit), process.stdin)
            process.stdin.flush()
            answer = pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise InputError(
                f"{path}: {self._cause_of_death(limit)}", hint="the file is probably damaged; nothing of it was read"
            ) from error
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
            root = Path(__file__).resolve().parents[2]
            paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # decoders explain in their own words what the error says
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,  # an interrupt from the terminal is the parent's to handle
            )
        return self._process

    def _cause_of_death(self, limit: float) -> str:
        assert self._process is not None
        process, self._process = self._process, None
        process.communicate()
        code = process.returncode
        if code == -signal.SIGALRM:
            return f"decoding took more than {limit:.3g} s"
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"the decoder crashed ({how})"


def _answer(path: Path, mapping: ObservationMap | None, seconds: float) -> ReadResult | Exception:
    """What decoding ``path`` gives; when it takes longer than ``seconds``, without loading the decoder, this process ends."""
    try:
        read = reader_of(path)
        signal.setitimer(signal.ITIMER_REAL, seconds)  # nothing handles its signal: it ends code in C as well
        return read(path, mapping)
    except PhydaError as error:
        return error
    except MemoryError:
        return InputError(f"{path}: decoding needs more memory than there is", hint="the file is probably damaged")
    except Exception:  # a defect of ours: the parent shall raise it with where it came from
        return RuntimeError(f"while decoding {path}:\n{traceback.format_exc()}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    while True:
        try:
            path, mapping, seconds = pickle.load(questions)
        except EOFError:
            return
        pickle.dump(_answer(path, mapping, seconds), answers)
        answers.flush()


def _main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):  # not on every system
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
