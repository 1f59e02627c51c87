"""Classical codecs on the same clips: x264, x265 and SVT-AV1 through PyAV, a closed GOP of 32 frames.

Bits are the packets', without a container and without parameter sets. Where the number of threads changes the bits it
is fixed, so that the points come out the same on any machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.compare import compare_frames
from deepsphere_codec.evaluation.results import Point
from deepsphere_codec.video import VideoInfo, YuvFrame, create_video, open_video
from deepsphere_codec.video.anchor import AnchorPacket, AnchorSettings, decode_anchor, encode_anchor

GOP = 32
X265 = f"keyint={GOP}:min-keyint={GOP}:scenecut=0:open-gop=0:frame-threads=1:log-level=error"
X264_OPTIONS = {
    "preset": "medium",
    "bf": "3",
    "g": str(GOP),
    "keyint_min": str(GOP),
    "sc_threshold": "0",
    "x264-params": "open-gop=0",
}


class Anchor(NamedTuple):
    name: str
    settings: AnchorSettings
    qualities: tuple[float, ...]  # crf, smaller is better


CRF = (18.0, 23.0, 28.0, 33.0, 38.0)
ANCHORS = {
    "x264": Anchor("x264 medium", AnchorSettings("libx264", "h264", X264_OPTIONS, threads=2), CRF),
    "x265": Anchor(
        "x265 medium", AnchorSettings("libx265", "hevc", {"preset": "medium", "x265-params": X265}, threads=0), CRF
    ),
    "x265-zerolatency": Anchor(
        "x265 zerolatency",
        AnchorSettings("libx265", "hevc", {"preset": "medium", "tune": "zerolatency", "x265-params": X265}, threads=0),
        CRF,
    ),
    "svtav1": Anchor(
        "SVT-AV1 preset 6",
        AnchorSettings("libsvtav1", "libdav1d", {"preset": "6", "svtav1-params": f"keyint={GOP}:scd=0"}, threads=0),
        (20.0, 30.0, 40.0, 50.0, 60.0),
    ),
}


class AnchorCodec:
    """A classical codec, measured.

    Args:
        codec: A key of ANCHORS.
        frames: How many frames of each clip, from its first; all unless given.
    Raises:
        UsageError: there is no such anchor.
    """

    def __init__(self, codec: str, frames: int | None = None) -> None:
        if codec not in ANCHORS:
            raise UsageError(f"there is no anchor {codec!r}; anchors: {', '.join(ANCHORS)}")
        self.codec = codec
        self.name, self._settings, self.qualities = ANCHORS[codec]
        self.description = f"{self.name} through PyAV, crf, closed GOP of {GOP}, bits of the packets"
        self._frames = (0, frames)
        self.settings: dict[str, Any] = {
            "encoder": self._settings.encoder,
            "options": dict(self._settings.options),
            "encoder_threads": self._settings.threads,
            "frames": frames,
        }

    def measure(self, clip: Path, quality: float, *, keep: Path | None = None) -> Point:
        """Encode, decode and compare one clip; quality is the crf.

        Args:
            keep: Where to leave the decoded film (`.mkv`); nowhere unless given.
        Raises:
            UsageError: the clip cannot be read, or the decoded film cannot be written.
        """
        settings = self._settings._replace(options={**self._settings.options, "crf": f"{quality:g}"})
        with open_video(clip, frames=self._frames) as source:
            info, stream = source.info, encode_anchor(source, source.info, settings)
        decoded = _Timed(decode_anchor(stream))
        with open_video(clip, frames=self._frames) as source:
            metrics = compare_frames(zip(source, _kept(decoded, info, keep), strict=True)).mean
        first = [packet for packet in stream.packets if packet.is_keyframe]
        other = [packet for packet in stream.packets if not packet.is_keyframe]
        return Point(
            quality=quality,
            bpp=_bpp(stream.packets, info),
            **metrics._asdict(),
            bpp_i=_bpp(first, info),
            bpp_p=_bpp(other, info),
            encode_seconds=stream.encode_seconds,
            decode_seconds=decoded.seconds,
        )


class _Timed(Iterator[YuvFrame]):
    """Frames, and the seconds spent on waiting for them."""

    def __init__(self, frames: Iterator[YuvFrame]) -> None:
        self._frames = frames
        self.seconds = 0.0

    def __next__(self) -> YuvFrame:
        start = time.perf_counter()
        try:
            return next(self._frames)
        finally:
            self.seconds += time.perf_counter() - start


def _kept(frames: Iterator[YuvFrame], info: VideoInfo, path: Path | None) -> Iterator[YuvFrame]:
    """The frames, written to a film on the way where there is a path."""
    if path is None:
        yield from frames
        return
    with create_video(path, info) as writer:
        for frame in frames:
            writer.write(frame)
            yield frame


def _bpp(packets: Sequence[AnchorPacket], info: VideoInfo) -> float | None:
    if not packets:
        return None
    return sum(len(packet.data) for packet in packets) * 8 / (len(packets) * info.width * info.height)
