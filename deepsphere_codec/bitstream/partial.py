"""Recovery of the complete GOPs of a stream whose writing was interrupted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import BinaryIO, NamedTuple

from deepsphere_codec.bitstream.header import Header
from deepsphere_codec.bitstream.layout import KEYFRAME, MAGIC, record_size
from deepsphere_codec.bitstream.reader import StreamReader
from deepsphere_codec.bitstream.records import CodedFrame, Gop, Other
from deepsphere_codec.errors import DamagedStream


class Partial(NamedTuple):
    """Complete GOPs at the beginning of a stream, at least one.

    Attributes:
        header: Header of the stream.
        preface: Records before the first frame.
        gops: Numbers and offsets of the GOPs.
        keyframe: I-frame of the last GOP.
        frames: Number of frames in all GOPs.
        size: Bytes up to the end of the last GOP.
        beside: Bytes of the records among them that are not frames.
    """

    header: Header
    preface: Sequence[Other]
    gops: Sequence[Gop]
    keyframe: CodedFrame
    frames: int
    size: int
    beside: int


def read_partial(file: BinaryIO) -> Partial | None:
    """Read the complete GOPs of a truncated file.

    A GOP counts as complete if the I-frame of the next one exists, so that the records after its last frame are
    included.

    Args:
        file: Seekable file, open for reading in binary mode.
    Returns:
        The complete GOPs, or None if there are none.
    Raises:
        DamagedStream: the file is not the beginning of a stream.
        IncompatibleStream: another version wrote it.
    """
    file.seek(0)
    front = file.read(len(MAGIC))
    try:
        stream = StreamReader(file, strict=False)
    except DamagedStream:
        if MAGIC.startswith(front):  # the header may be incomplete
            return None
        raise
    preface = stream.preface()
    gops: list[Gop] = []
    whole: Partial | None = None
    keyframe: CodedFrame | None = None
    beside = 0
    for record in _sound_records(stream):
        if isinstance(record, Other):
            beside += record_size(record.body)
            continue
        if record.kind == KEYFRAME:
            if keyframe:
                whole = Partial(stream.header, preface, (), keyframe, record.number, record.offset, beside)
            gops.append(Gop(record.number, record.offset))
            keyframe = record
    return whole and whole._replace(gops=gops[:-1])


def _sound_records(stream: StreamReader) -> Iterator[CodedFrame | Other]:
    with suppress(DamagedStream):
        yield from stream.records()
