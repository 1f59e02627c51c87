"""Speed is measured on whole codecs that really code."""

from __future__ import annotations

import pytest

from deepsphere_codec.data.synthetic import synthetic_film
from deepsphere_codec.evaluation.speed import PLANAR, compare_speed
from deepsphere_codec.models import DEFAULT_MODEL


@pytest.mark.slow
def test_our_model_and_the_planar_one_are_timed_side_by_side():
    rows = compare_speed([DEFAULT_MODEL], list(synthetic_film(256, 128, 3)), rounds=1)
    assert [row["codec"] for row in rows] == [DEFAULT_MODEL, PLANAR]
    for row in rows:
        assert row["encode_seconds"] > 0 and row["decode_seconds"] > 0
        assert 0.1 < row["peak_gib"] < 4
