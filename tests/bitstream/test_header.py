"""What a header accepts."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from deepsphere_codec.bitstream import Header
from deepsphere_codec.bitstream.header import prologue, unpack_header

HEADER = Header(
    version=1,
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
    quality=1.0,
    gop_size=2**32 - 1,
)


def body(header: Header) -> bytes:
    return prologue(header)[14:-4]


def test_every_field_comes_back() -> None:
    assert asdict(unpack_header(1, body(HEADER))) == asdict(HEADER)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("version", 0),
        ("width", 0),
        ("height", -1),
        ("fps_num", 2**32),
        ("fps_den", 0),
        ("nside", 0),
        ("gop_size", 0),
        ("quality", float("nan")),
        ("quality", float("inf")),
        ("weights_hash", ""),
        ("tables_hash", "7f" * 31),
        ("graph_hash", "FF" * 32),
        ("model", "m" * (1 << 16)),
        ("matrix", "m" * 65500),
    ],
)
def test_what_the_file_cannot_hold_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        replace(HEADER, **{field: value})


def test_a_body_of_another_length_is_refused() -> None:
    for length in range(len(body(HEADER))):
        with pytest.raises(ValueError):
            unpack_header(1, body(HEADER)[:length])
    with pytest.raises(ValueError, match="length"):
        unpack_header(1, body(HEADER) + b"\0")
