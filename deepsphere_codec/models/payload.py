"""The bytes of a picture: which parts it has, and where one ends and the next begins."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor

from deepsphere_codec.bitstream.cursor import Cursor, varint
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.models.rotation import ROTATION_BYTES, read_rotation, write_rotation

_TURNED, _MOVED, _CODED, _MAPPED, _SECOND = 1, 2, 4, 8, 16


class Payload(NamedTuple):
    """The parts of a picture; one without any repeats a reference, and is a single byte.

    Layout: one byte of flags (1 rotation, 2 motion, 4 latents, 8 quality map, or 16 alone: it repeats the second
    reference), then the rotation, and the map's and the motion's bytes, each after their number (a varint, see
    bitstream/FORMAT.md); the latents' end with the payload.

    Attributes:
        turn: The camera's, in units of ROTATION_STEP.
        quality_map, motion, latents: Bytes of their entropy coders.
        repeats_second: It has no parts, and is the second reference once more.
    """

    turn: Int[Tensor, " 3"] | None = None
    quality_map: bytes | None = None
    motion: bytes | None = None
    latents: bytes | None = None
    repeats_second: bool = False

    @property
    def is_repeat(self) -> bool:
        """Whether it has no parts."""
        return self.turn is None and self.quality_map is None and self.motion is None and self.latents is None

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each part, by name; what is left of the payload is flags and numbers."""
        rotation = 0 if self.turn is None else ROTATION_BYTES
        parts = {"map": self.quality_map, "motion": self.motion, "latents": self.latents}
        return {"rotation": rotation} | {name: len(part or b"") for name, part in parts.items()}

    def pack(self) -> bytes:
        """The bytes."""
        parts, flags = [], _SECOND if self.repeats_second else 0
        if self.turn is not None:
            flags |= _TURNED
            parts.append(write_rotation(self.turn))
        for flag, part in ((_MAPPED, self.quality_map), (_MOVED, self.motion)):
            if part is not None:
                flags |= flag
                parts += [varint(len(part)), part]
        if self.latents is not None:
            flags |= _CODED
            parts.append(self.latents)
        return b"".join([bytes([flags]), *parts])

    @classmethod
    def unpack(cls, payload: bytes) -> Payload:
        """The parts.

        Raises:
            DamagedStream: `pack` writes no such bytes.
        """
        if payload == bytes([_SECOND]):
            return cls(repeats_second=True)
        if not payload or payload[0] >= _SECOND:
            raise DamagedStream(f"a frame begins with {payload[:1].hex() or 'nothing'}, which means nothing")
        flags, rest = payload[0], payload[1:]
        turn = quality_map = motion = None
        if flags & _TURNED:
            turn, rest = read_rotation(rest), rest[ROTATION_BYTES:]
        if flags & _MAPPED:
            quality_map, rest = _first_part(rest, "quality map")
        if flags & _MOVED:
            motion, rest = _first_part(rest, "motion")
        if rest and not flags & _CODED:
            raise DamagedStream("a frame's payload goes on behind its end")
        return cls(turn, quality_map, motion, rest if flags & _CODED else None)


def _first_part(data: bytes, name: str) -> tuple[bytes, bytes]:
    """As many bytes as the number before them says, and the rest."""
    cursor = Cursor(data)
    try:
        return cursor.take(cursor.varint()), cursor.rest()
    except ValueError as error:
        raise DamagedStream(f"a frame ends within its {name}: {error}") from error
