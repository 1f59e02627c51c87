"""Records as they mean something: frames, what lies beside them, and the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from deepsphere_codec.bitstream.layout import CHECK, KEYFRAME
from deepsphere_codec.cursor import Cursor, varint


class Frame(NamedTuple):
    """A coded frame.

    Attributes:
        kind: "I" or "P".
        number: In the film, from 0.
        payload: What the model wrote.
        check: Of the latents decoded since the GOP's I-frame, its own included: CRC-32, the lower 16 bits.
        time: In ticks from the first frame's; None where frames lie evenly.
        offset: Of its record in the file, bytes.
    """

    kind: str
    number: int
    payload: bytes
    check: int = 0
    time: int | None = None
    offset: int = -1


class Other(NamedTuple):
    """A record that is no frame, and that whoever does not know it passes over.

    Attributes:
        kind: A lower-case letter.
    """

    kind: str
    body: bytes
    offset: int = -1


class Gop(NamedTuple):
    """Where one begins: the number of its I-frame, and its record's offset in the file."""

    number: int
    offset: int


class End(NamedTuple):
    """The end record."""

    frames: int
    gops: Sequence[Gop]


def pack_frame(frame: Frame, before: Frame | None) -> bytes:
    """A frame record's body.

    Args:
        frame: Whose time, where it has one, is not before that of `before`.
        before: The frame before it; None for the first.
    """
    parts = [varint(frame.number)] if frame.kind == KEYFRAME else []
    parts.append(CHECK.pack(frame.check & 0xFFFF))
    if frame.time is not None:
        since = 0 if frame.kind == KEYFRAME or before is None else before.time or 0
        parts.append(varint(frame.time - since))
    return b"".join([*parts, frame.payload])


def unpack_frame(kind: str, body: bytes, before: Frame | None, timed: bool, offset: int) -> Frame:
    """The frame in a record's body.

    Args:
        before: The frame before it, which a P-frame counts from.
        timed: Whether the header says that frames have times.
    Raises:
        ValueError: `pack_frame` writes no such body, or a P-frame comes first.
    """
    cursor = Cursor(body)
    if kind == KEYFRAME:
        number, since = cursor.varint(), 0
    elif before is None:
        raise ValueError("a P-frame before any I-frame")
    else:
        number, since = before.number + 1, before.time or 0
    (check,) = cursor.unpack(CHECK)
    time = since + cursor.varint() if timed else None
    return Frame(kind, number, cursor.rest(), check, time, offset)


def pack_end(end: End) -> bytes:
    """The end record's body."""
    parts, before = [varint(end.frames), varint(len(end.gops))], Gop(0, 0)
    for gop in end.gops:
        parts += [varint(gop.number - before.number), varint(gop.offset - before.offset)]
        before = gop
    return b"".join(parts)


def unpack_end(body: bytes) -> End:
    """What an end record says.

    Raises:
        ValueError: `pack_end` writes no such body.
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
