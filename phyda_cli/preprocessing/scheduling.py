"""Running the same function on many items: in threads of this process, or on the workers of a Dask
cluster. Results come in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from phyda_cli.errors import UsageError
from phyda_cli.settings.data import ExecutionSettings

__all__ = ["Runner", "base_memory", "runner"]

T = TypeVar("T")
R = TypeVar("R")
PER_WORKER = 4  # items of one wave: what is lost at most when the process is killed
PATIENCE = 20.0  # seconds
_MEGABYTE = 1_000_000


def base_memory() -> int:
    """What the process takes beside its blocks [bytes]: libraries, tables and what the allocator
    keeps."""
    return 400 * _MEGABYTE


class Runner:
    """Works on ``workers`` items at a time, each of which needs its memory, by ``compute``: a
    function and some items to the results in order."""

    def __init__(self, workers: int, compute: Callable[..., Iterable[Any]]) -> None:
        self.workers, self._compute = workers, compute

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """``function`` of each item, in order; what it raises ends the work."""
        rest = iter(items)
        while wave := list(islice(rest, PER_WORKER * self.workers)):
            yield from self._compute(function, wave)


@contextmanager
def runner(settings: ExecutionSettings, need: int) -> Iterator[Runner]:
    """For items that need so many bytes each: as many threads as there are cores and as the memory
    allows, or a cluster's.

    Raises UsageError when the memory is too small for one item, or the cluster cannot be reached.
    """
    if settings.scheduler is not None:
        with _cluster(settings.scheduler) as found:
            yield found
        return
    fitting = (int(settings.memory_limit) - base_memory()) // need
    if fitting < 1:
        least = -(-(base_memory() + need) // _MEGABYTE)
        raise UsageError(
            f"--memory-limit {int(settings.memory_limit) // _MEGABYTE} MB is too little: these "
            f"data need {least} MB",
            hint="one block of states has to fit",
        )
    workers = min(settings.workers or len(os.sched_getaffinity(0)), fitting)
    with ThreadPoolExecutor(workers) as pool:
        yield Runner(workers, pool.map)


@contextmanager
def _cluster(address: str) -> Iterator[Runner]:
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(
            "--scheduler needs the package distributed", hint="pip install 'phyda[cluster]'"
        ) from error
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {address}: {error}",
            hint="start one: dask scheduler, dask worker",
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise UsageError(
                f"the Dask scheduler at {address} has no workers",
                hint=f"start some: dask worker {address}",
            ) from error

        def compute(function: Callable[[T], R], items: list[T]) -> list[R]:
            found: list[R] = client.gather(client.map(function, items, pure=False))
            return found

        yield Runner(sum(client.nthreads().values()), compute)
