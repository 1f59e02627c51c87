"""Reading of films: anything PyAV opens, `.y4m`, or a folder of PNG frames, one 4:2:0 picture at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType

from deepsphere_codec.errors import UsageError
from deepsphere_codec.frames import VideoInfo, YuvFrame
from deepsphere_codec.video.sources import FrameSource, open_source
from deepsphere_codec.video.timing import EVEN, Clock, Span, TimedFrame, Timing

FrameRange = tuple[int | None, int | None]
"""Half-open range of frames, like a Python slice: (None, None) is every frame, (-3, None) the last three."""


def open_video(path: str | Path, *, assume_erp: bool = False, frames: FrameRange | None = None) -> VideoReader:
    """Open a film to read it once, sequentially, in constant memory.

    Args:
        path: A film, a `.y4m` file, or a folder of PNG frames (in natural order: 2.png before 10.png).
        assume_erp: Accept a film that is not 2:1 (for example 16:9) as a whole equirectangular picture.
        frames: Half-open range to deliver; for a negative end the film is decoded once more, to count its frames.
            A film's packets are read once up to the range's end, not decoded, to check if frames are evenly spaced.
    Returns:
        Reader of the frames.
    Raises:
        UsageError: the film is missing, unreadable, not a film, not 2:1, or of odd size, or the range has no frames.
    """
    path = Path(path)
    first, last = _from_front(path, *(frames or (None, None)))
    source = open_source(path)
    try:
        _check_size(path, source.info, assume_erp)
        timing = source.timing(first, last)
    except UsageError:
        source.close()
        raise
    return VideoReader(path, source, first, last, timing)


class VideoReader(Iterator[YuvFrame]):
    """Iterator over the frames of a film in order; a context manager. Created by `open_video`.

    Iterating raises UsageError if a frame cannot be decoded, or if the range holds no frame at all.

    Args:
        path: Path of the film, for messages.
        source: Source of the frames.
        first: First frame of the range.
        last: End of the range (exclusive); None for the end of the film.
        timing: Timing of the range.

    Attributes:
        info: Properties of the film; its `time_base` is None if the frames of the range are evenly spaced.
        span: Time span of the range in the film, for `read_packets`.
    """

    def __init__(self, path: Path, source: FrameSource, first: int, last: int | None, timing: Timing = EVEN) -> None:
        self.info: VideoInfo = source.info._replace(time_base=timing.time_base)
        self.span: Span = timing.span
        self._path = path
        self._source = source
        self._first, self._last = first, last
        self._frames = islice(source.frames(), first, last)
        self._delivered = 0
        self._clock = Clock(self.info)

    @property
    def expected(self) -> int | None:
        """Number of frames in the range according to the file, or None; for a progress bar."""
        if self.info.frames is None:
            return None
        return len(range(self.info.frames)[self._first : self._last])

    def timed(self) -> Iterator[TimedFrame]:
        """Iterate over the remaining frames with their timestamps in `info.tick`s, computed by `Clock`."""
        while (frame := self._next()) is not None:
            yield frame

    def __next__(self) -> YuvFrame:
        frame = self._next()
        if frame is None:
            raise StopIteration
        return frame.frame

    def _next(self) -> TimedFrame | None:
        frame = next(self._frames, None)
        if frame is not None:
            self._delivered += 1
            return TimedFrame(frame.frame, self._clock.at(frame.pts))
        if not self._delivered:
            raise UsageError(
                f"{self._path} has no frames in {_range_text(self._first, self._last)}; frames count from 0"
            )
        return None

    def close(self) -> None:
        """Close the film."""
        self._source.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _from_front(path: Path, first: int | None, last: int | None) -> tuple[int, int | None]:
    """Convert the range's ends to numbers counted from the film's beginning."""
    text = _range_text(first, last)
    if (first or 0) < 0 or (last or 0) < 0:
        first, last, _ = slice(first, last).indices(_count(path))
    first = first or 0
    if last is not None and last <= first:
        raise UsageError(f"the range {text} holds no frames; write A:B with A < B")
    return first, last


def _count(path: Path) -> int:
    """Count the frames of a film by decoding them, since the number stored in a file may be wrong."""
    source = open_source(path)
    try:
        return sum(1 for _ in source.frames())
    finally:
        source.close()


def _check_size(path: Path, info: VideoInfo, assume_erp: bool) -> None:
    size = f"{info.width}x{info.height}"
    if info.width % 2 or info.height % 2:
        raise UsageError(f"{path} is {size}; width and height must be even: crop or scale it first")
    if info.width != 2 * info.height and not assume_erp:
        raise UsageError(
            f"{path} is {size}, not 2:1 as an equirectangular film is; if it holds a whole sphere all the same, "
            f"use --assume-erp"
        )


def _range_text(first: int | None, last: int | None) -> str:
    return f"{'' if first is None else first}:{'' if last is None else last}"
