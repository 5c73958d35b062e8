"""The processes that train together, each on its own device, with the mean of their gradients."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from phyda_cli.errors import GateError, PhydaError, UsageError
from phyda_cli.parallel.ranks import Ranks, join

__all__ = ["averaged", "own_device", "together", "without_sync"]

LONGEST_WAIT = timedelta(days=2)  # others wait while one makes statistics or simulates cases


@contextmanager
def together() -> Iterator[Ranks]:
    """The ranks of a training. The end of another process is an error of phyda's own in here.
    Success closes the connections, and so does an error at the very end of the process: gloo's
    threads now and then abort one that ends within a group."""
    own = join(LONGEST_WAIT)
    try:
        yield own
    except (RuntimeError, PhydaError, SystemExit) as error:
        cause = error.__cause__ if isinstance(error, PhydaError) else error
        if own.size > 1 and _lost(cause):
            raise GateError(
                f"process {own.rank}: another process of this training has ended",
                hint="see its own message",
            ) from error
        if own.size > 1:
            atexit.register(torch.distributed.destroy_process_group)
        raise
    if own.size > 1:
        torch.distributed.destroy_process_group()


def own_device(device: torch.device, ranks: Ranks) -> torch.device:
    """This process's ``device``. Raises UsageError where there are fewer GPUs than processes."""
    if device.type != "cuda" or ranks.size == 1:
        return device
    if torch.cuda.device_count() < ranks.local_size:
        raise UsageError(
            f"{ranks.local_size} processes on this machine see {torch.cuda.device_count()} GPUs",
            hint="start one process a GPU, each of which sees all of them (SLURM: "
            "--gpus-per-node, not --gpus-per-task)",
        )
    return torch.device("cuda", torch.cuda.current_device())


def averaged(module: nn.Module, ranks: Ranks, device: torch.device) -> nn.Module:
    """``module`` with gradients that are the mean over the ranks."""
    if ranks.size == 1:
        return module
    index = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=index, gradient_as_bucket_view=True)


def without_sync(module: nn.Module) -> AbstractContextManager[None]:
    """Within, gradients of a module of :func:`averaged` stay with their process."""
    if isinstance(module, DistributedDataParallel):
        synced: AbstractContextManager[None] = module.no_sync()
        return synced
    return nullcontext()


def _lost(error: BaseException | None) -> bool:
    return isinstance(error, torch.distributed.DistError) or (
        isinstance(error, RuntimeError)
        and any(word in str(error).lower() for word in ("gloo", "nccl", "connection closed"))
    )
