"""What the tests of entropy coding share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
import torch

from deepsphere_codec.entropy.hyperprior import ScaleHyperprior
from deepsphere_codec.graph import build_graph
from deepsphere_codec.layers import FacePadding, RescaledLaplacian
from deepsphere_codec.layers.blocks import Resolution
from deepsphere_codec.sphere import HealpixGrid

T = TypeVar("T")
OnThreads = Callable[[int, Callable[[], T]], T]


@pytest.fixture(autouse=True)
def _same_numbers_on_one_thread() -> Iterator[None]:
    torch.manual_seed(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def on_threads() -> OnThreads:
    """Calls something with a number of threads."""

    def run(threads: int, call: Callable[[], T]) -> T:
        torch.set_num_threads(threads)
        try:
            return call()
        finally:
            torch.set_num_threads(1)

    return run


@pytest.fixture
def hyperprior() -> ScaleHyperprior:
    """8 channels at nside 16, 6 of side information at nside 4; weights as at the start, tables built."""

    def at(nside: int) -> Resolution:
        return Resolution(nside, RescaledLaplacian(build_graph(nside)), FacePadding(HealpixGrid(nside)))

    module = ScaleHyperprior(8, 6, 8, at(16), at(8), at(4)).eval().requires_grad_(False)
    module.build_tables()
    return module
