"""The processes that train together: one, or those that torchrun or SLURM have started, by way of
Lightning Fabric."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.wrappers import _FabricModule as FabricModule
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from phyda_cli.errors import GateError, UsageError
from phyda_cli.model.unet import Block

__all__ = ["World", "local", "scattered", "whole"]

LONGEST_WAIT = timedelta(days=2)  # others wait while one makes statistics or simulates cases
T = TypeVar("T")


class World:
    """Rank, size and device of this process, and what it does with the others.

    ``sharded`` is true where weights, gradients and optimiser are divided among the processes
    (FSDP), which must not change any result.
    """

    def __init__(self, device: torch.device, strategy: Literal["ddp", "fsdp"] = "ddp") -> None:
        """Raises UsageError where there are fewer GPUs than processes."""
        environment, size, self.local_size = _launched()
        if device.type == "cuda" and torch.cuda.device_count() < self.local_size:
            raise UsageError(
                f"{self.local_size} processes on this machine see {torch.cuda.device_count()} GPUs",
                hint="start one process a GPU, each of which sees all of them (SLURM: "
                "--gpus-per-node, not --gpus-per-task)",
            )
        self.sharded = strategy == "fsdp" and size > 1
        chosen: Any = "auto"
        if self.sharded:
            chosen = ModelParallelStrategy(
                _shard, data_parallel_size=size, tensor_parallel_size=1, timeout=LONGEST_WAIT
            )
        elif size > 1:
            chosen = DDPStrategy(timeout=LONGEST_WAIT, gradient_as_bucket_view=True)
        logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
        with _quiet():
            self.fabric = Fabric(
                accelerator=device.type,
                devices=self.local_size,
                num_nodes=size // self.local_size,
                strategy=chosen,
                plugins=environment,
            )
            self.fabric.launch()
        self.rank, self.size, self.device = self.fabric.global_rank, size, self.fabric.device

    def module(self, module: nn.Module) -> FabricModule:
        """``module`` on the device, its gradients averaged over the processes; where ``sharded``,
        divided in place."""
        with _quiet():
            wrapped: FabricModule = self.fabric.setup_module(module.to(self.device))
            return wrapped

    def total(self, values: Tensor) -> Tensor:
        """The sum of ``values`` over the processes."""
        if self.size == 1:
            return values
        total = self.fabric.all_reduce(values, reduce_op="sum")
        assert isinstance(total, Tensor)
        return total

    def same(self, value: T) -> T:
        """The first process's ``value``."""
        return self.fabric.broadcast(value) if self.size > 1 else value

    def gathered(self, value: float) -> list[float]:
        """The ``value`` of every process."""
        values = torch.zeros(self.size, dtype=torch.float64, device=self.device)
        values[self.rank] = value
        return [float(v) for v in self.total(values)]

    def meet(self) -> None:
        """Wait until all are here."""
        if self.size > 1:
            self.fabric.barrier()

    def first(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, done by the first process alone. When it fails there, all end with
        its exit code."""
        if self.size == 1:
            return work()
        if self.rank > 0:
            code, value = self.fabric.broadcast((0, None))
            if code:
                raise SystemExit(code)
            return value  # type: ignore[return-value]
        try:
            value = work()
        except BaseException as error:
            self.fabric.broadcast((getattr(error, "exit_code", 1), None))
            raise
        self.fabric.broadcast((0, value))
        return value

    @contextmanager
    def together(self) -> Iterator[None]:
        """Around all work: the end of another process is an error of phyda's own here, and success
        closes the connections."""
        try:
            yield
        except RuntimeError as error:
            lost = isinstance(error, torch.distributed.DistError) or any(
                word in str(error).lower() for word in ("gloo", "nccl")
            )
            if self.size > 1 and lost:
                raise GateError(
                    f"process {self.rank}: another process of this training has ended",
                    hint="see its own message",
                ) from error
            raise
        if self.size > 1:
            torch.distributed.destroy_process_group()


def _launched() -> tuple[
    LightningEnvironment | SLURMEnvironment | TorchElasticEnvironment, int, int
]:
    """The environment that started this process, the number of processes in all and on this
    machine."""
    if TorchElasticEnvironment.detect():
        return (
            TorchElasticEnvironment(),
            int(os.environ["WORLD_SIZE"]),
            int(os.environ["LOCAL_WORLD_SIZE"]),
        )
    with _quiet():
        if SLURMEnvironment.detect() and int(os.environ.get("SLURM_NTASKS", "1")) > 1:
            size = int(os.environ["SLURM_NTASKS"])
            return (
                SLURMEnvironment(auto_requeue=False),
                size,
                size // int(os.environ.get("SLURM_NNODES", "1")),
            )
    return LightningEnvironment(), 1, 1


@contextmanager
def _quiet() -> Iterator[None]:
    """What other libraries have to say about their own settings is not for the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _shard(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    among = mesh["data_parallel"]
    for part in module.modules():
        if isinstance(part, Block):
            fully_shard(part, mesh=among)
    fully_shard(module, mesh=among)
    return module


def whole(value: Any) -> Any:
    """``value`` with every divided tensor in it made whole; all processes have to ask for the
    same."""
    if isinstance(value, dict):
        return {k: whole(v) for k, v in value.items()}
    if isinstance(value, list):
        return [whole(v) for v in value]
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def scattered(value: Tensor, like: Tensor) -> Tensor:
    """The whole tensor ``value`` divided as ``like`` is."""
    if not hasattr(like, "full_tensor"):
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def local(value: Tensor) -> Tensor:
    """This process's own part of ``value``, in the same memory."""
    found: Tensor = value.to_local() if hasattr(value, "to_local") else value
    return found
