"""The bytes of a P-frame: which parts it has, and where one ends and the next begins."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor

from deepsphere_codec.cursor import Cursor, varint
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.models.rotation import ROTATION_BYTES, read_rotation, write_rotation

_TURNED, _MOVED, _CODED = 1, 2, 4


class InterPayload(NamedTuple):
    """The parts of a P-frame; a frame without any repeats the one before it, and is a single byte.

    Layout: one byte of flags (1 rotation, 2 motion, 4 residual), then the parts in this order; the motion's bytes come
    after their number (a varint, see bitstream/FORMAT.md), the residual's end with the payload.

    Attributes:
        turn: The camera's, in units of ROTATION_STEP.
        motion, residual: Bytes of their entropy coder.
    """

    turn: Int[Tensor, " 3"] | None = None
    motion: bytes | None = None
    residual: bytes | None = None

    def pack(self) -> bytes:
        """The bytes."""
        parts, flags = [], 0
        if self.turn is not None:
            flags |= _TURNED
            parts.append(write_rotation(self.turn))
        if self.motion is not None:
            flags |= _MOVED
            parts += [varint(len(self.motion)), self.motion]
        if self.residual is not None:
            flags |= _CODED
            parts.append(self.residual)
        return b"".join([bytes([flags]), *parts])

    @classmethod
    def unpack(cls, payload: bytes) -> InterPayload:
        """The parts.

        Raises:
            DamagedStream: `pack` writes no such bytes.
        """
        flags, rest = payload[:1].hex(), payload[1:]
        if flags == "00" and not rest:
            return cls()
        if flags not in ("04", "05", "06", "07"):
            raise DamagedStream(f"a P-frame begins with {flags or 'nothing'}, which means nothing")
        turn = motion = None
        if payload[0] & _TURNED:
            turn, rest = read_rotation(rest), rest[ROTATION_BYTES:]
        if payload[0] & _MOVED:
            motion, rest = _first_part(rest)
        return cls(turn, motion, rest)


def _first_part(data: bytes) -> tuple[bytes, bytes]:
    """As many bytes as the number before them says, and the rest."""
    cursor = Cursor(data)
    try:
        return cursor.take(cursor.varint()), cursor.rest()
    except ValueError as error:
        raise DamagedStream(f"a P-frame ends within its motion: {error}") from error
