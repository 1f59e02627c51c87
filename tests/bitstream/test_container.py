"""The `.dsc` file: round trips, every alteration noticed, and what is sound behind a damage."""

from __future__ import annotations

import copy
import io
import os
import random
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepsphere_codec.bitstream import (
    FORMAT_VERSION,
    CodedFrame,
    Header,
    Other,
    PictureOrder,
    StreamReader,
    StreamWriter,
)
from deepsphere_codec.bitstream.cursor import varint
from deepsphere_codec.bitstream.header import prologue
from deepsphere_codec.bitstream.layout import (
    CRC,
    END_MAGIC,
    MAX_BODY,
    TRAILER,
    VERSION_OFFSET,
    record_crc,
    trailer_crc,
)
from deepsphere_codec.bitstream.records import End, Gop, pack_end
from deepsphere_codec.errors import CodecError, DamagedStream, IncompatibleStream, UsageError

GOLDEN = Path(__file__).with_name("version1.1.hex")
GOLDEN_1_0 = Path(__file__).with_name("version1.0.hex")

HEADER = Header(
    version=FORMAT_VERSION,
    width=64,
    height=32,
    fps_num=30000,
    fps_den=1001,
    full_range=True,
    matrix="bt709",
    nside=16,
    pixel_order="face-major",
    model="modèle",
    weights_hash="0123456789abcdef" * 4,
    tables_hash="b2" * 32,
    graph_hash="c3" * 32,
    model_quality=4.25,
    gop_size=3,
)
TIMED = replace(HEADER, tick_num=1, tick_den=1000)
Kinds = Sequence[tuple[str, bytes]]
FRAMES = [("I", bytes(range(20))), ("P", b""), ("P", b"\0\xff"), ("I", b"X" * 5), ("P", bytes(7))]
GROUPS = [("I", b"key"), ("P4", b"four"), ("B", b"two"), ("B", b"one"), ("B", b"three"), ("P2", b"six"), ("B", b"five")]
GROUPS_SHOWN = [0, 4, 2, 1, 3, 6, 5]
"""Numbers of the frames of GROUPS in order of display."""


def stream(frames: Kinds = FRAMES, header: Header = HEADER) -> bytes:
    """Records of frames in order of coding; a P-frame's span stands behind its letter. They are shown at 40 n²."""
    file, order = io.BytesIO(), PictureOrder()
    with StreamWriter(file, header) as writer:
        for i, (kind, payload) in enumerate(frames):
            span = int(kind[1:] or 1)
            number = order.next(kind[0], span).number
            writer.write(kind[0], payload, i * 0x1111, 40 * number**2 if header.timed else None, span)
    return file.getvalue()


def first_record(header: Header = HEADER) -> int:
    """Where it begins: what is before the end of a stream without frames, an end record of two bytes."""
    return len(stream([], header)) - TRAILER.size - (1 + 1 + 4 + 2)


def read(data: bytes, **options: Any) -> list[CodedFrame]:
    return list(StreamReader(io.BytesIO(data)).frames(**options))


def kinds(frames: Sequence[CodedFrame]) -> list[tuple[str, bytes]]:
    spans = [str(frame.position.span) if frame.position.span > 1 else "" for frame in frames]
    return [(frame.kind + span, frame.payload) for frame, span in zip(frames, spans, strict=True)]


def pipe(data: bytes) -> io.BufferedReader:
    """What reads as a process's standard input does, and cannot go back."""
    reading, writing = os.pipe()

    def feed() -> None:
        with os.fdopen(writing, "wb") as end:
            end.write(data)

    threading.Thread(target=feed, daemon=True).start()
    return os.fdopen(reading, "rb")


def test_a_stream_comes_back_as_it_went_in() -> None:
    reader = StreamReader(io.BytesIO(stream()))
    assert reader.header == HEADER
    assert reader.frame_count == len(FRAMES)
    assert kinds(list(reader.frames())) == FRAMES
    assert [frame.number for frame in reader.frames()] == list(range(5)), "a second time"
    assert [frame.check for frame in reader.frames()] == [0, 0x1111, 0x2222, 0x3333, 0x4444]
    assert {frame.time for frame in reader.frames()} == {None}


def test_times_come_back() -> None:
    assert [frame.time for frame in read(stream(header=TIMED))] == [0, 40, 160, 360, 640]
    assert [frame.time for frame in read(stream(header=TIMED), first=4)] == [360, 640], "from an I-frame on"


@pytest.mark.parametrize("seed", range(8))
def test_random_streams_come_back(seed: int) -> None:
    rng = random.Random(seed)
    groups = [
        rng.choice([["I"], ["P"], ["P2", "B"], ["P4", *"BBB"], ["P8", *"BBBBBBB"]]) for _ in range(rng.randrange(30))
    ]
    frames = [(kind, rng.randbytes(rng.choice([0, 1, 100, 5000]))) for group in [["I"], *groups] for kind in group]
    assert kinds(read(stream(frames))) == frames
    assert kinds(read(stream(frames, TIMED))) == frames


def test_a_stream_without_frames() -> None:
    assert read(stream([])) == []
    assert StreamReader(io.BytesIO(stream([]))).frame_count == 0


def test_from_the_keyframe_before_any_frame_on() -> None:
    reader = StreamReader(io.BytesIO(stream()))
    for first in range(len(FRAMES) + 2):
        start = 3 if first >= 3 else 0
        assert kinds(list(reader.frames(first))) == FRAMES[start:]
    with pytest.raises(ValueError, match="first"):
        reader.frames(-1)


def test_no_more_than_the_gops_asked_for_is_read() -> None:
    data = stream([("I", bytes(1000)), ("P", bytes(1000))] * 50)
    reader = StreamReader(io.BytesIO(data))
    opened = reader.bytes_read
    frames = reader.frames(41)
    assert [next(frames).number, next(frames).number] == [40, 41]
    assert opened < 500 and reader.bytes_read - opened < 2100


def test_two_iterations_at_once() -> None:
    reader = StreamReader(io.BytesIO(stream()))
    pairs = [(a.number, b.number) for a, b in zip(reader.frames(), reader.frames(3), strict=False)]
    assert pairs == [(0, 3), (1, 4)]


def test_what_lies_beside_the_frames() -> None:
    file = io.BytesIO()
    with StreamWriter(file, HEADER) as writer:
        writer.write_other(Other("m", b"about"))
        writer.write(*FRAMES[0])
        writer.write_other(Other("z", bytes(300)))
        writer.write(*FRAMES[1])
    reader = StreamReader(io.BytesIO(file.getvalue()))
    assert [each.kind for each in reader.records()] == ["m", "I", "z", "P"]
    assert [each.body for each in reader.records() if isinstance(each, Other)] == [b"about", bytes(300)]
    assert kinds(list(reader.frames())) == FRAMES[:2], "who does not know them passes over them"


def test_a_kind_that_matters_and_is_not_known() -> None:
    data, body = stream(), b"a second eye"
    (crc,) = CRC.unpack(data[first_record() - 4 : first_record()])
    record = b"S" + varint(len(body)) + CRC.pack(record_crc(crc, 0, ord("S"), body)) + body
    with pytest.raises(IncompatibleStream, match=r"byte \d+ is of the kind 'S'"):
        list(StreamReader(io.BytesIO(data[: first_record()] + record), strict=False).frames())


def test_a_path_is_opened_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "film.dsc"
    path.write_bytes(stream())
    with StreamReader(path) as reader:
        assert kinds(list(reader.frames())) == FRAMES
    with pytest.raises(ValueError, match="closed"):
        list(reader.frames())


def test_a_file_of_the_caller_stays_open() -> None:
    file = io.BytesIO(stream())
    with StreamReader(file):
        pass
    assert not file.closed


# Pipes


def test_a_pipe_is_read_from_front_to_back() -> None:
    with pipe(stream()) as file:
        reader = StreamReader(file)
        assert not reader.seekable and reader.frame_count is None
        assert kinds(list(reader.frames())) == FRAMES


def test_a_frame_is_there_before_the_next_one_is_written() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as there, os.fdopen(writing, "wb", buffering=0) as here:
        writer = StreamWriter(here, HEADER)
        writer.write(*FRAMES[0])
        frames = StreamReader(there).frames()
        assert next(frames).payload == FRAMES[0][1]
        writer.write(*FRAMES[1])
        assert next(frames).payload == FRAMES[1][1]
        writer.close()
        assert next(frames, None) is None


def test_every_truncation_of_a_pipe_is_noticed() -> None:
    data = stream()
    for length in range(0, len(data), 7):
        with pipe(data[:length]) as file, pytest.raises(DamagedStream):
            list(StreamReader(file).frames())


# Groups of more than one frame


def test_frames_of_groups_come_in_order_of_coding() -> None:
    frames = read(stream(GROUPS, TIMED))
    assert kinds(frames) == GROUPS and [frame.number for frame in frames] == GROUPS_SHOWN
    assert [frame.time for frame in frames] == [40 * number**2 for number in GROUPS_SHOWN]
    assert [frame.position.layer for frame in frames] == [0, 0, 1, 2, 2, 0, 1]
    assert [frame.position[2:4] for frame in frames] == [
        (None, None), (0, None), (0, 4), (0, 2), (2, 4), (4, 0), (4, 6),
    ]  # fmt: skip


def test_a_group_of_which_frames_are_missing_is_not_written() -> None:
    writer = StreamWriter(io.BytesIO(), HEADER)
    writer.write("I", b"")
    with pytest.raises(ValueError, match="a group of 3 pictures, expected one of 1, 2, 4, 8"):
        writer.write("P", b"", span=3)
    writer.write("P", b"", span=2)
    assert not writer.is_whole
    with pytest.raises(ValueError, match="frame 1 is a P-frame, expected a B-frame"):
        writer.write("P", b"")
    with pytest.raises(ValueError, match="frame 1 is missing"):
        writer.close()
    writer.write("B", b"")
    assert writer.is_whole and writer.frame_count == 3
    writer.close()


def without(data: bytes, number: int) -> bytes:
    """The stream without a frame's record; its end record lies where the trailer says."""
    offsets = [*(frame.offset for frame in read(data)), data.rindex(b"E", 0, -TRAILER.size)]
    at = [frame.number for frame in read(data)].index(number)
    front = data[: offsets[at]] + data[offsets[at + 1] : offsets[-1]]
    crc = zlib.crc32(data[: first_record() - CRC.size])
    trailer = TRAILER.pack(len(front), trailer_crc(crc, len(front)), END_MAGIC)
    return front + data[offsets[-1] : -TRAILER.size] + trailer


@pytest.mark.parametrize("number", GROUPS_SHOWN)
def test_a_missing_frame_of_a_group_is_named(number: int) -> None:
    data = without(stream(GROUPS), number)
    reader = StreamReader(io.BytesIO(data), strict=False)
    with pytest.raises(DamagedStream, match=f"frame {number if number not in (4, 6) else '[15]'} "):
        list(reader.frames())


def test_a_missing_frame_at_the_end_of_a_group_costs_no_other_gop() -> None:
    data = without(stream([*GROUPS, ("I", b"next"), ("P", b"last")]), 5)
    found: list[DamagedStream] = []
    reader = StreamReader(io.BytesIO(data[:-1]), strict=False)  # whose end record does not fit any more
    assert [frame.number for frame in reader.frames(on_damage=found.append)] == [0, 4, 2, 1, 3, 6, 7, 8]
    assert "frame 5 is due at byte" in str(found[0]) and "a B-frame, where a record 'I' is" in str(found[0])


@pytest.mark.parametrize("span", [0, 1, 3, 5, 16, 1 << 60])
def test_a_group_of_an_odd_size_is_damage(span: int) -> None:
    data = stream([("I", b"")])
    start = data.rindex(b"E", 0, -TRAILER.size)
    (crc,) = CRC.unpack(data[first_record() - 4 : first_record()])
    body = varint(span) + bytes(2) + b"far"
    record = b"A" + varint(len(body)) + CRC.pack(record_crc(crc, 1, ord("A"), body)) + body
    with pytest.raises(DamagedStream, match=r"frame 1 at byte \d+ is altered: a group of"):
        list(StreamReader(io.BytesIO(data[:start] + record), strict=False).frames())


def test_a_frame_between_others_is_not_shown_after_them() -> None:
    writer = StreamWriter(io.BytesIO(), TIMED)
    writer.write("I", b"", time=5)
    writer.write("P", b"", time=9, span=2)
    with pytest.raises(ValueError, match="frame 1 is shown at 10, after the frame after it"):
        writer.write("B", b"", time=10)


def test_a_long_gop_takes_no_memory() -> None:
    """Neither of the reader nor of the order itself: a few numbers of the last group remain."""
    order = PictureOrder()
    order.next("I")
    for i in range(1000):
        for kind in "PBBBBBBB":
            order.shown(order.next(kind, 8), 9 * i + 9)
    assert len(order._times) <= 9 and len(order._anchors) == 2 and order.is_whole


# Alterations


@pytest.mark.parametrize("frames", [FRAMES, GROUPS], ids=["groups of one", "groups of more"])
def test_every_single_altered_byte_is_noticed(frames: Kinds) -> None:
    data = stream(frames, TIMED)
    for place, byte in enumerate(data):
        for mask in (0x01, 0x80, 0xFF, random.Random(place).randrange(1, 256)):
            with pytest.raises(DamagedStream):
                read(data[:place] + bytes([byte ^ mask]) + data[place + 1 :])


@pytest.mark.parametrize("frames", [FRAMES, GROUPS], ids=["groups of one", "groups of more"])
def test_every_truncation_is_noticed(frames: Kinds) -> None:
    data = stream(frames)
    for length in range(len(data)):
        with pytest.raises(DamagedStream):
            read(data[:length])


@pytest.mark.parametrize("frames", [FRAMES, GROUPS], ids=["groups of one", "groups of more"])
def test_every_missing_or_added_byte_is_noticed(frames: Kinds) -> None:
    data = stream(frames)
    for place in range(len(data) + 1):
        with pytest.raises(DamagedStream):
            read(data[:place] + b"\x2a" + data[place:])
        if place < len(data):
            with pytest.raises(DamagedStream):
                read(data[:place] + data[place + 1 :])


def record_bounds(data: bytes) -> list[int]:
    """Where each frame's record begins, and the end record."""
    frames = read(data)
    (end,) = {frames[-1].offset + len(data[frames[-1].offset : data.rindex(b"E", 0, -TRAILER.size)])}
    return [*(frame.offset for frame in frames), end]


def test_frames_in_another_order_are_noticed() -> None:
    data = stream([("I", b""), ("P", b"abcd"), ("P", b"wxyz")])
    a, b, end = record_bounds(data)[1:]
    with pytest.raises(DamagedStream, match="frame 1"):
        read(data[:a] + data[b:end] + data[a:b] + data[end:])


def test_gops_in_another_order_are_noticed() -> None:
    data = stream([("I", b"abcd"), ("I", b"wxyz")])
    a, b, end = record_bounds(data)
    with pytest.raises(DamagedStream, match="frame 0 is due"):
        read(data[:a] + data[b:end] + data[a:b] + data[end:])


def test_a_record_of_another_stream_is_noticed() -> None:
    data, other = stream(), stream(header=replace(HEADER, weights_hash="d4" * 32))
    with pytest.raises(DamagedStream, match="frame 0"):
        read(data[: first_record()] + other[first_record() : -TRAILER.size] + data[-TRAILER.size :])


def damaged(data: bytes, payload: bytes) -> bytes:
    """With one bit of this payload turned."""
    place = data.index(payload)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def test_a_damage_costs_its_gop_and_no_more() -> None:
    found: list[DamagedStream] = []
    data = damaged(stream([*FRAMES, ("I", b"last")]), b"\0\xff")
    frames = list(StreamReader(io.BytesIO(data)).frames(on_damage=found.append))
    assert [frame.number for frame in frames] == [0, 1, 3, 4, 5]
    assert [str(each).split(" ", 3)[3] for each in found][0].startswith("2 at byte") and len(found) == 1


def test_the_next_gop_is_found_without_the_end_record() -> None:
    """From byte to byte; what only looks like an I-frame is passed over."""
    data = damaged(stream([("I", b"IIIIIIII"), ("P", b"I\x05I\x01I"), ("I", b"sound"), ("P", b"")]), b"I\x05I\x01I")
    found: list[DamagedStream] = []
    reader = StreamReader(io.BytesIO(data[:-1]), strict=False)
    assert reader.damage is not None and reader.frame_count is None
    assert [frame.number for frame in reader.frames(on_damage=found.append)] == [0, 2, 3]
    assert ["frame 1 at byte" in str(each) for each in found] == [True, False], "and the trailer"


def test_where_bytes_are_lost_the_rest_is_found_too() -> None:
    data = stream()
    place = data.index(bytes(range(20)))
    found: list[DamagedStream] = []
    reader = StreamReader(io.BytesIO(data[:place] + data[place + 3 :]), strict=False)
    assert [frame.number for frame in reader.frames(on_damage=found.append)] == [3, 4]


def test_the_search_ends_whatever_a_file_holds() -> None:
    """Nothing but beginnings of I-frames that promise nearly all that follows."""
    data = stream()[: first_record()] + (b"I" + varint(1 << 17) + b"....") * (1 << 15)
    file = io.BytesIO(data)
    reader = StreamReader(file, strict=False)
    assert list(reader.frames(on_damage=lambda damage: None)) == []
    assert reader.bytes_read < 40 * len(data)


def with_end(data: bytes, frames: int, gops: Sequence[Gop]) -> bytes:
    """With another end record, whose checksum is right; the bytes before it, too."""
    front = data[: record_bounds(data)[-1]]
    body, crc = pack_end(End(frames, gops)), zlib.crc32(data[: first_record() - CRC.size])
    end = b"E" + varint(len(body)) + CRC.pack(record_crc(crc, 0, ord("E"), body)) + body
    return front + end + TRAILER.pack(len(front), trailer_crc(crc, len(front)), END_MAGIC)


@pytest.mark.parametrize("frames", [6, 12, 1 << 40, (1 << 64) - 1])
def test_an_end_record_cannot_tell_of_more_frames_than_there_is_room_for(frames: int) -> None:
    """Those that are lost are filled with others: a film without end, of a few bytes."""
    data = stream()
    gops = [Gop(frame.number, frame.offset) for frame in read(data) if frame.kind == "I"]
    assert StreamReader(io.BytesIO(with_end(data, 5, gops))).frame_count == 5
    room = record_bounds(data)[-1] - gops[-1].offset
    assert (8 * (6 - 3) <= room) and (8 * (12 - 3) > room), "two more empty frames would fit, seven not"
    if frames == 6:
        assert StreamReader(io.BytesIO(with_end(data, frames, gops))).frame_count == 6
    else:
        with pytest.raises(DamagedStream, match="contradicts the file"):
            read(with_end(data, frames, gops))


def test_gops_cannot_begin_closer_to_each_other_than_their_frames_take() -> None:
    data = stream()
    offsets = [frame.offset for frame in read(data)]
    with pytest.raises(DamagedStream, match="contradicts the file"):
        read(with_end(data, 5, [Gop(0, offsets[0]), Gop(1, offsets[0]), Gop(3, offsets[3])]))


@pytest.mark.parametrize("shift", [-1, 1])
@pytest.mark.parametrize("gop", [0, 1])
@pytest.mark.parametrize("open_it", [io.BytesIO, pipe], ids=["file", "pipe"])
def test_an_index_whose_offset_is_one_byte_off_is_damage(gop: int, shift: int, open_it: Callable[[bytes], Any]) -> None:
    """All checksums are right; the records alone tell that the index is wrong."""
    data = stream()
    gops = [Gop(frame.number, frame.offset) for frame in read(data) if frame.kind == "I"]
    gops[gop] = Gop(gops[gop].number, gops[gop].offset + shift)
    with pytest.raises(DamagedStream, match=r"the end record at byte \d+ contradicts"):
        list(StreamReader(open_it(with_end(data, 5, gops))).frames())


def test_a_gop_whose_offset_is_one_byte_off_is_damage_where_reading_begins_at_it() -> None:
    data = stream()
    offsets = [frame.offset for frame in read(data) if frame.kind == "I"]
    for shift in (-1, 1):
        with pytest.raises(DamagedStream):
            read(with_end(data, 5, [Gop(0, offsets[0]), Gop(3, offsets[1] + shift)]), first=3)


def keyframe(header: Header, body: bytes) -> bytes:
    """The record of an I-frame whose checksum is right."""
    crc = zlib.crc32(prologue(header)[: -CRC.size])
    return b"I" + varint(len(body)) + CRC.pack(record_crc(crc, 0, ord("I"), body)) + body


@pytest.mark.parametrize(("time", "is_read"), [(0, False), (159, False), (160, True), (161, True)])
@pytest.mark.parametrize("open_it", [io.BytesIO, pipe], ids=["file", "pipe"])
def test_an_i_frame_is_not_shown_before_the_frame_before_it(
    time: int, is_read: bool, open_it: Callable[[bytes], Any]
) -> None:
    """Which is the last in order of display, not of coding: frames 2 and 1 are shown at 160 and 40."""
    front = stream([("I", b""), ("P2", b""), ("B", b"")], TIMED)
    forged = front[: record_bounds(front)[-1]] + keyframe(TIMED, varint(3) + bytes(2) + varint(time))
    found: list[DamagedStream] = []
    frames = StreamReader(open_it(forged), strict=False).frames(on_damage=found.append)
    assert [frame.number for frame in frames] == [0, 2, 1, 3][: 3 + is_read]
    said = "ends at byte" if is_read else f"shown at {time}, before the frame before it"
    assert said in str(found[0])


@pytest.mark.parametrize(
    ("number", "found"), [(0, False), (1, False), (2, True), (3, True), (30, True), (1 << 40, False)]
)
def test_behind_a_damage_an_i_frame_is_neither_earlier_than_due_nor_beyond_the_file(number: int, found: bool) -> None:
    """Frames 0 and 1 are there. Behind a damage frames may be missing, but not more than a file could hold."""
    data = stream([("I", bytes(300)), ("P", b""), ("P", b"lost"), ("I", b"behind")])
    changed = damaged(data[: read(data)[3].offset] + keyframe(HEADER, varint(number) + bytes(2) + b"behind"), b"lost")
    frames = StreamReader(io.BytesIO(changed), strict=False).frames(on_damage=lambda damage: None)
    assert [frame.number for frame in frames] == [0, 1, number][: 2 + found]


@pytest.mark.parametrize("told", [True, False], ids=["by the end record", "byte by byte"])
def test_many_searches_end_too(told: bool) -> None:
    """Sound I-frames, each before one that promises much and is none: every search would read all that follows."""
    data = stream([("I", bytes(8))] * 400)
    bounds, crc = record_bounds(data), zlib.crc32(data[: first_record() - CRC.size])
    long = b"I" + varint(bounds[-1] // 2) + b"...." + bytes(12)
    pieces, gops = [data[: bounds[0]]], []
    for _ in range(400):
        for _ in range(12):
            gops.append(Gop(len(gops), sum(map(len, pieces))))
            pieces.append(long)
        gops.append(Gop(len(gops), sum(map(len, pieces))))
        body = varint(gops[-1].number) + bytes(10)
        pieces.append(b"I" + varint(len(body)) + CRC.pack(record_crc(crc, 0, ord("I"), body)) + body)
    body, front = pack_end(End(len(gops), gops)), b"".join(pieces)
    end = b"E" + varint(len(body)) + CRC.pack(record_crc(crc, 0, ord("E"), body)) + body
    data = front + end + TRAILER.pack(len(front), trailer_crc(crc, len(front)), END_MAGIC)[: 16 if told else 15]
    reader = StreamReader(io.BytesIO(data), strict=False)
    assert (reader.frame_count is not None) == told
    assert list(reader.frames(on_damage=lambda damage: None))
    assert reader.bytes_read < 90 * len(data)


@pytest.mark.parametrize(
    ("cut", "text"),
    [
        (lambda data: b"", "it is empty"),
        (lambda data: b"RIFF....AVI " * 40, "not a .dsc file"),
        (lambda data: data[:6], "header is cut short: the file ends at byte 6"),
        (lambda data: data[: data.index(b"XXXXX") + 2], r"frame 3 at byte \d+ is cut short.*8 bytes due, 5 there"),
        (lambda data: data[: record_bounds(data)[-1]], r"ends at byte \d+, after 5 frames and before its end record"),
        (lambda data: data[:-20], r"the end record at byte \d+ is cut short"),
        (lambda data: data[:-1], r"the trailer at byte \d+ is cut short"),
    ],
    ids=["empty", "foreign", "magic", "record", "end", "in the end", "trailer"],
)
def test_the_message_says_what_and_where(cut: Callable[[bytes], bytes], text: str, tmp_path: Path) -> None:
    path = tmp_path / "film.dsc"
    path.write_bytes(cut(stream()))
    with pytest.raises(DamagedStream, match=text) as caught:
        StreamReader(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_truncated_stream_is_readable_as_far_as_it_goes() -> None:
    data = stream()
    found: list[DamagedStream] = []
    reader = StreamReader(io.BytesIO(data[: data.index(b"XXXXX") + 2]), strict=False)
    assert kinds(list(reader.frames(on_damage=found.append))) == FRAMES[:3]
    assert reader.damage is not None and "frame 3" in str(found[0])


@pytest.mark.parametrize("length", [MAX_BODY, MAX_BODY + 1, 2**64 - 1])
@pytest.mark.parametrize("open_it", [io.BytesIO, pipe], ids=["file", "pipe"])
def test_an_altered_length_allocates_nothing(length: int, open_it: Callable[[bytes], Any]) -> None:
    data = stream()[: first_record()] + b"I" + varint(length) + bytes(5000)
    tracemalloc.start()
    with pytest.raises(DamagedStream, match=f"{length} bytes"):
        list(StreamReader(open_it(data), strict=False).frames())
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


def test_an_exception_leaves_a_stream_without_end() -> None:
    file = io.BytesIO()
    with pytest.raises(RuntimeError), StreamWriter(file, HEADER) as writer:
        writer.write("I", b"one")
        raise RuntimeError
    with pytest.raises(DamagedStream, match="before its end record"):
        read(file.getvalue())


# Errors of the caller


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.dsc cannot be read: no such file"):
        StreamReader(tmp_path / "nothing.dsc")
    with pytest.raises(UsageError, match="cannot be read"):
        StreamReader(tmp_path)


def test_the_writer_refuses_what_it_does_not_know() -> None:
    writer = StreamWriter(io.BytesIO(), HEADER)
    with pytest.raises(ValueError, match="frame type is 'A'"):
        writer.write("A", b"")
    with pytest.raises(ValueError, match="expected an I-frame"):
        writer.write("P", b"")
    with pytest.raises(ValueError, match="expected an I- or P-frame"):
        writer.write("B", b"")
    with pytest.raises(ValueError, match="from a to z"):
        writer.write_other(Other("X", b""))
    with pytest.raises(ValueError, match="lie evenly"):
        writer.write("I", b"", time=3)
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write("I", b"")


def test_the_writer_refuses_times_that_run_backwards() -> None:
    writer = StreamWriter(io.BytesIO(), TIMED)
    with pytest.raises(ValueError, match="have times"):
        writer.write("I", b"")
    writer.write("I", b"", time=5)
    for kind in "PI":
        with pytest.raises(ValueError, match="before the frame before it"):
            copy.deepcopy(writer).write(kind, b"", time=4)


# Versions


def with_version(version: int) -> bytes:
    data, end = bytearray(stream()), first_record() - 4
    data[VERSION_OFFSET : VERSION_OFFSET + 2] = version.to_bytes(2, "little")
    data[end : end + 4] = zlib.crc32(bytes(data[:end])).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(("version", "text"), [(0x0200, "version 2.0.*newer"), (0x0001, "version 0.1.*draft")])
def test_another_major_version_is_told_from_damage(version: int, text: str) -> None:
    with pytest.raises(IncompatibleStream, match=text):
        read(with_version(version))


def test_a_later_minor_version_is_read() -> None:
    """Its records are bound to its own prologue; here there are none of them."""
    assert StreamReader(io.BytesIO(with_version(FORMAT_VERSION + 7)), strict=False).header.width == 64


def test_version_1_1_stays_as_it_is() -> None:
    golden = bytes.fromhex(GOLDEN.read_text())
    frames = [*GROUPS, *FRAMES]
    assert stream(frames, TIMED) == golden, "version 1.1 is written differently: give the format a new version"
    assert kinds(read(golden)) == frames
    assert StreamReader(io.BytesIO(golden)).header == TIMED


def test_version_1_0_is_read() -> None:
    golden = bytes.fromhex(GOLDEN_1_0.read_text())
    assert kinds(read(golden)) == FRAMES and [frame.time for frame in read(golden)] == [0, 40, 160, 360, 640]
    assert StreamReader(io.BytesIO(golden)).header == replace(TIMED, version=0x0100)


def test_only_errors_of_ours_whatever_the_bytes() -> None:
    rng = random.Random(0)
    for _ in range(300):
        data = bytearray(stream())
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            read(bytes(data))
        except CodecError:
            continue
        assert bytes(data) == stream()
