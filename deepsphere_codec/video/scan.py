"""Scan of a film's packets, without decoding them, for the display times of its frames."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
from av.stream import Discard

from deepsphere_codec.video.container import open_container, video_stream
from deepsphere_codec.video.timing import EVEN, Evenness, Span, Timing

REORDERED = 64
"""Bound of the reordering: no codec displays a frame this many packets later than it is stored.

H.264 and H.265 allow 16 frames, which may be two packets each.
"""
EVEN_FORMATS = {"yuv4mpegpipe"}  # frames without times


def scan(path: Path, fps: Fraction, first_pts: int | None, first: int, last: int | None) -> Timing:
    """Determine the display times of a range of frames, in constant memory.

    Opens the file again and reads the packets up to the range's end. A pipe, which can be read only once, and a film
    without times count as evenly spaced. Of a truncated film the existing packets are evaluated; the error is reported
    when its frames are read.

    Args:
        path: Path of the film.
        fps: Its frames per second.
        first_pts: Time of its first frame, in units of its time base; earlier packets hold no frame to be shown.
        first: First frame of the range.
        last: End of the range (exclusive); None for the end of the film.
    Returns:
        Timing of the range.
    """
    if not path.is_file():
        return EVEN
    with open_container(path) as container:
        stream = video_stream(path, container)
        time_base = stream.time_base
        if container.format.name in EVEN_FORMATS or not time_base:
            return EVEN
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        times = in_order(_times(container.demux(stream), first_pts))
        return _timing(times, time_base, fps, first, last)


def in_order(times: Iterable[int]) -> Iterator[int]:
    """Sort times into order of display, given that none is stored more than `REORDERED` positions too late."""
    waiting: list[int] = []
    for time in times:
        heapq.heappush(waiting, time)
        if len(waiting) > REORDERED:
            yield heapq.heappop(waiting)
    yield from sorted(waiting)


def _times(packets: Iterator[av.Packet], first_pts: int | None) -> Iterator[int]:
    with suppress(av.FFmpegError, OSError):
        for packet in packets:
            time = packet.dts if packet.pts is None else packet.pts  # AVI has only the second
            if time is not None and not packet.is_discard and (first_pts is None or time >= first_pts):
                yield time


def _timing(times: Iterator[int], time_base: Fraction, fps: Fraction, first: int, last: int | None) -> Timing:
    even = Evenness(time_base, fps)
    start: int | None = None
    stop: int | None = None
    for number, time in enumerate(itertools.islice(times, first, None), first):
        if number == last:
            stop = time
            break
        start = time if start is None else start
        if not even.holds(time) and last is None:
            break  # neither the timing nor the span can change any more
    if start is None:
        return EVEN
    zero = start * time_base
    span = Span(zero if first else None, None if stop is None else stop * time_base, zero)
    return Timing(None if even.so_far else time_base, span)
