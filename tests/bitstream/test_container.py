"""The `.dsc` file: round trips, and every alteration noticed."""

from __future__ import annotations

import io
import random
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deepsphere_codec.bitstream import Header, StreamReader, StreamWriter
from deepsphere_codec.bitstream.layout import RECORD, VERSION_OFFSET
from deepsphere_codec.errors import CodecError, DamagedStream, IncompatibleStream, UsageError

GOLDEN = Path(__file__).with_name("version1.hex")

HEADER = Header(
    version=1,
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
    quality=4.25,
    gop_size=3,
)
FRAMES = [("I", bytes(range(20))), ("P", b""), ("P", b"\0\xff"), ("I", b"X" * 5), ("P", bytes(7))]


def stream(frames: list[tuple[str, bytes]] = FRAMES, header: Header = HEADER) -> bytes:
    file = io.BytesIO()
    with StreamWriter(file, header) as writer:
        for frame_type, payload in frames:
            writer.write(frame_type, payload)
    return file.getvalue()


def read(data: bytes) -> list[tuple[str, bytes]]:
    return list(StreamReader(io.BytesIO(data)).records())


def test_a_stream_comes_back_as_it_went_in() -> None:
    reader = StreamReader(io.BytesIO(stream()))
    assert reader.header == HEADER
    assert reader.frame_count == len(FRAMES)
    assert list(reader.records()) == FRAMES
    assert list(reader.records()) == FRAMES, "a second time"


@pytest.mark.parametrize("seed", range(8))
def test_random_streams_come_back(seed: int) -> None:
    rng = random.Random(seed)
    frames = [(rng.choice("IP"), rng.randbytes(rng.choice([0, 1, 100, 5000]))) for _ in range(rng.randrange(30))]
    assert read(stream(frames)) == frames


def test_a_stream_without_frames() -> None:
    assert read(stream([])) == []
    assert StreamReader(io.BytesIO(stream([]))).frame_count == 0


def test_records_from_any_frame_on() -> None:
    reader = StreamReader(io.BytesIO(stream()))
    for start in range(len(FRAMES) + 2):
        assert list(reader.records(start)) == FRAMES[start:]
    with pytest.raises(ValueError, match="start"):
        reader.records(-1)


def test_two_iterations_at_once() -> None:
    reader = StreamReader(io.BytesIO(stream()))
    assert [(a, b) for a, b in zip(reader.records(), reader.records(1), strict=False)] == list(
        zip(FRAMES, FRAMES[1:], strict=False)
    )


def test_the_keyframe_before_a_frame() -> None:
    reader = StreamReader(io.BytesIO(stream()))
    assert [reader.keyframe_before(number) for number in range(5)] == [0, 0, 0, 3, 3]
    with pytest.raises(ValueError, match="5"):
        reader.keyframe_before(5)
    with pytest.raises(DamagedStream, match="no I-frame"):
        StreamReader(io.BytesIO(stream([("P", b"")]))).keyframe_before(0)


def test_the_scan_and_the_index_agree() -> None:
    scanned = StreamReader(io.BytesIO(stream()), strict=False)
    assert scanned.damage is None
    assert list(scanned.records()) == FRAMES
    assert [scanned.keyframe_before(number) for number in range(5)] == [0, 0, 0, 3, 3]


def test_a_path_is_opened_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "film.dsc"
    path.write_bytes(stream())
    with StreamReader(path) as reader:
        assert list(reader.records()) == FRAMES
    with pytest.raises(ValueError, match="closed"):
        list(reader.records())


def test_a_file_of_the_caller_stays_open() -> None:
    file = io.BytesIO(stream())
    with StreamReader(file):
        pass
    assert not file.closed


# Alterations


def test_every_single_altered_byte_is_noticed() -> None:
    data = stream()
    for place, byte in enumerate(data):
        for mask in (0x01, 0x80, 0xFF, random.Random(place).randrange(1, 256)):
            with pytest.raises(DamagedStream):
                read(data[:place] + bytes([byte ^ mask]) + data[place + 1 :])


def test_every_truncation_is_noticed() -> None:
    data = stream()
    for length in range(len(data)):
        with pytest.raises(DamagedStream):
            read(data[:length])


def test_every_missing_or_added_byte_is_noticed() -> None:
    data = stream()
    for place in range(len(data) + 1):
        with pytest.raises(DamagedStream):
            read(data[:place] + b"\x2a" + data[place:])
        if place < len(data):
            with pytest.raises(DamagedStream):
                read(data[:place] + data[place + 1 :])


def test_records_in_another_order_are_noticed() -> None:
    data, first = stream([("P", b"abcd"), ("P", b"wxyz")]), len(stream([])) - 9 - 16
    size = RECORD.size + 4
    swapped = data[:first] + data[first + size : first + 2 * size] + data[first : first + size]
    with pytest.raises(DamagedStream, match="frame 0"):
        read(swapped + data[first + 2 * size :])


def test_a_record_of_another_stream_is_noticed() -> None:
    data, other = stream(), stream(header=replace(HEADER, weights_hash="d4" * 32))
    first = len(data) - len(stream([])) and len(stream([])) - 9 - 16
    with pytest.raises(DamagedStream, match="frame 0"):
        read(data[:first] + other[first:-16] + data[-16:])


def test_what_follows_the_damage_of_one_frame_can_be_read() -> None:
    data = bytearray(stream())
    data[data.index(bytes(range(20)))] ^= 1
    reader = StreamReader(io.BytesIO(bytes(data)))
    with pytest.raises(DamagedStream, match=r"frame 0 at byte \d+ is altered"):
        list(reader.records())
    assert list(reader.records(3)) == FRAMES[3:]


@pytest.mark.parametrize(
    ("cut", "text"),
    [
        (lambda data: b"", "it is empty"),
        (lambda data: b"RIFF....AVI " * 40, "not a .dsc file"),
        (lambda data: data[:6], "header is cut short: the file ends at byte 6"),
        (lambda data: data[: data.index(b"XXXXX") + 2], r"frame 3 at byte \d+ is cut short.*5 bytes due, 2 there"),
        (lambda data: data[: -16 - 9 - 9 * 5], r"ends at byte \d+, after 5 frames and before their index"),
        (lambda data: data[:-20], r"the index at byte \d+ is cut short"),
        (lambda data: data[:-1], r"the trailer at byte \d+"),
    ],
    ids=["empty", "foreign", "magic", "record", "index", "in the index", "trailer"],
)
def test_the_message_says_what_and_where(cut: Callable[[bytes], bytes], text: str, tmp_path: Path) -> None:
    path = tmp_path / "film.dsc"
    path.write_bytes(cut(stream()))
    with pytest.raises(DamagedStream, match=text) as caught:
        StreamReader(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_truncated_stream_is_readable_as_far_as_it_goes() -> None:
    data = stream()
    reader = StreamReader(io.BytesIO(data[: data.index(b"XXXXX") + 2]), strict=False)
    assert list(reader.records()) == FRAMES[:3]
    assert reader.damage is not None and "frame 3" in str(reader.damage)


def test_an_altered_length_allocates_nothing() -> None:
    data = bytearray(stream([("I", b"payload")]))
    place = data.index(b"payload") - 8
    data[place : place + 4] = b"\xff\xff\xff\xff"
    tracemalloc.start()
    with pytest.raises(DamagedStream, match="4294967295 bytes due"):
        read(bytes(data))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_an_exception_leaves_a_stream_without_index() -> None:
    file = io.BytesIO()
    with pytest.raises(RuntimeError), StreamWriter(file, HEADER) as writer:
        writer.write("I", b"one")
        raise RuntimeError
    with pytest.raises(DamagedStream, match="before their index"):
        read(file.getvalue())
    assert list(StreamReader(io.BytesIO(file.getvalue()), strict=False).records()) == [("I", b"one")]


# Errors of the caller


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.dsc cannot be read: no such file"):
        StreamReader(tmp_path / "nothing.dsc")
    with pytest.raises(UsageError, match="cannot be read"):
        StreamReader(tmp_path)


def test_the_writer_refuses_what_it_does_not_know() -> None:
    writer = StreamWriter(io.BytesIO(), HEADER)
    with pytest.raises(ValueError, match="frame type is 'B'"):
        writer.write("B", b"")
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write("I", b"")


# Versions


def test_a_newer_version_is_told_from_damage() -> None:
    import zlib

    data = bytearray(stream())
    data[VERSION_OFFSET] = 2
    end = len(stream([])) - 9 - 16 - 4
    data[end : end + 4] = zlib.crc32(bytes(data[:end])).to_bytes(4, "little")
    with pytest.raises(IncompatibleStream, match="version 2"):
        read(bytes(data))


def test_version_1_stays_as_it_is() -> None:
    golden = bytes.fromhex(GOLDEN.read_text())
    assert stream() == golden, "version 1 is written differently: give the format a new version"
    reader = StreamReader(io.BytesIO(golden))
    assert reader.header == HEADER
    assert list(reader.records()) == FRAMES


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
