"""Which resolution a quality is coded at."""

from __future__ import annotations

import math

import pytest
from support import FakeModel

from deepsphere_codec.errors import UsageError
from deepsphere_codec.models.resolution import MAX_QUALITY, SHARES, STEEPNESS, choose_resolution

BEST = 8.0
WORST = 1.0


def test_the_best_quality_has_a_quarter_of_the_width() -> None:
    assert choose_resolution(FakeModel(), 1024, BEST) == (256, BEST)
    assert choose_resolution(FakeModel(), 1000, BEST) == (252, BEST)  # rounded up to what the model divides


def test_lower_qualities_have_fewer_nodes_that_are_coded_better() -> None:
    found = [choose_resolution(FakeModel(), 1024, quality) for quality in (1.0, 3.0, 7.0)]
    assert [each.nside for each in found] == [int(256 * share) for _, share in SHARES]
    for asked, each in zip((1.0, 3.0, 7.0), found, strict=True):
        assert each.model_quality == pytest.approx(asked + STEEPNESS * math.log2(256 / each.nside))


def test_no_network_is_asked_for_more_than_its_best() -> None:
    for tenths in range(10, 81):
        assert choose_resolution(FakeModel(), 1024, tenths / 10).model_quality <= MAX_QUALITY


def test_a_small_film_is_not_coded_smaller_than_the_model_can() -> None:
    assert choose_resolution(FakeModel(), 16, WORST) == (4, WORST)


def test_who_names_an_nside_gets_it_at_the_quality_asked_for() -> None:
    model = FakeModel()
    assert choose_resolution(model, 1024, 2.5, 192) == (192, 2.5)
    with pytest.raises(UsageError, match="multiples of 4, such as 96 or 100"):
        choose_resolution(model, 1024, 2.5, 98)
    with pytest.raises(UsageError, match="such as 4"):
        choose_resolution(model, 1024, 2.5, 2)
    with pytest.raises(UsageError):
        choose_resolution(model, 1024, 2.5, -4)
