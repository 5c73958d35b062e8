"""One analysis by several processes (ranks) that ``torchrun`` has started; without its environment
nothing here acts.

All ranks walk through the same analysis on the same inputs, which the first one reads and sends.
Where there is much to compute each does its part and all get the whole (:func:`in_parts`). Before
anything is exchanged the ranks say how they are (:meth:`Ranks.agree`), so an error of one is raised
by all, and none waits for a rank that has given up. Whether the work is spread is decided by
:func:`ranks` alone: a process group that others have made, such as that of a training, changes
nothing.
"""

from __future__ import annotations

import atexit
import copy
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist

from phyda_cli.errors import PhydaError

__all__ = ["Ranks", "in_parts", "ranks", "shares"]

ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# A rank may be alive and silent for so long, as the first one is while it reads.
# A dead one is noticed at once.
TIMEOUT = timedelta(minutes=30)


@dataclass
class Ranks:
    """This process is ``rank`` of ``size``; ``failed`` once an error is known to all of them."""

    rank: int = 0
    size: int = 1
    failed: bool = False

    def agree(self, note: Any = None, error: Exception | None = None) -> list[Any]:
        """Wait for all ranks and return their notes. When some have an ``error``, that of the
        lowest is raised by all.

        Raises PhydaError when a rank is gone.
        """
        told = (
            error
            if error is None or isinstance(error, PhydaError)
            else "".join(traceback.format_exception(error))
        )
        heard: list[Any] = [(told, note)]
        if self.size > 1:
            heard *= self.size
            with self._reachable():
                dist.all_gather_object(heard, (told, note))
        for rank, (problem, _) in enumerate(heard):
            if problem is not None:
                self.failed = True
                raise error if error is not None and rank == self.rank else _of_rank(rank, problem)
        return [note for _, note in heard]

    def share(self, value: Any = None) -> Any:
        """The first rank's ``value``, on every rank."""
        if self.size == 1:
            return value
        self.agree()
        box = [value]
        with self._reachable():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            self.failed = True
            raise PhydaError(
                f"rank {self.rank} of {self.size} has lost the others: "
                f"{str(error).splitlines()[0]}",
                hint="see which one was ended and by what, such as its memory",
            ) from error


_current: ContextVar[Ranks | None] = ContextVar("ranks", default=None)


@contextmanager
def ranks() -> Iterator[Ranks]:
    """Spread the work within over the ranks that the environment speaks of; they leave together,
    and with the same error."""
    place = _join()
    token = _current.set(place)
    try:
        yield place
        place.agree()
    except Exception as error:
        if not place.failed:
            place.agree(error=error)
        raise
    finally:
        _current.reset(token)
        if place.size > 1:
            _leave(place)


def in_parts(
    count: int, work: Callable[[slice], torch.Tensor], like: torch.Tensor, dim: int = 0
) -> torch.Tensor:
    """``work`` of ``slice(0, count)``, each rank having done a slice of its own; parts have dtype
    and device of ``like`` and are put together along ``dim``."""
    place = _current.get()
    if place is None or place.size == 1:
        return work(slice(0, count))
    own = shares(count, place.size)[place.rank]
    part = work(own).contiguous() if own.start < own.stop else None
    shapes = place.agree(None if part is None else tuple(part.shape))
    parts = []
    with place._reachable():
        for rank, shape in enumerate(shapes):
            if shape is not None:
                parts.append(
                    part if rank == place.rank and part is not None else like.new_empty(shape)
                )
                dist.broadcast(parts[-1], src=rank)
    return torch.cat(parts, dim=dim)


def shares(count: int, size: int) -> list[slice]:
    """``size`` consecutive slices of ``range(count)``, as equal as they can be; some are empty
    where ``size`` is larger."""
    edges = [count * i // size for i in range(size + 1)]
    return [slice(first, end) for first, end in pairwise(edges)]


def _join() -> Ranks:
    if not all(name in os.environ for name in ENVIRONMENT) or os.environ["WORLD_SIZE"] == "1":
        return Ranks()
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        backend = "cpu:gloo,cuda:nccl"
    try:
        dist.init_process_group(backend, timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        hint = f"start them with torchrun, which sets {', '.join(ENVIRONMENT)}"
        raise PhydaError(f"cannot join the other ranks: {error}", hint=hint) from error
    return Ranks(dist.get_rank(), dist.get_world_size())


def _leave(place: Ranks) -> None:
    """After an error the others stay until the first has spoken and ended: ``torchrun`` ends all as
    soon as one has.

    The first leaves the group at its very end: a process that ends within a group is aborted by
    gloo's threads now and then.
    """
    if place.failed and place.rank == 0:
        atexit.register(dist.destroy_process_group)
        return
    if place.failed:
        with suppress(RuntimeError):
            dist.recv(torch.zeros(1), src=0)
    dist.destroy_process_group()


def _of_rank(rank: int, problem: PhydaError | str) -> Exception:
    if isinstance(problem, str):
        return RuntimeError(f"rank {rank}:\n{problem}")
    if rank == 0:
        return problem
    named = copy.copy(problem)
    named.message = f"rank {rank}: {problem.message}"
    return named
