"""Contents of records: frames, records that are not frames, and the end record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from deepsphere_codec.bitstream.cursor import Cursor, varint
from deepsphere_codec.bitstream.layout import ANCHOR, CHECK, KEYFRAME, PREDICTED
from deepsphere_codec.bitstream.order import PictureOrder, Position


class CodedFrame(NamedTuple):
    """A coded frame, on its way from the encoder into a file and from there to the decoder.

    Attributes:
        position: Its place in the order of coding; before it is written, numbers count from the encoder's first frame.
        payload: What the model wrote.
        check: CRC-32 of the latents that the picture rests on, the lower 16 bits.
        time: In ticks from the first frame's; None where frames lie evenly.
        offset: Of its record in the file, bytes; -1 before it is written.
    """

    position: Position
    payload: bytes
    check: int = 0
    time: int | None = None
    offset: int = -1

    @property
    def kind(self) -> str:
        """Frame type: "I", "P" or "B"."""
        return self.position.kind

    @property
    def number(self) -> int:
        """Number in order of display, from 0."""
        return self.position.number

    @property
    def ticks(self) -> int:
        """When it is shown, in ticks of the film: its time, or its number where frames lie evenly."""
        return self.position.number if self.time is None else self.time


class Other(NamedTuple):
    """A record that is not a frame; readers that do not know its kind skip it.

    Attributes:
        kind: A lower-case letter.
        body: Bytes of the record.
        offset: Offset of the record in the file, bytes; -1 before it is written.
    """

    kind: str
    body: bytes
    offset: int = -1


class Gop(NamedTuple):
    """Start of a GOP.

    Attributes:
        number: Number of its I-frame.
        offset: Offset of the I-frame's record in the file, bytes.
    """

    number: int
    offset: int


class End(NamedTuple):
    """Contents of the end record.

    Attributes:
        frames: Number of frames.
        gops: The GOPs.
    """

    frames: int
    gops: Sequence[Gop]


def record_kind(position: Position) -> str:
    """Return the letter of a frame's record."""
    return ANCHOR if position.span > 1 else position.kind


def pack_frame(frame: CodedFrame, since: int) -> bytes:
    """Encode the body of a frame record.

    Args:
        frame: Frame to encode.
        since: Time, in ticks, that the frame's time is coded relative to.
    Returns:
        Bytes of the body.
    """
    position = frame.position
    parts = [varint(position.number)] if position.kind == KEYFRAME else []
    parts += [varint(position.span)] if position.span > 1 else []
    parts.append(CHECK.pack(frame.check & 0xFFFF))
    parts += [varint(frame.time - since)] if frame.time is not None else []
    return b"".join([*parts, frame.payload])


def unpack_frame(kind: str, body: bytes, order: PictureOrder, timed: bool, offset: int) -> CodedFrame:
    """Decode the body of a frame record and advance the order of pictures.

    Args:
        kind: Letter of the record.
        body: Bytes of the record.
        order: Order of pictures after the previous frame; it is advanced.
        timed: Whether frames have times, according to the header.
        offset: Offset of the record in the file, bytes.
    Returns:
        The frame.
    Raises:
        ValueError: `pack_frame` cannot have written this body, or such a frame cannot come next.
    """
    cursor = Cursor(body)
    if kind == ANCHOR:
        span = cursor.varint()
        if span == 1:
            raise ValueError("a group of one picture is written as a P-frame")
        position = order.next(PREDICTED, span)
    else:
        position = order.next(kind, number=cursor.varint() if kind == KEYFRAME else None)
    (check,) = cursor.unpack(CHECK)
    time = order.since(position) + cursor.varint() if timed else None
    if time is not None:
        order.shown(position, time)
    return CodedFrame(position, cursor.rest(), check, time, offset)


def pack_end(end: End) -> bytes:
    """Encode the body of an end record."""
    parts, previous = [varint(end.frames), varint(len(end.gops))], Gop(0, 0)
    for gop in end.gops:
        parts += [varint(gop.number - previous.number), varint(gop.offset - previous.offset)]
        previous = gop
    return b"".join(parts)


def unpack_end(body: bytes) -> End:
    """Decode the body of an end record.

    Raises:
        ValueError: `pack_end` cannot have written this body.
    """
    cursor = Cursor(body)
    frames, count = cursor.varint(), cursor.varint()
    if 2 * count > len(body):
        raise ValueError(f"{count} GOPs in {len(body)} bytes")
    gops: list[Gop] = []
    last = Gop(0, 0)
    for i in range(count):
        last = Gop(last.number + cursor.varint(), last.offset + cursor.varint())
        if not i <= last.number < frames or (gops and not (gops[-1].number < last.number)):
            raise ValueError(f"GOP {i} begins with frame {last.number} of {frames}")
        gops.append(last)
    cursor.end()
    if (frames > 0) != bool(gops) or (gops and gops[0].number):
        raise ValueError(f"{frames} frames in {count} GOPs")
    return End(frames, gops)
