"""Loss of resampling alone: ERP to the sphere and back, without coding. It is an upper bound for the codec's curves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from deepsphere_codec.codec import FIT_ITERATIONS, frame_from_signal, signal_from_frame
from deepsphere_codec.evaluation.compare import compare_frames
from deepsphere_codec.evaluation.results import Point
from deepsphere_codec.sphere import ErpResampler
from deepsphere_codec.video import YuvFrame, open_video

NSIDE = 256


class CeilingCodec:
    """The codec's resampling to the sphere and back, including chroma and rounding to 8 bits.

    Args:
        frames: Number of frames of each clip, from its first; None for all.
        nside: HEALPix resolution, stored as the quality of the points; None for the default resolution.
    """

    codec = "ceiling"

    def __init__(self, frames: int | None = None, nside: int | None = None) -> None:
        self.qualities: tuple[float, ...] = (float(nside or NSIDE),)
        self.name = f"resampling ceiling, nside {nside or NSIDE}"
        self.description = f"ERP to HEALPix and back, nothing coded; least squares, {FIT_ITERATIONS} iterations"
        self.settings: dict[str, Any] = {"frames": frames, "iterations": FIT_ITERATIONS}
        self._frames = (0, frames)

    def measure(self, clip: Path, quality: float) -> Point:
        """Resample one clip to the sphere and back; the point has no bpp.

        Args:
            clip: Film to resample.
            quality: HEALPix resolution nside.
        Returns:
            Metrics of the resampled film.
        Raises:
            UsageError: the clip cannot be read.
        """
        seconds = [0.0, 0.0]
        with open_video(clip, frames=self._frames) as source:
            resampler = ErpResampler(source.info.height, source.info.width, int(quality))
            metrics = compare_frames(_round_trips(source, resampler, seconds)).mean
        return Point(
            quality=quality, bpp=None, **metrics._asdict(), encode_seconds=seconds[0], decode_seconds=seconds[1]
        )


@torch.inference_mode()
def _round_trip(frame: YuvFrame, resampler: ErpResampler, seconds: list[float]) -> YuvFrame:
    start = time.perf_counter()
    x = signal_from_frame(frame, resampler)
    there = time.perf_counter()
    frame_hat = frame_from_signal(x, resampler)
    seconds[0] += there - start
    seconds[1] += time.perf_counter() - there
    return frame_hat


def _round_trips(
    frames: Iterator[YuvFrame], resampler: ErpResampler, seconds: list[float]
) -> Iterator[tuple[YuvFrame, YuvFrame]]:
    for frame in frames:
        yield frame, _round_trip(frame, resampler, seconds)
