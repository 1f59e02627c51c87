"""A stream that broke off while it was written: what of it can stay."""

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
    """The whole GOPs at the front of a stream, at least one.

    Attributes:
        preface: What lies before the first frame.
        keyframe: I-frame of the last GOP.
        frames: Frames of all of them.
        size: Bytes up to the last GOP's end.
        beside: Of them, those of records that are no frames.
    """

    header: Header
    preface: Sequence[Other]
    gops: Sequence[Gop]
    keyframe: CodedFrame
    frames: int
    size: int
    beside: int


def read_partial(file: BinaryIO) -> Partial | None:
    """What is whole in a file that breaks off anywhere; None where not one GOP is.

    A GOP counts as whole where the I-frame of the next one is: what lies beside its last frame is then there too.

    Args:
        file: Open for reading in binary mode; it can seek.
    Raises:
        DamagedStream: it is not the beginning of a stream.
        IncompatibleStream: another version wrote it.
    """
    file.seek(0)
    front = file.read(len(MAGIC))
    try:
        stream = StreamReader(file, strict=False)
    except DamagedStream:
        if MAGIC.startswith(front):  # its header may be half written
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
