"""What a header accepts."""

from __future__ import annotations

import io
from dataclasses import asdict, replace

import pytest

from deepsphere_codec.bitstream import FORMAT_VERSION, LIMITS, Header, StreamReader
from deepsphere_codec.bitstream.header import NotHere, prologue, unpack_header
from deepsphere_codec.bitstream.layout import MAX_HEADER

HEADER = Header(
    version=FORMAT_VERSION,
    width=1024,
    height=512,
    fps_num=24,
    fps_den=1,
    full_range=False,
    matrix="bt2020",
    nside=256,
    pixel_order="face-major",
    model="",
    weights_hash="00" * 32,
    tables_hash="7f" * 32,
    graph_hash="ff" * 32,
    model_quality=1.0,
    gop_size=2**16,
    primaries=9,
    transfer=16,
    tick_num=1,
    tick_den=90000,
)


def body(header: Header) -> bytes:
    return prologue(header)[14:-4]


def test_every_field_comes_back() -> None:
    assert asdict(unpack_header(FORMAT_VERSION, body(HEADER))) == asdict(HEADER)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 0x0200),
        ("version", 0),
        ("width", 2**15 + 1),
        ("nside", 2**13 + 1),
        ("nside", 1025),
        ("width", 0),
        ("height", -1),
        ("width", 1022),
        ("height", 511),
        ("height", 2),
        ("fps_num", 2**31),
        ("fps_den", 0),
        ("nside", 0),
        ("gop_size", 0),
        ("model_quality", float("nan")),
        ("model_quality", float("inf")),
        ("weights_hash", ""),
        ("tables_hash", "7f" * 31),
        ("graph_hash", "FF" * 32),
        ("model", "m" * (1 << 16)),
        ("matrix", "rgb"),
        ("transfer", 256),
        ("tick_num", 0),
        ("tick_den", 2**31),
    ],
)
def test_what_the_file_cannot_hold_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        replace(HEADER, **{field: value})


def test_limits_are_within_reach() -> None:
    assert asdict(unpack_header(FORMAT_VERSION, body(replace(HEADER, **LIMITS)))) == asdict(replace(HEADER, **LIMITS))


def test_the_longest_header_is_read():
    room = MAX_HEADER - len(body(replace(HEADER, model="")))
    header = replace(HEADER, model="m" * room)
    assert StreamReader(io.BytesIO(prologue(header)), strict=False).header == header
    with pytest.raises(ValueError, match=f"the header takes {MAX_HEADER + 1} bytes, expected at most {MAX_HEADER}"):
        replace(HEADER, model="m" * (room + 1))


def test_a_body_of_another_length_is_refused() -> None:
    for length in range(len(body(HEADER))):
        with pytest.raises(ValueError):
            unpack_header(FORMAT_VERSION, body(HEADER)[:length])
    with pytest.raises(ValueError, match="1 bytes more"):
        unpack_header(FORMAT_VERSION, body(HEADER) + b"\0")


def test_what_a_later_minor_version_adds_is_left_aside() -> None:
    header = unpack_header(FORMAT_VERSION + 1, body(HEADER) + b"something new")
    assert header == replace(HEADER, version=FORMAT_VERSION + 1)


@pytest.mark.parametrize(("byte", "value"), [(40, 1), (40, 2), (41, 10)], ids=["top-bottom", "side by side", "10 bits"])
def test_what_is_reserved_is_told_from_nonsense(byte: int, value: int) -> None:
    data = bytearray(body(HEADER))
    data[byte] = value
    with pytest.raises(NotHere):
        unpack_header(FORMAT_VERSION, bytes(data))


@pytest.mark.parametrize(("byte", "value"), [(42, 2), (43, 0)], ids=["range", "matrix"])
def test_a_colour_that_means_nothing_is_refused(byte: int, value: int) -> None:
    data = bytearray(body(HEADER))
    data[byte] = value
    with pytest.raises(ValueError, match="means nothing"):
        unpack_header(FORMAT_VERSION, bytes(data))
