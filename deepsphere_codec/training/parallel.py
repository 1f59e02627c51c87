"""Several processes, started by torchrun, that train one model together."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from deepsphere_codec.errors import UsageError


class World(NamedTuple):
    """This process among those that train together; one that is alone is the first of one."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes checkpoints and logs."""
        return self.rank == 0

    def shares(self, count: int) -> range:
        """Which of the shares of a step are this process's.

        Raises:
            UsageError: the processes cannot share them evenly.
        """
        if count % self.size:
            raise UsageError(f"train.shares is {count}: {self.size} processes need a multiple of {self.size}")
        return range(self.rank, count, self.size)

    def mean(self, values: Tensor) -> Tensor:
        """Of all processes' values."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.size > 1:
            dist.barrier()

    def agreed(self, flag: bool) -> bool:
        """What the first process says."""
        if self.size > 1:
            told = torch.tensor(int(flag), device=_device_of_group())
            dist.broadcast(told, 0)
            return bool(told)
        return flag


def join_world(device: str) -> World:
    """The world that torchrun's variables tell of; a process that it did not start is alone.

    Args:
        device: "cuda" (NCCL, one device a process) or "cpu" (Gloo).
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    return World(dist.get_rank(), size)


def leave_world(world: World) -> None:
    """To be called at the end, whatever the end."""
    if world.size > 1 and dist.is_initialized():
        dist.destroy_process_group()


def _device_of_group() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
