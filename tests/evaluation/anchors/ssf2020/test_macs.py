"""What the planar baseline computes, reckoned by hand from the sizes of its layers."""

from __future__ import annotations

import pytest
import torch

from deepsphere_codec.evaluation.anchors.ssf2020 import NAME
from deepsphere_codec.evaluation.anchors.ssf2020.network import complexity
from deepsphere_codec.evaluation.complexity import complexity_of

TAPS, LEVELS = 25, [1 / 4**n for n in range(8)]  # values to a pixel, after so many halvings of the sides


def transform(channels: int) -> float:
    """Of an analysis with so many channels before it, or of a synthesis with so many behind it."""
    return TAPS * (LEVELS[1] * channels * 128 + (LEVELS[2] + LEVELS[3]) * 128 * 128 + LEVELS[4] * 128 * 192)


HYPER = TAPS * 192 * 192 * sum(LEVELS[5:])
WIDE = TAPS * LEVELS[4] * 192 * 128  # more, where a synthesis sees latents of motion and residual


def test_by_hand() -> None:
    found = complexity().macs
    picture = transform(3) + 2 * HYPER
    residual = picture + WIDE
    assert found.intra_decoder == pytest.approx(picture, rel=1e-12)
    assert found.intra == pytest.approx(picture + transform(3) + HYPER, rel=1e-12)
    assert found.inter_decoder == pytest.approx(picture + residual, rel=1e-12)  # the motion's synthesis has 3 channels
    encoders = transform(6) + transform(3) + 2 * HYPER
    assert found.inter == pytest.approx(found.inter_decoder + encoders, rel=1e-12)


def test_it_needs_no_weights_and_leaves_the_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    assert complexity_of(NAME).parameters == 34_209_609
    assert torch.equal(torch.get_rng_state(), before)
