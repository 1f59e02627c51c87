"""What the tests of the sphere share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepsphere_codec.sphere import ErpResampler


@pytest.fixture
def directions() -> np.ndarray:
    """2000 unit vectors, among them the poles, their surroundings, face edges and three-face corners."""
    rng = np.random.default_rng(7)
    dirs = rng.normal(size=(2000, 3))
    dirs[:100, :2] *= 1e-7
    dirs[100:150, 2] = 2.0 / 3.0 * np.linalg.norm(dirs[100:150, :2], axis=1) / np.sqrt(5.0) * 3.0
    dirs[150:160] = [[0, 0, 1], [0, 0, -1], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0], *[[1, 0, 2 / 5**0.5]] * 4]
    return dirs / np.linalg.norm(dirs, axis=-1, keepdims=True)


@pytest.fixture(scope="session")
def resampler(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ErpResampler]:
    """Makes resamplers whose stencils are kept for this run of the tests only."""
    folder: Path = tmp_path_factory.mktemp("stencils")
    made: dict[tuple[int, int, int], ErpResampler] = {}

    def make(height: int, width: int, nside: int) -> ErpResampler:
        key = (height, width, nside)
        if key not in made:
            made[key] = ErpResampler(height, width, nside, cache_dir=folder)
        return made[key]

    return make
