"""A decoded film against its source, frame by frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation import metrics
from deepsphere_codec.progress import Progress
from deepsphere_codec.video import VideoInfo, YuvFrame, open_video


class FrameMetrics(NamedTuple):
    """Of one frame, or means over frames. Decibels count at most 100 (see `metrics`)."""

    ws_psnr_y: float
    ws_psnr_yuv: float
    psnr_y: float
    s_psnr_nn_y: float
    ms_ssim_y: float | None  # None where the picture is too small for five scales

    def as_dict(self) -> dict[str, float | None]:
        """By the keys that results and the command use: ws-psnr-y, ..."""
        return {name.replace("_", "-"): value for name, value in self._asdict().items()}


class Comparison(NamedTuple):
    frames: int
    mean: FrameMetrics
    per_frame: tuple[FrameMetrics, ...]

    def as_dict(self) -> dict[str, Any]:
        """frames, the means by their keys, and per_frame; ready for JSON."""
        per_frame = [frame.as_dict() for frame in self.per_frame]
        return {"frames": self.frames, **self.mean.as_dict(), "per_frame": per_frame}


def compare_videos(
    reference: str | Path,
    decoded: str | Path,
    *,
    frames: tuple[int | None, int | None] | None = None,
    on_progress: Progress | None = None,
) -> Comparison:
    """Compare two ERP films of one size; memory does not grow with their length.

    Args:
        reference: The source.
        decoded: What came out of the decoder.
        frames: Half-open range of the source's frames that was coded. Where it is not given the films begin together
            and the source may go on longer, as after `encode --frames 0:32`.
        on_progress: Called with (frames done, frames in all or None) after each frame.
    Raises:
        UsageError: a film cannot be read, the sizes differ, or one film lacks frames.
    """
    with open_video(reference, frames=frames) as source, open_video(decoded) as result:
        _check_sizes(reference, source.info, decoded, result.info)
        pairs = _pairs(reference, source, decoded, result, may_go_on=frames is None)
        return compare_frames(pairs, on_progress, result.info.frames)


def compare_frames(
    pairs: Iterable[tuple[YuvFrame, YuvFrame]], on_progress: Progress | None = None, total: int | None = None
) -> Comparison:
    """Compare pairs of (source, decoded) frames.

    Raises:
        UsageError: there are none.
    """
    per_frame: list[FrameMetrics] = []
    for frame, frame_hat in pairs:
        per_frame.append(measure(frame, frame_hat))
        if on_progress:
            on_progress(len(per_frame), total)
    if not per_frame:
        raise UsageError("there are no frames to compare; both films are empty")
    return Comparison(len(per_frame), _mean(per_frame), tuple(per_frame))


def measure(frame: YuvFrame, frame_hat: YuvFrame) -> FrameMetrics:
    """All metrics of one 8-bit frame."""
    planes = [metrics.capped(metrics.ws_psnr(x, x_hat)) for x, x_hat in zip(frame, frame_hat, strict=True)]
    similarity = float(metrics.ms_ssim(frame.y, frame_hat.y))
    return FrameMetrics(
        ws_psnr_y=float(planes[0]),
        ws_psnr_yuv=float(metrics.combine_yuv(*planes)),
        psnr_y=float(metrics.capped(metrics.psnr(frame.y, frame_hat.y))),
        s_psnr_nn_y=float(metrics.capped(metrics.s_psnr_nn(frame.y, frame_hat.y))),
        ms_ssim_y=None if np.isnan(similarity) else similarity,
    )


def _mean(per_frame: list[FrameMetrics]) -> FrameMetrics:
    columns: Iterable[tuple[Any, ...]] = zip(*per_frame, strict=True)
    means: list[Any] = [None if None in column else float(np.mean(column)) for column in columns]
    return FrameMetrics(*means)


def _check_sizes(reference: str | Path, source: VideoInfo, decoded: str | Path, result: VideoInfo) -> None:
    if (source.width, source.height) != (result.width, result.height):
        raise UsageError(
            f"{reference} is {source.width}x{source.height}, {decoded} is {result.width}x{result.height}; "
            f"decode at the source's size, without --size"
        )


def _pairs(
    reference: str | Path,
    source: Iterable[YuvFrame],
    decoded: str | Path,
    result: Iterable[YuvFrame],
    *,
    may_go_on: bool,
) -> Iterator[tuple[YuvFrame, YuvFrame]]:
    for count, (frame, frame_hat) in enumerate(zip_longest(source, result)):
        if frame_hat is None and may_go_on and count:
            return
        if frame is None or frame_hat is None:
            shorter = reference if frame is None else decoded
            raise UsageError(
                f"{shorter} ends after {count} frames, the other film goes on; "
                f"compare with the frames that were encoded (--frames A:B of the source)"
            )
        yield frame, frame_hat
