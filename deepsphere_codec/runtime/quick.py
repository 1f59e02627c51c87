"""Selection of number formats that are fast on this machine, by measurement.

On a processor that lacks an instruction a kernel may be 40 times as slow.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import torch

_TURNS = 3


def least_seconds(compute: Callable[[], object]) -> float:
    """Measure a function: the shortest of three runs after a warm-up, in seconds, which is robust to other load."""
    times = []
    for _ in range(1 + _TURNS):
        start = time.perf_counter()
        compute()
        times.append(time.perf_counter() - start)
    return min(times[1:])


@lru_cache
def quick_bfloat16(device: str) -> bool:
    """Test whether a kind of device ("cpu", "cuda") multiplies bfloat16 matrices at least about as fast as float32.

    Processors without instructions for bfloat16 (AVX2 only) take 40 times as long.
    """
    if device != "cpu":
        return torch.cuda.is_bf16_supported()
    a, b = torch.ones(128, 256), torch.ones(256, 128)
    halves = a.bfloat16(), b.bfloat16()
    with torch.autocast("cpu", enabled=False):
        return least_seconds(lambda: torch.mm(*halves)) < 2 * least_seconds(lambda: a @ b)


def in_bfloat16(precision: str, device: str) -> bool:
    """Decide whether layers compute in bfloat16.

    Args:
        precision: "float32", "bfloat16", or "auto" for bfloat16 if it is fast.
        device: Kind of device, "cpu" or "cuda".
    Returns:
        True for bfloat16, False for float32.
    """
    return precision == "bfloat16" or (precision == "auto" and quick_bfloat16(device))
