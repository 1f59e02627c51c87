"""Classical codecs: every frame comes back, bits are the packets', and the points are those measured before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import make_film

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors.classical import ANCHORS, GOP, AnchorCodec
from deepsphere_codec.evaluation.compare import compare_videos
from deepsphere_codec.evaluation.results import read_results
from deepsphere_codec.video import open_video
from deepsphere_codec.video.anchor import AnchorStream

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = ("vvenc", "vtm")  # see test_external
THROUGH_PYAV = [codec for codec in ANCHORS if codec not in PROGRAMS]

MEASURED_BEFORE = {
    "x264": "x264-medium",
    "x265": "x265-medium",
    "x265-zerolatency": "x265-zerolatency",
    "svtav1": "svtav1-p6",
}


def encode(codec: str, film: Path, crf: float, frames: int | None = None) -> AnchorStream:
    with open_video(film, frames=(0, frames)) as source:
        return ANCHORS[codec].coder().encode(source, source.info, crf)


@pytest.mark.parametrize("codec", [codec for codec in THROUGH_PYAV if codec != "x265-cubemap"])
def test_every_frame_comes_back_in_order(codec: str, tmp_path: Path) -> None:
    # 40 frames: more than one GOP and more than any lookahead, so that delayed packets and reordering are met
    film = make_film(tmp_path / "film.y4m", width=128, height=64, frames=40)
    stream = encode(codec, film, 20)
    assert len(stream.packets) == 40
    assert sum(packet.is_keyframe for packet in stream.packets) == 2
    assert stream.bytes == sum(len(packet.data) for packet in stream.packets) > 0
    with open_video(film) as source:
        pairs = list(zip(source, ANCHORS[codec].coder().decode(stream, source.info), strict=True))
    errors = [abs(frame.y.astype(int) - frame_hat.y).mean() for frame, frame_hat in pairs]
    steps = [abs(pairs[n][0].y.astype(int) - pairs[n + 1][0].y).mean() for n in range(39)]
    assert len(errors) == 40 and max(errors) < min(steps)  # nearer to its own source than that is to the next


@pytest.mark.parametrize("codec", THROUGH_PYAV)
def test_gops_are_closed(codec: str, tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.y4m", width=128, height=64, frames=GOP + 3)
    coder = ANCHORS[codec].coder()
    stream = encode(codec, film, 30)
    second = stream._replace(packets=stream.packets[GOP:])
    assert second.packets[0].is_keyframe
    with open_video(film) as source:
        whole = list(coder.decode(stream, source.info))
        alone = list(coder.decode(second, source.info))
    assert len(alone) == 3
    for frame, frame_alone in zip(whole[GOP:], alone, strict=True):
        assert (frame.y == frame_alone.y).all() and (frame.u == frame_alone.u).all()


@pytest.mark.parametrize("codec", ["vp9", "x264-zerolatency", "x265-zerolatency"])
def test_without_reordering_each_packet_is_the_next_frame(codec: str, tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.y4m", width=128, height=64, frames=6)
    stream = encode(codec, film, 20)
    with open_video(film) as source:
        whole = list(ANCHORS[codec].coder().decode(stream, source.info))
        begun = list(ANCHORS[codec].coder().decode(stream._replace(packets=stream.packets[:3]), source.info))
    assert len(begun) == 3
    assert all((frame.y == frame_begun.y).all() for frame, frame_begun in zip(whole, begun, strict=False))


def test_vp9_codes_the_same_bits_on_any_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = make_film(tmp_path / "film.y4m", width=512, height=256, frames=3)  # wide enough for two tiles
    codec = ANCHORS["vp9"].coder()
    settings = codec._settings  # type: ignore[attr-defined]
    assert settings.threads == 1
    once = encode("vp9", film, 30)
    with open_video(film) as source:
        on_four = type(codec)(settings._replace(threads=4)).encode(source, source.info, 30)  # type: ignore[call-arg]
    assert [packet.data for packet in once.packets] == [packet.data for packet in on_four.packets]


def test_x265_on_the_cubemap(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.y4m", width=128, height=64, frames=4)
    codec = AnchorCodec("x265-cubemap", frames=3)
    assert codec.settings["face_divisor"] == 4 and codec.settings["encoder"] == "libx265"
    good, bad = codec.measure(film, 18, keep=tmp_path / "kept.mkv"), codec.measure(film, 38)
    assert good.bpp and bad.bpp and good.bpp > bad.bpp and good.ws_psnr_yuv > bad.ws_psnr_yuv > 30
    kept = compare_videos(film, tmp_path / "kept.mkv", frames=(0, 3))  # what is kept is ERP
    assert kept.mean.ws_psnr_yuv == good.ws_psnr_yuv
    assert good.bpp_i and good.bpp_p and good.bpp == pytest.approx((good.bpp_i + 2 * good.bpp_p) / 3)


def test_bits_on_the_cubemap_count_per_pixel_of_the_erp(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.y4m", width=128, height=64, frames=1)
    projection = ANCHORS["x265-cubemap"].projection
    with open_video(film) as source:
        cubemap = projection(source.info)
        stream = ANCHORS["x265"].coder().encode(map(cubemap.forward, source), cubemap.info, 28)
    point = AnchorCodec("x265-cubemap").measure(film, 28)
    assert point.bpp == stream.bytes * 8 / (128 * 64)


@pytest.mark.parametrize(
    "codec", ["x264", "x264-zerolatency", "x265", "x265-zerolatency", "x265-cubemap", "svtav1", "vp9"]
)
def test_settings_are_those_of_the_results_measured_before(codec: str) -> None:
    # `evaluate` goes on with a results file only where they are equal
    (before,) = read_results(ROOT / "results" / f"{codec}.json")
    now = AnchorCodec(codec, frames=32)
    assert (now.settings, now.name, now.description) == (before.settings, before.name, before.description)


def test_a_point_of_a_small_film(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.y4m", width=128, height=64, frames=6)
    good, bad = (AnchorCodec("x264", frames=4).measure(film, crf) for crf in (18, 38))
    assert good.bpp is not None and bad.bpp is not None and good.bpp > bad.bpp
    assert good.ws_psnr_yuv > bad.ws_psnr_yuv
    assert good.bpp_i is not None and good.bpp_p is not None
    assert good.bpp == pytest.approx((good.bpp_i + 3 * good.bpp_p) / 4)
    assert good.ms_ssim_y is None and good.encode_seconds and good.decode_seconds


def test_an_unknown_anchor_is_refused() -> None:
    with pytest.raises(UsageError, match="no anchor 'x266'; anchors: x264, .*x265"):
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
@pytest.mark.parametrize("codec", list(MEASURED_BEFORE))
def test_all_anchors_agree_with_what_was_measured_before(footage: Path, codec: str, clip: str) -> None:
    check_against_before(footage, codec, clip, ANCHORS[codec].qualities[2])
