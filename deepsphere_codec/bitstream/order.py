"""Order in which the pictures of a GOP are coded, and the references of each picture.

A GOP is an I-frame and groups of 1, 2, 4 or 8 pictures. The last picture of a group, its anchor, is coded first, as a
P-frame; then the pictures between it and the previous anchor, as B-frames: the middle one, then those before it, then
those after it, each half in the same way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from deepsphere_codec.bitstream.layout import BETWEEN, FRAME_TYPES, KEYFRAME, PREDICTED

SPANS = (1, 2, 4, 8)
"""Allowed numbers of pictures in a group."""


class Position(NamedTuple):
    """Position of a picture in the order of coding, and its references.

    Attributes:
        kind: Frame type, "I", "P" or "B".
        number: Number in order of display, from 0.
        first: Number of the reference that is displayed before it; None for an I-frame.
        second: For a P-frame, number of the anchor before `first` in the same GOP, or None; for a B-frame, number of
            the reference that is displayed after it.
        layer: Depth in the group: 0 for I- and P-frames, 1 to 3 for B-frames.
        span: Number of pictures in the group that a P-frame begins, else 1.
    """

    kind: str
    number: int
    first: int | None = None
    second: int | None = None
    layer: int = 0
    span: int = 1


class PictureOrder:
    """Sequence of positions of a stream's pictures, in order of coding; shared by encoder, writer, reader and decoder.

    Args:
        frames: Number of pictures before the first I-frame to come.

    Attributes:
        frames: Number of pictures up to the last anchor, in order of display; the next I-frame has this number.
        place: Number of pictures coded since the last I-frame, that one included; 0 before the first.
    """

    def __init__(self, frames: int = 0) -> None:
        self.frames = frames
        self.place = 0
        self._anchors: tuple[int, ...] = ()  # the last two of the GOP, the later one first
        self._pending: deque[Position] = deque()
        self._times: dict[int, int] = {}

    @property
    def is_whole(self) -> bool:
        """Whether the last group is complete."""
        return not self._pending

    @property
    def due(self) -> int:
        """Number of the next picture, unless it is the anchor of a group of several pictures."""
        return self._pending[0].number if self._pending else self.frames

    def next(self, kind: str, span: int = 1, number: int | None = None) -> Position:
        """Advance to the next picture.

        Args:
            kind: Frame type, "I", "P" or "B".
            span: Number of pictures in the group that a P-frame begins.
            number: Number of an I-frame; None for the next one in order.
        Returns:
            Position of the picture.
        Raises:
            ValueError: such a picture cannot come next, or the span is not allowed.
        """
        if kind not in FRAME_TYPES:
            raise ValueError(f"frame type is {kind!r}, expected one of {', '.join(FRAME_TYPES)}")
        if (kind == BETWEEN) != bool(self._pending):
            expected = "a B-frame" if self._pending else "an I- or P-frame"
            raise ValueError(f"frame {self.due} is a {kind}-frame, expected {expected}")
        if kind == KEYFRAME:
            position = Position(kind, self.frames if number is None else number)
            self._anchors, self.place = (), 0
            self._anchored(position)
        elif kind == BETWEEN:
            position = self._pending.popleft()
        else:
            position = self._anchor(span)
        self.place += 1
        return position

    def since(self, position: Position) -> int:
        """Return the time that a picture's time is coded relative to: that of its first reference, 0 for an I-frame."""
        return 0 if position.first is None else self._times.get(position.first, 0)

    def shown(self, position: Position, time: int) -> None:
        """Record the display time of the last picture.

        Args:
            position: Position of the picture that `next` returned last.
            time: Display time, ticks.
        Raises:
            ValueError: the time is before that of the previous picture, or after that of the following one.
        """
        earliest = max(self._times.values(), default=0) if position.kind == KEYFRAME else self.since(position)
        if time < earliest:
            raise ValueError(f"frame {position.number} is shown at {time}, before the frame before it")
        if position.kind == BETWEEN and position.second is not None and time > self._times[position.second]:
            raise ValueError(f"frame {position.number} is shown at {time}, after the frame after it")
        if position.kind != BETWEEN:  # of the previous group only the anchor is still a reference
            self._times = {number: self._times[number] for number in self._anchors[1:] if number in self._times}
        self._times[position.number] = time

    def _anchor(self, span: int) -> Position:
        if span not in SPANS:
            raise ValueError(f"a group of {span} pictures, expected one of {', '.join(map(str, SPANS))}")
        if not self._anchors:
            raise ValueError("a P-frame comes first, expected an I-frame")
        first, second = (*self._anchors, None)[:2]
        assert first is not None
        position = Position(PREDICTED, first + span, first, second, 0, span)
        self._pending.extend(_between(first, position.number, 1))
        self._anchored(position)
        return position

    def _anchored(self, position: Position) -> None:
        self._anchors = (position.number, *self._anchors[:1])
        self.frames = position.number + 1


def _between(first: int, second: int, layer: int) -> Iterator[Position]:
    """B-frames between two pictures, in order of coding."""
    if second - first < 2:
        return
    middle = (first + second) // 2
    yield Position(BETWEEN, middle, first, second, layer)
    yield from _between(first, middle, layer + 1)
    yield from _between(middle, second, layer + 1)
