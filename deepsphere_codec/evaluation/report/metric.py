"""Metrics of a report and their presentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from deepsphere_codec.evaluation.bootstrap import similarity_decibels
from deepsphere_codec.evaluation.results import KEYS, Point, Results

MAIN = "ws_psnr_yuv"
NO_METRICS = {"quality", "bpp", "bpp_i", "bpp_p", "encode_seconds", "decode_seconds"}
NAMES = {
    "ws-psnr-yuv": "WS-PSNR-YUV",
    "ws-psnr-y": "WS-PSNR-Y",
    "ws-psnr-u": "WS-PSNR-U",
    "ws-psnr-v": "WS-PSNR-V",
    "psnr-yuv": "PSNR-YUV",
    "psnr-y": "PSNR-Y",
    "psnr-u": "PSNR-U",
    "psnr-v": "PSNR-V",
    "s-psnr-nn-y": "S-PSNR-NN-Y",
    "s-psnr-i-y": "S-PSNR-I-Y",
    "cpp-psnr-y": "CPP-PSNR-Y",
    "ssim-y": "SSIM-Y",
    "ms-ssim-y": "MS-SSIM-Y",
    "ws-ssim-y": "WS-SSIM-Y",
    "viewport-psnr-y": "viewport PSNR-Y",
    "viewport-ssim-y": "viewport SSIM-Y",
    "seam-error-y": "seam error, Y",
    "pole-error-y": "pole error, Y",
}
MEANINGS = {
    "ws-psnr-yuv": "Each pixel counts by its solid angle; Y, U and V weigh 6:1:1 in decibels.",
    "ws-psnr-y": "Luma alone, each pixel by its solid angle.",
    "ws-psnr-u": "Chroma U, each pixel by its solid angle.",
    "ws-psnr-v": "Chroma V, each pixel by its solid angle.",
    "psnr-yuv": "The rectangle as it is stored; Y, U and V weigh 6:1:1 in decibels.",
    "psnr-u": "Chroma U of the rectangle as it is stored.",
    "psnr-v": "Chroma V of the rectangle as it is stored.",
    "psnr-y": "Luma of the rectangle as it is stored: the stretched poles count far too much.",
    "s-psnr-nn-y": "Luma at points spread evenly over the sphere, nearest pixel.",
    "s-psnr-i-y": "Luma at points spread evenly over the sphere, interpolated.",
    "cpp-psnr-y": "Luma on the Craster parabolic projection, whose pixels have equal areas.",
    "ssim-y": "Structural similarity of luma, on the rectangle.",
    "ms-ssim-y": "Structural similarity of luma over five scales, on the rectangle.",
    "ws-ssim-y": "Structural similarity of luma, each pixel by its solid angle.",
    "viewport-psnr-y": "Luma in the six flat views of a cube: what a viewer sees.",
    "viewport-ssim-y": "Structural similarity of luma in the six flat views of a cube.",
    "seam-error-y": "Squared error beside ±180° over that elsewhere: 0 dB where the seam is like the rest.",
    "pole-error-y": "Squared error around the poles over that elsewhere: 0 dB where they are like the rest.",
}


class Metric(NamedTuple):
    """Metric that has values in the results."""

    field: str  # name in Point
    key: str  # name in results files
    name: str
    meaning: str  # explanation in one sentence; empty for metrics unknown here
    similarity: bool  # 1 if equal; curves show -10 log10(1 - x)
    excess: bool  # ratio of errors: measures where errors lie, not how large they are, and has no BD-rate

    @property
    def axis(self) -> str:
        """Label of an axis."""
        return f"{self.name}, −10 log₁₀(1 − x) in dB" if self.similarity else f"{self.name} in dB"

    def value(self, point: Point) -> float | None:
        """Return the metric of a point, in the results' unit."""
        return getattr(point, self.field)

    def decibels(self, point: Point) -> float | None:
        """Return the metric of a point, in the unit of curves."""
        value = self.value(point)
        return similarity_decibels(value) if self.similarity and value is not None else value

    def text(self, point: Point) -> str:
        """Format the metric of a point for a table."""
        value = self.value(point)
        return "–" if value is None else f"{value:.4f}" if self.similarity else f"{value:.2f}"


def metrics_in(results: Sequence[Results]) -> list[Metric]:
    """List the metrics that some point with a rate has, beginning with the main metric of BD-rates."""
    points = [point for each in results for clip in each.clips.values() for point in clip if point.bpp]
    found = [
        name for name in KEYS if name not in NO_METRICS and any(getattr(point, name) is not None for point in points)
    ]
    return [_metric(name) for name in sorted(found, key=_place)]


def in_decibels(points: Sequence[Point], metric: Metric) -> list[Point]:
    """Convert points that have the metric to points with its decibels in the field that curves read.

    Args:
        points: Points, also of ceilings, which have no rate.
        metric: Metric.
    Returns:
        New points.
    """
    found = [(point.quality, point.bpp, metric.decibels(point)) for point in points]
    return [Point(quality, bpp, decibels) for quality, bpp, decibels in found if decibels is not None]


def _place(name: str) -> int:
    """Sort key in the order of NAMES; unknown names come last."""
    order = list(NAMES)
    return order.index(KEYS[name]) if KEYS[name] in order else len(order)


def _metric(name: str) -> Metric:
    key = KEYS[name]
    similarity, excess = "ssim" in key, any(word in key for word in ("seam", "pole", "error"))
    return Metric(name, key, NAMES.get(key, key), MEANINGS.get(key, ""), similarity, excess)
