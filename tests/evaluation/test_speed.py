"""Speed is measured on whole codecs that really code."""

from __future__ import annotations

import pytest

from deepsphere_codec.data.synthetic import synthetic_film
from deepsphere_codec.evaluation.speed import FAST, PLANAR, compare_speed, metrics_speed, motion_speed
from deepsphere_codec.models import DEFAULT_MODEL


@pytest.mark.slow
def test_our_model_and_the_planar_one_are_timed_side_by_side():
    rows = compare_speed([DEFAULT_MODEL], list(synthetic_film(256, 128, 3)), rounds=1)
    assert [row["codec"] for row in rows] == [DEFAULT_MODEL, DEFAULT_MODEL + FAST, PLANAR]
    for row in rows:
        assert row["encode_seconds"] > 0 and row["decode_seconds"] > 0
        assert 0.1 < row["peak_gib"] < 4


@pytest.mark.slow
def test_the_search_for_motion_is_timed():
    seconds = motion_speed(DEFAULT_MODEL, list(synthetic_film(256, 128, 3)), rounds=1)
    assert list(seconds) == ["search_seconds", "write_seconds", "read_seconds"]
    assert all(0 < value < 60 for value in seconds.values())


def test_metrics_are_timed():
    quick, everything = metrics_speed(list(synthetic_film(128, 64, 3)), rounds=1)
    assert (quick["metrics"], everything["metrics"]) == ("quick", "all")
    assert quick["frames_per_second"] > 0 and everything["frames_per_second"] > 0
