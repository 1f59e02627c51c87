"""The bytes of a P-frame: its parts come back, and bytes that mean nothing are refused."""

from __future__ import annotations

import pytest
import torch

from deepsphere_codec.cursor import varint
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.models.payload import InterPayload

TURN, MOTION, RESIDUAL = torch.tensor([5, -6, 700]), b"how it moves", b"what is left"
MEANT = {0, 4, 5, 6, 7}


def test_a_frame_that_repeats_is_one_byte():
    assert InterPayload().pack() == b"\0" and InterPayload.unpack(b"\0") == InterPayload()


@pytest.mark.parametrize("turned, moved", [(False, False), (False, True), (True, False), (True, True)])
def test_parts_come_back(turned, moved):
    parts = InterPayload(TURN if turned else None, MOTION if moved else None, RESIDUAL)
    payload = parts.pack()
    assert payload[0] == 4 + turned + 2 * moved
    assert len(payload) == 1 + 6 * turned + (1 + len(MOTION)) * moved + len(RESIDUAL)
    found = InterPayload.unpack(payload)
    assert (found.motion, found.residual) == (parts.motion, parts.residual)
    assert (found.turn is None) == (not turned) and (not turned or torch.equal(found.turn, TURN))


def test_first_bytes_that_mean_nothing_are_refused():
    for flags in range(256):
        if flags not in MEANT:
            with pytest.raises(DamagedStream, match=f"begins with {flags:02x}, which means nothing"):
                InterPayload.unpack(bytes([flags]) + bytes(40))
    with pytest.raises(DamagedStream, match="begins with nothing"):
        InterPayload.unpack(b"")


def test_a_frame_that_repeats_and_says_more_is_refused():
    with pytest.raises(DamagedStream):
        InterPayload.unpack(b"\0\0")


def test_a_payload_that_ends_early_is_refused():
    """Within the rotation or the motion; the residual's end is for its coder to find."""
    payload = InterPayload(TURN, MOTION, RESIDUAL).pack()
    end = len(payload) - len(RESIDUAL)
    for length in range(1, end):
        with pytest.raises(DamagedStream):
            InterPayload.unpack(payload[:length])
    assert InterPayload.unpack(payload[:end]).residual == b""


@pytest.mark.parametrize("said", [len(MOTION) + len(RESIDUAL) + 1, 2**31, 2**32 - 1])
def test_a_motion_longer_than_the_payload_is_refused(said):
    payload = InterPayload(None, MOTION, RESIDUAL).pack()
    longer = payload[:1] + varint(said) + payload[2:]
    with pytest.raises(DamagedStream, match=f"ends within its motion: {said} bytes due"):
        InterPayload.unpack(longer)
