"""What the tests of the networks share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support import TINY, centers, on_threads, same_numbers_on_one_thread, turn  # noqa: F401

from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.models import ModelConfig, SphereDVC
from deepsphere_codec.models.pyramid import Pyramid
from deepsphere_codec.sphere import HealpixGrid

MakeNetwork = Callable[[ModelConfig, Grid], SphereDVC]


@pytest.fixture(scope="session")
def tiny() -> ModelConfig:
    """`support.TINY`."""
    return TINY


@pytest.fixture(scope="session")
def make_lively() -> MakeNetwork:
    """Networks in which nothing is zero any more, as after training; tables built."""

    def make(config: ModelConfig, grid: Grid) -> SphereDVC:
        generator = torch.Generator().manual_seed(7)
        torch.manual_seed(7)
        network = SphereDVC(config, grid).eval().requires_grad_(False)
        for p in network.parameters():
            if p.dim() > 1 and not p.any():
                p.copy_(0.002 * torch.randn(p.shape, generator=generator))
        network.build_tables()
        return network

    return make


@pytest.fixture(scope="session")
def lively(tiny: ModelConfig, make_lively: MakeNetwork) -> SphereDVC:
    """On the whole sphere at nside 64; shared, not to be changed."""
    return make_lively(tiny, HealpixGrid.cached(64))


@pytest.fixture(scope="session")
def pyramid() -> Pyramid:
    """Of the whole sphere at nside 64; shared, not to be changed."""
    return Pyramid(HealpixGrid.cached(64))


def picture(p: torch.Tensor) -> torch.Tensor:
    """Waves of three colours, [1, npix, 3] in 0 … 1."""
    waves = torch.tensor([[9.0, 2, -4], [-3, 8, 5], [2, -6, 11]], dtype=torch.float64)
    return (0.5 + 0.2 * (p @ waves).sin() + 0.15 * (p @ waves.flip(0) * 2).sin()).float()[None]


@pytest.fixture(scope="session")
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """Two frames at nside 64: a pattern, and the same a little turned and brightened."""
    p = centers(64)
    return picture(p), 0.98 * picture(p @ turn((-4.0, 6.0, 10.0), 0.7)) + 0.015


@pytest.fixture(scope="session")
def films() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Two frames each, in which things happen apart: nothing, new colours, an object that moves, the camera turns.

    All but the first have the new colours, which no motion explains.
    """
    p = centers(64)
    x, there = picture(p), (p[:, 0] > 0.5)[None, :, None]
    camera, own = turn((1.0, -2.0, 0.5), 1.5), turn((0.0, 0.0, 1.0), 3.0)
    new = 0.15 * there * torch.tensor([0.0, -1.0, 1.0])
    return {
        "still": (x, x),
        "new": (x, x + new),
        "moved": (x, torch.where(there, picture(p @ own), x) + new),
        "turned": (x, picture(p @ camera) + new),
        "both": (x, torch.where(there, picture(p @ own @ camera), picture(p @ camera)) + new),
    }
