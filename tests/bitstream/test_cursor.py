"""Numbers of variable length, and bytes taken one after the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsphere_codec.bitstream.cursor import MAX_VARINT, Cursor, varint, zigzag
from deepsphere_codec.bitstream.layout import CRC


@given(st.integers(0, 2**64 - 1))
def test_a_number_comes_back(value: int) -> None:
    cursor = Cursor(varint(value) + b"!")
    assert cursor.varint() == value
    assert cursor.rest() == b"!"


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_signed_number_comes_back(value: int) -> None:
    assert Cursor(varint(zigzag(value))).signed_varint() == value
    assert [zigzag(number) for number in (0, -1, 1, -2, 2)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("value", "length"), [(0, 1), (127, 1), (128, 2), (2**14 - 1, 2), (2**14, 3), (2**64 - 1, 10)])
def test_seven_bits_a_byte(value: int, length: int) -> None:
    assert len(varint(value)) == length <= MAX_VARINT


@pytest.mark.parametrize("value", [-1, 2**64])
def test_other_numbers_have_no_bytes(value: int) -> None:
    with pytest.raises(ValueError):
        varint(value)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x00", b"\xff" * 9 + b"\x02", b"\xff" * 11], ids=bytes.hex)
def test_no_other_bytes_are_a_number(data: bytes) -> None:
    with pytest.raises(ValueError):
        Cursor(data).varint()


def test_nothing_is_taken_beyond_the_end() -> None:
    cursor = Cursor(b"abcde")
    assert cursor.unpack(CRC) == (int.from_bytes(b"abcd", "little"),)
    with pytest.raises(ValueError, match="2 bytes due at byte 4 of 5"):
        cursor.take(2)
    with pytest.raises(ValueError, match="1 bytes more"):
        cursor.end()
    cursor.take(1)
    cursor.end()
