"""Coding of GOPs, as work that can be done in this process, in other processes, or on other machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8

from deepsphere_codec.bitstream import CodedFrame, Header, Other, Position
from deepsphere_codec.bitstream.layout import BETWEEN, KEYFRAME
from deepsphere_codec.codec import PRESET, VideoDecoder, VideoEncoder
from deepsphere_codec.errors import DamagedStream, LostReference
from deepsphere_codec.gop.grouping import Group
from deepsphere_codec.gop.reference_buffer import DisplayOrder
from deepsphere_codec.models import LoadedModel
from deepsphere_codec.video import VideoInfo, YuvFrame


class DecodedFrame(NamedTuple):
    """Result of decoding a frame.

    Attributes:
        frame: The coded frame, without its payload.
        picture: The picture; None if the frame is outside the requested range, or lost.
        damage: Reason why the frame is lost; None if it is not, or if only its reference is missing.
    """

    frame: CodedFrame
    picture: YuvFrame | None
    damage: DamagedStream | None = None


@dataclass(frozen=True)
class EncodeWork:
    """Encoding of a film's GOPs; see `VideoEncoder` for the other fields.

    Attributes:
        threads: Number of torch's threads in a worker process; None leaves it unchanged.
    """

    model: LoadedModel
    info: VideoInfo
    quality: float
    nside: int | None
    gop_size: int
    quality_map: UInt8[np.ndarray, "rows columns"] | None = None
    preset: str = PRESET
    threads: int | None = None

    def encoder(self) -> VideoEncoder:
        """Create an encoder."""
        return VideoEncoder(
            self.model,
            self.info,
            quality=self.quality,
            nside=self.nside,
            gop_size=self.gop_size,
            quality_map=self.quality_map,
            preset=self.preset,
        )

    def start(self) -> Callable[[Sequence[Group]], list[CodedFrame]]:
        """Prepare a worker; returns the function that codes a GOP."""
        _use_threads(self.threads)
        encoder = self.encoder()
        return lambda gop: [frame for group in gop for frame in encoder.encode_group(group)]


@dataclass(frozen=True)
class DecodeWork:
    """Decoding of a stream's GOPs to the pictures of a range.

    Attributes:
        model: The model.
        header: Header of the stream.
        size: (width, height) of the pictures; None for the source's.
        first: First frame of the range.
        stop: End of the range (exclusive); None for all frames.
        threads: Number of torch's threads in a worker process; None leaves it unchanged.
    """

    model: LoadedModel
    header: Header
    size: tuple[int, int] | None
    first: int
    stop: int | None
    threads: int | None = None

    def decoder(self) -> VideoDecoder:
        """Create a decoder."""
        return VideoDecoder(self.header, self.model, size=self.size)

    def decode(self, decoder: VideoDecoder, records: Iterable[CodedFrame | Other]) -> Iterator[DecodedFrame | Other]:
        """Decode the records of GOPs.

        Args:
            decoder: Decoder of the stream.
            records: Records in order of coding, from an I-frame on.
        Returns:
            Iterator over the frames in order of display; other records are passed through unchanged.
        """
        shown = DisplayOrder[DecodedFrame]()
        for record in records:
            if isinstance(record, Other):
                yield record
            else:
                yield from shown.push(record.position, self._decoded(decoder, record))
        yield from shown.rest()

    def start(self) -> Callable[[Sequence[CodedFrame | Other]], list[DecodedFrame | Other]]:
        """Prepare a worker; returns the function that decodes a GOP."""
        _use_threads(self.threads)
        decoder = self.decoder()

        def decode(gop: Sequence[CodedFrame | Other]) -> list[DecodedFrame | Other]:
            decoder.restart()
            return list(self.decode(decoder, gop))

        return decode

    def _decoded(self, decoder: VideoDecoder, frame: CodedFrame) -> DecodedFrame:
        about = frame._replace(payload=b"")
        if not self._is_needed(frame.position):
            return DecodedFrame(about, None)
        try:
            x_hat = decoder.decode(frame.position, frame.payload, frame.check)
        except LostReference:  # the damage that caused it was reported before
            return DecodedFrame(about, None)
        except DamagedStream as damage:
            return DecodedFrame(about, None, damage)
        is_wanted = self.first <= frame.number and (self.stop is None or frame.number < self.stop)
        return DecodedFrame(about, decoder.frame(x_hat) if is_wanted else None)

    def _is_needed(self, position: Position) -> bool:
        """Return whether the picture belongs to the range, or one of the range may refer to it."""
        before = position.number - 1 if position.first is None else position.first
        if self.stop is not None and before + 1 >= self.stop:
            return False
        return position.kind != BETWEEN or position.second is None or position.second > self.first


def records_by_gop(records: Iterable[CodedFrame | Other]) -> Iterator[list[CodedFrame | Other]]:
    """Collect records into GOPs, which begin with an I-frame; records before the first one belong to its GOP."""
    gop: list[CodedFrame | Other] = []
    for record in records:
        if (
            isinstance(record, CodedFrame)
            and record.kind == KEYFRAME
            and any(isinstance(each, CodedFrame) for each in gop)
        ):
            yield gop
            gop = []
        gop.append(record)
    if gop:
        yield gop


def _use_threads(threads: int | None) -> None:
    if threads:
        torch.set_num_threads(threads)
