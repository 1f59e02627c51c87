"""Training of one model with several processes, started by torchrun."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from deepsphere_codec.errors import UsageError


class World(NamedTuple):
    """Group of processes that train together, as seen from this one; a single process has rank 0 and size 1.

    Attributes:
        rank: Rank of this process.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes checkpoints and logs."""
        return self.rank == 0

    def shares(self, count: int) -> range:
        """Return the indices of a step's shares that this process computes, out of `count`.

        Raises:
            UsageError: the processes cannot divide the shares evenly.
        """
        if count % self.size:
            raise UsageError(f"train.shares is {count}: {self.size} processes need a multiple of {self.size}")
        return range(self.rank, count, self.size)

    def mean(self, values: Tensor) -> Tensor:
        """Average values over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def wait(self) -> None:
        """Wait until all processes have reached this call."""
        if self.size > 1:
            dist.barrier()

    def agreed(self, flag: bool) -> bool:
        """Return the flag of the first process in all processes."""
        if self.size > 1:
            told = torch.tensor(int(flag), device=_device_of_group())
            dist.broadcast(told, 0)
            return bool(told)
        return flag


def join_world(device: str) -> World:
    """Join the group of processes that torchrun started; a process not started by it is a group of its own.

    Args:
        device: "cuda" (NCCL, one device per process) or "cpu" (Gloo).
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    return World(dist.get_rank(), size)


def leave_world(world: World) -> None:
    """Leave the group; to be called at the end of training, also after an error."""
    if world.size > 1 and dist.is_initialized():
        dist.destroy_process_group()


def _device_of_group() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
