"""Collection of all metrics of one frame, with the names that the command, results and BD-rates use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from deepsphere_codec.metrics.psnr import MAX_DB, capped, combine_yuv, psnr, s_psnr_nn, ws_psnr
from deepsphere_codec.metrics.sphere import cpp_psnr, pole_error, s_psnr_i, seam_error
from deepsphere_codec.metrics.structure import ms_ssim, structure
from deepsphere_codec.metrics.viewports import CUBE, ViewDirection, viewport_psnr, viewport_ssim
from deepsphere_codec.video import YuvFrame


class FrameMetrics(NamedTuple):
    """Metrics of one frame, or their means over frames.

    Decibels lie within +-100 (see `metrics.psnr`), similarities are at most 1. None if the picture is too small for a
    metric, or if the metric was not requested. `results.Point` has the same fields, in the order of its files.
    """

    ws_psnr_y: float
    ws_psnr_yuv: float  # decibels of the planes, 6:1:1
    psnr_y: float
    s_psnr_nn_y: float
    ms_ssim_y: float | None = None
    ws_psnr_u: float | None = None
    ws_psnr_v: float | None = None
    psnr_yuv: float | None = None
    psnr_u: float | None = None
    psnr_v: float | None = None
    s_psnr_i_y: float | None = None
    cpp_psnr_y: float | None = None
    ssim_y: float | None = None
    ws_ssim_y: float | None = None
    seam_error_y: float | None = None
    pole_error_y: float | None = None
    viewport_psnr_y: float | None = None
    viewport_ssim_y: float | None = None

    def as_dict(self, keys: Sequence[str] | None = None) -> dict[str, float | None]:
        """Return the metrics by the keys of results and the command (ws-psnr-y, ...): those given, or all."""
        values = dict(zip(ALL_KEYS, self, strict=True))
        return {key: values[key] for key in keys or ALL_KEYS}


Measure = Callable[[YuvFrame, YuvFrame], FrameMetrics]

ALL_KEYS = tuple(name.replace("_", "-") for name in FrameMetrics._fields)
QUICK_KEYS = ALL_KEYS[: ALL_KEYS.index("s-psnr-i-y")]


def measure_quick(frame: YuvFrame, frame_hat: YuvFrame) -> FrameMetrics:
    """Measure the metrics of one 8-bit frame that need no resampling (QUICK_KEYS).

    Args:
        frame: Source.
        frame_hat: Decoded, same shapes.
    Returns:
        The metrics; the others are None.
    Raises:
        ValueError: shapes differ, or a plane is not 2:1.
    """
    return _pixelwise(frame, frame_hat)._replace(ms_ssim_y=_number(ms_ssim(frame.y, frame_hat.y)))


def measure_frame(frame: YuvFrame, frame_hat: YuvFrame, looks: Sequence[ViewDirection] = CUBE) -> FrameMetrics:
    """Measure all metrics of one 8-bit frame.

    Args:
        frame: Source.
        frame_hat: Decoded, same shapes.
        looks: Views of the viewport metrics, which are averaged.
    Returns:
        The metrics.
    Raises:
        ValueError: shapes differ, a plane is not 2:1, or a view is not valid (see `viewport_psnr`).
    """
    x, x_hat = frame.y, frame_hat.y
    alike = structure(x, x_hat)
    viewports = [look.viewport(x.shape[1]) for look in looks]
    return _pixelwise(frame, frame_hat)._replace(
        ms_ssim_y=_number(alike.ms_ssim),
        s_psnr_i_y=_number(s_psnr_i(x, x_hat)),
        cpp_psnr_y=_number(cpp_psnr(x, x_hat)),
        ssim_y=_number(alike.ssim),
        ws_ssim_y=_number(alike.ws_ssim),
        seam_error_y=_number(seam_error(x, x_hat)),
        pole_error_y=_number(pole_error(x, x_hat)),
        viewport_psnr_y=_number(viewport_psnr(x, x_hat, viewports).mean),
        viewport_ssim_y=_number(viewport_ssim(x, x_hat, viewports).mean),
    )


def _pixelwise(frame: YuvFrame, frame_hat: YuvFrame) -> FrameMetrics:
    """Measure the metrics that compare pixel by pixel, plane by plane."""
    weighted, plain = (
        [capped(metric(x, x_hat)) for x, x_hat in zip(frame, frame_hat, strict=True)] for metric in (ws_psnr, psnr)
    )
    return FrameMetrics(
        ws_psnr_y=float(weighted[0]),
        ws_psnr_u=float(weighted[1]),
        ws_psnr_v=float(weighted[2]),
        ws_psnr_yuv=float(combine_yuv(*weighted)),
        psnr_y=float(plain[0]),
        psnr_u=float(plain[1]),
        psnr_v=float(plain[2]),
        psnr_yuv=float(combine_yuv(*plain)),
        s_psnr_nn_y=float(capped(s_psnr_nn(frame.y, frame_hat.y))),
    )


def _number(value: Float[np.ndarray, ""]) -> float | None:
    """Convert to a value for means and JSON, which support neither infinity nor NaN."""
    return None if np.isnan(value) else float(np.clip(value, -MAX_DB, MAX_DB))
