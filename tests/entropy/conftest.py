"""What the tests of entropy coding share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from support import on_threads, same_numbers_on_one_thread  # noqa: F401

from deepsphere_codec.entropy.exact import ExactConv
from deepsphere_codec.entropy.hyperprior import Coding, Hyperprior, Parameters
from deepsphere_codec.graph import build_graph
from deepsphere_codec.layers import FacePadding, RescaledLaplacian
from deepsphere_codec.layers.blocks import Resolution
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.sphere.grid import NEIGHBOR_STEPS

CHANNELS, HYPER_CHANNELS, HIDDEN, MEMORY = 8, 6, 8, 12

ByIntegers = Callable[[ExactConv, np.ndarray, np.ndarray | None], np.ndarray]
Record = Callable[[Hyperprior, torch.Tensor, Sequence[torch.Tensor]], list[Parameters]]


@pytest.fixture(scope="session")
def by_integers() -> ByIntegers:
    """A layer in whole numbers of the type of its input, `object` for Python's own.

    Args:
        x: [npix, fin].
        neighbors: Of each node those in the order of HealpixGrid.neighbors, -1 for one that does not exist; not looked
            at where there is one tap.
    """

    def layer(conv: ExactConv, x: np.ndarray, neighbors: np.ndarray | None = None) -> np.ndarray:
        rows, biases, shifts = [], [], []
        for row, bias in zip(conv.weight.detach().double().flatten(1).tolist(), conv.bias.tolist(), strict=True):
            largest = max(map(abs, row))
            shift = next((s for s in range(16, 1, -1) if largest * 2.0**s <= 127), 1)
            rows.append([max(-127, min(127, round(value * 2.0**shift))) for value in row])  # halves to even
            biases.append(round(max(-4096.0, min(4096.0, bias)) * 2.0**shift) + 2 ** (shift - 1))
            shifts.append(shift)
        weight = np.array(rows, x.dtype).reshape(conv.weight.shape)
        total = x @ weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2].T + np.array(biases, x.dtype)
        if conv.padding is not None:
            assert neighbors is not None
            for (dx, dy), neighbor in zip(NEIGHBOR_STEPS, neighbors.T, strict=True):
                there = (neighbor >= 0)[:, None]
                total = total + np.where(there, x[np.maximum(neighbor, 0)], 0) @ weight[:, :, 1 + dy, 1 + dx].T
        return np.clip(total >> np.array(shifts, x.dtype), conv.low, conv.limit)

    return layer


@pytest.fixture(scope="session")
def resolutions() -> list[Resolution]:
    """Of latents, between, and of side information."""

    def at(nside: int) -> Resolution:
        return Resolution(nside, RescaledLaplacian(build_graph(nside)), FacePadding(HealpixGrid.cached(nside)))

    return [at(16), at(8), at(4)]


@pytest.fixture(scope="session")
def make_hyperprior(resolutions: list[Resolution]) -> Callable[..., Hyperprior]:
    """8 channels at nside 16, 6 of side information at nside 4, and a context of as many channels as asked for.

    Weights as at the start, but for the means', which spread over some units; tables built.
    """

    def make(context_channels: int, lead_steps: int) -> Hyperprior:
        torch.manual_seed(5)
        module = Hyperprior(CHANNELS, HYPER_CHANNELS, HIDDEN, context_channels, *resolutions, lead_steps=lead_steps)
        module.eval().requires_grad_(False)
        for part in (module.hyper, *module.slices):
            part.mean.weight.mul_(40)
        module.build_tables()
        return module

    made: dict[tuple[int, int], Hyperprior] = {}

    def own(context_channels: int, lead_steps: int = 2) -> Hyperprior:
        key = context_channels, lead_steps
        if key not in made:
            made[key] = make(*key)
        return copy.deepcopy(made[key])

    return own


@pytest.fixture(params=[1, MEMORY], ids=["no-memory", "memory"])
def hyperprior(request: pytest.FixtureRequest, make_hyperprior: Callable[[int], Hyperprior]) -> Hyperprior:
    """Two hyperpriors of each test's own, with a context of one channel, and of several."""
    return make_hyperprior(request.param)


@pytest.fixture
def context(hyperprior: Hyperprior) -> torch.Tensor:
    """A context of such a hyperprior: whole numbers -127 … 127."""
    shape = 1, len(hyperprior.anchors), hyperprior.recall.weight.shape[1]
    return (40 * torch.randn(shape)).round().clamp(-127, 127).to(torch.int8)


@pytest.fixture(scope="session")
def record() -> Record:
    """Parameters that symbols are coded with: of z's anchors, its other nodes, the first slice's anchors, and so on.

    The symbols are given, z's and each slice's, [nodes, channels].
    """

    def run(module: Hyperprior, context: torch.Tensor, symbols: Sequence[torch.Tensor]) -> list[Parameters]:
        found = []

        def coding(part: torch.Tensor) -> Coding:
            def code(level: torch.Tensor, mean: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
                found.append(Parameters(level, mean))
                return part[where]

            return code

        module.coded([coding(part) for part in symbols], context)
        return found

    return run
