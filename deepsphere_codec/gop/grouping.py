"""Frames in order of display into GOPs and groups, which are coded one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from deepsphere_codec.bitstream import SPANS
from deepsphere_codec.gop.lookahead import Lookahead, SmallPicture
from deepsphere_codec.video import TimedFrame


class Group(NamedTuple):
    """Frames that are coded together.

    Attributes:
        frames: In order of display: one, or those from behind an anchor to the next anchor.
        is_key: Whether it is an I-frame, and begins a GOP.
    """

    frames: Sequence[TimedFrame]
    is_key: bool


class Grouping:
    """Divides a film, frame by frame. What it decides in a GOP depends on no frame before it.

    Args:
        gop_size: Frames of a GOP, at most.
        lookahead: Says where a GOP ends before that, and how many frames a group has.
    """

    def __init__(self, gop_size: int, lookahead: Lookahead) -> None:
        self._gop_size = gop_size
        self._lookahead = lookahead
        self._queue: deque[tuple[TimedFrame, SmallPicture]] = deque()
        self._before: list[SmallPicture] = []  # of the GOP, the last ones
        self._left = 0  # frames that the GOP may still take

    def push(self, frame: TimedFrame) -> Iterator[Group]:
        """Take the next frame.

        Args:
            frame: In order of display.
        Yields:
            The groups that are known now.
        """
        self._queue.append((frame, self._lookahead.look(frame.frame)))
        yield from self._groups(self._lookahead.depth)

    def flush(self) -> Iterator[Group]:
        """The groups of all frames that are left; the next frame begins a GOP."""
        yield from self._groups(1)
        self._left = 0

    def _groups(self, depth: int) -> Iterator[Group]:
        while self._queue and (not self._left or len(self._queue) >= depth):
            span = self._span() if self._left else 0
            is_key = span == 0
            taken = [self._queue.popleft() for _ in range(max(span, 1))]
            self._left = (self._gop_size if is_key else self._left) - len(taken)
            before = [] if is_key else self._before
            self._before = [*before, *(look for _, look in taken)][-SPANS[-1] :]
            yield Group([frame for frame, _ in taken], is_key)

    def _span(self) -> int:
        """Frames of the next group; 0 where the next frame begins a GOP."""
        past, coming = self._before, [look for _, look in self._queue]
        most = min(len(coming), self._left, SPANS[-1])
        cuts = (i for i in range(most) if self._lookahead.is_cut([*past, *coming[:i]], coming[i:]))
        count = next(cuts, most)
        return self._lookahead.choose_span([past[-1], *coming[:count]]) if count else 0


def groups_of(frames: Iterable[TimedFrame], grouping: Grouping) -> Iterator[Group]:
    """All groups of a film.

    Args:
        frames: In order of display.
        grouping: That has none of them yet.
    """
    for frame in frames:
        yield from grouping.push(frame)
    yield from grouping.flush()


def gops_of(groups: Iterable[Group]) -> Iterator[list[Group]]:
    """Groups, gathered to GOPs."""
    gop: list[Group] = []
    for group in groups:
        if group.is_key and gop:
            yield gop
            gop = []
        gop.append(group)
    if gop:
        yield gop
