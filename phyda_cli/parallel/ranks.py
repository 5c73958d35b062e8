"""The processes (ranks) that work together: one, or those that ``torchrun`` or ``srun`` started.

:func:`ranks` divides an analysis: all walk through the same analysis on the same inputs, which the
first one reads and sends; where there is much to compute each does its part and all get the whole
(:func:`in_parts`). :mod:`phyda_cli.parallel.training` divides a training. Before anything is
exchanged the ranks say how they are (:meth:`Ranks.agree`), so an error of one is raised by all, and
none waits for a rank that has given up.
"""

from __future__ import annotations

import atexit
import copy
import os
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from phyda_cli.errors import EXIT_INTERNAL, PhydaError

__all__ = ["Ranks", "in_parts", "join", "ranks", "shares"]

ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# A rank may be alive and silent for so long, as the first one is while it reads.
# A dead one is noticed at once.
TIMEOUT = timedelta(minutes=30)
T = TypeVar("T")


@dataclass
class Ranks:
    """This process is ``rank`` of ``size``, ``local_size`` of them on this machine; ``failed`` once
    an error is known to all of them."""

    rank: int = 0
    size: int = 1
    local_size: int = 1
    failed: bool = False

    def agree(self, note: Any = None, error: Exception | None = None) -> list[Any]:
        """Wait for all ranks and return their notes. When some have an ``error``, that of the
        lowest is raised by all.

        Raises PhydaError when a rank is gone.
        """
        own = (
            error
            if error is None or isinstance(error, PhydaError)
            else "".join(traceback.format_exception(error))
        )
        heard: list[Any] = [(own, note)]
        if self.size > 1:
            heard *= self.size
            with self._reachable():
                dist.all_gather_object(heard, (own, note))
        for rank, (problem, _) in enumerate(heard):
            if problem is not None:
                self.failed = True
                raise error if error is not None and rank == self.rank else _of_rank(rank, problem)
        return [note for _, note in heard]

    def broadcast(self, value: Any = None) -> Any:
        """The first rank's ``value``, on every rank."""
        if self.size == 1:
            return value
        self.agree()
        box = [value]
        with self._reachable():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def first(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, done by the first rank alone. When it fails there, the others end
        with its exit code."""
        value, code, error = None, 0, None
        if self.rank == 0:
            try:
                value = work()
            except Exception as caught:
                error, code = caught, getattr(caught, "exit_code", EXIT_INTERNAL)
        value, code = self.broadcast((value, code))
        if error is not None:
            raise error
        if code:
            raise SystemExit(code)
        found: T = value
        return found

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of ``values`` over the ranks."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

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
    own = join()
    token = _current.set(own)
    try:
        yield own
        own.agree()
    except Exception as error:
        if not own.failed:
            own.agree(error=error)
        raise
    finally:
        _current.reset(token)
        if own.size > 1:
            _leave(own)


def in_parts(
    count: int, work: Callable[[slice], torch.Tensor], like: torch.Tensor, dim: int = 0
) -> torch.Tensor:
    """``work`` of ``slice(0, count)``, each rank having done its own slice; parts have dtype and
    device of ``like`` and are put together along ``dim``.

    Only :func:`ranks` divides the work: the ranks of a training each do the whole.
    """
    own = _current.get()
    if own is None or own.size == 1:
        return work(slice(0, count))
    share = shares(count, own.size)[own.rank]
    part = work(share).contiguous() if share.start < share.stop else None
    shapes = own.agree(None if part is None else tuple(part.shape))
    parts = []
    with own._reachable():
        for rank, shape in enumerate(shapes):
            if shape is not None:
                parts.append(
                    part if rank == own.rank and part is not None else like.new_empty(shape)
                )
                dist.broadcast(parts[-1], src=rank)
    return torch.cat(parts, dim=dim)


def shares(count: int, size: int) -> list[slice]:
    """``size`` consecutive slices of ``range(count)``, as equal as they can be; some are empty
    where ``size`` is larger."""
    edges = [count * i // size for i in range(size + 1)]
    return [slice(first, end) for first, end in pairwise(edges)]


def join(timeout: timedelta = TIMEOUT) -> Ranks:
    """The ranks that the environment speaks of. Raises PhydaError when they cannot be reached."""
    if not all(name in os.environ for name in ENVIRONMENT):
        os.environ.update(of_slurm(os.environ))
    if not all(name in os.environ for name in ENVIRONMENT) or os.environ["WORLD_SIZE"] == "1":
        return Ranks()
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    try:
        dist.init_process_group(backend, timeout=timeout)
    except (RuntimeError, ValueError) as error:
        hint = f"start them with torchrun, which sets {', '.join(ENVIRONMENT)}"
        raise PhydaError(f"cannot join the other ranks: {error}", hint=hint) from error
    size = dist.get_world_size()
    return Ranks(dist.get_rank(), size, int(os.environ.get("LOCAL_WORLD_SIZE", size)))


def of_slurm(variables: Mapping[str, str]) -> dict[str, str]:
    """What torchrun would have set, for a process of an ``srun`` step of several tasks; else
    nothing."""
    size = int(variables.get("SLURM_STEP_NUM_TASKS", "1"))
    if size == 1:
        return {}
    # node[07-10,12] and node07,node08 both begin with node07
    nodes = re.sub(r"\[([^],-]*)[^]]*\]", r"\1", variables["SLURM_STEP_NODELIST"])
    job = int(variables["SLURM_JOB_ID"]) + int(variables.get("SLURM_STEP_ID", "0"))
    return {
        "RANK": variables["SLURM_PROCID"],
        "WORLD_SIZE": str(size),
        "LOCAL_RANK": variables["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(size // int(variables.get("SLURM_STEP_NUM_NODES", "1"))),
        "MASTER_ADDR": nodes.partition(",")[0],
        "MASTER_PORT": str(15000 + job % 10000),
    }


def _leave(own: Ranks) -> None:
    """After an error the others stay until the first has spoken and ended: ``torchrun`` ends all as
    soon as one has.

    The first leaves the group at its very end: a process that ends within a group is aborted by
    gloo's threads now and then.
    """
    if own.failed and own.rank == 0:
        atexit.register(dist.destroy_process_group)
        return
    if own.failed:
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
