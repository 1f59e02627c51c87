"""What the tests of the layers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from support import on_threads  # noqa: F401
from torch import Tensor, nn

from deepsphere_codec.graph import build_graph
from deepsphere_codec.layers import RescaledLaplacian
from deepsphere_codec.sphere import HealpixGrid

YAW = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
SYMMETRIES = {"yaw 90°": YAW, "mirror north-south": np.diag([1.0, 1, -1]), "mirror east-west": np.diag([1.0, -1, 1])}

Mover = Callable[[Tensor], Tensor]


def mover(nside: int, matrix: np.ndarray) -> Mover:
    """Moves a signal [batch, npix, channels] with a symmetry of the grid."""
    centers = HealpixGrid(nside).centers
    distance, image = cKDTree(centers).query(centers @ matrix)  # where the value at a node comes from
    assert distance.max() < 1e-12
    return lambda x: x[:, torch.from_numpy(image)]


@pytest.fixture(params=SYMMETRIES)
def move_nside8(request) -> Mover:
    """Yaw by 90° and the two mirrors, at nside 8."""
    return mover(8, SYMMETRIES[request.param])


@pytest.fixture
def yaw_nside8() -> Mover:
    return mover(8, YAW)


class Twins(NamedTuple):
    """A pattern on a face of nside 8 and its mirror image, x turned round about a node."""

    laplacian: RescaledLaplacian  # all weights alike, so that the mirror is one of its symmetries
    center: int
    pattern: Tensor
    mirrored: Tensor

    def difference(self, layer: nn.Module) -> float:
        """Largest, of what a layer makes of the two at the node in the middle."""
        with torch.no_grad():
            return float((layer(self.pattern) - layer(self.mirrored))[0, self.center].abs().max())


@pytest.fixture
def twins() -> Twins:
    """What radial filters of two hops cannot tell apart at the node in the middle."""
    graph = build_graph(8)
    alike = replace(graph, weights=(graph.weights > 0).astype(np.float32), lmax=12.0)
    window = torch.randn(5, 5)
    pictures = torch.zeros(2, 12, 8, 8)
    pictures[0, 5, 1:6, 2:7], pictures[1, 5, 1:6, 2:7] = window, window.flip(1)
    pattern, mirrored = pictures.view(2, 1, 768, 1)
    return Twins(RescaledLaplacian(alike), (5 * 8 + 3) * 8 + 4, pattern, mirrored)


@pytest.fixture(params=["bag", "csr", "scatter"])
def backend(request) -> str:
    """Every implementation of the sparse product; torch-scatter is an extra."""
    if request.param == "scatter":
        pytest.importorskip("torch_scatter")
    return request.param


@pytest.fixture(autouse=True)
def _same_numbers_on_one_thread():
    """The signals are tiny: a second thread would be waited for, many times as long as it takes to do its work."""
    torch.manual_seed(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
