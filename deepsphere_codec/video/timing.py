"""When frames are shown: evenly, or each at a time of its own (variable frame rate)."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from deepsphere_codec.frames import VideoInfo, YuvFrame


class TimedFrame(NamedTuple):
    frame: YuvFrame
    pts: int
    """When it is shown, in `VideoInfo.tick`s; 0 for the first one delivered, and growing from frame to frame."""


class Span(NamedTuple):
    """A part of a film, in seconds of the film's own time (whose first frame need not lie at 0)."""

    start: Fraction | None
    """None: everything from the beginning, also what a track holds before the first frame."""
    stop: Fraction | None
    """Not included; None: everything up to the end, also what a track holds behind the last frame."""
    zero: Fraction
    """What becomes time 0: where the first frame lies."""


WHOLE = Span(None, None, Fraction(0))


class Timing(NamedTuple):
    """When the frames of a range are shown."""

    time_base: Fraction | None
    """See `VideoInfo`."""
    span: Span


EVEN = Timing(None, WHOLE)


class Evenness:
    """Whether frames lie so evenly that their rate tells all: time n is time 0 + n / fps.

    Where a frame lasts a whole number of ticks the times must be exact. Elsewhere each may be rounded to a tick, which
    with two roundings is one tick off; where ticks are too few for that to be rounding, a quarter of a frame.
    """

    def __init__(self, time_base: Fraction, fps: Fraction) -> None:
        self.so_far = True
        self._step = 1 / (fps * time_base)
        self._tolerance = Fraction(0) if self._step.denominator == 1 else min(Fraction(1), self._step / 4)
        self._due: Fraction | None = None

    def holds(self, time: int) -> bool:
        """Look at the next frame's time, in order of display; whether all were even up to here."""
        due = Fraction(time) if self._due is None else self._due
        self._due = due + self._step
        self.so_far = self.so_far and abs(time - due) <= self._tolerance
        return self.so_far


def is_even(times: Iterable[int], time_base: Fraction, fps: Fraction) -> bool:
    """Whether frames need no timestamps: see `Evenness`.

    Args:
        times: In order of display, in units of `time_base`; as many are read as it takes to know.
        time_base: In seconds.
        fps: Frames a second.
    """
    even = Evenness(time_base, fps)
    return all(even.holds(time) for time in times)


class Clock:
    """Makes timestamps of those that a film holds: from 0, in ticks of `info`, growing from frame to frame.

    Where frames lie evenly, each gets its number. Otherwise they are repaired where it needs be: a frame without a time
    comes one frame's duration (1 / fps) behind the one before it; a frame that is no later than the one before it comes
    a tick behind; and one that lies more than a second before it starts a new count, a frame's duration behind it
    (a film joined from parts, whose clock begins anew).
    """

    def __init__(self, info: VideoInfo) -> None:
        self._even = info.time_base is None
        self._duration = max(1, round(1 / (info.fps * info.tick)))
        self._second = round(1 / info.tick)
        self._last = -self._duration
        self._zero: int | None = None

    def at(self, pts: int | None) -> int:
        """The time of the next frame.

        Args:
            pts: As the film has it, in units of the film's own time base; None where it has none.
        """
        due = self._last + self._duration
        if self._even:
            self._last = due
        elif pts is None:
            self._last = due
        else:
            self._last = self._count(pts, due)
        return self._last

    def _count(self, pts: int, due: int) -> int:
        if self._zero is None or pts - self._zero < self._last - self._second:
            self._zero = pts - due
        return max(pts - self._zero, self._last + 1)
