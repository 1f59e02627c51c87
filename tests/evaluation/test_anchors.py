"""Classical codecs: every frame comes back, bits are the packets', and the points are those measured before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import make_film

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors import ANCHORS, AnchorCodec
from deepsphere_codec.video import open_video
from deepsphere_codec.video.anchor import decode_anchor, encode_anchor

MEASURED_BEFORE = {
    "x264": "x264-medium",
    "x265": "x265-medium",
    "x265-zerolatency": "x265-zerolatency",
    "svtav1": "svtav1-p6",
}


@pytest.mark.parametrize("codec", list(ANCHORS))
def test_every_frame_comes_back_in_order(codec: str, tmp_path: Path) -> None:
    # 40 frames: more than one GOP and more than any lookahead, so that delayed packets and reordering are met
    film = make_film(tmp_path / "film.y4m", width=128, height=64, frames=40)
    settings = ANCHORS[codec].settings
    with open_video(film) as source:
        crf = {**settings.options, "crf": "20"}
        stream = encode_anchor(source, source.info, settings._replace(options=crf))
    assert len(stream.packets) == 40
    assert sum(packet.is_keyframe for packet in stream.packets) == 2
    assert stream.bytes == sum(len(packet.data) for packet in stream.packets) > 0
    with open_video(film) as source:
        pairs = list(zip(source, decode_anchor(stream), strict=True))
    errors = [abs(frame.y.astype(int) - frame_hat.y).mean() for frame, frame_hat in pairs]
    steps = [abs(pairs[n][0].y.astype(int) - pairs[n + 1][0].y).mean() for n in range(39)]
    assert len(errors) == 40 and max(errors) < min(steps)  # nearer to its own source than that is to the next


def test_a_point_of_a_small_film(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.y4m", width=128, height=64, frames=6)
    good, bad = (AnchorCodec("x264", frames=4).measure(film, crf) for crf in (18, 38))
    assert good.bpp is not None and bad.bpp is not None and good.bpp > bad.bpp
    assert good.ws_psnr_yuv > bad.ws_psnr_yuv
    assert good.bpp_i is not None and good.bpp_p is not None
    assert good.bpp == pytest.approx((good.bpp_i + 3 * good.bpp_p) / 4)
    assert good.ms_ssim_y is None and good.encode_seconds and good.decode_seconds


def test_an_unknown_anchor_is_refused() -> None:
    with pytest.raises(UsageError, match="no anchor 'x266'; anchors: x264, x265"):
        AnchorCodec("x266")


def check_against_before(footage: Path, codec: str, clip: str, crf: float) -> None:
    """0.1 dB and 2 % are what the points have to keep to; here they are the same to rounding."""
    before = json.loads((footage / "anchors_test.json").read_text())[clip][MEASURED_BEFORE[codec]]
    (expected,) = [point for point in before if point["q"] == crf]
    point = AnchorCodec(codec, frames=32).measure(footage / "test" / "video" / clip, crf)
    assert point.bpp == pytest.approx(expected["bpp"], rel=0.02)
    assert point.ws_psnr_y == pytest.approx(expected["ws-psnr-y"], abs=0.1)
    assert point.ws_psnr_yuv == pytest.approx(expected["ws-psnr-yuv"], abs=0.1)


@pytest.mark.parametrize("crf", [18.0, 38.0])
def test_x265_agrees_with_what_was_measured_before(footage: Path, crf: float) -> None:
    check_against_before(footage, "x265", "diver_clip02.mp4", crf)


@pytest.mark.slow
@pytest.mark.parametrize("clip", ["overpass_clip01.mp4", "plaza_clip01.mp4"])
@pytest.mark.parametrize("codec", list(ANCHORS))
def test_all_anchors_agree_with_what_was_measured_before(footage: Path, codec: str, clip: str) -> None:
    check_against_before(footage, codec, clip, ANCHORS[codec].qualities[2])
