"""What the tests of the graphs share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from deepsphere_codec.sphere import HealpixGrid

SYMMETRIES = {
    "yaw 90°": np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    "mirror north-south": np.diag([1.0, 1, -1]),
    "mirror east-west": np.diag([1.0, -1, 1]),
}


@pytest.fixture(params=SYMMETRIES)
def symmetry(request):
    """A symmetry of the grid: `symmetry(nside)[i]` is the node that node i goes to."""

    def permutation(nside: int) -> np.ndarray:
        centers = HealpixGrid(nside).centers
        distance, image = cKDTree(centers).query(centers @ SYMMETRIES[request.param].T)
        assert distance.max() < 1e-12
        return image

    return permutation


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; the folder that graphs are kept in."""
    monkeypatch.setenv("DEEPSPHERE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "graphs"
