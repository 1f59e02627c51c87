"""Layout of a picture's payload: its parts and how they are separated."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor

from deepsphere_codec.bitstream.cursor import Cursor, varint
from deepsphere_codec.errors import DamagedStream
from deepsphere_codec.models.rotation import ROTATION_BYTES, read_rotation, write_rotation

_TURNED, _MOVED, _CODED, _MAPPED, _SECOND = 1, 2, 4, 8, 16


class Payload(NamedTuple):
    """Parts of a picture; a picture without parts repeats a reference and takes one byte.

    Layout: one byte of flags (1 rotation, 2 motion, 4 latents, 8 quality map, or 16 alone for a repetition of the
    second reference), then the rotation, then the bytes of the map and of the motion, each preceded by its length (a
    varint, see bitstream/FORMAT.md), then the latents, which end with the payload.

    Attributes:
        turn: Rotation of the camera in units of ROTATION_STEP, [3].
        quality_map: Bytes of the entropy-coded quality map.
        motion: Bytes of the entropy-coded motion tree.
        latents: Bytes of the entropy-coded latents, with the flags of the blocks that have a residual in P- and
            B-frames.
        repeats_second: Whether the picture repeats the second reference; it then has no parts.
    """

    turn: Int[Tensor, " 3"] | None = None
    quality_map: bytes | None = None
    motion: bytes | None = None
    latents: bytes | None = None
    repeats_second: bool = False

    @property
    def is_repeat(self) -> bool:
        """Whether the picture has no parts and repeats a reference."""
        return self.turn is None and self.quality_map is None and self.motion is None and self.latents is None

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each part, by name; the rest of the payload is flags and lengths."""
        rotation = 0 if self.turn is None else ROTATION_BYTES
        parts = {"map": self.quality_map, "motion": self.motion, "latents": self.latents}
        return {"rotation": rotation} | {name: len(part or b"") for name, part in parts.items()}

    def pack(self) -> bytes:
        """Convert to bytes."""
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
        """Split a payload into its parts.

        Raises:
            DamagedStream: `pack` cannot have written these bytes.
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
    """Split off a part preceded by its length; returns the part and the remaining bytes."""
    cursor = Cursor(data)
    try:
        return cursor.take(cursor.varint()), cursor.rest()
    except ValueError as error:
        raise DamagedStream(f"a frame ends within its {name}: {error}") from error
