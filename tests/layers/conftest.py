"""What the tests of the layers share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from torch import Tensor

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
