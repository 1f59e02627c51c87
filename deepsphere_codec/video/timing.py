"""Display times of frames: evenly spaced, or with individual timestamps (variable frame rate)."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from deepsphere_codec.frames import VideoInfo, YuvFrame


class TimedFrame(NamedTuple):
    """A frame with its display time.

    Attributes:
        frame: The picture.
        pts: Display time in `VideoInfo.tick`s; 0 for the first frame, increasing from frame to frame.
    """

    frame: YuvFrame
    pts: int


class Span(NamedTuple):
    """Time span of a film, in seconds of the film's own time (whose first frame need not be at 0).

    Attributes:
        start: Start; None includes everything before the first frame.
        stop: End (exclusive); None includes everything after the last frame.
        zero: Time of the first frame, which becomes time 0.
    """

    start: Fraction | None
    stop: Fraction | None
    zero: Fraction


WHOLE = Span(None, None, Fraction(0))


class Timing(NamedTuple):
    """Timing of a range of frames.

    Attributes:
        time_base: Unit of the frames' timestamps in seconds; None if they are evenly spaced.
        span: Time span of the range.
    """

    time_base: Fraction | None
    span: Span


EVEN = Timing(None, WHOLE)


class Evenness:
    """Test whether frames are evenly spaced, so that no timestamps are needed: time n is time 0 + n / fps.

    If a frame lasts a whole number of ticks, the times must be exact. Otherwise they may deviate by one tick, the
    effect of two roundings, but by no more than a quarter of a frame.

    Args:
        time_base: Unit of the times, seconds.
        fps: Frames per second.

    Attributes:
        so_far: Whether all times up to now were even.
    """

    def __init__(self, time_base: Fraction, fps: Fraction) -> None:
        self.so_far = True
        self._step = 1 / (fps * time_base)
        self._tolerance = Fraction(0) if self._step.denominator == 1 else min(Fraction(1), self._step / 4)
        self._due: Fraction | None = None

    def holds(self, time: int) -> bool:
        """Test the time of the next frame in order of display; returns whether all times up to now were even."""
        expected = Fraction(time) if self._due is None else self._due
        self._due = expected + self._step
        self.so_far = self.so_far and abs(time - expected) <= self._tolerance
        return self.so_far


def is_even(times: Iterable[int], time_base: Fraction, fps: Fraction) -> bool:
    """Return whether frames are evenly spaced, as defined in `Evenness`.

    Args:
        times: Display times in order, in units of `time_base`; read only up to the first uneven one.
        time_base: Unit of the times, seconds.
        fps: Frames per second.
    Returns:
        Whether no timestamps are needed.
    """
    even = Evenness(time_base, fps)
    return all(even.holds(time) for time in times)


class Clock:
    """Conversion of a film's stored times to timestamps: from 0, in ticks of `info`, increasing from frame to frame.

    If frames are evenly spaced, the timestamp is the frame's number. Otherwise invalid times are repaired: a frame
    without a time follows the previous one after a frame's duration (1 / fps); a frame that is not later than the
    previous one follows it after one tick; and a frame that lies more than a second before the previous one restarts
    the clock, a frame's duration after it (a film joined from parts).
    """

    def __init__(self, info: VideoInfo) -> None:
        self._even = info.time_base is None
        self._duration = max(1, round(1 / (info.fps * info.tick)))
        self._second = round(1 / info.tick)
        self._last = -self._duration
        self._zero: int | None = None

    def at(self, pts: int | None) -> int:
        """Return the timestamp of the next frame.

        Args:
            pts: Stored time in units of the film's time base, or None.
        """
        expected = self._last + self._duration
        if self._even:
            self._last = expected
        elif pts is None:
            self._last = expected
        else:
            self._last = self._count(pts, expected)
        return self._last

    def _count(self, pts: int, expected: int) -> int:
        if self._zero is None or pts - self._zero < self._last - self._second:
            self._zero = pts - expected
        return max(pts - self._zero, self._last + 1)
