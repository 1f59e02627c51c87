"""Classical codecs on the same clips: through PyAV, on ERP or the cubemap, or as programs; a closed GOP of 32 frames.

Bits are the packets', without a container and without parameter sets, per pixel of the ERP source. Where the number of
threads changes the bits it is fixed, so that the points come out the same on any machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors.cubemap import CubemapProjection
from deepsphere_codec.evaluation.anchors.external import VTM, VVENC, ExternalCoder
from deepsphere_codec.evaluation.compare import compare_frames
from deepsphere_codec.evaluation.results import Point
from deepsphere_codec.video import VideoInfo, YuvFrame, create_video, open_video
from deepsphere_codec.video.anchor import AnchorPacket, AnchorSettings, AnchorStream, decode_anchor, encode_anchor

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
X264_ZEROLATENCY_OPTIONS = {"tune": "zerolatency"} | {key: X264_OPTIONS[key] for key in X264_OPTIONS if key != "bf"}
# One pass: PyAV has no way to hand a first pass's statistics over, and without them libvpx codes no alternate reference
# frames, whatever lag-in-frames is (the bits are the same). Saying so keeps the order of decoding that of display.
VP9_OPTIONS = {
    "b": "0",  # crf alone
    "g": str(GOP),
    "keyint_min": str(GOP),
    "deadline": "good",
    "cpu-used": "2",
    "auto-alt-ref": "0",
    "lag-in-frames": "0",
    "row-mt": "0",
    "tile-columns": "0",
}


class Coder(Protocol):
    """Makes packets of frames, and frames of packets."""

    how: str  # for the description
    settings: dict[str, Any]  # all that the packets depend on, in JSON's types

    def encode(self, frames: Iterable[YuvFrame], info: VideoInfo, quality: float) -> AnchorStream: ...

    def decode(self, stream: AnchorStream, info: VideoInfo) -> Iterator[YuvFrame]: ...


class PyAvCoder:
    """One of FFmpeg's encoders at a crf."""

    how = "through PyAV, crf"

    def __init__(self, settings: AnchorSettings) -> None:
        self._settings = settings
        self.settings: dict[str, Any] = {
            "encoder": settings.encoder,
            "options": dict(settings.options),
            "encoder_threads": settings.threads,
        }

    def encode(self, frames: Iterable[YuvFrame], info: VideoInfo, quality: float) -> AnchorStream:
        """Packets in order of decoding, one per frame; quality is the crf."""
        options = {**self._settings.options, "crf": f"{quality:g}"}
        return encode_anchor(frames, info, self._settings._replace(options=options))

    def decode(self, stream: AnchorStream, info: VideoInfo) -> Iterator[YuvFrame]:
        """Frames in order of display."""
        return decode_anchor(stream)


class ErpProjection:
    """Frames as they are, where `CubemapProjection` would convert them."""

    settings: Mapping[str, Any] = {}

    def __init__(self, info: VideoInfo) -> None:
        self.info = info

    def forward(self, frame: YuvFrame) -> YuvFrame:
        return frame

    def backward(self, frame: YuvFrame) -> YuvFrame:
        return frame


class Anchor(NamedTuple):
    name: str
    coder: Callable[[], Coder]  # raises UsageError where a program is absent
    qualities: tuple[float, ...]  # crf or QP, smaller is better
    projection: type[ErpProjection] | type[CubemapProjection] = ErpProjection


def _pyav(encoder: str, decoder: str, options: Mapping[str, str], threads: int = 0) -> Callable[[], Coder]:
    return partial(PyAvCoder, AnchorSettings(encoder, decoder, options, threads))


CRF = (18.0, 23.0, 28.0, 33.0, 38.0)
WIDE_CRF = (20.0, 30.0, 40.0, 50.0, 60.0)  # of 63
QP = (22.0, 27.0, 32.0, 37.0, 42.0)
X265_MEDIUM = _pyav("libx265", "hevc", {"preset": "medium", "x265-params": X265})
ANCHORS = {
    "x264": Anchor("x264 medium", _pyav("libx264", "h264", X264_OPTIONS, threads=2), CRF),
    "x264-zerolatency": Anchor(  # of one thread: with this tune each thread codes a slice of its own
        "x264 zerolatency", _pyav("libx264", "h264", X264_ZEROLATENCY_OPTIONS, threads=1), CRF
    ),
    "x265": Anchor("x265 medium", X265_MEDIUM, CRF),
    "x265-zerolatency": Anchor(
        "x265 zerolatency",
        _pyav("libx265", "hevc", {"preset": "medium", "tune": "zerolatency", "x265-params": X265}),
        CRF,
    ),
    "x265-cubemap": Anchor("x265 medium on the cubemap", X265_MEDIUM, CRF, CubemapProjection),
    "svtav1": Anchor(
        "SVT-AV1 preset 6",
        _pyav("libsvtav1", "libdav1d", {"preset": "6", "svtav1-params": f"keyint={GOP}:scd=0"}),
        WIDE_CRF,
    ),
    "vp9": Anchor("VP9 cpu-used 2, one pass", _pyav("libvpx-vp9", "vp9", VP9_OPTIONS, threads=1), WIDE_CRF),
    "vvenc": Anchor("VVenC medium", partial(ExternalCoder, VVENC), QP),
    "vtm": Anchor("VTM random access", partial(ExternalCoder, VTM), QP),
}


class AnchorCodec:
    """A classical codec, measured.

    Args:
        codec: A key of ANCHORS.
        frames: How many frames of each clip, from its first; all unless given.
    Raises:
        UsageError: there is no such anchor, or a program that it needs is absent.
    """

    def __init__(self, codec: str, frames: int | None = None) -> None:
        if codec not in ANCHORS:
            raise UsageError(f"there is no anchor {codec!r}; anchors: {', '.join(ANCHORS)}")
        self.codec = codec
        self.name, make_coder, self.qualities, self._projection = ANCHORS[codec]
        self._coder = make_coder()
        self.description = f"{self.name} {self._coder.how}, closed GOP of {GOP}, bits of the packets"
        self._frames = (0, frames)
        self.settings: dict[str, Any] = {**self._coder.settings, **self._projection.settings, "frames": frames}

    def measure(self, clip: Path, quality: float, *, keep: Path | None = None) -> Point:
        """Encode, decode and compare one clip; quality is the crf, or the QP.

        Args:
            keep: Where to leave the decoded film (`.mkv`), ERP; nowhere unless given.
        Raises:
            UsageError: the clip cannot be read or converted, a program fails, or the decoded film cannot be written.
        """
        with open_video(clip, frames=self._frames) as source:
            info, projection = source.info, self._projection(source.info)
            stream = self._coder.encode(map(projection.forward, source), projection.info, quality)
        decoded = _Timed(self._coder.decode(stream, projection.info))
        shown = map(projection.backward, decoded)
        with open_video(clip, frames=self._frames) as source:
            metrics = compare_frames(zip(source, _kept(shown, info, keep), strict=True)).mean
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
