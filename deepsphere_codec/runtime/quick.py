"""Number formats that this machine computes in quickly, found by trying.

A kernel whose processor lacks an instruction may be 40 times as slow.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import torch

_TURNS = 3


def least_seconds(compute: Callable[[], object]) -> float:
    """The shortest of three turns after a first one; what else the machine does lengthens some of them at most."""
    times = []
    for _ in range(1 + _TURNS):
        start = time.perf_counter()
        compute()
        times.append(time.perf_counter() - start)
    return min(times[1:])


@lru_cache
def quick_bfloat16(device: str) -> bool:
    """Whether a kind of device ("cpu", "cuda") multiplies matrices in bfloat16 about as fast as in float32, or faster.

    Processors without instructions for it (AVX2 alone) take 40 times as long.
    """
    if device != "cpu":
        return torch.cuda.is_bf16_supported()
    a, b = torch.ones(128, 256), torch.ones(256, 128)
    halves = a.bfloat16(), b.bfloat16()
    with torch.autocast("cpu", enabled=False):
        return least_seconds(lambda: torch.mm(*halves)) < 2 * least_seconds(lambda: a @ b)


def in_bfloat16(precision: str, device: str) -> bool:
    """Whether layers compute in bfloat16 where "float32", "bfloat16" or "auto" was asked for."""
    return precision == "bfloat16" or (precision == "auto" and quick_bfloat16(device))
