"""Results made up for tests of what is done with results."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deepsphere_codec.evaluation.results import Point, Results

MakeResults = Callable[..., Results]


@pytest.fixture
def make_results() -> MakeResults:
    return _straight_curve


def _straight_curve(name: str, factor: float = 1.0, codec: str | None = None, clips: int = 3) -> Results:
    """10 dB for each decade of rate, shifted by a factor in rate."""

    def points(clip: int) -> list[Point]:
        return [Point(q, factor * 10 ** (q / 10 - 2), 35 + q + clip / 4, ws_psnr_y=34.0 + q) for q in (0.0, 3, 6, 9)]

    return Results(
        name, "made up", codec or name, {"frames": 32}, {f"clip{n}.mp4": points(n) for n in range(clips)}, {}
    )
