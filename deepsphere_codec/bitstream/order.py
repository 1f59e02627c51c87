"""Order of pictures: in which order the pictures of a GOP are coded, and which ones each of them refers to.

A GOP is an I-frame and groups of 1, 2, 4 or 8 pictures. The last picture of a group, its anchor, is coded first, as a
P-frame; then the pictures between it and the anchor before, as B-frames: the middle one, then those to its left, then
those to its right, each half in the same way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from deepsphere_codec.bitstream.layout import BETWEEN, FRAME_TYPES, KEYFRAME, PREDICTED

SPANS = (1, 2, 4, 8)
"""Pictures that a group may have."""


class Position(NamedTuple):
    """Place of a picture in the order of coding.

    Attributes:
        kind: "I", "P" or "B".
        number: In order of display, from 0.
        first: Number of the reference nearer in the past; None of an I-frame.
        second: Of a P-frame, number of the anchor before `first` in the same GOP, None where there is none; of a
            B-frame, number of the reference in the future.
        layer: 0 of I- and P-frames, 1 to 3 of B-frames: the depth in the group.
        span: Pictures of the group that a P-frame begins; 1 otherwise.
    """

    kind: str
    number: int
    first: int | None = None
    second: int | None = None
    layer: int = 0
    span: int = 1


class PictureOrder:
    """Tells of each picture of a stream, as they come in order of coding, where it belongs. The same for all who ask.

    Args:
        frames: Pictures before the first I-frame that is to come.
    Attributes:
        frames: Pictures up to the last anchor, in order of display; the next I-frame has this number.
        place: Pictures coded since the last I-frame, it included; 0 before the first.
    """

    def __init__(self, frames: int = 0) -> None:
        self.frames = frames
        self.place = 0
        self._anchors: tuple[int, ...] = ()  # the last two of the GOP, the later one first
        self._pending: deque[Position] = deque()
        self._times: dict[int, int] = {}

    @property
    def is_whole(self) -> bool:
        """Whether no B-frame of the last group is missing."""
        return not self._pending

    @property
    def due(self) -> int:
        """Number of the picture that comes next, should it not be an anchor behind others."""
        return self._pending[0].number if self._pending else self.frames

    def next(self, kind: str, span: int = 1, number: int | None = None) -> Position:
        """Take the next picture.

        Args:
            kind: "I", "P" or "B".
            span: Of the group that a P-frame begins.
            number: Of an I-frame; the next one in order unless given.
        Returns:
            Where it belongs.
        Raises:
            ValueError: no such picture can come here, or there is no such group.
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
        """Time that a picture's own is counted from: that of its reference in the past; 0 for an I-frame."""
        return 0 if position.first is None else self._times.get(position.first, 0)

    def shown(self, position: Position, time: int) -> None:
        """Note when the picture that was taken last is shown.

        Raises:
            ValueError: before the one before it, or after the one after it.
        """
        before = max(self._times.values(), default=0) if position.kind == KEYFRAME else self.since(position)
        if time < before:
            raise ValueError(f"frame {position.number} is shown at {time}, before the frame before it")
        if position.kind == BETWEEN and position.second is not None and time > self._times[position.second]:
            raise ValueError(f"frame {position.number} is shown at {time}, after the frame after it")
        if position.kind != BETWEEN:  # no picture of the group before is referred to any more, but for its anchor
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
