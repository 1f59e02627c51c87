"""What the coding of GOPs takes, wherever it is done: in this process, in others, on other machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from deepsphere_codec.bitstream import Frame, Header, Other
from deepsphere_codec.bitstream.layout import KEYFRAME
from deepsphere_codec.codec import VideoDecoder, VideoEncoder
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.models import LoadedModel
from deepsphere_codec.video import TimedFrame, VideoInfo, YuvFrame


class CodedFrame(NamedTuple):
    """What a frame's record holds, and when it is shown, in the film's ticks."""

    kind: str
    payload: bytes
    check: int
    pts: int


class DecodedFrame(NamedTuple):
    """What came of a frame's record.

    Attributes:
        frame: Without its payload.
        picture: None of a frame that is only on the way to the range, or lost.
        damage: Why it is lost, of the first one lost in a GOP.
    """

    frame: Frame
    picture: YuvFrame | None
    damage: DamagedStream | None = None


@dataclass(frozen=True)
class EncodeWork:
    """Coding the GOPs of a film; see `VideoEncoder` for what the fields mean.

    Attributes:
        threads: Of torch, in a process that does nothing else.
    """

    model: LoadedModel
    info: VideoInfo
    quality: float
    nside: int | None
    gop_size: int
    threads: int | None = None

    def encoder(self) -> VideoEncoder:
        return VideoEncoder(self.model, self.info, quality=self.quality, nside=self.nside, gop_size=self.gop_size)

    def start(self) -> Callable[[Sequence[TimedFrame]], list[CodedFrame]]:
        """What codes one GOP after the other."""
        _use_threads(self.threads)
        encoder = self.encoder()

        def code(gop: Sequence[TimedFrame]) -> list[CodedFrame]:
            encoder.restart()
            return list(encode_frames(encoder, gop))

        return code


@dataclass(frozen=True)
class DecodeWork:
    """Decoding the GOPs of a stream to the pictures of a range.

    Attributes:
        size: (width, height) of the pictures; the source's unless given.
        first, stop: Half-open range of frames; `stop` None for all.
        threads: As in `EncodeWork`.
    """

    model: LoadedModel
    header: Header
    size: tuple[int, int] | None
    first: int
    stop: int | None
    threads: int | None = None

    def decoder(self) -> VideoDecoder:
        return VideoDecoder(self.header, self.model, size=self.size)

    def decode(self, decoder: VideoDecoder, records: Iterable[Frame | Other]) -> Iterator[DecodedFrame | Other]:
        """Frames behind the range are passed over; what lies beside the frames goes through."""
        for record in records:
            if isinstance(record, Other):
                yield record
            elif self.stop is None or record.number < self.stop:
                yield _decoded(decoder, record, is_wanted=record.number >= self.first)

    def start(self) -> Callable[[Sequence[Frame | Other]], list[DecodedFrame | Other]]:
        """What decodes one GOP after the other."""
        _use_threads(self.threads)
        decoder = self.decoder()

        def decode(gop: Sequence[Frame | Other]) -> list[DecodedFrame | Other]:
            decoder.forget()
            return list(self.decode(decoder, gop))

        return decode


def encode_frames(encoder: VideoEncoder, frames: Iterable[TimedFrame]) -> Iterator[CodedFrame]:
    """Frames in order, as they come."""
    for frame, pts in frames:
        coded = encoder.encode(frame)
        yield CodedFrame(coded.frame_type, coded.payload, coded.check, pts)


def frames_by_gop(frames: Iterable[TimedFrame], gop_size: int) -> Iterator[list[TimedFrame]]:
    """Frames in groups of `gop_size`; the last may be smaller."""
    gop: list[TimedFrame] = []
    for frame in frames:
        gop.append(frame)
        if len(gop) == gop_size:
            yield gop
            gop = []
    if gop:
        yield gop


def records_by_gop(records: Iterable[Frame | Other]) -> Iterator[list[Frame | Other]]:
    """Records in groups that begin with an I-frame; what lies before the first one belongs to its group."""
    gop: list[Frame | Other] = []
    for record in records:
        if isinstance(record, Frame) and record.kind == KEYFRAME and any(isinstance(each, Frame) for each in gop):
            yield gop
            gop = []
        gop.append(record)
    if gop:
        yield gop


def _decoded(decoder: VideoDecoder, frame: Frame, *, is_wanted: bool) -> DecodedFrame:
    told = frame._replace(payload=b"")
    try:
        x_hat = decoder.decode(frame.kind, frame.payload, frame.check)
    except DamagedStream as damage:
        had_reference = decoder.forget()
        is_first = had_reference or frame.kind == KEYFRAME  # without the reference all that follows is lost
        return DecodedFrame(told, None, damage if is_first else None)
    return DecodedFrame(told, decoder.frame(x_hat) if is_wanted else None)


def _use_threads(threads: int | None) -> None:
    if threads:
        torch.set_num_threads(threads)
