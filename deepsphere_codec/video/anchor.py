"""Classical codecs for comparison, through PyAV: encoding of frames to packets, and decoding of the packets."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import av
import numpy as np
from av.codec.context import Flags

from deepsphere_codec.frames import VideoInfo, YuvFrame


class AnchorSettings(NamedTuple):
    """Encoder, decoder and options.

    Attributes:
        encoder: FFmpeg's name, for example "libx265".
        decoder: FFmpeg's name, for example "hevc".
        options: Options of the encoder.
        threads: Number of threads; 0 for the encoder's own choice.
    """

    encoder: str
    decoder: str
    options: Mapping[str, str]
    threads: int


class AnchorPacket(NamedTuple):
    """A coded frame."""

    data: bytes
    is_keyframe: bool


class AnchorStream(NamedTuple):
    """A coded film.

    Attributes:
        settings: Settings that it was coded with.
        header: Parameter sets, which a container would store separately; not counted as bits.
        packets: Packets in order of decoding.
        encode_seconds: Time spent in the encoder alone, including its flush.
    """

    settings: AnchorSettings
    header: bytes
    packets: tuple[AnchorPacket, ...]
    encode_seconds: float

    @property
    def bytes(self) -> int:
        """Size of all packets in bytes."""
        return sum(len(packet.data) for packet in self.packets)


def encode_anchor(frames: Iterable[YuvFrame], info: VideoInfo, settings: AnchorSettings) -> AnchorStream:
    """Encode frames as yuv420p, 8 bit.

    Args:
        frames: Frames in order of display.
        info: Their size and rate; the rate matters, since crf allocates bits by time.
        settings: Encoder and options.
    Returns:
        The packets in order of decoding, one per frame.
    """
    encoder = _encoder(info, settings)
    packets: list[AnchorPacket] = []
    seconds = 0.0
    for number, frame in enumerate(frames):
        picture = _picture(frame)
        picture.pts, picture.time_base = number, encoder.time_base
        start = time.perf_counter()
        packets += _packets(encoder.encode(picture))
        seconds += time.perf_counter() - start
    start = time.perf_counter()
    packets += _packets(encoder.encode(None))  # frames still in the encoder's lookahead and reordering buffers
    seconds += time.perf_counter() - start
    return AnchorStream(settings, bytes(encoder.extradata or b""), tuple(packets), seconds)


def decode_anchor(stream: AnchorStream) -> Iterator[YuvFrame]:
    """Decode the packets of a film; yields frames in order of display."""
    decoder: Any = av.CodecContext.create(stream.settings.decoder, "r")
    if stream.header:
        decoder.extradata = stream.header
    for packet in stream.packets:
        for picture in decoder.decode(av.Packet(packet.data)):
            yield _frame(picture)
    for picture in decoder.decode(None):
        yield _frame(picture)


def _encoder(info: VideoInfo, settings: AnchorSettings) -> Any:
    os.environ.setdefault("SVT_LOG", "1")  # errors only: SVT-AV1 prints a banner otherwise, and has no option for it
    encoder: Any = av.CodecContext.create(settings.encoder, "w")
    encoder.width, encoder.height, encoder.pix_fmt = info.width, info.height, "yuv420p"
    encoder.framerate, encoder.time_base = info.fps, 1 / info.fps
    encoder.options = dict(settings.options)
    # Parameter sets, and x265's 2.4 kB of text about its options, go to the header, as in a container.
    encoder.flags |= Flags.global_header.value
    if settings.threads:
        encoder.thread_count = settings.threads
    return encoder


def _packets(packets: Iterable[Any]) -> list[AnchorPacket]:
    return [AnchorPacket(bytes(packet), packet.is_keyframe) for packet in packets]


def _picture(frame: YuvFrame) -> av.VideoFrame:
    height, width = frame.y.shape
    planes = np.concatenate([np.ascontiguousarray(plane).reshape(-1) for plane in frame])
    return av.VideoFrame.from_ndarray(planes.reshape(height * 3 // 2, width), format="yuv420p")


def _frame(picture: av.VideoFrame) -> YuvFrame:
    height, width = picture.height, picture.width
    flat = picture.to_ndarray(format="yuv420p").reshape(-1)
    luma, chroma = height * width, height * width // 4
    u, v = flat[luma : luma + chroma], flat[luma + chroma :]
    half = (height // 2, width // 2)
    return YuvFrame(flat[:luma].reshape(height, width), u.reshape(half), v.reshape(half))
