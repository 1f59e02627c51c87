"""What the tests of the networks share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support import on_threads, same_numbers_on_one_thread  # noqa: F401

from deepsphere_codec.layers.padding import Grid
from deepsphere_codec.models import ModelConfig, SphereDVC
from deepsphere_codec.sphere import HealpixGrid

MakeNetwork = Callable[[ModelConfig, Grid], SphereDVC]


@pytest.fixture(scope="session")
def tiny() -> ModelConfig:
    """As the released model, but narrow."""
    return ModelConfig(
        work_channels=16,
        middle_channels=16,
        intra_latents=16,
        residual_latents=16,
        motion_latents=8,
        hyper_channels=8,
        hyper_hidden=8,
        motion_channels=16,
    )


@pytest.fixture(scope="session")
def make_lively() -> MakeNetwork:
    """Networks in which nothing is zero any more, as after training; tables built."""

    def make(config: ModelConfig, grid: Grid) -> SphereDVC:
        generator = torch.Generator().manual_seed(7)
        torch.manual_seed(7)
        network = SphereDVC(config, grid).eval().requires_grad_(False)
        for p in network.parameters():
            if p.dim() > 1 and not p.any():
                p.copy_(0.02 * torch.randn(p.shape, generator=generator))
        network.build_tables()
        return network

    return make


@pytest.fixture(scope="session")
def lively(tiny: ModelConfig, make_lively: MakeNetwork) -> SphereDVC:
    """On the whole sphere at nside 64; shared, not to be changed."""
    return make_lively(tiny, HealpixGrid.cached(64))


@pytest.fixture(scope="session")
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """Two frames at nside 64, [1, npix, 3] in 0 … 1: a pattern, and the same a little turned and brightened."""
    p = torch.from_numpy(HealpixGrid.cached(64).centers)
    turn = torch.linalg.matrix_exp(torch.tensor([[0, -0.01, 0.006], [0.01, 0, 0.004], [-0.006, -0.004, 0]]).double())
    waves = torch.tensor([[9.0, 2, -4], [-3, 8, 5], [2, -6, 11]], dtype=torch.float64)
    first, second = (0.5 + 0.2 * (q @ waves).sin() + 0.15 * (q @ waves.flip(0) * 3).sin() for q in (p, p @ turn))
    return first.float()[None], (0.98 * second + 0.015).float()[None]
