"""Y, Cb, Cr to RGB and back: as the films' own conversion, but without its bounds."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from deepsphere_codec.evaluation.anchors.ssf2020.coding import SsfCoder
from deepsphere_codec.evaluation.anchors.ssf2020.network import PlanarFlow
from deepsphere_codec.frames import LUMA_WEIGHTS
from deepsphere_codec.video import VideoInfo, YuvFrame, yuv_to_rgb

SPACES = [(matrix, full_range) for matrix in LUMA_WEIGHTS for full_range in (False, True)]


def info_of(matrix: str, full_range: bool, width: int = 64, height: int = 32) -> VideoInfo:
    return VideoInfo(width, height, Fraction(30), None, full_range, matrix)


@pytest.fixture(scope="module")
def network() -> PlanarFlow:
    return PlanarFlow()


@pytest.mark.parametrize("matrix, full_range", SPACES)
def test_it_is_the_films_own_conversion(network, matrix: str, full_range: bool) -> None:
    """Where chroma is constant, so that its interpolation does not matter, and RGB is not out of range."""
    frame = YuvFrame(
        np.linspace(80, 170, 64 * 32).reshape(32, 64).astype(np.uint8),
        np.full((16, 32), 118, np.uint8),
        np.full((16, 32), 139, np.uint8),
    )
    info = info_of(matrix, full_range)
    ours = SsfCoder(network, info).picture(frame)[0, :, :32, :64].permute(1, 2, 0).numpy() * 255
    assert np.abs(ours - yuv_to_rgb(frame, info)).max() < 0.502


@pytest.mark.parametrize("matrix, full_range", SPACES)
def test_the_way_there_and_back_loses_nothing(network, matrix: str, full_range: bool) -> None:
    """Noise over all of 0 ... 255, in the padding as well, and outside the range that the film says it has."""
    rng = np.random.default_rng(1)
    planes = (rng.integers(0, 256, size).astype(np.uint8) for size in ((32, 64), (16, 32), (16, 32)))
    frame, coder = YuvFrame(*planes), SsfCoder(network, info_of(matrix, full_range))
    coder.x_ref = x = coder.picture(frame)
    assert x.shape == (1, 3, 128, 128) and (x > 1.05).any() and (x < -0.05).any()
    for back, plane in zip(coder.shown(), frame, strict=True):
        assert np.array_equal(back, plane)


def test_a_picture_is_continued_by_its_border(network) -> None:
    frame = YuvFrame(np.arange(32 * 64, dtype=np.uint8).reshape(32, 64), *(np.full((16, 32), 128, np.uint8),) * 2)
    x = SsfCoder(network, info_of("bt709", False)).picture(frame)[0, 0]
    assert torch.equal(x[:32, 64:], x[:32, 63:64].expand(-1, 64)) and torch.equal(x[32:], x[31:32].expand(96, -1))


def test_bounds_leave_alone_what_films_can_hold(network, monkeypatch) -> None:
    coder = SsfCoder(network, info_of("bt709", False))
    x = coder.space.to_rgb(torch.rand(1, 3, 8, 8))
    frame = YuvFrame(np.zeros((32, 64), np.uint8), *(np.zeros((16, 32), np.uint8),) * 2)
    for x_hat in (x, torch.full((1, 3, 8, 8), 7.0)):
        monkeypatch.setattr(network, "encode_keyframe", lambda _, x_hat=x_hat: (x_hat, {"strings": [[b"y"], [b"z"]]}))
        coder.encode(frame, is_intra=True)
        if x_hat is x:
            torch.testing.assert_close(coder.x_ref, x, atol=1e-5, rtol=0)
    outside = coder.space.from_rgb(coder.x_ref)
    assert float(outside.max()) < 1 + 1e-5 and float(outside[:, 0].min()) > 1 - 1e-5
