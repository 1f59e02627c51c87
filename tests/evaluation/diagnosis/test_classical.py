"""Classical encoders on single frames: interpolation, the search for a PSNR, and x265 from given references."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from deepsphere_codec.evaluation.diagnosis.classical import (
    AV1_CRF,
    QP,
    Levels,
    RatePoint,
    bits_at,
    encode_from_references,
    encode_intra,
    encode_residual,
    frame_psnr,
    points_around,
)
from deepsphere_codec.video import VideoInfo, YuvFrame

WIDTH, HEIGHT = 256, 128
INFO = VideoInfo(WIDTH, HEIGHT, Fraction(25), 2, False, "bt709")


def pattern(shift: int = 0, noise: float = 0.0, seed: int = 1) -> YuvFrame:
    """A texture of many waves, moved to the right by whole pixels, with noise that depends on the seed."""
    texture, noise_source = np.random.default_rng(7), np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    luma = np.full((HEIGHT, WIDTH), 128.0)
    for _ in range(40):
        rows, columns, phase = texture.integers(-20, 20), texture.integers(-40, 40), texture.uniform(0, 2 * np.pi)
        luma += 8 * np.cos(2 * np.pi * (rows * y / HEIGHT + columns * (x - shift) / WIDTH) + phase)
    luma += noise * noise_source.standard_normal(luma.shape)
    planes = luma, 0.5 * luma[::2, ::2] + 64, 192 - 0.5 * luma[::2, ::2]
    return YuvFrame(*(plane.round().clip(0, 255).astype(np.uint8) for plane in planes))


def curve(level: float) -> RatePoint:
    """1 dB for each level, and a sixth of an octave of bits."""
    return RatePoint(round(1e6 * 2 ** (-level / 6)), 70 - level)


def test_bits_are_interpolated_on_a_logarithmic_scale() -> None:
    points = [RatePoint(16000, 42.0), RatePoint(1000, 34.0), RatePoint(4000, 38.0)]
    assert bits_at(points, 36.0) == pytest.approx(2000)
    assert bits_at(points, 41.0) == pytest.approx(4000 * 4**0.75)
    assert bits_at(points, 34.0) == pytest.approx(1000) and bits_at(points, 42.0) == pytest.approx(16000)
    assert bits_at(points, 33.9) is None and bits_at(points, 42.1) is None and bits_at([], 30.0) is None


def test_points_of_equal_psnr_count_with_the_fewer_bits() -> None:
    assert bits_at([RatePoint(900, 40.0), RatePoint(800, 40.0)], 40.0) == 800


@pytest.mark.parametrize("decibels", [20.0, 33.3, 40.0, 41.7, 66.1])
def test_the_search_closes_in_on_a_psnr(decibels: float) -> None:
    points = points_around(curve, decibels, QP)
    below = max(point.decibels for point in points if point.decibels <= decibels)
    above = min(point.decibels for point in points if point.decibels >= decibels)
    assert above - below <= QP.step and len(points) <= 8
    expected = 1e6 * 2 ** ((decibels - 70) / 6)
    assert bits_at(points, decibels) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("decibels", "end"), [(80.0, 1), (10.0, 51)])
def test_the_search_stops_at_the_ends_of_the_scale(decibels: float, end: int) -> None:
    points = points_around(curve, decibels, QP)
    assert points[-1] == curve(end) and len(points) in (4, 5)
    assert bits_at(points, decibels) is None


def test_the_search_tries_no_level_twice() -> None:
    tried: list[float] = []

    def encode(level: float) -> RatePoint:
        tried.append(level)
        return curve(level)

    points_around(encode, 45.5, Levels(30, 16, 1, 1, 51))
    assert len(tried) == len(set(tried)) and tried[:2] == [30, 14]


def test_psnr_and_bits_fall_with_qp() -> None:
    source, reference = pattern(3, noise=2.0, seed=2), pattern(0, noise=2.0, seed=3)
    intra: list[tuple[str, Callable[[float], RatePoint]]] = [
        ("reference", partial(encode_from_references, source, [reference], INFO)),
        ("between", partial(encode_from_references, source, [reference, pattern(6)], INFO)),
        ("residual", partial(encode_residual, source, pattern(2), INFO)),
        ("x265", partial(encode_intra, source, INFO, "x265")),
        ("svtav1", partial(encode_intra, source, INFO, "svtav1")),
    ]
    for name, encode in intra:
        points = [encode(level) for level in (10, 20, 30, 40)]
        assert all(a.decibels > b.decibels for a, b in zip(points, points[1:], strict=False)), name
        assert all(a.bits > b.bits for a, b in zip(points, points[1:], strict=False)), name


def test_a_better_reference_saves_bits() -> None:
    source = pattern(3)
    needed = []
    for noise in (8.0, 5.0, 3.5, 2.0):
        encode = partial(encode_from_references, source, [pattern(0, noise)], INFO)
        needed.append(bits_at(points_around(encode, 40.0, QP), 40.0))
    assert all(bits is not None for bits in needed)
    assert all(worse > 1.1 * better for worse, better in zip(needed, needed[1:], strict=False)), needed  # type: ignore[operator]


def test_the_bits_of_references_do_not_count() -> None:
    """The frame's own packet is that of a still picture where it equals its reference, however dear that was."""
    still = pattern(0, noise=20.0)
    alone = encode_intra(still, INFO, "x265", 20)
    assert encode_from_references(still, [still], INFO, 30).bits < alone.bits / 100


def test_a_frame_between_two_references_needs_fewer_bits() -> None:
    """Two noisy references average their noise away; a P-frame sees only one of them."""
    source, before, after = pattern(3), pattern(0, noise=8.0, seed=2), pattern(6, noise=8.0, seed=3)
    decibels = 38.0
    one, two = (
        bits_at(points_around(partial(encode_from_references, source, references, INFO), decibels, QP), decibels)
        for references in ([before], [before, after])
    )
    assert one is not None and two is not None and two < 0.9 * one


def test_no_reference_or_three_are_refused() -> None:
    for count in (0, 3):
        with pytest.raises(ValueError, match=f"got {count} references; give one or two"):
            encode_from_references(pattern(), [pattern()] * count, INFO, 30)


def test_a_residual_of_nothing_is_nearly_free() -> None:
    source = pattern(0, noise=5.0)
    perfect, poor = encode_residual(source, source, INFO, 22), encode_residual(source, pattern(0), INFO, 22)
    assert perfect.bits < poor.bits / 10
    assert perfect.decibels == 100 and math.isfinite(poor.decibels)


def test_equal_frames_count_100_decibels() -> None:
    assert frame_psnr(pattern(), pattern()) == 100
    assert AV1_CRF.coarsest == 63
