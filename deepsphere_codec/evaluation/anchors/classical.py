"""Classical codecs on the same clips: through PyAV, on ERP or the cubemap, or as programs; a closed GOP of 32 frames.

Bits are counted over the packets, without container and parameter sets, per pixel of the ERP source. The number of
threads is fixed if it changes the bits, so that the points are the same on any machine.
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
# One pass: PyAV cannot pass on a first pass's statistics, and without them libvpx codes no alternate reference
# frames, for any lag-in-frames (the bits are the same). These options keep the decoding order equal to display order.
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
    """Encoder and decoder of frames."""

    how: str  # text for the description
    settings: dict[str, Any]  # everything the packets depend on, in JSON types

    def encode(self, frames: Iterable[YuvFrame], info: VideoInfo, quality: float) -> AnchorStream:
        """Encode frames to packets.

        Args:
            frames: Frames in order of display.
            info: Size, rate and colours of the film.
            quality: Quality on the encoder's own scale (crf or QP); smaller is better.
        Returns:
            Packets in order of decoding, one per frame.
        Raises:
            UsageError: the encoder fails.
        """
        ...

    def decode(self, stream: AnchorStream, info: VideoInfo) -> Iterator[YuvFrame]:
        """Decode packets to frames.

        Args:
            stream: Result of `encode`.
            info: Size, rate and colours of the film.
        Returns:
            Iterator over the frames in order of display.
        Raises:
            UsageError: the decoder fails.
        """
        ...


class PyAvCoder:
    """One of FFmpeg's encoders with a constant rate factor (crf).

    Args:
        settings: Encoder and options.
    """

    how = "through PyAV, crf"

    def __init__(self, settings: AnchorSettings) -> None:
        self._settings = settings
        self.settings: dict[str, Any] = {
            "encoder": settings.encoder,
            "options": dict(settings.options),
            "encoder_threads": settings.threads,
        }

    def encode(self, frames: Iterable[YuvFrame], info: VideoInfo, quality: float) -> AnchorStream:
        """Encode frames to packets in order of decoding.

        Args:
            frames: Frames in order of display.
            info: Size, rate and colours of the film.
            quality: Constant rate factor.
        Returns:
            Packets, one per frame.
        """
        options = {**self._settings.options, "crf": f"{quality:g}"}
        return encode_anchor(frames, info, self._settings._replace(options=options))

    def decode(self, stream: AnchorStream, info: VideoInfo) -> Iterator[YuvFrame]:
        """Decode packets to frames in order of display.

        Args:
            stream: Result of `encode`.
            info: Size, rate and colours of the film.
        Returns:
            Iterator over the frames.
        """
        return decode_anchor(stream)


class ErpProjection:
    """Identity in place of `CubemapProjection`: frames stay ERP pictures.

    Args:
        info: Size, rate and colours of the ERP film.
    """

    settings: Mapping[str, Any] = {}

    def __init__(self, info: VideoInfo) -> None:
        self.info = info

    def forward(self, frame: YuvFrame) -> YuvFrame:
        """Return the frame unchanged."""
        return frame

    def backward(self, frame: YuvFrame) -> YuvFrame:
        """Return the frame unchanged."""
        return frame


class Anchor(NamedTuple):
    """Classical codec with its default qualities and projection."""

    name: str
    coder: Callable[[], Coder]  # raises UsageError if a program is absent
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
    "x264-zerolatency": Anchor(  # one thread: with this tune each thread codes its own slice
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
    """Classical codec that can be measured on clips.

    Args:
        codec: Key of ANCHORS.
        frames: Number of frames of each clip, from its first; None for all.
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
        """Encode, decode and compare one clip.

        Args:
            clip: Film to code.
            quality: Constant rate factor, or QP.
            keep: File for the decoded ERP film (`.mkv`); None to discard it.
        Returns:
            Rate, metrics and seconds.
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
    """Iterator over frames that measures the seconds spent on waiting for them."""

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
    """Yield frames, and write them to a film if a path is given."""
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
