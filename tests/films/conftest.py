from __future__ import annotations

from pathlib import Path

import pytest
from sounding import Tone, make_sounding_film
from support import same_numbers_on_one_thread  # noqa: F401


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 frames with sound."""
    return make_sounding_film(tmp_path_factory.mktemp("film") / "film.mp4", [Tone("aac")], tags={"title": "A"})
