"""All metrics of a frame: each is the function of its name, and what cannot be measured is None."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import numpy as np
import pytest
from ffmpeg_filters import filtered
from support import make_frame

from deepsphere_codec.evaluation.results import KEYS as POINT_KEYS
from deepsphere_codec.metrics import sphere as sphere_metrics
from deepsphere_codec.metrics.frame import ALL_KEYS, QUICK_KEYS, measure_frame, measure_quick
from deepsphere_codec.metrics.psnr import MAX_DB, combine_yuv, psnr, ws_psnr
from deepsphere_codec.metrics.sphere import fibonacci_weights
from deepsphere_codec.metrics.viewports import ViewDirection, viewport_ssim
from deepsphere_codec.video import YuvFrame

H, W = 64, 128
OBLIQUE = ViewDirection(30.0, 20.0, 70.0)
QUICK = (
    "ws-psnr-y ws-psnr-yuv psnr-y s-psnr-nn-y ms-ssim-y ws-psnr-u ws-psnr-v psnr-yuv psnr-u psnr-v"  # first the oldest
).split()
RESAMPLED = ("s-psnr-i-y cpp-psnr-y ssim-y ws-ssim-y seam-error-y pole-error-y viewport-psnr-y viewport-ssim-y").split()


@pytest.fixture
def few_points(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """S-PSNR-I at points that take no second to prepare."""
    fibonacci_weights.cache_clear()
    monkeypatch.setattr(sphere_metrics, "SPHERE_POINTS", 10_000)
    yield
    fibonacci_weights.cache_clear()


def decibels(mse: float) -> float:
    return 10 * math.log10(255**2 / mse)


def test_the_keys_are_those_of_results() -> None:
    assert list(QUICK_KEYS) == QUICK
    assert list(ALL_KEYS) == QUICK + RESAMPLED
    others = {"quality", "bpp", "bpp-i", "bpp-p", "encode_seconds", "decode_seconds"}
    assert set(POINT_KEYS.values()) == {*ALL_KEYS, *others}, "a metric stands in both lists"


@pytest.mark.usefixtures("few_points")
def test_all_metrics_of_a_frame() -> None:
    frame = make_frame(352, 176)
    frame_hat = YuvFrame(*(np.clip(plane + 3.0 * (k + 1), 0, 255).astype(np.uint8) for k, plane in enumerate(frame)))
    values = measure_frame(frame, frame_hat).as_dict()
    assert list(values) == QUICK + RESAMPLED
    for name, metric in {"ws-psnr": ws_psnr, "psnr": psnr}.items():
        planes = [float(metric(x, x_hat)) for x, x_hat in zip(frame, frame_hat, strict=True)]
        assert [values[f"{name}-{plane}"] for plane in "yuv"] == planes
        assert values[f"{name}-yuv"] == pytest.approx(float(combine_yuv(*np.array(planes))))
    for key in ("psnr-y", "s-psnr-nn-y", "s-psnr-i-y", "cpp-psnr-y", "viewport-psnr-y"):
        assert values[key] == pytest.approx(decibels(9), abs=1e-5), key
    for key in ("ssim-y", "ms-ssim-y", "ws-ssim-y", "viewport-ssim-y"):
        assert 0.98 < (values[key] or 0) < 1, key
    assert values["seam-error-y"] == pytest.approx(0, abs=1e-9)
    assert values["pole-error-y"] == pytest.approx(0, abs=1e-9)
    through = measure_frame(frame, frame_hat, [OBLIQUE])
    assert through.viewport_ssim_y == float(viewport_ssim(frame.y, frame_hat.y, [OBLIQUE.viewport(352)]).mean)
    assert through.viewport_ssim_y != values["viewport-ssim-y"]


@pytest.mark.usefixtures("few_points")
def test_quick_metrics_are_some_of_all() -> None:
    frame, frame_hat = make_frame(352, 176), make_frame(352, 176, 1)
    quick, everything = measure_quick(frame, frame_hat), measure_frame(frame, frame_hat)
    assert quick.as_dict(QUICK_KEYS) == pytest.approx(everything.as_dict(QUICK_KEYS), abs=1e-12)
    assert {key for key, value in quick.as_dict().items() if value is None} == set(RESAMPLED)
    assert None not in everything


@pytest.mark.usefixtures("few_points")
def test_equal_frames_and_errors_in_one_place_stay_finite() -> None:
    frame = make_frame(W, H)
    values = measure_frame(frame, frame).as_dict()
    json.dumps(values, allow_nan=False)
    expected = dict.fromkeys(("ssim-y", "ws-ssim-y", "viewport-ssim-y"), 1.0)
    expected |= {"seam-error-y": 0.0, "pole-error-y": 0.0, "ms-ssim-y": None}
    assert values == {key: expected.get(key, MAX_DB) for key in ALL_KEYS}
    y_hat = frame.y.copy()
    y_hat[H // 2, W // 2] += 1
    found = measure_frame(frame, frame._replace(y=y_hat))
    assert found.seam_error_y == found.pole_error_y == -MAX_DB


@pytest.mark.usefixtures("few_points")
def test_a_small_frame_has_no_structure() -> None:
    frame = make_frame(8, 4)
    unknown = {"ssim-y", "ms-ssim-y", "ws-ssim-y", "viewport-ssim-y", "seam-error-y"}
    assert {key for key, value in measure_frame(frame, frame).as_dict().items() if value is None} == unknown


@pytest.mark.parametrize("sigma", [1.0, 4.0])
def test_psnr_agrees_with_ffmpeg_and_its_steps_with_xpsnr(sigma: float) -> None:
    """XPSNR weighs each block by its activity: where that is alike everywhere, it is PSNR and a constant."""
    generator = np.random.default_rng(0)
    x = np.clip(np.round(128 + 40 * generator.normal(size=(128, 256))), 0, 255).astype(np.uint8)
    near, far = (
        np.clip(np.round(x + generator.normal(0, each, x.shape)), 0, 255).astype(np.uint8)
        for each in (sigma, 2 * sigma)
    )
    for x_hat in (near, far):
        theirs = float(filtered("psnr", "", x_hat, x).metadata["lavfi.psnr.psnr.y"])
        assert float(psnr(x, x_hat)) == pytest.approx(theirs, abs=1e-4)
    weighed = [float(filtered("xpsnr", "", x_hat, x).metadata["lavfi.xpsnr.xpsnr.y"]) for x_hat in (near, far)]
    assert weighed[0] - weighed[1] == pytest.approx(float(psnr(x, near) - psnr(x, far)), abs=0.2)
