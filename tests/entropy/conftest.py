"""What the tests of entropy coding share."""

from __future__ import annotations

import pytest
from support import on_threads, same_numbers_on_one_thread  # noqa: F401

from deepsphere_codec.entropy.hyperprior import ScaleHyperprior
from deepsphere_codec.graph import build_graph
from deepsphere_codec.layers import FacePadding, RescaledLaplacian
from deepsphere_codec.layers.blocks import Resolution
from deepsphere_codec.sphere import HealpixGrid


@pytest.fixture
def hyperprior() -> ScaleHyperprior:
    """8 channels at nside 16, 6 of side information at nside 4; weights as at the start, tables built."""

    def at(nside: int) -> Resolution:
        return Resolution(nside, RescaledLaplacian(build_graph(nside)), FacePadding(HealpixGrid(nside)))

    module = ScaleHyperprior(8, 6, 8, at(16), at(8), at(4)).eval().requires_grad_(False)
    module.build_tables()
    return module
