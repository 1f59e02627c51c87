"""What the tests of entropy coding share."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from support import on_threads, same_numbers_on_one_thread  # noqa: F401

from deepsphere_codec.entropy.hyperprior import Hyperprior
from deepsphere_codec.graph import build_graph
from deepsphere_codec.layers import FacePadding, RescaledLaplacian
from deepsphere_codec.layers.blocks import Resolution
from deepsphere_codec.sphere import HealpixGrid

CHANNELS, HYPER_CHANNELS, HIDDEN, MEMORY = 8, 6, 8, 12


@pytest.fixture(scope="session")
def resolutions() -> list[Resolution]:
    """Of latents, between, and of side information."""

    def at(nside: int) -> Resolution:
        return Resolution(nside, RescaledLaplacian(build_graph(nside)), FacePadding(HealpixGrid.cached(nside)))

    return [at(16), at(8), at(4)]


@pytest.fixture(scope="session")
def make_hyperprior(resolutions: list[Resolution]) -> Callable[[int], Hyperprior]:
    """8 channels at nside 16, 6 of side information at nside 4, and a memory of as many channels as asked for.

    Weights as at the start, but for the means', which spread over some units; tables built.
    """

    def make(memory_channels: int) -> Hyperprior:
        torch.manual_seed(5)
        module = Hyperprior(CHANNELS, HYPER_CHANNELS, HIDDEN, memory_channels, *resolutions)
        module.eval().requires_grad_(False).mean.weight.mul_(40)
        module.build_tables()
        return module

    made: dict[int, Hyperprior] = {}

    def own(memory_channels: int) -> Hyperprior:
        if memory_channels not in made:
            made[memory_channels] = make(memory_channels)
        return copy.deepcopy(made[memory_channels])

    return own


@pytest.fixture(params=[0, MEMORY], ids=["no-memory", "memory"])
def hyperprior(request: pytest.FixtureRequest, make_hyperprior: Callable[[int], Hyperprior]) -> Hyperprior:
    """Without a memory and with one; each test's own."""
    return make_hyperprior(request.param)


@pytest.fixture
def memory(hyperprior: Hyperprior) -> torch.Tensor | None:
    """What such a hyperprior remembers: whole numbers -255 … 255, or nothing."""
    if hyperprior.recall is None:
        return None
    remembered = 40 * torch.randn(1, len(hyperprior.anchors), MEMORY, dtype=torch.float64)
    return remembered.round().clamp(-255, 255)
