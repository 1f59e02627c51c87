"""Frame-by-frame comparison of a decoded film with its source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deepsphere_codec.errors import UsageError
from deepsphere_codec.metrics.frame import FrameMetrics, Measure, measure_frame
from deepsphere_codec.runtime.progress import Progress
from deepsphere_codec.video import VideoInfo, YuvFrame, open_video

RATE_TOLERANCE = 5e-4  # containers round their clocks; 30 and 30000/1001 frames/s are 1e-3 apart


class Comparison(NamedTuple):
    """Metrics of a decoded film: their means over frames and those of each frame."""

    frames: int
    mean: FrameMetrics
    per_frame: tuple[FrameMetrics, ...]

    def as_dict(self, keys: Sequence[str] | None = None) -> dict[str, Any]:
        """Convert to JSON types: frames, the means by their keys (all if None), and per_frame."""
        per_frame = [frame.as_dict(keys) for frame in self.per_frame]
        return {"frames": self.frames, **self.mean.as_dict(keys), "per_frame": per_frame}


def compare_videos(
    reference: str | Path,
    decoded: str | Path,
    *,
    frames: tuple[int | None, int | None] | None = None,
    measure: Measure = measure_frame,
    on_progress: Progress | None = None,
) -> Comparison:
    """Compare two ERP films of the same size and frame rate; memory use does not depend on their length.

    Args:
        reference: Source film.
        decoded: Decoded film.
        frames: Half-open range of the source's frames that was coded. If None the films begin together, and the source
            may be longer, as after `encode --frames 0:32`.
        measure: Metrics of a frame: `measure_frame`, or `measure_quick`, which is faster.
        on_progress: Called with (frames done, frames in all or None) after each frame.
    Returns:
        Metrics.
    Raises:
        UsageError: a film cannot be read, the sizes or the frame rates differ, or one film lacks frames.
    """
    with open_video(reference, frames=frames) as source, open_video(decoded) as result:
        _check_sizes(reference, source.info, decoded, result.info)
        _check_rates(reference, source.info, decoded, result.info)
        pairs = _pairs(reference, source, decoded, result, may_go_on=frames is None)
        return compare_frames(pairs, on_progress, result.info.frames, measure=measure)


def compare_frames(
    pairs: Iterable[tuple[YuvFrame, YuvFrame]],
    on_progress: Progress | None = None,
    total: int | None = None,
    *,
    measure: Measure = measure_frame,
) -> Comparison:
    """Compare pairs of (source, decoded) frames.

    Args:
        pairs: Pairs of frames.
        on_progress: Called with (frames done, `total`) after each frame.
        total: Number of frames if known, for the progress.
        measure: Metrics of a frame.
    Returns:
        Metrics.
    Raises:
        UsageError: there are no frames.
    """
    per_frame: list[FrameMetrics] = []
    for frame, frame_hat in pairs:
        per_frame.append(measure(frame, frame_hat))
        if on_progress:
            on_progress(len(per_frame), total)
    if not per_frame:
        raise UsageError("there are no frames to compare; both films are empty")
    return Comparison(len(per_frame), _mean(per_frame), tuple(per_frame))


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


def _check_rates(reference: str | Path, source: VideoInfo, decoded: str | Path, result: VideoInfo) -> None:
    """Compare frame rates; a folder of pictures has none and matches any."""
    if not (source.knows_fps and result.knows_fps):
        return
    if abs(result.fps / source.fps - 1) > RATE_TOLERANCE:
        raise UsageError(
            f"{reference} has {float(source.fps):g} frames/s, {decoded} has {float(result.fps):g}; "
            f"compare films whose frames show the same moments"
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
