"""What the tests of baselines share."""

from __future__ import annotations

from pathlib import Path

import pytest
from planar_flow import weights  # noqa: F401
from support import make_film, same_numbers_on_one_thread  # noqa: F401
from training_runs import clips  # noqa: F401


@pytest.fixture(scope="session")
def small_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smaller than what the network takes: it must be padded; 3 frames."""
    return make_film(tmp_path_factory.mktemp("film") / "film.mkv", width=96, height=48, frames=3)
