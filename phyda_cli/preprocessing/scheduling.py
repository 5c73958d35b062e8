"""Running the same function on many items with Dask: threads of this process, or the workers of a
cluster. Results come in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from dask.base import compute
from dask.delayed import delayed

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
    """``workers`` at a time, each in need of the memory of one item."""

    def __init__(self, workers: int, **options: Any) -> None:
        self.workers, self._options = workers, options

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """``function`` of each item, in order; what it raises ends the work."""
        rest = iter(items)
        task = delayed(function, pure=False)
        while wave := list(islice(rest, PER_WORKER * self.workers)):
            yield from compute(*(task(item) for item in wave), **self._options)


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
    yield Runner(workers, scheduler="threads", num_workers=workers)


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
        yield Runner(sum(client.nthreads().values()), scheduler=client)
