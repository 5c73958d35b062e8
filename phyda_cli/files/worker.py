"""Functions that open files of others run in a process apart, which has limits of time and memory:
a library in C that crashes or never returns takes that process down, and nothing else.

``@apart`` marks such a function. Run as ``python -m phyda_cli.files.worker`` the process answers
each pickled (function, arguments) on stdin on stdout: first when the function's module is loaded,
from which moment the time counts, then with each result or an exception. It ends with its stdin.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import inspect
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar

from phyda_cli.errors import InputError, PhydaError

__all__ = ["Worker", "apart", "release", "time_limit"]

P = ParamSpec("P")
T = TypeVar("T")

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_LEAST_MEMORY = 4 << 30  # bytes of address space; the libraries alone take one
_START_SECONDS = 120.0  # until the libraries are loaded
_SECONDS, _SECONDS_PER_MB = 60.0, 10.0  # on an idle core GRIB takes 0.5 s a megabyte
_BUSY = 10.0  # times that a limit may be exceeded by the clock while others compute
_FOLDER_SECONDS = 600.0  # what is read of a folder is not known before


class _Kind(Enum):
    """Of an answer."""

    READY = auto()
    RESULT = auto()
    ITEM = auto()
    END = auto()
    ERROR = auto()


Answer = tuple[_Kind, Any]


def time_limit(path: Path) -> float:
    """Seconds within which any fields of ``path`` are read."""
    try:
        if path.is_dir():
            return _FOLDER_SECONDS
        return _SECONDS + _SECONDS_PER_MB * path.stat().st_size / 1e6
    except (OSError, ValueError):  # its reader knows what to say
        return _SECONDS


def apart(
    limit: Callable[[Path], float] = time_limit,
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a function, whose first argument is the path of a file, run in this thread's worker
    process; ``limit`` gives the seconds it may take.

    Its arguments and its result are copied; of a generator each item is, when it is asked for. What
    it raises is raised here, and InputError where it crashes, takes too long or needs too much
    memory. Within a worker it is a plain call, and so it is where the first argument is no path but
    a data set in memory.
    """

    def marked(function: Callable[P, T]) -> Callable[P, T]:
        first = next(iter(inspect.signature(function).parameters))
        generates = inspect.isgeneratorfunction(function)

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> Any:
            source = args[0] if args else kwargs[first]
            if _serving or not isinstance(source, (str, Path)):
                return function(*args, **kwargs)
            path = Path(source)
            worker = _own_worker()
            answer = worker.each if generates else worker.call
            return answer(functools.partial(called, *args, **kwargs), path, limit(path))

        return called

    return marked


_serving = False
_local = threading.local()


def _own_worker() -> Worker:
    """The worker of this thread, with which it dies; a forked process starts another."""
    if getattr(_local, "process", None) != os.getpid():
        _local.process, _local.worker = os.getpid(), Worker()
    worker: Worker = _local.worker
    return worker


def release() -> None:
    """End this thread's worker and with it the memory that it holds, and give back what is free in
    this process. The next call starts another worker, which takes a second or two."""
    if getattr(_local, "process", None) == os.getpid():
        _local.worker.close()
    with suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


class Worker:
    """The parent's end of one worker process, started when there is something to do and again after
    it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._busy = False

    def call(self, function: Callable[[], T], path: Path, limit: float) -> T:
        """What ``function``, which reads ``path``, returns; raises InputError also when it crashes
        or takes more than ``limit`` [s].

        It is this end that keeps the time, for code in C that never returns hears no signal but the
        one that kills.
        """
        self._ask(function, path)
        result: T = self._receive(path, limit)[1]
        self._busy = False
        return result

    def each(self, function: Callable[[], Iterator[T]], path: Path, limit: float) -> Iterator[T]:
        """Every item of the generator ``function``, each within ``limit`` [s]; otherwise
        :meth:`call`."""
        self._ask(function, path)
        while True:
            kind, item = self._receive(path, limit)
            if kind is _Kind.END:
                self._busy = False
                return
            yield item

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.communicate()

    def __del__(self) -> None:
        with suppress(Exception):  # the interpreter may be ending
            self.close()

    def _ask(self, function: Callable[[], object], path: Path) -> None:
        if self._busy or (self._process is not None and self._process.poll() is not None):
            self.close()  # whoever asked before has stopped listening, or it died since
        if self._process is None:
            self._process = _started()
        self._busy = True
        with suppress(OSError):  # it has died: receiving says how
            assert self._process.stdin is not None
            # paths may be relative, and we may have moved since the worker was started
            pickle.dump((os.getcwd(), function, path), self._process.stdin, protocol=5)
            self._process.stdin.flush()
        self._receive(path, _START_SECONDS)

    def _receive(self, path: Path, limit: float) -> Answer:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        watch = _Watch(process, limit)
        try:
            kind, answer = pickle.load(process.stdout)  # nosec B301 # of our own process
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            self.close()
            code = process.returncode
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            cause = (
                f"decoding took more than {limit:.3g} s"
                if watch.expired
                else f"the decoder crashed ({how})"
            )
            raise InputError(
                f"{path}: {cause}", hint="the file is probably damaged; nothing of it was read"
            ) from error
        finally:
            watch.over.set()
        if kind is _Kind.ERROR:
            self._busy = False
            raise answer
        return kind, answer


class _Watch:
    """Kills ``process`` once it has computed for ``limit`` [s], and after ten times as long in any
    case, unless it is ``over`` before: on a busy machine a sound file takes longer by the clock."""

    def __init__(self, process: subprocess.Popen[bytes], limit: float) -> None:
        self.expired, self.over = False, threading.Event()
        threading.Thread(target=self._run, args=(process, limit), daemon=True).start()

    def _run(self, process: subprocess.Popen[bytes], limit: float) -> None:
        began, computed = time.monotonic(), _computed(process.pid)
        wait = limit
        while not self.over.wait(wait):
            left = limit - (_computed(process.pid) - computed)
            remains = _BUSY * limit - (time.monotonic() - began)
            if left <= 0 or remains <= 0:
                self.expired = True
                process.kill()
                return
            wait = min(max(left, 0.05), remains)


def _computed(process: int) -> float:
    """Processor time of ``process`` [s]; the clock's where the system does not say."""
    try:
        fields = (
            Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        )
    except OSError:
        return time.monotonic()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _started() -> subprocess.Popen[bytes]:
    root = Path(__file__).resolve().parents[2]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(  # nosec B603 # a constant command
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # decoders explain in their own words what the error says
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,  # an interrupt from the terminal is the parent's to handle
    )


def _answers(function: Callable[[], Any], path: Path) -> Iterator[Answer]:
    """What the parent hears of ``function``, which reads ``path``."""
    try:
        found = function()
        if not inspect.isgenerator(found):
            yield _Kind.RESULT, found
            return
        for item in found:
            yield _Kind.ITEM, item
        yield _Kind.END, None
        return
    except PhydaError as error:
        failure: Exception = error
    except MemoryError:
        failure = InputError(
            f"{path}: decoding needs more memory than there is", hint="the file is probably damaged"
        )
    except Exception:  # a defect of ours: the parent shall raise it with where it came from
        failure = RuntimeError(f"while decoding {path}:\n{traceback.format_exc()}")
    yield _Kind.ERROR, _without_frames(failure)


def _without_frames(error: Exception) -> Exception:
    """``error`` without the frames that it came through, which hold the files they have opened: the
    parent may write to such a file as soon as it hears of the error."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    gc.collect()
    return error


def _serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    def say(answer: Answer) -> None:
        pickle.dump(answer, answers, protocol=5)
        answers.flush()

    while True:
        try:
            folder, function, path = pickle.load(questions)  # nosec B301 # of our parent
        except EOFError:
            return
        gc.freeze()  # what is loaded stays: looking through it after each answer takes 50 ms
        say((_Kind.READY, None))
        with suppress(OSError):  # a folder that is gone; then the file is told to be
            os.chdir(folder)
        for answer in _answers(function, path):
            say(answer)
        answer = (_Kind.END, None)
        gc.collect()  # closes what the answer has kept open


def _end_with_parent() -> None:
    """Be killed when the thread that started this process ends: a decoder that hangs would not
    notice."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)


def _limit_memory() -> None:
    """Take half of the machine's memory at most: what is read has to fit in twice."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):  # not on every system
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (max(memory // 2, _LEAST_MEMORY), hard))


def main() -> None:
    """Serve the parent until it ends."""
    global _serving
    _serving = True
    _end_with_parent()
    _limit_memory()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    from phyda_cli.files.worker import main as _main  # not of __main__: answers name this module

    _main()
