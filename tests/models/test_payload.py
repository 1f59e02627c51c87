"""The bytes of a picture: its parts come back, and bytes that mean nothing are refused."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from deepsphere_codec.bitstream.cursor import varint
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.models.payload import Payload

TURN, MAP, MOTION, LATENTS = torch.tensor([5, -6, 700]), b"how good", b"how it moves", b"what is left"
ALL = Payload(TURN, MAP, MOTION, LATENTS)


def test_a_picture_that_repeats_is_one_byte():
    assert Payload().pack() == b"\0" and Payload.unpack(b"\0") == Payload()


@pytest.mark.parametrize("present", list(product((False, True), repeat=4)), ids=str)
def test_parts_come_back(present):
    parts = Payload(*(part if there else None for part, there in zip(ALL[:4], present, strict=True)))
    turned, mapped, moved, coded = present
    payload = parts.pack()
    assert payload[0] == turned + 2 * moved + 4 * coded + 8 * mapped
    assert len(payload) == 1 + 6 * turned + 9 * mapped + 13 * moved + 12 * coded
    found = Payload.unpack(payload)
    assert found[1:] == parts[1:] and found.pack() == payload
    assert (found.turn is None) == (not turned) and (not turned or torch.equal(found.turn, TURN))


def test_a_repeat_is_one_byte():
    for second in (False, True):
        parts = Payload(repeats_second=second)
        assert parts.is_repeat and parts.pack() == bytes([16 * second]) and Payload.unpack(parts.pack()) == parts


def test_empty_parts_are_parts():
    """Their contents are for their coders to judge."""
    parts = Payload(None, b"", b"", b"")
    assert parts.pack() == bytes([14, 0, 0]) and Payload.unpack(parts.pack()) == parts


def test_sizes_add_up_to_the_payload_but_for_flags_and_numbers():
    assert ALL.sizes == {"rotation": 6, "map": 8, "motion": 12, "latents": 12}
    assert sum(ALL.sizes.values()) == len(ALL.pack()) - 3
    assert sum(Payload().sizes.values()) == 0


def test_long_parts_have_longer_numbers():
    parts = Payload(None, None, bytes(300), b"rest")
    assert len(parts.pack()) == 1 + 2 + 300 + 4 and Payload.unpack(parts.pack()) == parts


@pytest.mark.parametrize("flags", range(16, 256, 7))
def test_first_bytes_that_mean_nothing_are_refused(flags):
    with pytest.raises(DamagedStream, match=f"begins with {flags:02x}, which means nothing"):
        Payload.unpack(bytes([flags]) + bytes(40))


def test_nothing_is_refused():
    with pytest.raises(DamagedStream, match="begins with nothing"):
        Payload.unpack(b"")


@pytest.mark.parametrize(
    "payload", [b"\0\0", Payload(TURN).pack() + b"more", Payload(None, MAP, MOTION).pack() + b"\0"]
)
def test_what_goes_on_behind_the_last_part_is_refused(payload):
    with pytest.raises(DamagedStream, match="goes on behind its end"):
        Payload.unpack(payload)


def test_a_payload_that_ends_early_is_refused():
    """Within the rotation, the map or the motion; the latents' end is for their coder to find."""
    payload = ALL.pack()
    end = len(payload) - len(LATENTS)
    for length in range(1, end):
        with pytest.raises(DamagedStream):
            Payload.unpack(payload[:length])
    assert Payload.unpack(payload[:end]).latents == b""


@pytest.mark.parametrize("part", ["quality map", "motion"])
@pytest.mark.parametrize("length", [13 + len(LATENTS), 2**31, 2**32 - 1])
def test_a_part_longer_than_the_payload_is_refused(part, length):
    parts = Payload(None, MAP if part == "quality map" else None, MOTION if part == "motion" else None, LATENTS)
    payload = parts.pack()
    longer = payload[:1] + varint(length) + payload[2:]
    with pytest.raises(DamagedStream, match=f"ends within its {part}: {length} bytes due"):
        Payload.unpack(longer)


def test_a_number_that_does_not_end_is_refused():
    with pytest.raises(DamagedStream, match="ends within its motion"):
        Payload.unpack(b"\x02" + b"\xff" * 12)


def test_a_turn_of_half_a_circle_is_refused():
    with pytest.raises(DamagedStream, match="less than half a circle"):
        Payload.unpack(Payload(torch.tensor([32767, 32767, 32767])).pack())
